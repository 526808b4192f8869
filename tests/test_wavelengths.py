"""Wavelength units, and air to vacuum against published values."""

from __future__ import annotations

import numpy as np
import pytest

from specinfer.errors import ReadError
from specinfer.wavelengths import (
    UNIT_CHOICES,
    air_to_vacuum,
    is_wavelength_unit,
    to_angstrom,
    vacuum_to_air,
)

# Air and vacuum wavelengths of the SDSS line list (Vanden Berk et al. 2001, AJ 122, 549 and
# https://classic.sdss.org/dr7/products/spectra/vacwavelength.html), and of NIST where noted.
LINES = [
    (3726.032, 3727.092),  # [O II]
    (3728.815, 3729.875),  # [O II]
    (4861.325, 4862.683),  # H beta
    (4958.911, 4960.295),  # [O III]
    (5006.843, 5008.240),  # [O III]
    (5889.951, 5891.583),  # Na D2, NIST
    (5895.924, 5897.558),  # Na D1, NIST
    (6562.80, 6564.61),  # H alpha
    (6716.440, 6718.294),  # [S II]
]


def ciddor_index(vacuum: np.ndarray) -> np.ndarray:
    """Refractive index of standard air (Ciddor 1996, Applied Optics 35, 1566, equation 1)."""
    s2 = (1e4 / vacuum) ** 2
    return 1.0 + 0.05792105 / (238.0185 - s2) + 0.00167917 / (57.362 - s2)


@pytest.mark.parametrize(("air", "vacuum"), LINES)
def test_published_lines(air: float, vacuum: float) -> None:
    # H alpha is published to two decimals, the others to three.
    assert air_to_vacuum(np.array([air]))[0] == pytest.approx(vacuum, abs=0.004)
    assert vacuum_to_air(np.array([vacuum]))[0] == pytest.approx(air, abs=0.004)


def test_helium_neon_laser() -> None:
    """632.99139 nm in vacuum (BIPM), 632.816 nm in standard air."""
    assert vacuum_to_air(np.array([6329.9139]))[0] == pytest.approx(6328.16, abs=0.01)


def test_agrees_with_ciddor() -> None:
    """Two formulae for the same air: within 0.03 km/s from the near ultraviolet to 1.1 micron."""
    vacuum = np.linspace(3000.0, 11000.0, 801)
    expected = vacuum / ciddor_index(vacuum)
    assert np.max(np.abs(vacuum_to_air(vacuum) / expected - 1.0)) < 1e-7
    assert np.max(np.abs(air_to_vacuum(expected) / vacuum - 1.0)) < 1e-7


def test_round_trip() -> None:
    wavelength = np.linspace(2000.0, 25000.0, 5001)
    there_and_back = vacuum_to_air(air_to_vacuum(wavelength))
    # One millionth of an Angstrom, as the docstring says.
    np.testing.assert_allclose(there_and_back[1:], wavelength[1:], rtol=0, atol=1e-6)


def test_vacuum_is_longer_and_order_is_kept() -> None:
    wavelength = np.linspace(2000.0, 11000.0, 9001)
    shift = air_to_vacuum(wavelength) / wavelength - 1.0
    assert np.all((shift > 2.6e-4) & (shift < 3.3e-4))
    assert np.all(np.diff(air_to_vacuum(wavelength)) > 0)


def test_below_2000_angstrom_nothing_moves() -> None:
    wavelength = np.array([912.0, 1215.67, 1999.9])
    np.testing.assert_array_equal(air_to_vacuum(wavelength), wavelength)
    np.testing.assert_array_equal(vacuum_to_air(wavelength), wavelength)


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        *[(name, 6562.8) for name in ("angstrom", "Angstroms", "A", "AA", " ang ", "0.1 nm")],
        *[(name, 6562.8) for name in ("Å", "\N{ANGSTROM SIGN}", "Ångström", "ångström")],
        *[(name, 656.28) for name in ("nm", "NM", "nanometer", "nanometers", "nanometres")],
        *[(name, 0.65628) for name in ("um", "micron", "Microns", "micrometre")],
        *[(name, 0.65628) for name in ("\N{MICRO SIGN}m", "\N{GREEK SMALL LETTER MU}m")],
        ("m", 6.5628e-7),
        ("mm", 6.5628e-4),
        *[(name, np.log10(6562.8)) for name in ("log10", "loglam", "log10(Angstrom)")],
        *[(name, np.log(6562.8)) for name in ("ln", "loge", "ln(Angstrom)")],
    ],
)
def test_units(unit: str, value: float) -> None:
    assert is_wavelength_unit(unit)
    assert to_angstrom(np.array([value]), unit)[0] == pytest.approx(6562.8, rel=1e-12)


def test_the_choices_of_the_command_line_are_units() -> None:
    assert all(is_wavelength_unit(unit) for unit in UNIT_CHOICES)


@pytest.mark.parametrize("unit", ["", "furlong", "Hz", "log", "eV", "pixel"])
def test_unknown_units(unit: str) -> None:
    assert not is_wavelength_unit(unit)
    with pytest.raises(ReadError, match="--unit") as caught:
        to_angstrom(np.array([5000.0]), unit)
    assert caught.value.code == "unknown_unit"


def test_absurd_logarithms_do_not_warn() -> None:
    """Angstrom taken for logarithms overflow; `Spectrum` refuses infinities by name."""
    assert np.isinf(to_angstrom(np.array([5000.0]), "log10"))[0]
    assert np.isinf(to_angstrom(np.array([5000.0]), "ln"))[0]
