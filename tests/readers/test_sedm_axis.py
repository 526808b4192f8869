"""What is known of SEDM files: their grid, their traps, their text twins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fits_writers as write
import numpy as np
import pytest

from specinfer.errors import ReadError
from specinfer.readers import read, sedm
from specinfer.readers.base import Source

# The uncut grid of the cubes and the cut one of the spectra.
CUBE = np.linspace(3700.0, 9300.0, 220)
CUT = CUBE[3:-3]
STEP = 5600.0 / 219.0


def header(start: float, step: float = STEP, **cards: Any) -> dict[str, Any]:
    return {"CRVAL1": start, "CDELT1": step, "CRPIX1": 1, "CTYPE1": "RA---TAN", **cards}


def test_the_standard_grid() -> None:
    """220 pixels from 3700 to 9300, of which 214 are left: 3776.71-9223.29 Angstrom."""
    cut = sedm.standard_axis(214)
    assert cut is not None
    assert cut.size == 214
    assert cut[0] == pytest.approx(3776.71, abs=0.005)
    assert cut[-1] == pytest.approx(9223.29, abs=0.005)
    np.testing.assert_allclose(np.diff(cut), 25.571, atol=0.001)
    whole = sedm.standard_axis(220)
    assert whole is not None
    assert (whole[0], whole[-1], whole.size) == (3700.0, 9300.0, 220)
    np.testing.assert_array_equal(whole[3:-3], cut)
    # No other number of pixels is known.
    assert sedm.standard_axis(213) is None
    assert sedm.standard_axis(217) is None


@pytest.mark.parametrize(
    ("start", "step", "n", "trusted"),
    [
        # The right header, and the uncut grid.
        (3776.7123287671147, 25.570776255704914, 214, True),
        (3700.0, STEP, 220, True),
        # CRVAL1 of the uncut grid beside the pixels of the cut one.
        (3700.0, STEP, 214, False),
        (3749.9, STEP, 214, False),
        (3750.0, STEP, 214, True),
        # Out of the rule's bounds.
        (3600.0, STEP, 220, False),
        (3601.0, STEP, 220, True),
        (3999.0, STEP, 214, True),
        (4000.0, STEP, 214, False),
        (3776.7, 20.0, 214, False),
        (3776.7, 30.0, 214, False),
        (0.0, 1.0, 214, False),
    ],
)
def test_when_the_header_is_trusted(start: float, step: float, n: int, trusted: bool) -> None:
    found = sedm.trusted_header_axis(header(start, step), n)
    assert (found is not None) == trusted
    if found is not None:
        axis, flags = found
        assert flags == []
        np.testing.assert_allclose(axis, start + step * np.arange(n), rtol=1e-12)


def test_a_start_below_50_is_a_logarithm() -> None:
    found = sedm.trusted_header_axis(header(np.log(3776.71), 0.0042), 214)
    assert found is not None
    axis, flags = found
    assert flags == ["AXIS_LN"]
    assert axis[0] == pytest.approx(3776.71)
    np.testing.assert_allclose(np.diff(np.log(axis)), 0.0042, rtol=1e-9)


def test_headers_without_an_axis() -> None:
    for incomplete in ({}, {"CRVAL1": 3776.7}, {"CDELT1": STEP}, {"CRVAL1": "x", "CDELT1": 1}):
        assert sedm.header_axis(incomplete, 214) is None
        assert sedm.trusted_header_axis(incomplete, 214) is None


def test_reference_pixel_is_not_looked_at() -> None:
    """CRPIX1 is left over from the raw image."""
    plain, odd = header(CUT[0]), header(CUT[0], CRPIX1=974)
    np.testing.assert_array_equal(sedm.header_axis(plain, 214), sedm.header_axis(odd, 214))


# Rounded axes.


def test_rounding_is_undone() -> None:
    rounded = np.round(CUT, 1)
    assert np.max(np.abs(rounded - CUT)) > 0.04
    axis, flags = sedm.relinearised(rounded, header(CUT[0]))
    assert flags == ["AXIS_FROM_HEADER"]
    np.testing.assert_allclose(axis, CUT, atol=1e-9)
    # The header of the uncut grid disagrees with the column.
    axis, flags = sedm.relinearised(rounded, header(3700.0))
    assert flags == ["AXIS_FROM_STANDARD_GRID"]
    np.testing.assert_allclose(axis, CUT, atol=1e-9)
    axis, flags = sedm.relinearised(rounded)
    assert flags == ["AXIS_FROM_STANDARD_GRID"]


def test_rounding_of_another_grid() -> None:
    other = np.linspace(3810.123, 9187.456, 200)
    axis, flags = sedm.relinearised(np.round(other, 1))
    assert flags == ["AXIS_RELINEARISED"]
    # A line through 200 rounded points is ten times better than each.
    np.testing.assert_allclose(axis, other, atol=0.02)


@pytest.mark.parametrize(
    "axis",
    [
        np.exp(np.linspace(np.log(3800.0), np.log(9200.0), 214)),
        np.append(np.round(CUT, 1)[:-1], np.nan),
        np.array([5000.0]),
    ],
)
def test_what_is_no_rounded_line_stays(axis: Any) -> None:
    found, flags = sedm.relinearised(axis)
    assert flags == []
    np.testing.assert_array_equal(found, axis)


# Facts.


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"INSTRUME": "SEDM-P60"}, True),
        ({"INSTRUME": "sedm"}, True),
        ({"PYSEDMV": "0.42.1"}, True),
        ({"EXTRTYPE": "auto_robot"}, True),
        ({"INSTRUME": "LRIS"}, False),
        ({"EXTRTYPE": ""}, False),
        ({}, False),
    ],
)
def test_is_sedm(cards: dict[str, str], expected: bool) -> None:
    assert sedm.is_sedm(cards) is expected


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("ZTF20abwdwoa [A]", "ZTF20abwdwoa"),
        ("ZTF20abwdwoa", "ZTF20abwdwoa"),
        ("STD-BD+33d2642 [B]", "STD-BD+33d2642"),
        ("SN 2020abc [B]", "SN 2020abc"),
        ("AT2020[X]yz", "AT2020[X]yz"),
    ],
)
def test_names_lose_the_slot_of_the_queue(written: str, name: str) -> None:
    source = Source(b"x", "spec.txt")
    known = sedm.facts(source, "sedm-text", {"OBJECT": written})
    assert known["object"] == name
    # The header keeps what was written.
    assert known["header"]["OBJECT"] == written
    assert known["instrument"] == "SEDM-P60"


@pytest.mark.parametrize("unit", ["erg/s/A/cm^2", "erg/s/cm2/AA", "erg / s / cm^2 / A"])
def test_the_unit_is_no_ampere(unit: str) -> None:
    known = sedm.facts(Source(b"x", "s"), "sedm-text", {"BUNIT": unit})
    assert known["header"]["BUNIT"] == "erg / (s cm2 Angstrom)"


def test_facts_that_the_gates_need() -> None:
    cards: dict[str, Any] = {
        **{"IMGTYPE": "Science", "FLUXCAL": False, "RA_RATE": 0.5, "DEC_RATE": 0.0, "QUALITY": 5},
        **{"MJD_OBS": 59094.3, "REQ_ID": "20200901125335086", "POSOK": True, "WETNESS": -268.0},
    }
    known = sedm.facts(Source(b"x", "s"), "sedm-text", cards)
    assert known["mjd"] == 59094.3
    kept = {key: value for key, value in cards.items() if key not in ("MJD_OBS", "WETNESS")}
    assert known["header"] == kept


def test_redshifts_of_other_classifiers_are_no_facts() -> None:
    cards = {"SNIDMATCHREDSHIFT": 0.1259, "SNIDZMED": 0.1218}
    assert sedm.facts(Source(b"x", "s"), "sedm-text", cards)["redshift"] is None


def test_a_target_outside_the_field() -> None:
    empty = np.full(214, np.nan)
    with pytest.raises(ReadError, match="outside the IFU") as caught:
        sedm.refuse_empty(empty, {"QUALITY": 3})
    assert caught.value.code == "no_good_pixels"
    with pytest.raises(ReadError) as caught:
        sedm.refuse_empty(empty, {"QUALITY": 0})
    assert "outside" not in caught.value.message
    some = empty.copy()
    some[100] = 1.0
    sedm.refuse_empty(some, {"QUALITY": 3})


def test_constant_variance() -> None:
    variance = np.full(214, 1e-34)
    variance[:2] = np.nan
    assert sedm.variance_flags(variance) == ["CONSTANT_VARIANCE"]
    variance[5] = 2e-34
    assert sedm.variance_flags(variance) == []
    assert sedm.variance_flags(np.full(214, np.nan)) == []


# FITS and text of one extraction.


@pytest.mark.parametrize("wrong", [False, True])
def test_fits_and_its_twin_agree(tmp_path: Path, wrong: bool) -> None:
    path = write.sedm(tmp_path / "spec_robot_x.fits", wrong_crval=wrong, twin=True)
    by_fits, by_text = read(path)[0], read(path.with_suffix(".txt"))[0]
    np.testing.assert_allclose(by_text.wavelength, by_fits.wavelength, atol=0.02)
    # The text has four digits.
    np.testing.assert_allclose(by_text.flux, by_fits.flux, rtol=5e-4)
    np.testing.assert_allclose(by_text.ivar, by_fits.ivar, rtol=5e-4)
    centres = [write.line_centre(s.wavelength, s.flux) for s in (by_fits, by_text)]
    # 0.05 Angstrom is 2.5 km/s, and 76.7 would be a redshift of 0.013.
    assert centres[0] == pytest.approx(centres[1], abs=0.05)
    assert centres[1] == pytest.approx(write.LINE, abs=2.0)
