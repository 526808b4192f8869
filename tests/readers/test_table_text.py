"""Texts whose columns have names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from text_writers import COLUMNS, FLUX, NOISE, SIGMA, SKY, WAVELENGTH, check, error, one, rows

from specinfer.errors import SpecinferWarning
from specinfer.readers import read
from specinfer.wavelengths import air_to_vacuum


@pytest.mark.parametrize("mark", [",", "\t", " ", " , ", ";", " | "])
@pytest.mark.parametrize("comment", ["", "# "])
def test_separators(mark: str, comment: str) -> None:
    names = mark.join(("wavelength", "flux", "error"))
    spectrum = one(comment + names + "\n" + rows(*COLUMNS, mark=mark), "table-text")
    check(spectrum)
    assert spectrum.flags == ("AIR_UNKNOWN",)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *[(name, "sigma") for name in ("err", "ERROR", "Sigma", "flux_unc", "fluxerr", "ferr")],
        *[(name, "var") for name in ("var", "VARIANCE")],
        *[(name, "ivar") for name in ("ivar", "Inverse_Variance")],
    ],
)
def test_noise_by_name(name: str, kind: str) -> None:
    content = f"wave,flux,{name}\n" + rows(WAVELENGTH, FLUX, NOISE[kind], mark=",")
    check(one(content, "table-text"))
    check(one(content, noise="none"), None)


@pytest.mark.parametrize("kind", list(NOISE))
def test_noise_option_wins_over_the_name(kind: str) -> None:
    for head in ("wave flux err\n", "wave flux ivar\n", ""):
        check(one(head + rows(WAVELENGTH, FLUX, NOISE[kind]), noise=kind))


@pytest.mark.parametrize(
    ("head", "values"),
    [
        ("wavelength_nm,flux,err", WAVELENGTH / 10),
        ("Wavelength [nm],Flux [erg/s/cm2/A],Error [erg/s/cm2/A]", WAVELENGTH / 10),
        ("Wavelength [A],Flux [erg/s/cm2/A],Error [erg/s/cm2/A]", WAVELENGTH),
        ("wavelength (Å),flux,err", WAVELENGTH),
        ("# WAVEUNIT: nm\nwave,flux,err", WAVELENGTH / 10),
        ("# wave,flux,err\n# [nm],[cgs],[cgs]", WAVELENGTH / 10),
        ("wave_um,flux,err", WAVELENGTH / 1e4),
        ("lambda (micron),flux,err", WAVELENGTH / 1e4),
        ("loglam,flux,err", np.log10(WAVELENGTH)),
        ("log_wave,flux,err", np.log10(WAVELENGTH)),
        ("lnlam,flux,err", np.log(WAVELENGTH)),
    ],
)
def test_units_of_tables(head: str, values: Any) -> None:
    body = rows(values, FLUX, SIGMA, mark=",", digits=10)
    check(one(head + "\n" + body, "table-text"))


@pytest.mark.parametrize(
    ("head", "air"),
    [
        ("wave_air,flux,err", True),
        ("wavelength [air],flux,err", True),
        ("# AIRORVAC: air\nwave,flux,err", True),
        ("# Wavelengths are in air\nwave,flux,err", True),
        ("wave_vac,flux,err", False),
        ("# AIRORVAC: vac\nwave,flux,err", False),
        ("wave,flux,err", None),
    ],
)
def test_air_and_vacuum_of_tables(head: str, air: bool | None) -> None:
    body = rows(*COLUMNS, mark=",")
    spectrum = one(head + "\n" + body, "table-text")
    expected = air_to_vacuum(WAVELENGTH) if air else WAVELENGTH
    np.testing.assert_allclose(spectrum.wavelength, expected, rtol=1e-7)
    flag = {True: ("AIR_FROM_HEADER",), False: (), None: ("AIR_UNKNOWN",)}[air]
    assert spectrum.flags == flag
    # The user knows better.
    told = one(head + "\n" + body, air=True)
    np.testing.assert_allclose(told.wavelength, air_to_vacuum(WAVELENGTH), rtol=1e-7)
    check(one(head + "\n" + body, air=False))


def test_facts_of_tables_in_any_case() -> None:
    head = (
        "# Object: SN2020abc\n# INSTRUMENT = LRIS\n# mjd-obs: 59000.5\n"
        "# Redshift: 0.03\n# ExpTime = 1800 / seconds\nWave Flux Err\n"
    )
    spectrum = one(head + rows(*COLUMNS), "table-text")
    check(spectrum)
    assert (spectrum.object, spectrum.instrument) == ("SN2020abc", "LRIS")
    assert (spectrum.mjd, spectrum.redshift) == (59000.5, 0.03)
    assert spectrum.header["EXPTIME"] == 1800


def test_rows_of_pandas_and_other_columns() -> None:
    index = np.arange(1201.0)
    content = ",wavelength,sky,flux,err\n" + rows(index, WAVELENGTH, SKY, FLUX, SIGMA, mark=",")
    check(one(content, "table-text"))


def test_mask_column() -> None:
    bad = WAVELENGTH < 4200.0
    content = "wave flux err mask\n" + rows(*COLUMNS, bad.astype(float))
    np.testing.assert_array_equal(one(content, "table-text").good, ~bad)


def test_several_spectra_in_a_table() -> None:
    """Blocks of rows that a column tells apart; a bad block leaves the others alone."""
    wave = np.tile(WAVELENGTH, 3)
    flux = np.concatenate([FLUX, np.full(1201, np.nan), 2 * FLUX])
    key = np.repeat([5.0, 6.0, 7.0], 1201)
    content = "wave,flux,spectrum_id\n" + rows(wave, flux, key, mark=",")
    with pytest.warns(SpecinferWarning, match="row 1"):
        first, third = read(content.encode())
    assert (first.row, third.row) == (0, 2)
    assert "SPLIT_BY_COLUMN" in first.flags
    np.testing.assert_allclose(third.flux, 2 * first.flux)


def test_ecsv_and_votable(tmp_path: Path) -> None:
    from astropy import units as u
    from astropy.table import QTable

    flam = u.Unit("W / (m2 nm)")
    table = QTable(
        {"wavelength": WAVELENGTH / 10 * u.nm, "flux": FLUX * flam, "flux_error": SIGMA * flam},
        meta={"OBJECT": "SN1"},
    )
    table.write(tmp_path / "t.ecsv")
    spectrum = one((tmp_path / "t.ecsv").read_bytes(), "table-text")
    check(spectrum)
    assert spectrum.object == "SN1"
    table.write(tmp_path / "t.vot", format="votable")
    check(one((tmp_path / "t.vot").read_bytes(), "table-text"))
    damaged = (tmp_path / "t.ecsv").read_text().replace("nm", "furlong", 1)
    assert error(damaged).code == "unknown_unit"
    assert error(damaged[: len(damaged) // 40]).code == "bad_table"


def test_names_without_a_spectrum() -> None:
    caught = error("time,magnitude\n" + rows(WAVELENGTH, FLUX, mark=","), format="table-text")
    assert caught.code == "no_columns"
    assert "wavelength and flux" in caught.message
