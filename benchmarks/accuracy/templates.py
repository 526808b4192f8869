"""Class and redshift from the best cross-correlations with templates, for comparison only.

After Tonry & Davis (1979, AJ 84, 1511) and the ranking by ``rlap`` of SNID (Blondin & Tonry
2007, ApJ 666, 1024): the height of the correlation peak over the scatter of the correlation's
antisymmetric part, times the overlap in ln(lambda).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from specinfer.spectrum import Spectrum
from training.archive.correlation import (
    EDGES,
    MIN_OVERLAP,
    PHASES,
    STEP,
    Bank,
    flatten,
    flatten_observed,
)
from training.archive.labels import CLASSES
from training.archive.library import Library
from training.simulate.draw import SEDM_Z_MAX

FloatArray = NDArray[np.float64]

# Templates of each class, and of all others.
PER_CLASS, PER_OTHER_CLASS = {"SN Ia": 400}, 80
# The best templates that vote.
VOTES = 10
# Redshifts of the winning class within this of its best template are averaged.
_AGREE = 0.03
# Rest wavelengths that an optical spectrum up to a redshift of 1 shows.
_FIRST_WAVELENGTH = 1700.0
_FIRST = int(np.searchsorted(EDGES, _FIRST_WAVELENGTH))
_LENGTH = 1024
# Peaks lie between these shifts in pixels. The correlation is known so far beyond that its
# scatter is that of chance: in a window as narrow as the features it is the peak's own.
_PEAKS = (-3, 280)
_MARGIN = 100
_SMOOTHING = 0.004


@dataclass(frozen=True)
class TemplateAnswer:
    """What the templates say about a spectrum; named like a network's answer.

    `probabilities` are shares of the votes, which are weighted by rlap. There is no error of
    the phase.
    """

    probabilities: dict[str, float]
    prediction_set: tuple[str, ...]
    redshift: float
    redshift_err: float
    phase: float | None
    rlap: float
    phase_err: float | None = None
    flags: tuple[str, ...] = field(default=())


class TemplateClassifier:
    """Cross-correlation with flattened spectra of training objects.

    Parameters
    ----------
    library : Library
    rows : ndarray of int
        Rows of `library` that may serve as templates: those of training objects.
    seed : int
    """

    def __init__(self, library: Library, rows: NDArray[np.intp], seed: int = 0) -> None:
        self.rows = choose_rows(library, rows, seed)
        patterns = flatten(library, self.rows)[:, _FIRST:].astype(np.float32)
        self._bank = Bank(patterns, (_PEAKS[0] - _MARGIN, _PEAKS[1] + _MARGIN), _LENGTH)
        self._label = library.label[self.rows]
        self._phase = library.phase[self.rows]
        # The network, too, knows what a 1.5-m telescope sees of a class.
        top = np.array([largest_on_sedm(CLASSES[label]) for label in self._label])
        last = np.ceil(np.log1p(top) / STEP).astype(int) + 2
        self._allowed = (self._bank.shifts >= _PEAKS[0]) & (
            self._bank.shifts <= np.minimum(last, _PEAKS[1])[:, None]
        )

    def predict(self, spectra: Sequence[Spectrum]) -> list[TemplateAnswer]:
        """One answer a spectrum, whatever its best rlap is."""
        return [self._answer(spectrum) for spectrum in spectra]

    def _answer(self, spectrum: Spectrum) -> TemplateAnswer:
        flat = flatten_observed(spectrum, _SMOOTHING)[_FIRST:].astype(np.float32)
        rlap, log1z = self._peaks(flat)
        best = np.argsort(-rlap)[:VOTES]
        # A correlation without a peak has no vote, but something must be answered.
        weight = np.maximum(rlap[best], 1e-6)
        votes = np.bincount(self._label[best], weights=weight, minlength=len(CLASSES))
        winner = int(votes.argmax())
        mine = best[self._label[best] == winner]
        mine = mine[np.abs(log1z[mine] - log1z[mine[0]]) < _AGREE]
        share = np.maximum(rlap[mine], 1e-6)
        centre = float(np.average(log1z[mine], weights=share))
        spread = float(np.sqrt(np.average((log1z[mine] - centre) ** 2, weights=share)))
        redshift = float(np.expm1(centre))
        phase = self._phase[mine]
        known = np.isfinite(phase)
        return TemplateAnswer(
            probabilities=dict(zip(CLASSES, (votes / votes.sum()).tolist(), strict=True)),
            prediction_set=(CLASSES[winner],),
            redshift=redshift,
            # One template agrees with itself to nothing: no less than half a pixel.
            redshift_err=(1.0 + redshift) * max(spread, 0.5 * STEP),
            phase=float(np.average(phase[known], weights=share[known])) if known.any() else None,
            rlap=float(rlap[best[0]]),
        )

    def _peaks(self, flat: NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
        """rlap and ln(1+z) of every template's highest peak."""
        value, overlap = self._bank.correlate(flat)
        shifts = self._bank.shifts
        trimmed = np.where(self._allowed & (overlap >= MIN_OVERLAP), value, -1.0)
        each = np.arange(len(value))
        peak = trimmed.argmax(axis=1)
        height = trimmed[each, peak]
        # The antisymmetric part of the correlation about its peak is what noise makes of it.
        offset = np.arange(1, _MARGIN)
        after = value[each[:, None], np.clip(peak[:, None] + offset, 0, shifts.size - 1)]
        before = value[each[:, None], np.clip(peak[:, None] - offset, 0, shifts.size - 1)]
        scatter = np.sqrt(np.mean((after - before) ** 2, axis=1) / 2.0)
        ratio = np.maximum(height, 0.0) / (np.sqrt(2.0) * np.maximum(scatter, 1e-3))
        # Between pixels: the vertex of the parabola through the three highest points.
        left, right = before[:, 0], after[:, 0]
        bend = left - 2.0 * height + right
        part = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, 1.0), 0.0)
        log1z = (shifts[peak] + np.clip(part, -0.5, 0.5)) * STEP
        return ratio * overlap[each, peak], log1z


def largest_on_sedm(name: str) -> float:
    """The largest redshift at which the SEDM sees a class (`training.simulate.draw`)."""
    return 0.0 if name in ("Star", "CV") else SEDM_Z_MAX.get(name, 0.25)


def choose_rows(library: Library, rows: NDArray[np.intp], seed: int = 0) -> NDArray[np.intp]:
    """Rows that serve as templates: as many objects of each class as may be.

    Spectra of transients are within `PHASES`, or of unknown phase.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for index, name in enumerate(CLASSES):
        mine = rng.permutation(rows[library.label[rows] == index])
        phase = library.phase[mine]
        mine = mine[~np.isfinite(phase) | ((phase > PHASES[0]) & (phase < PHASES[1]))]
        # First one of every object, then the second of those that have two, ...
        order = np.argsort(library.object[mine], kind="stable")
        _, first, counts = np.unique(
            library.object[mine][order], return_index=True, return_counts=True
        )
        turn = np.empty(mine.size, dtype=np.intp)
        turn[order] = np.arange(mine.size) - np.repeat(first, counts)
        chosen.append(mine[np.argsort(turn, kind="stable")][: PER_CLASS.get(name, PER_OTHER_CLASS)])
    return np.concatenate(chosen)
