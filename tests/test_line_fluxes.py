"""Line measurements: fluxes of lines that are known, their errors, and what is left out."""

import numpy as np
import pytest

from specinfer import Spectrum
from specinfer.line_fluxes import Denoised, measure_fluxes

C = 299792.458


def galaxy(z, rng, lines, sigma_kms=130.0, noise=0.1, slope=0.2, step=1.0):
    """A spectrum with Gaussian lines of given fluxes, and the same without noise."""
    wavelength = np.arange(3600.0, 9800.0, step)
    clean = 1.0 + slope * (wavelength / 6500.0 - 1.0)
    for rest, flux in lines.items():
        centre = rest * (1 + z)
        sigma = centre * sigma_kms / C
        clean = clean + flux / (np.sqrt(2 * np.pi) * sigma) * np.exp(
            -0.5 * ((wavelength - centre) / sigma) ** 2
        )
    flux = clean + rng.normal(0.0, noise, wavelength.size)
    spectrum = Spectrum(wavelength, flux, sigma=np.full(wavelength.size, noise))
    return spectrum, Denoised(wavelength, clean)


def by_name(found):
    return {line.name: line for line in found}


ALPHA = {6564.61: 6.0, 6585.27: 3.0, 6549.86: 1.0, 4862.68: 2.1, 5008.24: 2.5, 4960.30: 0.84}


def test_fluxes_are_unbiased_at_a_ratio_of_ten():
    """Within 5 % in the mean at S/N 10, with scatter as the errors say."""
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(150):
        z = rng.uniform(0.02, 0.35)
        spectrum, denoised = galaxy(z, rng, {6564.61: 4.6, 5008.24: 4.2}, noise=0.14)
        # A denoised spectrum is never perfect: widths off by a fifth.
        found = by_name(measure_fluxes(spectrum, denoised, z))
        for name, truth in (("H-alpha", 4.6), ("[O III] 5007", 4.2)):
            line = found[name]
            rows.append((line.flux / truth, (line.flux - truth) / line.flux_err, line.snr))
    ratio, pull, snr = np.array(rows).T
    assert 8.0 < np.median(snr) < 16.0
    assert abs(ratio.mean() - 1.0) < 0.03
    assert 0.85 < np.std(pull) < 1.25


def test_a_wrong_width_of_the_denoised_spectrum_is_forgiven():
    rng = np.random.default_rng(2)
    ratios = []
    for _ in range(60):
        spectrum, _ = galaxy(0.1, rng, {6564.61: 12.0}, noise=0.1)
        _, broad = galaxy(0.1, rng, {6564.61: 11.0}, sigma_kms=200.0)
        ratios.append(by_name(measure_fluxes(spectrum, broad, 0.1))["H-alpha"].flux / 12.0)
    assert abs(np.mean(ratios) - 1.0) < 0.05


def test_blended_lines_are_told_apart():
    rng = np.random.default_rng(3)
    spectrum, denoised = galaxy(0.08, rng, ALPHA, noise=0.02)
    found = by_name(measure_fluxes(spectrum, denoised, 0.08))
    for name, truth in (("H-alpha", 6.0), ("[N II] 6583", 3.0), ("[N II] 6548", 1.0)):
        assert found[name].flux == pytest.approx(truth, abs=4 * found[name].flux_err)
    assert found["H-alpha"].sigma == pytest.approx(130.0, rel=0.2)


def test_the_doublet_of_oxygen():
    rng = np.random.default_rng(4)
    spectrum, denoised = galaxy(0.7, rng, {3727.09: 2.0, 3729.88: 2.5}, noise=0.05)
    line = by_name(measure_fluxes(spectrum, denoised, 0.7))["[O II]"]
    assert line.flux == pytest.approx(4.5, rel=0.06)
    # Of a continuum of about 1, at rest.
    assert line.equivalent_width == pytest.approx(4.5 / 1.7, rel=0.1)


def test_nothing_is_found_where_there_is_nothing():
    rng = np.random.default_rng(5)
    ratios = []
    for _ in range(80):
        spectrum, denoised = galaxy(0.1, rng, {})
        ratios += [line.snr for line in measure_fluxes(spectrum, denoised, 0.1) if line.flux]
    assert abs(np.mean(ratios)) < 0.15
    assert 0.8 < np.std(ratios) < 1.3


def test_absorption_bands_of_the_denoised_spectrum():
    rng = np.random.default_rng(6)
    z = 0.1
    spectrum, denoised = galaxy(z, rng, {3934.77: -5.0}, sigma_kms=300.0, slope=0.0)
    line = by_name(measure_fluxes(spectrum, denoised, z))["Ca K"]
    assert line.flux is None
    assert line.equivalent_width == pytest.approx(-5.0 / (1 + z), rel=0.1)
    assert line.snr < -5


def test_broad_lines_of_quasars():
    rng = np.random.default_rng(7)
    spectrum, denoised = galaxy(2.0, rng, {1549.48: 300.0}, sigma_kms=2000.0, noise=0.2)
    line = by_name(measure_fluxes(spectrum, denoised, 2.0, "QSO"))["C IV"]
    assert line.flux == pytest.approx(300.0, rel=0.06)
    assert line.sigma == pytest.approx(2000.0, rel=0.2)


def test_lines_outside_or_masked_are_left_out():
    rng = np.random.default_rng(8)
    spectrum, denoised = galaxy(0.1, rng, ALPHA)
    names = set(by_name(measure_fluxes(spectrum, denoised, 0.1)))
    assert "C IV" not in names
    bad = np.abs(spectrum.wavelength - 6564.61 * 1.1) < 12.0
    masked = Spectrum(spectrum.wavelength, spectrum.flux, ivar=np.where(bad, 0.0, spectrum.ivar))
    names = set(by_name(measure_fluxes(masked, denoised, 0.1)))
    assert "H-alpha" not in names
    assert "H-beta" in names
    assert not [x for x in measure_fluxes(spectrum, denoised, 0.1, "STAR") if x.flux is not None]


def test_plain_values():
    rng = np.random.default_rng(9)
    spectrum, denoised = galaxy(0.1, rng, ALPHA)
    entry = by_name(measure_fluxes(spectrum, denoised, 0.1))["H-alpha"].to_dict()
    assert entry["name"] == "H-alpha"
    assert entry["wavelength"] == pytest.approx(6564.61 * 1.1)
    assert isinstance(entry["flux"], float)
