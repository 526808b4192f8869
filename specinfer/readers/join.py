"""Several arms, channels or exposures of one object made into one spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.spectrum import Spectrum

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

# Two grids are one if their pixels agree to this fraction of a pixel.
SAME_GRID = 0.02
# A ratio of fluxes in the overlap is believed if it is measured this well, from at
# least so many pixels.
MIN_RATIO_SNR = 5.0
MIN_RATIO_PIXELS = 10
# Scales that agree this well with 1, or within 3 sigma, are left alone.
RATIO_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class Arm:
    """Arrays of one arm, shape (n,) each; ivar is 0 where a pixel is unusable.

    An arm may be shorter than what `Spectrum` accepts.
    """

    wavelength: FloatArray
    flux: FloatArray
    ivar: FloatArray


def join(spectra: Sequence[Spectrum], *, match_scale: bool = True) -> Spectrum:
    """Make one spectrum of several arms, channels or exposures of one object.

    Parameters
    ----------
    spectra : sequence of Spectrum
        In any order; they may overlap, contain one another, or leave gaps.
    match_scale : bool
        Bring the fluxes of overlapping spectra to a common scale before they are
        averaged. Channels that are calibrated separately, or not at all, differ by
        a factor; without this, their average would have steps at the ends of the
        overlap. The scale of the first in `spectra` is kept.

    Returns
    -------
    Spectrum
        On an increasing axis. Pixels outside the overlaps are exactly those that
        were given (times the scale). In an overlap, pixels are those of the better
        measured spectrum; the other is rebinned onto them (an average weighted by
        inverse variance, which keeps the total inverse variance) and the two are
        averaged by inverse variance.
        Names and header facts are those of the first spectrum, completed by the
        others; ``header["JOINED_FILES"]`` lists the files. Flags: ``JOINED``,
        ``CHANNELS_RESCALED`` if a scale was changed, ``NAMES_DIFFER`` if the
        spectra have different object names, ``NOISE_DROPPED`` if only some have
        errors (then none is used).

    Raises
    ------
    ReadError
        ``nothing_to_join`` if `spectra` is empty.

    Notes
    -----
    The scale is the ratio of the ivar-weighted sums of the fluxes in the overlap,
    used if it is measured to 5 sigma from 10 pixels or more. Spectra that do not
    overlap keep their scales.
    """
    if not spectra:
        raise ReadError("nothing_to_join", "there are no spectra to join; give at least one")
    if len(spectra) == 1:
        return spectra[0]
    has_noise = all(spectrum.has_noise for spectrum in spectra)
    flags = {flag.JOINED: None}
    for spectrum in spectra:
        flags.update(dict.fromkeys(spectrum.flags))
    if not has_noise and any(spectrum.has_noise for spectrum in spectra):
        flags[flag.NOISE_DROPPED] = None
    if len({spectrum.object for spectrum in spectra if spectrum.object}) > 1:
        flags[flag.NAMES_DIFFER] = None

    result, rescaled = merge(
        [_arm(spectrum, has_noise) for spectrum in spectra], match_scale=match_scale
    )
    if rescaled:
        flags[flag.CHANNELS_RESCALED] = None
    return Spectrum(
        wavelength=result.wavelength,
        flux=np.where(result.ivar > 0, result.flux, np.nan),
        ivar=result.ivar if has_noise else None,  # type: ignore[arg-type]
        flags=tuple(flags),
        **_facts(spectra),
    )


def merge(arms: Sequence[Arm], *, match_scale: bool = True) -> tuple[Arm, bool]:
    """The work of `join` on bare arrays.

    Parameters
    ----------
    arms : sequence of Arm
        At least one.
    match_scale : bool
        See `join`.

    Returns
    -------
    arm : Arm
        All of them as one.
    rescaled : bool
        Whether a scale was changed.
    """
    # The first arm sets the scale; the others follow in the order in which they
    # reach what is already there, so that a chain u-g-r-i is matched link by link.
    result, waiting, rescaled = arms[0], list(arms[1:]), False
    while waiting:
        arm = waiting.pop(int(np.argmax([_overlap(result, other) for other in waiting])))
        factor = _scale(result, arm) if match_scale else 1.0
        if factor != 1.0:
            rescaled = True
            arm = Arm(arm.wavelength, arm.flux * factor, arm.ivar / factor**2)
        result = _combine(result, arm)
    return result, rescaled


def common_grid(axes: Sequence[FloatArray]) -> tuple[FloatArray, list[IntArray]] | None:
    """The union of wavelength axes that are parts of one grid.

    Parameters
    ----------
    axes : sequence of ndarray, shape (n_i,)
        Increasing wavelengths.

    Returns
    -------
    grid : ndarray, shape (m,)
        All pixels, increasing, each once.
    indices : list of ndarray of int, shape (n_i,)
        Where the pixels of each axis stand in `grid`.

    None if the axes do not share a grid where they overlap (to 2 % of a pixel).
    """
    every = np.concatenate(axes)
    order = np.argsort(every, kind="stable")
    steps = np.diff(every[order])
    pixel = min(float(np.min(np.diff(axis))) for axis in axes)
    starts = np.concatenate([[True], steps > SAME_GRID * pixel])
    # Anything between "the same pixel" and "the next pixel" is another grid.
    if np.any((steps > SAME_GRID * pixel) & (steps < (1.0 - SAME_GRID) * pixel)):
        return None
    number = np.empty(every.size, dtype=np.intp)
    number[order] = np.cumsum(starts) - 1
    ends = np.cumsum([axis.size for axis in axes])[:-1]
    return every[order][starts], list(np.split(number, ends))


def coadd(
    size: int,
    indices: Sequence[IntArray],
    fluxes: Sequence[FloatArray],
    ivars: Sequence[FloatArray],
) -> tuple[FloatArray, FloatArray]:
    """Average arms on a common grid by inverse variance.

    Parameters
    ----------
    size : int
        Number of pixels of the grid.
    indices : sequence of ndarray of int, shape (n_i,)
        Where the pixels of each arm stand in the grid (see `common_grid`).
    fluxes, ivars : sequence of ndarray, shape (n_i,) or (rows, n_i)
        Fluxes and inverse variances; pixels with an ivar that is not positive, or a
        flux that is not finite, are left out.

    Returns
    -------
    flux, ivar : ndarray, shape (size,) or (rows, size)
        Flux is NaN and ivar 0 where no arm has a usable pixel.
    """
    shape = (*fluxes[0].shape[:-1], size)
    weighted = np.zeros(shape)
    total = np.zeros(shape)
    for index, flux, ivar in zip(indices, fluxes, ivars, strict=True):
        good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
        # An arm has each pixel of the grid at most once, mostly without gaps.
        run = index.size == index[-1] - index[0] + 1
        where = slice(index[0], index[-1] + 1) if run else index
        usable = np.where(good, ivar, 0.0)
        weighted[..., where] += np.where(good, flux, 0.0) * usable
        total[..., where] += usable
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, weighted / total, np.nan), total


def _arm(spectrum: Spectrum, has_noise: bool) -> Arm:
    if has_noise:
        return Arm(spectrum.wavelength, spectrum.flux, spectrum.ivar)
    # Unknown noise: every usable pixel weighs the same, and the weights follow the
    # scale of the flux like those of a measured noise.
    level = 0.1 * float(np.median(np.abs(spectrum.flux[spectrum.good])))
    weight = 1.0 / level**2 if level > 0 else 1.0
    return Arm(spectrum.wavelength, spectrum.flux, np.where(spectrum.good, weight, 0.0))


def _overlap(a: Arm, b: Arm) -> float:
    """Length of the common range in Angstrom, or minus the gap between the two."""
    low = max(a.wavelength[0], b.wavelength[0])
    return float(min(a.wavelength[-1], b.wavelength[-1]) - low)


def _edges(wavelength: FloatArray) -> FloatArray:
    """Edges of pixels, shape (n + 1,), half-way between the centres."""
    middle = 0.5 * (wavelength[1:] + wavelength[:-1])
    first = 1.5 * wavelength[0] - 0.5 * wavelength[1]
    last = 1.5 * wavelength[-1] - 0.5 * wavelength[-2]
    return np.concatenate([[first], middle, [last]])


def _rebin(arm: Arm, wavelength: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Average of a spectrum in other pixels, weighted by ivar; the total ivar is kept."""
    old, new = _edges(arm.wavelength), _edges(wavelength)
    ivar = np.concatenate([[0.0], np.cumsum(arm.ivar)])
    both = np.concatenate([[0.0], np.cumsum(arm.ivar * arm.flux)])
    total = np.diff(np.interp(new, old, ivar))
    weighted = np.diff(np.interp(new, old, both))
    # Differences of a running sum leave rounding noise where there is no pixel.
    good = total > 1e-9 * float(np.max(arm.ivar))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(good, weighted / total, 0.0), np.where(good, total, 0.0)


