"""The primary header as bytes, against astropy."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from night_files import write_pair

from specinfer import fits_cards
from specinfer.errors import ReadError


def test_values_are_those_of_astropy(tmp_path: Path) -> None:
    path, _ = write_pair(tmp_path)
    cards, end = fits_cards.split_header(path.read_bytes())
    header = fits.getheader(path)
    found = fits_cards.values(cards)
    assert end % 2880 == 0
    assert found["OBSERVER"] == "O'Neill"
    assert found == {key: header[key] for key in header if key not in ("HISTORY", "", "COMMENT")}


@pytest.mark.parametrize("others", [0, 1, 30, 31, 32, 33, 34, 35, 36])
def test_only_the_cards_asked_for_change_at_any_header_length(others: int) -> None:
    hdu = fits.PrimaryHDU(np.arange(7.0))
    for number in range(others):
        hdu.header[f"KEY{number}"] = number
    buffer = io.BytesIO()
    fits.HDUList([hdu, fits.ImageHDU(np.ones(3))]).writeto(buffer)
    data = buffer.getvalue()
    new = [
        fits_cards.make_card("SPITYPE", "SN Ia", "the class", number=False),
        fits_cards.make_card("SPIPROB", "0.9870", "probability", number=True),
    ]
    changed = fits_cards.with_cards(data, new, ("SPITYPE", "SPIPROB"))
    assert len(changed) % 2880 == 0
    assert fits_cards.is_whole(changed)
    old_cards, old_end = fits_cards.split_header(data)
    cards, end = fits_cards.split_header(changed)
    assert cards == [*old_cards, *new]
    assert changed[end:] == data[old_end:]
    with fits.open(io.BytesIO(changed)) as hdus:
        hdus.verify("exception")
        assert hdus[0].header["SPIPROB"] == 0.987
    # Taken away again, the file is what it was.
    assert fits_cards.with_cards(changed, [], ("SPITYPE", "SPIPROB")) == data
    # And replaced, it stays where it was.
    again = fits_cards.with_cards(changed, new[:1], ("SPITYPE", "SPIPROB"))
    assert fits_cards.split_header(again)[0] == [*old_cards, new[0]]


def test_card_text() -> None:
    card = fits_cards.make_card("SPIMODEL", "o'model@1", "x" * 60, number=False)
    assert len(card) == 80
    assert fits_cards.values([card]) == {"SPIMODEL": "o'model@1"}
    assert fits_cards.written(card) == "o'model@1"
    number = fits_cards.make_card("SPIPROB", "0.0500", "probability", number=True)
    assert fits_cards.written(number) == "0.0500"
    assert fits.Card.fromstring(number).value == 0.05
    with pytest.raises(ValueError, match="does not fit"):
        fits_cards.make_card("SPITYPE", "x" * 69, "", number=False)


def test_whole_and_damaged(tmp_path: Path) -> None:
    path, _ = write_pair(tmp_path)
    data = path.read_bytes()
    assert fits_cards.is_whole(data)
    assert not fits_cards.is_whole(b"")
    used = len(data.rstrip(b"\0"))
    for length in (100, 2880, 17_500, used - 2000):
        assert not fits_cards.is_whole(data[:length]), length
    with pytest.raises(ReadError, match="END"):
        fits_cards.split_header(data[:1000])
    # Only the padding is missing.
    _, end = fits_cards.split_header(data)
    assert fits_cards.is_whole(data[: end + 214 * 8])


@pytest.mark.parametrize("seed", range(12))
def test_a_checksum_stays_right(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "summed.fits"
    rng = np.random.default_rng(seed)
    image = fits.ImageHDU(rng.normal(size=5))
    fits.HDUList([fits.PrimaryHDU(rng.normal(size=900)), image]).writeto(path, checksum=True)
    new = [fits_cards.make_card("SPITYPE", f"class {seed}", "", number=False)]
    path.write_bytes(fits_cards.with_cards(path.read_bytes(), new, ("SPITYPE",)))
    # Warnings are errors: a wrong sum would be one.
    with fits.open(path, checksum=True) as hdus:
        assert hdus[0].header["SPITYPE"] == f"class {seed}"
        assert hdus[0].verify_checksum() == hdus[0].verify_datasum() == 1
