"""Plain FITS images without astropy: what astropy says, or nothing."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from specinfer import fits_cards
from specinfer.readers import read
from specinfer.readers.base import Source
from specinfer.readers.fits_plain import plain_images

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.fits"))


def written(*hdus: Any) -> bytes:
    buffer = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(buffer)
    return buffer.getvalue()


def primary(pixels: Any = None, **cards: Any) -> fits.PrimaryHDU:
    hdu = fits.PrimaryHDU(pixels)
    hdu.header.update(cards)
    return hdu


def with_card(text: str) -> bytes:
    """A file with one card, exactly as given, as the last before END."""
    data = written(primary(np.arange(5.0)))
    cards, end = fits_cards.split_header(data)
    header = b"".join([*cards, text.encode("latin-1").ljust(80), b"END".ljust(80)])
    return header.ljust(end) + data[end:]


@pytest.mark.parametrize("kind", [">f4", ">f8", ">i2", ">i4", "u1"])
def test_images_and_headers_are_those_of_astropy(kind: str) -> None:
    rng = np.random.default_rng(3)
    pixels = (100 * rng.random(300)).astype(kind)
    first = primary(
        pixels, OBJECT="O'Neill's [A]", QUALITY=0, CRVAL1=3776.7123287671234, SMALL=-1.5e-17,
        FLUXCAL=True, POSOK=False, PADDED="a  ", EMPTY="", OPEN=None,
    )  # fmt: skip
    first.header["HISTORY"] = "made here"
    first.header["HIERARCH a long name"] = 1
    second = fits.ImageHDU(rng.random((3, 7)), name="variance")
    data = written(first, second, fits.ImageHDU())
    images = plain_images(data)
    assert images is not None
    with fits.open(io.BytesIO(data)) as hdus:
        assert [image.name for image in images] == [hdu.name for hdu in hdus]
        for image, hdu in zip(images, hdus, strict=True):
            assert image.shape == tuple(hdu.shape)
            if image.data is None:
                assert hdu.data is None
            else:
                np.testing.assert_array_equal(image.data, hdu.data)
            for key, value in image.header.items():
                if key != "OPEN":
                    assert value == hdu.header[key], key
                    assert type(value) is type(hdu.header[key]), key
        assert images[0].header["OPEN"] is None
        names = {key for key in hdus[0].header if key not in ("HISTORY", "a long name")}
        assert names == set(images[0].header)


@pytest.mark.parametrize(
    "text",
    [
        "GAIN    = 1.5D3 / electrons",
        "GAIN    =                 +.5E-3",
        "GAIN    =                   7. / without digits",
        "GAIN    = 'with / a slash and ''quotes''' / and a remark",
        "COMMENT whatever = 'it says",
    ],
)
def test_odd_but_standard_cards(text: str) -> None:
    data = with_card(text)
    images = plain_images(data)
    assert images is not None
    if text.startswith("GAIN"):
        assert images[0].header["GAIN"] == fits.getheader(io.BytesIO(data))["GAIN"]


@pytest.mark.parametrize(
    "text",
    [
        "BSCALE  =                  2.0",
        "BZERO   =                 10.0",
        "BLANK   =                   -1",
        "OBJECT  = 'no end",
        "OBJECT  = two words",
        "object  = 'small'",
        "OBJECT    'no sign of equality'",
        "OBJECT  = 'caf\xe9'",
        "OBJECT  = 'a very long&'",
        "CONTINUE  'text'",
        "HIERARCH OBJECT = 'short name'",
        "GAIN    = (1.0, 2.0)",
        "GAIN    = 1_000",
        "GAIN    = nan",
        "EXTNAME = 3",
    ],
)
def test_what_is_not_plain_is_left_to_astropy(text: str) -> None:
    assert plain_images(with_card(text)) is None


def test_other_files_are_left_to_astropy() -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("flux", "E", array=np.ones(4))])
    image = written(primary(np.arange(900.0)))
    many: dict[str, bytes] = {
        "table": written(primary(), table),
        "compressed": written(primary(), fits.CompImageHDU(np.ones((20, 20), np.float32))),
        "truncated": image[:-2880],
        "without its padding": image[:-100],
        "followed by something": image + b"\0" * 2880,
        "no FITS": b"# wavelength flux\n" * 300,
        "empty": b"",
        "an extension first": image.replace(b"SIMPLE  =", b"XTENSION=", 1),
        "not standard": image.replace(b"SIMPLE  =%21s" % b"T", b"SIMPLE  =%21s" % b"F"),
    }  # fmt: skip
    assert {name for name, data in many.items() if plain_images(data) is not None} == set()
    assert plain_images(image) is not None


def test_headers_that_claim_the_impossible() -> None:
    data = written(primary(np.arange(5.0)))
    for old, new in (
        ("NAXIS1  =                    5", "NAXIS1  =      999999999999999"),
        ("NAXIS1  =                    5", "NAXIS1  =                   -5"),
        ("NAXIS1  =                    5", "NAXIS1  =                    0"),
        ("NAXIS1  =                    5", "NAXIS1  =                  5.0"),
        ("NAXIS   =                    1", "NAXIS   =                  999"),
        ("BITPIX  =                  -64", "BITPIX  =                  -63"),
    ):
        assert old.encode() in data
        assert plain_images(data.replace(old.encode(), new.encode())) is None, new


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem[-5:])
def test_spectra_are_the_same_with_and_without(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    light = read(path)[0]
    assert Source(path).plain_images is not None
    monkeypatch.setattr(Source, "plain_images", None)
    usual = read(path)[0]
    for name in ("wavelength", "flux", "ivar"):
        np.testing.assert_array_equal(getattr(light, name), getattr(usual, name))
    for name in ("header", "flags", "object", "instrument", "mjd", "redshift", "reader", "file"):
        assert getattr(light, name) == getattr(usual, name), name


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"CRVAL1  =", b"CRVALX  ="),
        lambda data: data.replace(b"NAXIS1  =%21d" % 214, b"NAXIS1  =%21d" % 213),
        lambda data: data[:-2880],
        lambda data: data.replace(b"'SEDM-P60'", b"'OTHER   '").replace(b"EXTRTYPE", b"EXTRXXXX"),
    ],
    ids=["no axis", "shape", "truncated", "not SEDM"],
)  # fmt: skip
def test_failures_are_the_same_with_and_without(
    change: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = change(EXAMPLES[0].read_bytes())

    def outcome() -> str:
        try:
            spectrum = read(data)[0]
        except Exception as error:
            return str(error)
        return f"{spectrum.reader} {spectrum.flags} {spectrum.flux.sum()}"

    light = outcome()
    monkeypatch.setattr(Source, "plain_images", None)
    assert light == outcome()
