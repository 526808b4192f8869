"""SEDM FITS files, right and wrong."""

from __future__ import annotations

from pathlib import Path

import fits_writers as write
import numpy as np
import pytest
from fits_writers import LINE, SEDM_GRID, line_centre

from specinfer.errors import ReadError
from specinfer.readers import read

NAME = "spec_auto_robot_lstep1__crr_b_ifu20200902_07_29_45_ZTF20abwdwoa.fits"


def centre(path: Path) -> float:
    spectrum = read(path)[0]
    return line_centre(spectrum.wavelength, spectrum.flux)


def test_right_header(tmp_path: Path) -> None:
    path = write.sedm(tmp_path / NAME)
    spectrum = read(path)[0]
    assert spectrum.reader == "sedm-fits"
    np.testing.assert_allclose(spectrum.wavelength, SEDM_GRID[3:-3], rtol=1e-12)
    assert spectrum.wavelength[0] == pytest.approx(3776.71, abs=0.01)
    assert spectrum.wavelength[-1] == pytest.approx(9223.29, abs=0.01)
    np.testing.assert_allclose(
        spectrum.sigma_array, 0.5e-17 * np.sqrt(np.linspace(1.0, 2.0, 214)), rtol=1e-9
    )
    assert spectrum.flags == ()
    assert spectrum.object == "ZTF20abwdwoa"
    assert spectrum.instrument == "SEDM-P60"
    assert spectrum.mjd == 59094.3
    assert spectrum.resolution == 100.0
    assert spectrum.header["REQ_ID"] == "20200901125335086"
    assert spectrum.header["FLUXCAL"] is True
    assert spectrum.header["QUALITY"] == 0


def test_wrong_crval1_with_twin(tmp_path: Path) -> None:
    path = write.sedm(tmp_path / NAME, wrong_crval=True, twin=True)
    spectrum = read(path)[0]
    assert spectrum.flags == ("AXIS_FROM_TWIN",)
    # Better than the 0.1 Angstrom to which the twin is rounded.
    np.testing.assert_allclose(spectrum.wavelength, SEDM_GRID[3:-3], atol=0.02)
    right = centre(write.sedm(tmp_path / ("right_" + NAME)))
    assert centre(path) == pytest.approx(right, abs=0.05)
    assert right == pytest.approx(LINE, abs=2.0)


def test_wrong_crval1_without_twin(tmp_path: Path) -> None:
    spectrum = read(write.sedm(tmp_path / NAME, wrong_crval=True))[0]
    assert spectrum.flags == ("AXIS_FROM_STANDARD_GRID",)
    np.testing.assert_allclose(spectrum.wavelength, SEDM_GRID[3:-3], rtol=1e-12)


def test_twin_of_another_length_is_not_used(tmp_path: Path) -> None:
    path = write.sedm(tmp_path / NAME, wrong_crval=True, twin=True)
    twin = path.with_suffix(".txt")
    twin.write_text("\n".join(twin.read_text().splitlines()[:-4]))
    assert read(path)[0].flags == ("AXIS_FROM_STANDARD_GRID",)


def test_uncut_grid_starts_at_3700(tmp_path: Path) -> None:
    spectrum = read(write.sedm(tmp_path / NAME, n=220))[0]
    np.testing.assert_allclose(spectrum.wavelength, SEDM_GRID, rtol=1e-12)
    assert spectrum.flags == ()


def test_axis_that_cannot_be_trusted(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="twin") as caught:
        read(write.sedm(tmp_path / NAME, n=200))
    assert caught.value.code == "no_wavelengths"


def test_logarithmic_axis(tmp_path: Path) -> None:
    path = write.sedm(tmp_path / NAME, CRVAL1=8.2, CDELT1=0.004)
    spectrum = read(path)[0]
    assert spectrum.flags == ("AXIS_LN",)
    np.testing.assert_allclose(np.diff(np.log(spectrum.wavelength)), 0.004)


def test_lbda_extension_without_header_axis(tmp_path: Path) -> None:
    path = write.sedm(tmp_path / NAME)
    from astropy.io import fits

    with fits.open(path, mode="update") as hdus:
        del hdus[0].header["CRVAL1"]
        del hdus[0].header["CDELT1"]
        hdus.append(write.image(SEDM_GRID[3:-3] + 5.0, "LBDA"))
    spectrum = read(path)[0]
    assert spectrum.flags == ("AXIS_FROM_LBDA",)
    assert spectrum.wavelength[0] == pytest.approx(SEDM_GRID[3] + 5.0)


def test_error_extension_is_sigma(tmp_path: Path) -> None:
    by_error = read(write.sedm(tmp_path / "e.fits", variance="ERROR"))[0]
    by_variance = read(write.sedm(tmp_path / "v.fits"))[0]
    np.testing.assert_allclose(by_error.ivar, by_variance.ivar)


def test_no_variance(tmp_path: Path) -> None:
    spectrum = read(write.sedm(tmp_path / NAME, variance=None))[0]
    assert not spectrum.has_noise


def test_nan_pixels_and_constant_variance(tmp_path: Path) -> None:
    from astropy.io import fits

    path = write.sedm(tmp_path / NAME)
    with fits.open(path, mode="update") as hdus:
        hdus[0].data[:5] = np.nan
        hdus["VARIANCE"].data[:] = 1e-34
    spectrum = read(path)[0]
    assert list(np.flatnonzero(~spectrum.good)) == [0, 1, 2, 3, 4]
    assert spectrum.flags == ("CONSTANT_VARIANCE",)


def test_target_outside_the_ifu(tmp_path: Path) -> None:
    path = write.sedm(tmp_path / NAME, flux=np.full(214, np.nan), variance=None, QUALITY=3)
    with pytest.raises(ReadError, match="outside the IFU") as caught:
        read(path)
    assert caught.value.code == "no_good_pixels"


def test_zero_bytes(tmp_path: Path) -> None:
    path = tmp_path / "spec_auto_notfluxcal_robot_failed.fits"
    path.write_bytes(b"")
    with pytest.raises(ReadError) as caught:
        read(path)
    assert caught.value.code == "empty_file"


def test_fast(tmp_path: Path) -> None:
    """Under 10 ms warm: the best of several, so that a busy machine does not matter."""
    import time

    path = write.sedm(tmp_path / NAME)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        read(path)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.010
