"""Spectra of specutils as ours; specutils itself is not needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from specinfer.errors import ReadError
from specinfer.spectrum import Spectrum


def is_specutils(value: Any) -> bool:
    """Whether this is a ``specutils.Spectrum`` (or ``Spectrum1D``), by its attributes."""
    return hasattr(value, "spectral_axis") and hasattr(value, "flux")


def from_specutils(spectrum: Any, **facts: Any) -> Spectrum:
    """A `Spectrum` of a one-dimensional ``specutils.Spectrum``.

    Parameters
    ----------
    spectrum : specutils.Spectrum
        Its spectral axis may be in any unit of wavelength, frequency or energy; its flux
        must be per unit wavelength. Uncertainty (of any kind that astropy knows) and mask
        are used, ``meta`` is not.
    **facts
        Other arguments of `Spectrum`: `air`, `object`, `mjd`...

    Returns
    -------
    Spectrum

    Raises
    ------
    ReadError
        As `Spectrum` does; ``shape_mismatch`` for an uncertainty without a variance.
    """
    from astropy import units
    from astropy.nddata import InverseVariance

    axis = units.Quantity(spectrum.spectral_axis)
    try:
        wavelength = axis.to(units.Angstrom, equivalencies=units.spectral())
    except units.UnitConversionError:
        raise ReadError(
            "unknown_unit", f"a spectral axis in {axis.unit} is no wavelength; convert it first"
        ) from None
    uncertainty = getattr(spectrum, "uncertainty", None)
    ivar: Any = None
    if uncertainty is not None:
        try:
            with np.errstate(divide="ignore"):
                ivar = np.asarray(uncertainty.represent_as(InverseVariance).array)
        except (AttributeError, TypeError):
            raise ReadError(
                "shape_mismatch",
                f"an uncertainty of type {type(uncertainty).__name__} has no variance; "
                "give a StdDevUncertainty, VarianceUncertainty or InverseVariance",
            ) from None
    mask = getattr(spectrum, "mask", None)
    return Spectrum(wavelength, spectrum.flux, ivar, mask=mask, **facts)
