"""What identifies a spectrum, and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits
from night_files import write_pair
from tiny_model import write_fits_spectrum, write_text_spectrum

from specinfer import Classification, annotate
from specinfer.content import look_at, own_block

ANSWER = Classification(status="ok", model="m@1", class_name="SN Ia", probability=0.9)


def sha256(path: Path) -> str:
    return look_at(path.read_bytes()).sha256


def test_facts_of_both_twins(tmp_path: Path) -> None:
    for path in write_pair(tmp_path, QUALITY=5, FLUXCAL=False, RA_RATE=1.5):
        content = look_at(path.read_bytes())
        assert content.sedm
        facts = content.facts
        assert (facts["QUALITY"], facts["FLUXCAL"], facts["RA_RATE"]) == (5, False, 1.5)
        assert facts["OBJECT"] == "ZTF26abcdefg [A]"


def test_annotations_do_not_count(tmp_path: Path) -> None:
    summed = tmp_path / "summed.fits"
    plain = write_fits_spectrum(tmp_path / "plain.fits")
    with fits.open(plain) as hdus:
        hdus.writeto(summed, checksum=True)
    files = [*write_pair(tmp_path), plain, summed, write_text_spectrum(tmp_path / "t.ascii")]
    before = [sha256(path) for path in files]
    for path in files:
        annotate(path, ANSWER)
        assert own_block(path.read_bytes())["SPITYPE"] == "SN Ia"
    assert [sha256(path) for path in files] == before
    assert len(set(before)) == len(before)


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"snr": 21.0}, {"QUALITY": 1}, {"OBJECT": "other"}, {"FLUXCAL": None}],
)
def test_a_new_extraction_counts(tmp_path: Path, changes: dict[str, Any]) -> None:
    before = [sha256(path) for path in write_pair(tmp_path)]
    after = [sha256(path) for path in write_pair(tmp_path, **changes)]
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_other_classifiers_do_not_count_for_sedm(tmp_path: Path) -> None:
    before = [sha256(path) for path in write_pair(tmp_path)]
    after = [sha256(path) for path in write_pair(tmp_path, SNIDTYPE="Ia", NGSFTYPE="Ia")]
    assert after == before


def test_cards_of_other_instruments_count(tmp_path: Path) -> None:
    path = write_fits_spectrum(tmp_path / "plain.fits")
    before = sha256(path)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["HISTORY"] = "a remark"
    assert sha256(path) == before
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["REDSHIFT"] = 0.1
    assert sha256(path) != before


@pytest.mark.parametrize(
    "data", [b"", b"SIMPLE  =", b"\x00\xff" * 99, b"#", b"# \xff: \xfe", b"#\r\n1 2"]
)
def test_any_bytes_have_a_hash(data: bytes) -> None:
    content = look_at(data)
    assert len(content.sha256) == 64
    assert not content.sedm
    assert own_block(data) == {}
