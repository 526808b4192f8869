"""Wavelength units and the conversion between air and vacuum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError

FloatArray = NDArray[np.float64]

# Factor to Angstrom, by the lower-case names that files and users write.
_FACTORS = {
    "angstrom": 1.0,
    "angstroms": 1.0,
    "ang": 1.0,
    "aa": 1.0,
    "a": 1.0,
    "0.1nm": 1.0,
    "0.1 nm": 1.0,
    "nm": 10.0,
    "nanometer": 10.0,
    "nanometers": 10.0,
    "nanometre": 10.0,
    "nanometres": 10.0,
    "um": 1e4,
    "micron": 1e4,
    "microns": 1e4,
    "micrometer": 1e4,
    "micrometers": 1e4,
    "micrometre": 1e4,
    "micrometres": 1e4,
    "µm": 1e4,
    "mm": 1e7,
    "m": 1e10,
    "meter": 1e10,
    "metre": 1e10,
}
# Logarithmic axes: log10 or ln of Angstrom.
_LOGARITHMS = {"log10", "loglam", "log10(angstrom)", "log(angstrom)", "dex(angstrom)"}
_NATURAL = {"ln", "loge", "ln(angstrom)"}

UNIT_CHOICES = ("angstrom", "nm", "um", "m", "log10", "ln")


def to_angstrom(values: FloatArray, unit: str) -> FloatArray:
    """Convert wavelengths to Angstrom.

    Parameters
    ----------
    values : ndarray
        Wavelengths, any shape.
    unit : str
        A name of a length (``"angstrom"``, ``"nm"``, ``"um"``, ``"m"``, and the
        usual synonyms, in any case) or ``"log10"`` / ``"ln"`` for logarithms of
        Angstrom.

    Returns
    -------
    ndarray
        Wavelengths in Angstrom.

    Raises
    ------
    ReadError
        If the unit is not known (code ``unknown_unit``).
    """
    name = _normalised(unit)
    if name in _LOGARITHMS:
        with np.errstate(over="ignore"):
            return np.asarray(10.0**values)
    if name in _NATURAL:
        with np.errstate(over="ignore"):
            return np.exp(values)
    factor = _FACTORS.get(name)
    if factor is None:
        raise ReadError(
            "unknown_unit",
            f"the wavelength unit {unit!r} is not known; give one of "
            f"{', '.join(UNIT_CHOICES)} with --unit",
        )
    return values * factor


def is_wavelength_unit(unit: str) -> bool:
    """Whether `to_angstrom` knows this unit."""
    name = _normalised(unit)
    return name in _FACTORS or name in _LOGARITHMS or name in _NATURAL


def _normalised(unit: str) -> str:
    """The unit in lower case, with its foreign letters replaced."""
    name = unit.strip().lower().replace("ångström", "angstrom").replace("å", "angstrom")
    return name.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")


def air_to_vacuum(wavelength: FloatArray) -> FloatArray:
    """Convert wavelengths in standard air to vacuum.

    Parameters
    ----------
    wavelength : ndarray
        Wavelengths in air, Angstrom.

    Returns
    -------
    ndarray
        Wavelengths in vacuum, Angstrom. Below 2000 Angstrom, where "air"
        wavelengths are not used, the input is returned unchanged.

    Notes
    -----
    The inverse of the refractive index of standard air (Morton 1991, ApJS 77,
    119; the IAU standard), by fixed-point iteration to better than 1e-6 Angstrom.
    """
    vacuum = np.array(wavelength, dtype=np.float64)
    for _ in range(4):
        vacuum = wavelength * _refractive_index(vacuum)
    return np.where(wavelength >= 2000.0, vacuum, wavelength)


def vacuum_to_air(wavelength: FloatArray) -> FloatArray:
    """Convert wavelengths in vacuum to standard air (Morton 1991, ApJS 77, 119).

    Parameters
    ----------
    wavelength : ndarray
        Wavelengths in vacuum, Angstrom.

    Returns
    -------
    ndarray
        Wavelengths in air, Angstrom; below 2000 Angstrom unchanged.
    """
    return np.where(wavelength >= 2000.0, wavelength / _refractive_index(wavelength), wavelength)


def _refractive_index(vacuum: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        s2 = (1e4 / vacuum) ** 2
        index = 1.0 + 6.4328e-5 + 2.94981e-2 / (146.0 - s2) + 2.5540e-4 / (41.0 - s2)
    return np.where(np.isfinite(index) & (vacuum >= 1900.0), index, 1.0)
