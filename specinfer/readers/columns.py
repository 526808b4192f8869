"""From columns to a `Spectrum`: which is which, in what unit, and what the noise is.

Shared by the tables in FITS and in text. Names are compared whole, in lower case and
without their unit. Nothing is guessed silently: units come from the user, the file, or
values that leave no doubt; noise comes from the user, its name, or the ratio test.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions
from specinfer.readers.fits_headers import is_air, noise
from specinfer.spectrum import Spectrum

FloatArray = NDArray[np.float64]

# They are whole names: a fibre map has FLUX_G and LAMBDA_REF, and is no spectrum.
_LINEAR = (
    *("wavelength", "wavelengths", "wave", "waves", "lambda", "lambdas", "lam", "wl", "wvl"),
    *("wav", "wavelen", "obs_wave", "wave_obs", "wavelength_obs", "lambda_obs", "lbda"),
    *("wave_vac", "wavelength_vac", "lambda_vac", "lam_vac", "vacuum_wavelength"),
    *("wave_air", "wavelength_air", "lambda_air", "lam_air", "air_wavelength"),
)
_LOG10 = ("loglam", "log_lam", "loglambda", "log_lambda", "log10_lambda", "logwave", "log_wave")
_LN = ("lnlam", "ln_lam", "lnwave", "ln_wave", "ln_lambda")
_FLUX = (
    *("flux", "fluxes", "flam", "f_lambda", "flambda", "flux_lambda", "flux_density"),
    *("fluxdensity", "flux_opt", "spec", "spectrum", "intensity", "flux_calibrated"),
    *("calibrated_flux", "flux_reduced", "fl", "counts"),
)
_NOISE = {
    "ivar": ("ivar", "flux_ivar", "inv_var", "invvar", "inverse_variance", "ivar_flux"),
    "var": ("var", "variance", "flux_var", "flux_variance", "variances"),
    "sigma": (
        *("sigma", "sig", "err", "error", "errors", "fluxerr", "flux_err", "flux_error", "eflux"),
        *("e_flux", "err_flux", "error_flux", "dflux", "unc", "uncertainty", "flux_unc"),
        *("flux_uncertainty", "std", "stddev", "flux_std", "flux_sigma", "flux_sig", "noise"),
        *("sigma_flux", "fluxerror", "err_reduced", "flux_errors", "uncertainties"),
        *("ferr", "fl_err", "flam_err", "fluxunc"),
    ),
}
# Non-zero is bad in all but the last.
_MASKS = ("mask", "qual", "quality", "dq", "flag", "flags", "bad", "and_mask", "andmask", "good")
_SUFFIX = re.compile(r"(?:[\s_]+|\s*[\[(])(angstroms?|ang|aa|a|å|nm|um|µm|microns?)[\])]?$")
_BRACKETS = re.compile(r"\s*[\[(](.*)[\])]$")
# What brackets behind a name hold besides the unit.
_REMARKS = ("air", "vac", "vacuum", "in", "observed", "obs")

# The ratio test: the scatter from pixel to pixel that the noise implies may be this many
# times the one measured (neighbouring pixels are correlated, so the measured one is low)...
_RATIO = (0.2, 30.0)
# ... and another kind than sigma must fit better by this factor to be believed.
_MARGIN = 2.5
# Errors that are all smaller than the flux by this are variances (in cgs units they are).
_VARIANCE_RATIO = 1e3
_SENTINELS = (-99.0, -999.0, -9999.0, -99999.0)


@dataclass(frozen=True)
class Layout:
    """Which columns hold what.

    Parameters
    ----------
    wave, flux : str
        Names of columns, as they are written.
    noise, mask : str or None
        The same, where there is one.
    noise_kind : {"ivar", "var", "sigma", "none"}
        What the name of the noise column says.
    log : {"log10", "ln"} or None
        If the name says that the wavelengths are logarithms of Angstrom.
    suffix : str or None
        Unit in the name: ``wavelength [nm]``, ``lam_aa``.
    """

    wave: str
    flux: str
    noise: str | None
    noise_kind: str
    mask: str | None
    log: str | None
    suffix: str | None

    @property
    def used(self) -> tuple[str, ...]:
        """The columns that are there."""
        names = (self.wave, self.flux, self.noise, self.mask)
        return tuple(name for name in names if name is not None)

    def unit(self, stated: str | None) -> str | None:
        """The unit of the wavelengths: a logarithm, else the file's `stated` one, else the name's.

        A column ``loglam`` is logarithmic whatever else the file says.
        """
        return self.log or stated or self.suffix

    @property
    def air(self) -> bool | None:
        """True or False if the name of the wavelength column says air or vacuum."""
        name = self.wave.lower()
        return "air" in name if "air" in name or "vac" in name else None


def choose(names: Iterable[str]) -> Layout | None:
    """The columns of a spectrum among these names; None if there is none.

    Parameters
    ----------
    names : iterable of str
        Names of columns in any case, with or without a unit.

    Returns
    -------
    Layout or None
    """
    known: dict[str, str] = {}
    for name in names:
        known.setdefault(_bare(name.strip().lower())[0], name)
    wave = _pick(known, (*_LINEAR, *_LOG10, *_LN))
    flux = _pick(known, _FLUX)
    if wave is None or flux is None:
        return None
    kinds = ((kind, _pick(known, wanted)) for kind, wanted in _NOISE.items())
    kind, column = next(((k, c) for k, c in kinds if c is not None), ("none", None))
    bare, suffix = _bare(wave.strip().lower())
    log = "log10" if bare in _LOG10 else "ln" if bare in _LN else None
    return Layout(wave, flux, column, kind, _pick(known, _MASKS), log, suffix)


def _bare(name: str) -> tuple[str, str | None]:
    """A column name without its unit, and the unit: ``wavelength [nm]``, ``lam_aa``."""
    match = _SUFFIX.search(name)
    if match is not None and match.start() > 0:
        return name[: match.start()], match.group(1)
    match = _BRACKETS.search(name)
    if match is None or match.start() == 0:
        return name, None
    words = [word for word in re.split(r"[\s,;]+", match.group(1)) if word not in _REMARKS]
    return name[: match.start()], " ".join(words) or None


def _pick(names: Mapping[str, str], wanted: tuple[str, ...]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def to_spectrum(
    pixels: Mapping[str, Any],
    layout: Layout,
    options: ReadOptions,
    *,
    known: Mapping[str, Any],
    unit: str | None = None,
    air: bool | None = None,
    flags: Iterable[str] = (),
    sentinels: bool = False,
    **more: Any,
) -> Spectrum:
    """A spectrum from the arrays of one table.

    Parameters
    ----------
    pixels : mapping of str to array_like, shape (n,)
        The columns that `layout` names.
    layout : Layout
        Which is which.
    options : ReadOptions
        What the user said, which wins.
    known : mapping
        Facts for `Spectrum`: file, reader, object, ...
    unit : str, optional
        Unit of the wavelengths by the file.
    air : bool, optional
        Whether the wavelengths are in air by the file; None if it does not say.
    flags : iterable of str
        Flags so far.
    sentinels : bool
        Zeros at the ends and -999 are unusable pixels.
    **more
        Other arguments of `Spectrum`.

    Returns
    -------
    Spectrum

    Raises
    ------
    ReadError
        ``no_unit`` if the unit is nowhere stated and not beyond doubt, and whatever
        `Spectrum` refuses.
    """
    wavelength = np.asarray(pixels[layout.wave], dtype=np.float64)
    flux = np.asarray(pixels[layout.flux], dtype=np.float64)
    found = [*flags, *air_flags(options, air)]
    mask = np.zeros(flux.shape, dtype=bool)
    if layout.mask is not None:
        marked = np.asarray(pixels[layout.mask])
        mask = ~(marked > 0) if layout.mask.lower() == "good" else marked != 0
        # A mask that marks most pixels marks the good ones, as PypeIt's does.
        if mask.mean() > 0.5 and not mask.all():
            mask = ~mask
            found.append(flag.MASK_ONE_IS_GOOD)
    if sentinels and (empty := sentinel_pixels(flux)).any():
        mask = mask | empty
        found.append(flag.SENTINELS_MASKED)
    errors = None if layout.noise is None else np.asarray(pixels[layout.noise], dtype=np.float64)
    known_noise, noise_flags = settle_noise(
        np.where(mask, np.nan, flux), errors, layout.noise_kind, options
    )
    return Spectrum(
        wavelength=wavelength,
        flux=flux,
        **known_noise,
        mask=mask,
        unit=options.unit or layout.unit(unit) or plain_unit(wavelength),
        air=is_air(options, air),
        flags=(*found, *noise_flags),
        **known,
        **more,
    )


def plain_unit(wavelength: FloatArray) -> str:
    """Angstrom if the values leave no doubt; no unit is guessed from doubtful ones.

    Raises
    ------
    ReadError
        Code ``no_unit``, with the option that is probably meant; ``not_a_spectrum`` if
        there is no number.
    """
    finite = wavelength[np.isfinite(wavelength)]
    if not finite.size:
        raise ReadError(
            "not_a_spectrum",
            "the column that should be the wavelengths holds no numbers; "
            "give a table of wavelength and flux",
        )
    low, high = finite.min(), finite.max()
    if high > 1500.0 and low > 500.0:
        return "angstrom"
    hint = "say which with --unit angstrom, nm, um or log10"
    if low > 100.0 and high <= 3000.0:
        hint = "if these are nanometres, say --unit nm"
    elif low > 3.0 and high < 5.0:
        hint = "if these are logarithms, say --unit log10"
    elif low > 0.1 and high < 3.0:
        hint = "if these are microns, say --unit um"
    raise ReadError(
        "no_unit", f"the wavelengths run from {low:.6g} to {high:.6g} and have no unit; {hint}"
    )


def air_flags(options: ReadOptions, file_says: bool | None) -> tuple[str, ...]:
    """What to record of air and vacuum: nothing if the user or the file says which."""
    if options.air is not None or file_says is False:
        return ()
    return (flag.AIR_FROM_HEADER,) if file_says else (flag.AIR_UNKNOWN,)


def sentinel_pixels(flux: FloatArray) -> NDArray[np.bool_]:
    """Pixels that stand for no measurement: zeros at the ends, -999 and the like.

    Parameters
    ----------
    flux : ndarray, shape (n,)

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    empty = np.isin(flux, _SENTINELS)
    there = np.flatnonzero(~empty & np.isfinite(flux) & (flux != 0))
    if there.size:
        empty[: there[0]] |= flux[: there[0]] == 0
        empty[there[-1] + 1 :] |= flux[there[-1] + 1 :] == 0
    return empty


