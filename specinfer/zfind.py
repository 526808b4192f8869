"""The best redshifts over all families, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer.zfit import Fit, fit
from specinfer.zgrid import Gridded
from specinfer.zscan import Curve, Scanner

FloatArray = NDArray[np.float64]

# Minima that are closer, in ln(1+z), are one: 1000 km/s.
SEPARATION = 1000.0 / 299792.458
N_BEST = 3
# Minima of a family that are fitted, at most.
_MOST = 3


class Found(NamedTuple):
    """What a search over families found.

    Attributes
    ----------
    fits : tuple of Fit
        The best `N_BEST`, by rising chi2; any two of the same family are more than 1000 km/s
        apart.
    null : ndarray, shape (n,)
        The polynomial alone, fitted to the spectrum.
    null_chi2 : float
        Of that.
    curves : dict of str to Curve
        chi2 of every family at every pixel shift.
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
    def delta_chi2_family(self) -> float:
        """chi2 of the best fit of another family less that of the best."""
        best = self.fits[0]
        others = [one.chi2 for one in self.fits if one.family != best.family]
        return min(others) - best.chi2 if others else float("inf")


def find(
    data: Gridded,
    scanners: Sequence[Scanner],
    resolution: float | None = None,
    count: int = N_BEST,
    redshifts: tuple[float, float] | None = None,
) -> Found:
    """Scan all families and fit the best minima.

    Parameters
    ----------
    data : Gridded
    scanners : sequence of Scanner
    resolution : float, optional
        As for `Scanner.scan`.
    count : int
        How many fits.
    redshifts : (float, float), optional
        Only between these.

    Returns
    -------
    Found
    """
    curves = {one.family.name: one.scan(data, resolution, redshifts) for one in scanners}
    waiting = sorted(
        (
            (chi2, redshift, one)
            for one in scanners
            for chi2, redshift in minima(curves[one.family.name], _MOST)
        ),
        key=lambda item: item[0],
    )
    fits: list[Fit] = []
    for chi2, redshift, scanner in waiting:
        ranked = sorted(one.chi2 for one in fits)
        # The fit obeys more constraints than the scan: it can hardly be better. But every
        # family is heard once.
        heard = any(one.family == scanner.family.name for one in fits)
        if heard and len(ranked) >= count and chi2 > ranked[count - 1]:
            continue
        fits.append(fit(scanner, data, redshift, resolution, iterations=1))
    # The best two to the end; for the others it is enough to know that they are worse.
    fits.sort(key=lambda one: one.chi2)
    named = {one.family.name: one for one in scanners}
    fits[:2] = [fit(named[one.family], data, one.redshift, resolution) for one in fits[:2]]
    fits.sort(key=lambda one: one.chi2)
    kept = fits[:count]
    # The runner-up of another family is worth keeping if it is not among the best.
    if len({one.family for one in kept}) == 1:
        kept += [one for one in fits[count:] if one.family != kept[0].family][:1]
    weight = data.weight
    basis = scanners[0].polynomials(data.flux.size)[0]
    root = np.sqrt(weight)
    null = np.linalg.lstsq((basis * root).T, root * data.flux, rcond=None)[0] @ basis
    null_chi2 = float((weight * (data.flux - null) ** 2).sum())
    return Found(tuple(kept), null, null_chi2, curves)


def minima(curve: Curve, count: int) -> list[tuple[float, float]]:
    """The lowest local minima of a curve, more than 1000 km/s apart: chi2 and redshift.

    Both are those of the parabola through the lowest point and its neighbours.
    """
    chi2, position = curve.chi2.copy(), np.log1p(curve.redshift)
    found = []
    for _ in range(count):
        i = int(chi2.argmin())
        if not np.isfinite(chi2[i]):
            break
        value, offset = float(curve.chi2[i]), 0.0
        if 0 < i < len(chi2) - 1:
            left, right = float(curve.chi2[i - 1]), float(curve.chi2[i + 1])
            bend = left - 2.0 * value + right
            if bend > 0:
                offset = float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5))
                value -= 0.125 * (left - right) ** 2 / bend
        step = float(position[1] - position[0]) if len(position) > 1 else 0.0
        found.append((value, float(np.expm1(position[i] + offset * step))))
        chi2[np.abs(position - position[i]) < SEPARATION] = np.inf
    return found
