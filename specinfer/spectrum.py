"""`Spectrum`: one observed spectrum, checked once when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, InitVar, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specinfer.continuum import median
from specinfer.errors import ReadError
from specinfer.wavelengths import air_to_vacuum, to_angstrom

FloatArray = NDArray[np.float64]

# A spectrum is usable if it has this much inside the range of the networks.
USABLE_RANGE = (3000.0, 11000.0)
MIN_USABLE_PIXELS = 50
MIN_COVERAGE = 1000.0


@dataclass(frozen=True, eq=False)
class Spectrum:
    """One spectrum on an increasing vacuum wavelength axis.

    Parameters
    ----------
    wavelength : array_like, shape (n,)
        Wavelengths, strictly increasing or strictly decreasing (then they are
        turned around). Angstrom in vacuum, unless `unit` or `air` say otherwise.
        An astropy Quantity brings its own unit.
    flux : array_like, shape (n,)
        Flux density per unit wavelength, in any unit. NaN, infinite and masked
        values mark unusable pixels.
    ivar : array_like, shape (n,), optional
        Inverse variance of `flux`; 0 marks unusable pixels. Without `ivar` and
        `sigma` every finite pixel is usable and the noise is unknown.
    sigma : array_like, shape (n,), optional
        1-sigma errors, instead of `ivar`; values that are not positive and
        finite mark unusable pixels.
    mask : array_like of bool, shape (n,), optional
        True marks unusable pixels (the numpy convention).
    unit : str, optional
        Unit of `wavelength`: see `specinfer.wavelengths.to_angstrom`.
    air : bool, optional
        Wavelengths are in air and are converted to vacuum.
    resolution : float, optional
        Resolving power lambda/FWHM, if it is known.
    object, instrument : str, optional
        Names, as the file gives them.
    mjd : float, optional
        Modified Julian date of the observation.
    redshift : float, optional
        A redshift that the file states. It is kept as a fact and never given to
        a network.
    header : mapping, optional
        Other facts of the file that a later step may want (REQ_ID, QUALITY...).
    flags : tuple of str, optional
        What the reader had to decide or repair (``"AXIS_FROM_TWIN"``...).
    file, reader : str, optional
        Where the spectrum came from and which reader read it.
    row, rows : int, optional
        Row in a multi-object file, and how many it has.

    Attributes
    ----------
    wavelength, flux, ivar : ndarray, shape (n,), float64
        Read-only. ``flux`` is finite everywhere (0 where unusable).
    has_noise : bool
        Whether `ivar` is a measured noise; if not it is 1 for usable pixels.

    Raises
    ------
    ReadError
        If the arrays cannot be a spectrum. The codes are ``shape_mismatch``,
        ``bad_wavelengths``, ``not_increasing``, ``unknown_unit``, ``no_good_pixels``
        and ``out_of_range``.
    """

    wavelength: FloatArray
    flux: FloatArray
    ivar: FloatArray = None  # type: ignore[assignment]
    _: KW_ONLY
    sigma: InitVar[ArrayLike | None] = None
    mask: InitVar[ArrayLike | None] = None
    unit: InitVar[str] = "angstrom"
    air: InitVar[bool] = False
    resolution: float | None = None
    object: str | None = None
    instrument: str | None = None
    mjd: float | None = None
    redshift: float | None = None
    header: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    file: str | None = None
    row: int | None = None
    rows: int | None = None
    reader: str | None = None
    has_noise: bool = field(default=False, init=False)

    def __post_init__(
        self, sigma: ArrayLike | None, mask: ArrayLike | None, unit: str, air: bool
    ) -> None:
        wavelength, unit = _plain_wavelength(self.wavelength, unit)
        _check_flux_unit(self.flux)
        flux = _plain(self.flux, np.nan)
        bad = np.zeros(flux.shape, dtype=bool)
        if mask is not None:
            bad |= _same_shape(np.asarray(mask, dtype=bool), flux, "mask")
        flux_unit = getattr(self.flux, "unit", None)
        ivar, has_noise = _inverse_variance(
            _in_unit(self.ivar, flux_unit, -2), _in_unit(sigma, flux_unit, 1), flux
        )
        _same_shape(flux, wavelength, "flux")
        wavelength = to_angstrom(wavelength, unit)
        if air:
            wavelength = air_to_vacuum(wavelength)
        if wavelength.size > 1 and wavelength[0] > wavelength[-1]:
            wavelength, flux, ivar, bad = (a[::-1] for a in (wavelength, flux, ivar, bad))
        _check_wavelength(wavelength)

        bad = bad | ~np.isfinite(flux) | ~(ivar > 0) | ~np.isfinite(ivar)
        flux = np.where(bad, 0.0, flux)
        ivar = np.where(bad, 0.0, ivar)
        _check_coverage(wavelength, ~bad, flux)
        for name, array in (("wavelength", wavelength), ("flux", flux), ("ivar", ivar)):
            array = np.ascontiguousarray(array)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "has_noise", has_noise)
        object.__setattr__(self, "flags", tuple(self.flags))

    def __len__(self) -> int:
        return int(self.wavelength.size)

    @property
    def good(self) -> NDArray[np.bool_]:
        """Usable pixels, shape (n,)."""
        return self.ivar > 0

    @property
    def sigma_array(self) -> FloatArray:
        """1-sigma errors, shape (n,); NaN where unusable or where the noise is unknown."""
        if not self.has_noise:
            return np.full(self.ivar.shape, np.nan)
        with np.errstate(divide="ignore"):
            return np.where(self.ivar > 0, 1.0 / np.sqrt(self.ivar), np.nan)

    @cached_property
    def snr(self) -> float:
        """Median signal-to-noise ratio a pixel.

        From the errors if there are any, otherwise estimated from the flux alone
        (DER_SNR, Stoehr et al. 2008, ASPC 394, 505).
        """
        good = self.good
        flux = self.flux[good]
        if self.has_noise:
            return median(flux * np.sqrt(self.ivar[good]))
        signal = median(flux)
        if flux.size < 5:
            return 0.0
        noise = 0.6052697 * median(np.abs(2.0 * flux[2:-2] - flux[:-4] - flux[4:]))
        # A noiseless template would give infinity, which no JSON can hold.
        return signal / max(noise, abs(signal) * 1e-4, np.finfo(float).tiny)

    def replace(self, **changes: Any) -> Spectrum:
        """A copy with some fields changed, checked again like a new one.

        Unusable pixels stay unusable, unless `mask` is given or wavelength and flux are both
        new.
        """
        keep_noise = self.has_noise and changes.get("sigma") is None
        changes.setdefault("ivar", self.ivar if keep_noise else None)
        if not {"wavelength", "flux"} <= changes.keys():
            # Their flux is 0 here, so nothing else would tell.
            changes.setdefault("mask", ~self.good)
        for name in ("wavelength", "flux"):
            changes.setdefault(name, getattr(self, name))
        changes.setdefault("sigma", None)
        changes.setdefault("mask", None)
        changes.setdefault("unit", "angstrom")
        changes.setdefault("air", False)
        return replace(self, **changes)

    def to_rest_frame(self, redshift: float) -> Spectrum:
        """The same spectrum with its wavelengths divided by ``1 + redshift``.

        Parameters
        ----------
        redshift : float
            Must be larger than -1.

        Returns
        -------
        Spectrum
        """
        if not redshift > -1.0:
            raise ReadError("bad_redshift", f"a redshift of {redshift} is not possible")
        return self.replace(wavelength=self.wavelength / (1.0 + redshift))

    def plot(self, ax: Any = None) -> Any:
        """Draw the spectrum (needs matplotlib: ``pip install 'specinfer[plot]'``).

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; the current axes by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from specinfer.plot import draw_spectrum

        return draw_spectrum(self, ax)


