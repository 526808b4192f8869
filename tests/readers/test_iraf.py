"""FITS images with the axis in the header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fits_writers as write
import numpy as np
import pytest
from fits_writers import LINE, line_centre
from numpy.polynomial import chebyshev

from specinfer.errors import ReadError
from specinfer.readers import iter_spectra, read
from specinfer.readers.iraf_multispec import dispersion
from specinfer.wavelengths import air_to_vacuum


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("crpix", [1.0, 101.0, -49.0])
def test_linear_and_log_axes(tmp_path: Path, log: bool, crpix: float) -> None:
    spectrum = read(write.iraf_1d(tmp_path / "s.fits", log=log, crpix=crpix))[0]
    assert spectrum.reader == "iraf"
    assert line_centre(spectrum.wavelength, spectrum.flux) == pytest.approx(LINE, abs=0.02)
    assert ("AXIS_LOG10" in spectrum.flags) == log
    assert spectrum.object == "SN1"
    assert not spectrum.has_noise


def test_log_without_dc_flag(tmp_path: Path) -> None:
    n = 4000
    wavelength = 10.0 ** (3.55 + 1e-4 * np.arange(n))
    hdu = write.primary(write.model(wavelength), CRVAL1=3.55, CDELT1=1e-4)
    spectrum = read(write.save(tmp_path / "s.fits", [hdu]))[0]
    assert line_centre(spectrum.wavelength, spectrum.flux) == pytest.approx(LINE, abs=0.02)


def test_natural_log(tmp_path: Path) -> None:
    wavelength = np.exp(8.2 + 3e-4 * np.arange(3000))
    hdu = write.primary(write.model(wavelength), CRVAL1=8.2, CDELT1=3e-4)
    spectrum = read(write.save(tmp_path / "s.fits", [hdu]))[0]
    assert line_centre(spectrum.wavelength, spectrum.flux) == pytest.approx(LINE, abs=0.02)
    assert "AXIS_LN" in spectrum.flags


def test_wave_log_of_the_fits_standard(tmp_path: Path) -> None:
    """Paper III: w = w_r exp((p - p_r) dw / w_r)."""
    n, reference, step = 3000, 4000.0, 1.2
    wavelength = reference * np.exp(step * np.arange(n) / reference)
    hdu = write.primary(
        write.model(wavelength),
        CRVAL1=reference,
        CDELT1=step,
        CRPIX1=1.0,
        CTYPE1="WAVE-LOG",
        CUNIT1="Angstrom",
    )
    spectrum = read(write.save(tmp_path / "s.fits", [hdu]))[0]
    assert line_centre(spectrum.wavelength, spectrum.flux) == pytest.approx(LINE, abs=0.02)


@pytest.mark.parametrize(
    ("cards", "air", "flags"),
    [
        ({}, False, ("AIR_UNKNOWN",)),
        ({"CTYPE1": "AWAV"}, True, ("AIR_FROM_HEADER",)),
        ({"AIRORVAC": "air"}, True, ("AIR_FROM_HEADER",)),
        ({"AIRORVAC": "vac"}, False, ()),
        ({"VACUUM": True}, False, ()),
        ({"CTYPE1": "WAVE"}, False, ()),
        ({"CTYPE1": "RA---TAN"}, False, ("AIR_UNKNOWN",)),
    ],
)
def test_air(tmp_path: Path, cards: dict[str, Any], air: bool, flags: tuple[str, ...]) -> None:
    path = write.iraf_1d(tmp_path / "s.fits", **cards)
    spectrum = read(path)[0]
    first = float(air_to_vacuum(np.array([4000.0]))[0]) if air else 4000.0
    assert spectrum.wavelength[0] == pytest.approx(first, abs=1e-6)
    assert spectrum.flags == flags
    assert read(path, air=False)[0].wavelength[0] == pytest.approx(4000.0)


def test_units(tmp_path: Path) -> None:
    wavelength = 4000.0 + 1.5 * np.arange(3000)
    cards = {"CRVAL1": 400.0, "CDELT1": 0.15, "CRPIX1": 1}
    hdu = write.primary(write.model(wavelength), **cards)
    path = write.save(tmp_path / "s.fits", [hdu])
    with pytest.raises(ReadError, match="--unit") as caught:
        read(path)
    assert caught.value.code == "no_unit"
    spectra = read(path, unit="nm")
    hdu.header["CUNIT1"] = "nm"
    spectra += read(write.save(path, [hdu]))
    del hdu.header["CUNIT1"]
    hdu.header["WAT1_001"] = "wtype=linear label=Wavelength units=nm"
    spectra += read(write.save(path, [hdu]))
    for spectrum in spectra:
        assert line_centre(spectrum.wavelength, spectrum.flux) == pytest.approx(LINE, abs=0.02)


@pytest.mark.parametrize(
    ("name", "values"),
    [("VARIANCE", 0.25), ("ERROR", 0.5), ("SIGMA", 0.5), ("IVAR", 4.0)],
)
def test_noise_extension_by_name(tmp_path: Path, name: str, values: float) -> None:
    wavelength = 4000.0 + 1.5 * np.arange(3000)
    main = write.primary(write.model(wavelength), CRVAL1=4000.0, CDELT1=1.5)
    path = write.save(tmp_path / "s.fits", [main, write.image(np.full(3000, values), name)])
    np.testing.assert_allclose(read(path)[0].sigma_array, 0.5)
    assert not read(path, noise="none")[0].has_noise


def test_bands_are_not_apertures(tmp_path: Path) -> None:
    wavelength = 4000.0 + 2.0 * np.arange(2500)
    flux = write.model(wavelength)
    bands = np.stack([flux, 1.1 * flux, np.full(2500, 50.0), np.full(2500, 0.5)])[:, np.newaxis]
    cards = {"CRVAL1": 4000.0, "CD1_1": 2.0, "OBJECT": "SN1", "APNUM1": "1 1 10 20"}
    named = write.primary(
        bands,
        **cards,
        BANDID1="spectrum - background fit, weights variance, clean yes",
        BANDID2="raw - background fit, weights none, clean no",
        BANDID3="background - background fit",
        BANDID4="sigma - background fit, weights variance, clean yes",
    )
    plain = write.primary(bands, **cards)
    for hdu, flagged in ((named, False), (plain, True)):
        spectra = read(write.save(tmp_path / "s.ms.fits", [hdu]))
        assert len(spectra) == 1
        assert line_centre(spectra[0].wavelength, spectra[0].flux) == pytest.approx(LINE, abs=0.1)
        np.testing.assert_allclose(spectra[0].sigma_array, 0.5)
        assert ("NOISE_GUESSED_SIGMA" in spectra[0].flags) == flagged


def multispec_cards(specs: list[str]) -> dict[str, str]:
    """WAT2 cards of 68 characters, which break words where they will."""
    text = "wtype=multispec " + " ".join(
        f'spec{number} = "{spec}"' for number, spec in enumerate(specs, start=1)
    )
    cards = {"CTYPE1": "MULTISPE", "CTYPE2": "MULTISPE", "WAT0_001": "system=multispec"}
    for start in range(0, len(text), 68):
        cards[f"WAT2_{start // 68 + 1:03d}"] = text[start : start + 68]
    return cards


def test_multispec_has_an_axis_a_row(tmp_path: Path) -> None:
    n = 2500
    pixel = np.arange(n)
    linear = 4000.0 + 2.0 * pixel
    log = 10.0 ** (3.6 + 1.5e-4 * pixel)
    x = (2.0 * (pixel + 1) - (n + 1)) / (n - 1)
    coefficients = [6400.0, 2400.0, 12.0]
    cheb = chebyshev.chebval(x, coefficients)
    doppler = 4000.0 / 1.001 + 2.0 / 1.001 * pixel
    cards = multispec_cards(
        [
            f"1 1 0 4000. 2. {n} 0. 23.4 31.4",
            f"2 2 1 3.6 1.5E-4 {n} 0. 23.4 31.4",
            f"3 3 2 4000. 2. {n} 0. 23.4 31.4 1. 0. 1 3 1. {n}. 6400. 2400. 12.",
            f"4 4 0 4000. 2. {n} 0.001 23.4 31.4",
            f"5 5 2 4000. 2. {n} 0. 23.4 31.4 1. 0. 3 3 1. {n}. 1. 2. 3. 4.",
            f"6 6 -1 1. 1. {n} 0. 23.4 31.4",
            "7 7 0 4000. 2. 2000 0. 23.4 31.4",
        ]
    )
    axes = [linear, log, cheb, doppler, linear, linear, linear]
    data = np.stack([write.model(axis) for axis in axes])
    hdu = write.primary(data, **cards, APID1="first", OBJECT="night")
    items = list(iter_spectra(write.save(tmp_path / "s.ms.fits", [hdu])))
    assert len(items) == 7
    for row in (0, 1, 2, 3, 6):
        spectrum = items[row]
        assert not isinstance(spectrum, ReadError)
        assert spectrum.row == row
        np.testing.assert_allclose(spectrum.wavelength, axes[row][: len(spectrum)], rtol=1e-12)
        assert line_centre(spectrum.wavelength, spectrum.flux) == pytest.approx(LINE, abs=0.1)
    assert len(items[6]) == 2000  # type: ignore[arg-type]
    for row, what in ((4, "cubic spline"), (5, "dispcor")):
        error = items[row]
        assert isinstance(error, ReadError)
        assert error.code == "no_wavelengths"
        assert what in error.message
        assert error.row == row
    assert items[0].object == "first"
    assert items[1].object == "night aperture 2"


@pytest.mark.parametrize("text", ["", "1 1 0 4000.", "1 1 2 4000. 2. 100 0. 1 1 1. 0. 1 5 1. 9."])
def test_damaged_dispersion(text: str) -> None:
    with pytest.raises(ReadError) as caught:
        dispersion(text, 100)
    assert caught.value.code == "no_wavelengths"