def settle_noise(
    flux: FloatArray, errors: FloatArray | None, kind: str, options: ReadOptions
) -> tuple[dict[str, Any], list[str]]:
    """What a noise column is worth, as arguments of `Spectrum`, and flags.

    Parameters
    ----------
    flux : ndarray, shape (n,)
        NaN where it is known to be unusable.
    errors : ndarray, shape (n,), or None
        The noise column.
    kind : {"ivar", "var", "sigma", "unknown", "none"}
        What its name says; ``"unknown"`` asks for the ratio test.
    options : ReadOptions
        ``options.noise`` wins over everything.

    Returns
    -------
    tuple of dict and list of str
    """
    if errors is None or "none" in (options.noise, kind if options.noise is None else None):
        return {}, []
    if options.noise is not None:
        return noise(errors, options.noise), []
    usable = np.isfinite(flux) & np.isfinite(errors) & (errors > 0)
    if not usable.any():
        # All-zero inverse variances say that every pixel is bad. Other zeros say nothing.
        return (noise(errors, "ivar"), []) if kind == "ivar" else ({}, [flag.NOISE_ALL_ZERO])
    if np.mean(errors[usable] == flux[usable]) > 0.9:
        return {}, [flag.NOISE_COPIES_FLUX]
    if kind == "unknown":
        guess = guess_noise(flux, errors)
        if guess is None:
            return {}, [flag.NOISE_UNKNOWN]
        return noise(errors, guess), [f"NOISE_GUESSED_{guess.upper()}"]
    if kind == "sigma" and is_variance(flux, errors) and guess_noise(flux, errors) == "var":
        return noise(errors, "var"), [flag.VARIANCE_AS_ERROR]
    return noise(errors, kind), []