def _plain(values: Any, fill: float) -> FloatArray:
    """A float64 array from a list, a Quantity or a masked array (masked -> fill)."""
    values = getattr(values, "value", values) if hasattr(values, "unit") else values
    try:
        # numpy's masked arrays, and those of astropy.
        if hasattr(values, "filled"):
            values = values.astype(np.float64).filled(fill)
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ReadError("shape_mismatch", f"not an array of numbers: {error}") from None
    if array.ndim != 1:
        raise ReadError("shape_mismatch", f"expected a 1-D array, got shape {array.shape}")
    return array


def _plain_wavelength(values: Any, unit: str) -> tuple[FloatArray, str]:
    own_unit = getattr(values, "unit", None)
    if own_unit is None:
        return _plain(values, np.nan), unit
    if not hasattr(values, "to_value"):
        # The column of a table.
        return _plain(values, np.nan), str(own_unit)
    try:
        return _plain(values.to_value("Angstrom"), np.nan), "angstrom"
    except (TypeError, ValueError):  # astropy's UnitConversionError is both
        raise ReadError(
            "unknown_unit",
            f"wavelengths in {own_unit} are no lengths; convert them to Angstrom first",
        ) from None


def _check_flux_unit(flux: Any) -> None:
    """Refuse a flux per unit frequency: its shape is another one."""
    unit = getattr(flux, "unit", None)
    kind = str(getattr(unit, "physical_type", ""))
    if kind == "spectral flux density" or "mag" in str(unit):
        raise ReadError(
            "unknown_unit",
            f"the flux is in {unit}, not per unit wavelength; convert it to "
            "erg / (s cm2 Angstrom) first",
        )


