"""The best redshifts over all families, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer.zfit import Fit, fit, rough
from specinfer.zgrid import Gridded
from specinfer.zscan import Curve, Scanner, null_fit

FloatArray = NDArray[np.float64]

# Minima that are closer, in ln(1+z), are one: 1000 km/s.
SEPARATION = 1000.0 / 299792.458
N_BEST = 3
# Minima of a family that are fitted, at most; of a window one.
_MOST = 3
# Steps of the fits of the best minima on the spectrum's own pixels.
_ITERATIONS = (4, 2)


class Found(NamedTuple):
    """What a search over families found.

    Attributes
    ----------
    fits : tuple of Fit
        The best `N_BEST`, by rising chi2, and the best of every family that is not among them;
        any two of the same family are more than 1000 km/s apart.
    null : ndarray, shape (n,)
        The polynomial alone, fitted to the spectrum.
    null_chi2 : float
        Of that.
    curves : dict of str to Curve
        chi2 of every family at every pixel shift that was searched; NaN between windows.
    """

    fits: tuple[Fit, ...]
    null: FloatArray
    null_chi2: float
    curves: dict[str, Curve]

    @property
    def delta_chi2(self) -> float:
        """chi2 of the second best less that of the best."""
        return self.fits[1].chi2 - self.fits[0].chi2 if len(self.fits) > 1 else float("inf")

    @property
    def degeneracy(self) -> float:
        """D = chi2 of the second best over that of the best, less 1 (arXiv:2412.21130)."""
        return self.delta_chi2 / self.fits[0].chi2 if self.fits[0].chi2 > 0 else 0.0

    @property
    def lowest(self) -> dict[str, float]:
        """The lowest chi2 of each family: of its fit, or of its scan if none was fitted."""
        least = {name: float(np.nanmin(curve.chi2)) for name, curve in self.curves.items()}
        for one in reversed(self.fits):
            least[one.family] = one.chi2
        return least


class Search(NamedTuple):
    """Where to look for a family.

    Attributes
    ----------
    scanner : Scanner
    redshifts : (float, float) or None
        Only between these; by default wherever the family can be.
    """

    scanner: Scanner
    redshifts: tuple[float, float] | None = None


class _Minimum(NamedTuple):
    chi2: float
    redshift: float
    scanner: Scanner


class _Rough(NamedTuple):
    """A fit on the pixels of the scan."""

    chi2: float
    redshift: float
    scanner: Scanner
    among: NDArray[np.bool_]


def find(
    data: Gridded,
    searches: Sequence[Search],
    resolution: float | None = None,
    count: int = N_BEST,
) -> Found:
    """Scan families and fit the best minima.

    Parameters
    ----------
    data : Gridded
    searches : sequence of Search
        A family may have several windows, which must not overlap.
    resolution : float, optional
        As for `Scanner.scan`.
    count : int
        How many fits.

    Returns
    -------
    Found
    """
    pixels = {1: (data, 0.0)}
    curves: dict[str, Curve] = {}
    waiting: list[_Minimum] = []
    for scanner, redshifts in searches:
        factor = _factor(scanner, data)
        if factor not in pixels:
            pixels[factor] = data.rebinned(factor)
        coarse, scatter = pixels[factor]
        curve = scanner.scan(coarse, resolution, redshifts)
        curve = curve._replace(chi2=curve.chi2 + scatter)
        most = _MOST if redshifts is None else 1
        waiting += [_Minimum(*pair, scanner) for pair in minima(curve, most)]
        curves[scanner.family.name] = _joined(curves.get(scanner.family.name), curve)
    waiting.sort(key=lambda one: one.chi2)
    fitted: list[_Rough] = []
    for chi2, redshift, scanner in waiting:
        ranked = sorted(one.chi2 for one in fitted)
        # The fit obeys more constraints than the scan: it can hardly be better. But every
        # family is heard once.
        heard = any(one.scanner is scanner for one in fitted)
        if heard and len(ranked) >= count and chi2 > ranked[count - 1]:
            continue
        coarse, scatter = pixels[_factor(scanner, data)]
        worse, among = rough(scanner, coarse, redshift, resolution)
        fitted.append(_Rough(worse + scatter, redshift, scanner, among))
    fitted.sort(key=lambda one: one.chi2)
    kept = fitted[:count]
    # The best of every other family is worth keeping if it is not among these.
    for one in fitted[count:]:
        if one.scanner not in [other.scanner for other in kept]:
            kept.append(one)
    # The best to the end, the second nearly, of the others it is enough that they are worse.
    fits = []
    for place, (chi2, redshift, scanner, among) in enumerate(kept):
        if place < len(_ITERATIONS):
            fits.append(fit(scanner, data, redshift, resolution, _ITERATIONS[place], among))
        else:
            coarse, _ = pixels[_factor(scanner, data)]
            made = fit(scanner, coarse, redshift, resolution, iterations=1)
            fits.append(_on_fine_pixels(made, chi2, scanner, data))
    fits.sort(key=lambda one: one.chi2)
    basis = searches[0].scanner.polynomials(data.flux.size)[0]
    null = null_fit(basis, data.weight, data.flux)
    null_chi2 = float((data.weight * (data.flux - null) ** 2).sum())
    return Found(tuple(fits), null, null_chi2, curves)


def _factor(scanner: Scanner, data: Gridded) -> int:
    """Pixels of a spectrum that are one of the scan."""
    return max(1, scanner.family.binning // data.binning)


def with_fits(found: Found, others: Sequence[Fit]) -> Found:
    """A search with fits of another one of the same spectrum, by rising chi2.

    Those within 1000 km/s of a fit of the same family are that fit.
    """
    kept = list(found.fits)
    for other in others:
        place = np.log1p(other.redshift)
        if all(
            one.family != other.family or abs(np.log1p(one.redshift) - place) > SEPARATION
            for one in kept
        ):
            kept.append(other)
    return found._replace(fits=tuple(sorted(kept, key=lambda one: one.chi2)))


def _on_fine_pixels(one: Fit, chi2: float, scanner: Scanner, data: Gridded) -> Fit:
    """A fit on the pixels of a scan as one on those of the spectrum."""
    factor = _factor(scanner, data)
    before = data.first % factor
    parts = (one.model, one.continuum)
    model, continuum = (np.repeat(x, factor)[before : before + data.flux.size] for x in parts)
    n_pixels = int((data.weight > 0).sum())
    return one._replace(chi2=chi2, n_pixels=n_pixels, model=model, continuum=continuum)


def _joined(before: Curve | None, new: Curve) -> Curve:
    """Two windows of a family, by redshift, as one curve with a gap."""
    if before is None:
        return new
    first, second = sorted((before, new), key=lambda one: float(one.redshift[0]))
    gap = 0.5 * (first.redshift[-1] + second.redshift[0])
    return Curve(
        np.concatenate([first.redshift, [gap], second.redshift]),
        np.concatenate([first.chi2, [np.nan], second.chi2]),
    )


def minima(curve: Curve, count: int) -> list[tuple[float, float]]:
    """The lowest local minima of a curve, more than 1000 km/s apart: chi2 and redshift.

    Both are those of the parabola through the lowest point and its neighbours. The slopes of a
    deep minimum are no minima; the ends of the curve are, where it falls towards them.
    """
    chi2, position = curve.chi2, np.log1p(curve.redshift)
    padded = np.concatenate([[np.inf], chi2, [np.inf]])
    local = np.flatnonzero((chi2 < padded[:-2]) & (chi2 <= padded[2:]) & np.isfinite(chi2))
    step = float(position[1] - position[0]) if len(position) > 1 else 0.0
    found: list[tuple[float, float]] = []
    taken: list[float] = []
    for i in local[np.argsort(chi2[local], kind="stable")]:
        if any(abs(position[i] - other) < SEPARATION for other in taken):
            continue
        value, offset = float(chi2[i]), 0.0
        if 0 < i < len(chi2) - 1:
            left, right = float(chi2[i - 1]), float(chi2[i + 1])
            bend = left - 2.0 * value + right
            if bend > 0:
                offset = min(max(0.5 * (left - right) / bend, -0.5), 0.5)
                value -= 0.125 * (left - right) ** 2 / bend
        taken.append(float(position[i]))
        found.append((value, float(np.expm1(position[i] + offset * step))))
        if len(found) == count:
            break
    return found