def is_variance(flux: FloatArray, errors: FloatArray) -> bool:
    """Whether errors are too small to be errors: SEDM's copies on Fritz hold variances."""
    usable = np.isfinite(flux) & np.isfinite(errors) & (errors > 0) & (flux != 0)
    return bool(usable.any() and np.all(np.abs(flux[usable]) > _VARIANCE_RATIO * errors[usable]))


def guess_noise(flux: FloatArray, errors: FloatArray) -> str | None:
    """What a nameless column of noise is, by the scatter of the flux; None if nothing fits.

    The scatter between neighbouring pixels (DER_SNR, Stoehr et al. 2008, ASPC 394, 505)
    is compared with the one that the column implies as sigma, variance and inverse
    variance.

    Parameters
    ----------
    flux, errors : ndarray, shape (n,)

    Returns
    -------
    {"sigma", "var", "ivar"} or None
    """
    usable = np.isfinite(flux) & np.isfinite(errors)
    flux, errors = flux[usable], errors[usable]
    # No noise is negative, or the same to seven digits at nearly all pixels.
    if flux.size < 20 or np.any(errors < 0) or np.unique(errors).size < 10:
        return None
    scatter = 0.6052697 * float(np.median(np.abs(2.0 * flux[2:-2] - flux[:-4] - flux[4:])))
    typical = float(np.median(errors[errors > 0])) if np.any(errors > 0) else 0.0
    if not (scatter > 0 and typical > 0):
        return None
    implied = {"sigma": typical, "var": typical**0.5, "ivar": typical**-0.5}
    ratio = {kind: value / scatter for kind, value in implied.items()}
    fits = {k: abs(np.log(r)) for k, r in ratio.items() if _RATIO[0] < r < _RATIO[1]}
    if not fits:
        return None
    if "sigma" in fits:
        fits["sigma"] -= np.log(_MARGIN)
    return min(fits, key=lambda kind: fits[kind])
