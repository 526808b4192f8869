"""FITS tables of any origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fits_writers as write
import numpy as np
import pytest
from fits_writers import LINE, SIGMA, line_centre

from specinfer.errors import ReadError
from specinfer.readers import iter_spectra, read
from specinfer.readers.base import Source
from specinfer.readers.table_fits import identify
from specinfer.wavelengths import air_to_vacuum

WAVELENGTH = 4000.0 + 2.0 * np.arange(2500)
FLUX = write.model(WAVELENGTH)


def save(path: Path, columns: dict[str, Any], *, name: str = "", **kwargs: Any) -> Path:
    return write.save(path, [write.primary(OBJECT="SN1"), write.table(columns, name, **kwargs)])


@pytest.mark.parametrize(
    ("name", "unit", "values"),
    [
        ("WAVE", "Angstrom", WAVELENGTH),
        ("wavelength", "nm", WAVELENGTH / 10),
        ("lambda", "um", WAVELENGTH / 1e4),
        ("LAM", "micron", WAVELENGTH / 1e4),
        ("loglam", None, np.log10(WAVELENGTH)),
        ("wave", "log10(Angstrom)", np.log10(WAVELENGTH)),
        ("lnlam", None, np.log(WAVELENGTH)),
        ("wavelength_nm", None, WAVELENGTH / 10),
        ("wavelength [nm]", None, WAVELENGTH / 10),
        ("wave", None, WAVELENGTH),
    ],
)
def test_units(tmp_path: Path, name: str, unit: str | None, values: Any) -> None:
    units = {name: unit} if unit else {}
    path = save(tmp_path / "t.fits", {name: values, "flux": FLUX}, units=units)
    spectrum = read(path)[0]
    assert spectrum.reader == "table-fits"
    assert spectrum.object == "SN1"
    assert line_centre(spectrum.wavelength, spectrum.flux) == pytest.approx(LINE, abs=0.02)
    assert not spectrum.has_noise


def test_no_silent_unit(tmp_path: Path) -> None:
    path = save(tmp_path / "t.fits", {"wave": WAVELENGTH / 10, "flux": FLUX})
    with pytest.raises(ReadError, match="--unit") as caught:
        read(path)
    assert caught.value.code == "no_unit"
    assert read(path, unit="nm")[0].wavelength[0] == pytest.approx(4000.0)
    odd = save(tmp_path / "t.fits", {"wave": WAVELENGTH, "flux": FLUX}, units={"wave": "furlong"})
    with pytest.raises(ReadError) as caught:
        read(odd)
    assert caught.value.code == "unknown_unit"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IVAR", SIGMA**-2.0),
        ("ivar", SIGMA**-2.0),
        ("variance", SIGMA**2),
        ("ERR", SIGMA),
        ("flux_error", SIGMA),
        ("sigma", SIGMA),
        ("UNC", SIGMA),
    ],
)
def test_noise_by_name(tmp_path: Path, name: str, value: float) -> None:
    columns = {"wave": WAVELENGTH, "flux": FLUX, name: np.full(2500, value)}
    path = save(tmp_path / "t.fits", columns)
    np.testing.assert_allclose(read(path)[0].sigma_array, SIGMA)
    assert not read(path, noise="none")[0].has_noise
    as_variance = read(path, noise="var")[0]
    np.testing.assert_allclose(as_variance.sigma_array, np.sqrt(value))


@pytest.mark.parametrize("inverted", [False, True])
def test_mask_sense(tmp_path: Path, inverted: bool) -> None:
    mask = np.zeros(2500, dtype="i4")
    mask[7] = 1
    columns = {"wave": WAVELENGTH, "flux": FLUX, "mask": 1 - mask if inverted else mask}
    spectrum = read(save(tmp_path / "t.fits", columns))[0]
    assert list(np.flatnonzero(~spectrum.good)) == [7]
    assert ("MASK_ONE_IS_GOOD" in spectrum.flags) == inverted


def test_one_row_of_vectors(tmp_path: Path) -> None:
    pad = np.zeros(10)
    columns = {
        "WAVE": np.concatenate([WAVELENGTH, pad])[np.newaxis],
        "FLUX": np.concatenate([FLUX, pad])[np.newaxis],
        "ERR": np.full((1, 2510), SIGMA),
    }
    spectrum = read(save(tmp_path / "t.fits", columns))[0]
    assert len(spectrum) == 2500
    assert spectrum.row is None
    assert line_centre(spectrum.wavelength, spectrum.flux) == pytest.approx(LINE, abs=0.02)


def test_several_rows_of_vectors(tmp_path: Path) -> None:
    columns = {
        "TARGETID": np.array([5, 6, 7]),
        "WAVE": np.tile(WAVELENGTH, (3, 1)),
        "FLUX": np.stack([FLUX, np.full(2500, np.nan), 2 * FLUX]),
    }
    items = list(iter_spectra(save(tmp_path / "t.fits", columns)))
    assert [item.row for item in items] == [0, 1, 2]
    assert [item.object for item in items] == ["5", "6", "7"]
    assert isinstance(items[1], ReadError)
    np.testing.assert_allclose(items[2].flux, 2 * items[0].flux)  # type: ignore[union-attr]


def test_air(tmp_path: Path) -> None:
    first = float(air_to_vacuum(np.array([4000.0]))[0])
    by_name = save(tmp_path / "a.fits", {"wave_air": WAVELENGTH, "flux": FLUX})
    spectrum = read(by_name)[0]
    assert spectrum.wavelength[0] == pytest.approx(first)
    assert spectrum.flags == ("AIR_FROM_HEADER",)
    by_ucd = save(tmp_path / "b.fits", {"wave": WAVELENGTH, "flux": FLUX}, TUCD1="em.wl;obs.atmos")
    assert read(by_ucd)[0].wavelength[0] == pytest.approx(first)
    unknown = save(tmp_path / "c.fits", {"wave": WAVELENGTH, "flux": FLUX})
    assert read(unknown)[0].wavelength[0] == 4000.0
    assert read(unknown)[0].flags == ("AIR_UNKNOWN",)
    assert read(unknown, air=True)[0].wavelength[0] == pytest.approx(first)


def test_final_table_of_several(tmp_path: Path) -> None:
    raw = {"wave": WAVELENGTH, "flux": 9 * FLUX}
    final = {"wave": WAVELENGTH, "flux": FLUX}
    hdus = [write.primary(), write.table(raw, "ORDER1"), write.table(final, "COADD")]
    spectrum = read(write.save(tmp_path / "t.fits", hdus))[0]
    np.testing.assert_allclose(spectrum.flux, FLUX)
    assert spectrum.header["TABLE"] == "COADD"
    hdus = [write.primary(), write.table(final, "ORDER1"), write.table(raw, "ORDER2")]
    spectrum = read(write.save(tmp_path / "t.fits", hdus))[0]
    np.testing.assert_allclose(spectrum.flux, FLUX)
    assert "FIRST_OF_SEVERAL_TABLES" in spectrum.flags


@pytest.mark.parametrize(
    "columns",
    [
        {"wavelength": WAVELENGTH, "throughput": FLUX},
        {"flux": FLUX, "x": WAVELENGTH},
        {"LAMBDA_REF": WAVELENGTH, "FLUX_G": FLUX, "FIBERFLUX_R": FLUX},
        {"z": FLUX, "zerr": FLUX},
    ],
)
def test_tables_without_a_spectrum(tmp_path: Path, columns: dict[str, Any]) -> None:
    path = save(tmp_path / "t.fits", columns)
    assert not identify(Source(path))
    with pytest.raises(ReadError) as caught:
        read(path)
    assert caught.value.code == "unknown_file"
    # What was found is named.
    assert next(iter(columns)) in caught.value.message


def test_table_compressed_by_fpack(tmp_path: Path) -> None:
    path = save(tmp_path / "t.fits", {"wave": WAVELENGTH, "flux": FLUX}, ZTABLE=True)
    with pytest.raises(ReadError, match="funpack") as caught:
        read(path)
    assert caught.value.code == "compressed_table"


def test_unsorted_wavelengths(tmp_path: Path) -> None:
    wavelength = WAVELENGTH.copy()
    wavelength[100] = wavelength[99]
    with pytest.raises(ReadError) as caught:
        read(save(tmp_path / "t.fits", {"wave": wavelength, "flux": FLUX}))
    assert caught.value.code == "not_increasing"
    # Descending is fine.
    down = read(save(tmp_path / "t.fits", {"wave": WAVELENGTH[::-1], "flux": FLUX[::-1]}))[0]
    np.testing.assert_allclose(down.wavelength, WAVELENGTH)