def _common(a: Arm, b: Arm) -> tuple[Arm, Arm] | None:
    """Both spectra on one grid in their overlap; None if there is hardly any."""
    low = max(a.wavelength[0], b.wavelength[0])
    high = min(a.wavelength[-1], b.wavelength[-1])
    parts = []
    for arm in (a, b):
        inside = (arm.wavelength >= low) & (arm.wavelength <= high)
        parts.append(Arm(arm.wavelength[inside], arm.flux[inside], arm.ivar[inside]))
    if min(part.wavelength.size for part in parts) < 2:
        return None
    first, second = parts
    if first.wavelength.size == second.wavelength.size:
        pixel = float(np.min(np.diff(first.wavelength)))
        if np.max(np.abs(first.wavelength - second.wavelength)) < SAME_GRID * pixel:
            return first, second
    # Signal to noise, not the bare ivar, so that channels in different units compare.
    if _information(first) >= _information(second):
        flux, ivar = _rebin(b, first.wavelength)
        return first, Arm(first.wavelength, flux, ivar)
    flux, ivar = _rebin(a, second.wavelength)
    return Arm(second.wavelength, flux, ivar), second


def _information(arm: Arm) -> float:
    return float(np.sum(arm.flux**2 * arm.ivar))


def _scale(reference: Arm, arm: Arm) -> float:
    """The factor that brings `arm` to the scale of `reference`; 1 if it is not known."""
    pair = _common(reference, arm) if _overlap(reference, arm) > 0 else None
    if pair is None:
        return 1.0
    a, b = pair
    good = (a.ivar > 0) & (b.ivar > 0)
    if int(good.sum()) < MIN_RATIO_PIXELS:
        return 1.0
    # The variance of the difference if both had the same scale: weights that a few
    # outliers in either spectrum do not rule.
    weight = 1.0 / (1.0 / a.ivar[good] + 1.0 / b.ivar[good])
    sum_a = float(np.sum(weight * a.flux[good]))
    sum_b = float(np.sum(weight * b.flux[good]))
    if sum_a <= 0 or sum_b <= 0:
        return 1.0
    error_a = float(np.sqrt(np.sum(weight**2 / a.ivar[good])))
    error_b = float(np.sqrt(np.sum(weight**2 / b.ivar[good])))
    if sum_a < MIN_RATIO_SNR * error_a or sum_b < MIN_RATIO_SNR * error_b:
        return 1.0
    ratio = sum_a / sum_b
    error = ratio * float(np.hypot(error_a / sum_a, error_b / sum_b))
    if abs(ratio - 1.0) < max(RATIO_TOLERANCE, 3.0 * error):
        return 1.0
    return ratio