def _in_unit(values: Any, flux_unit: Any, power: int) -> Any:
    """Errors of a Quantity in the flux's own unit to some power; others as they are."""
    unit = getattr(values, "unit", None)
    if unit is None or flux_unit is None:
        return values
    try:
        factor = 1.0 if power == 1 and unit == flux_unit else unit.to(flux_unit**power)
    except (TypeError, ValueError):  # astropy's UnitConversionError is both
        name = "sigma" if power == 1 else "ivar"
        raise ReadError(
            "unknown_unit", f"{name} is in {unit}, which does not fit the flux in {flux_unit}"
        ) from None
    return _plain(values, 0.0) * factor


def _same_shape(array: NDArray[Any], like: NDArray[Any], name: str) -> NDArray[Any]:
    if array.shape != like.shape:
        raise ReadError("shape_mismatch", f"{name} has shape {array.shape}, not {like.shape}")
    return array


def _inverse_variance(ivar: Any, sigma: Any, flux: FloatArray) -> tuple[FloatArray, bool]:
    if ivar is not None and sigma is not None:
        raise ReadError("shape_mismatch", "give ivar or sigma, not both")
    if ivar is not None:
        return _same_shape(_plain(ivar, 0.0), flux, "ivar"), True
    if sigma is not None:
        values = _same_shape(_plain(sigma, 0.0), flux, "sigma")
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.where(values > 0, values**-2.0, 0.0), True
    return np.ones(flux.shape), False


def _check_wavelength(wavelength: FloatArray) -> None:
    if wavelength.size == 0:
        raise ReadError("no_good_pixels", "the spectrum has no pixels")
    if not np.all(np.isfinite(wavelength)) or not np.all(wavelength > 0):
        raise ReadError(
            "bad_wavelengths",
            "some wavelengths are not positive finite numbers; remove those pixels",
        )
    steps = wavelength[1:] - wavelength[:-1]
    if not np.all(steps > 0):
        where = int(np.argmax(~(steps > 0)))
        kind = "twice" if steps[where] == 0 else "out of order"
        raise ReadError(
            "not_increasing",
            f"wavelengths must increase, but {wavelength[where + 1]:.2f} A stands {kind} "
            f"(pixel {where + 1}); sort the pixels and average the repeated ones",
        )


def _check_coverage(wavelength: FloatArray, good: NDArray[np.bool_], flux: FloatArray) -> None:
    low, high = USABLE_RANGE
    span = f"{wavelength[0]:.1f}-{wavelength[-1]:.1f} A"
    if not good.any():
        raise ReadError("no_good_pixels", f"no usable pixel in {span}: all are NaN or masked")
    inside = good & (wavelength >= low) & (wavelength <= high)
    seen = wavelength[inside]
    covered = float(seen[-1] - seen[0]) if seen.size else 0.0
    if seen.size < MIN_USABLE_PIXELS or covered < MIN_COVERAGE:
        hint = "; if these are nanometres, say --unit nm" if wavelength[-1] < 2000 else ""
        if wavelength[-1] < 50:
            hint = "; if these are microns say --unit um, if logarithms --unit log10"
        raise ReadError(
            "out_of_range",
            f"{seen.size} usable pixels over {covered:.0f} A within "
            f"{low:.0f}-{high:.0f} A (the spectrum spans {span}); at least "
            f"{MIN_USABLE_PIXELS} over {MIN_COVERAGE:.0f} A are needed{hint}",
        )
    if not np.any(flux[inside] != 0):
        raise ReadError("no_good_pixels", f"the flux is zero everywhere in {span}")