def _combine(a: Arm, b: Arm) -> Arm:
    """Two spectra as one: outer pixels as they are, the overlap averaged."""
    pair = _common(a, b) if _overlap(a, b) > 0 else None
    if pair is None:
        return _append(a, b)
    first, second = pair
    total = first.ivar + second.ivar
    with np.errstate(divide="ignore", invalid="ignore"):
        flux = (first.flux * first.ivar + second.flux * second.ivar) / total
    middle = Arm(first.wavelength, np.where(total > 0, flux, 0.0), total)
    low, high = middle.wavelength[0], middle.wavelength[-1]
    # Half a pixel apart at least: no pixel of the result is counted twice.
    gap_low = 0.5 * float(middle.wavelength[1] - low)
    gap_high = 0.5 * float(high - middle.wavelength[-2])
    left = _select(a if a.wavelength[0] < b.wavelength[0] else b, upper=low - gap_low)
    right = _select(a if a.wavelength[-1] > b.wavelength[-1] else b, lower=high + gap_high)
    return _stack([left, middle, right])


def _append(a: Arm, b: Arm) -> Arm:
    """Two spectra that hardly overlap, end to end; pixels in common stay with the first."""
    low, high = (a, b) if a.wavelength[0] <= b.wavelength[0] else (b, a)
    if low is a:
        return _stack([a, _select(b, lower=float(a.wavelength[-1]))])
    return _stack([_select(low, upper=float(a.wavelength[0])), high])


def _select(arm: Arm, *, lower: float = -np.inf, upper: float = np.inf) -> Arm:
    keep = (arm.wavelength > lower) & (arm.wavelength < upper)
    return Arm(arm.wavelength[keep], arm.flux[keep], arm.ivar[keep])


def _stack(arms: Sequence[Arm]) -> Arm:
    return Arm(
        np.concatenate([arm.wavelength for arm in arms]),
        np.concatenate([arm.flux for arm in arms]),
        np.concatenate([arm.ivar for arm in arms]),
    )


def _facts(spectra: Sequence[Spectrum]) -> dict[str, Any]:
    """Names and header of the first spectrum, completed by the others."""
    header: dict[str, Any] = {}
    for spectrum in reversed(spectra):
        header.update(spectrum.header)
    files = list(dict.fromkeys(spectrum.file for spectrum in spectra if spectrum.file))
    if len(files) > 1:
        header["JOINED_FILES"] = files
    found: dict[str, Any] = {"header": header, "row": spectra[0].row}
    for name in ("object", "instrument", "mjd", "redshift", "file", "reader"):
        values = (getattr(spectrum, name) for spectrum in spectra)
        found[name] = next((value for value in values if value is not None), None)
    resolutions = {spectrum.resolution for spectrum in spectra}
    found["resolution"] = resolutions.pop() if len(resolutions) == 1 else None
    return found
