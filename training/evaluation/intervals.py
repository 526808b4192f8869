"""95 % intervals by resampling objects: the spectra of one object stand or fall together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
# Value, low, high; the last two None where one object alone cannot tell.
Figure = list[float | None] | None

REPEATS = 400
_DIGITS = 5


class Resampler:
    """Bootstrap over objects (Efron 1979), one set of draws for all figures.

    A figure that is made of sums over spectra (a rate, a mean square, a confusion table) is
    computed for all draws at once, from sums over each object.

    Parameters
    ----------
    objects : ndarray, shape (n_rows,)
        Name of the object behind each row.
    repeats, seed : int
    """

    def __init__(self, objects: NDArray[Any], repeats: int = REPEATS, seed: int = 0) -> None:
        _, self.index = np.unique(objects, return_inverse=True)
        self.count = int(self.index.max()) + 1 if self.index.size else 0
        self.weights = np.ones((repeats + 1, self.count))
        if self.count:
            rng = np.random.default_rng(seed)
            self.weights[1:] = rng.multinomial(
                self.count, np.full(self.count, 1.0 / self.count), repeats
            )

    def sums(self, values: NDArray[Any]) -> FloatArray:
        """Sums over rows: as they are, then for each draw.

        Parameters
        ----------
        values : ndarray, shape (n_rows, ...)

        Returns
        -------
        ndarray, shape (1 + repeats, ...)
        """
        values = np.asarray(values, dtype=np.float64)
        each = np.zeros((self.count, *values.shape[1:]))
        np.add.at(each, self.index, values)
        return np.tensordot(self.weights, each, axes=1)

    def objects_in(self, use: NDArray[np.bool_]) -> int:
        """Number of objects with a row in `use`."""
        return int(np.unique(self.index[use]).size)

    def mean(self, values: NDArray[Any], use: NDArray[np.bool_]) -> Figure:
        """Mean of `values` over the rows in `use`, with its interval."""
        return self._figure(self._means(values, use), use)

    def root_mean_square(self, values: NDArray[Any], use: NDArray[np.bool_]) -> Figure:
        """Root mean square of `values` over the rows in `use`, with its interval."""
        return self._figure(np.sqrt(self._means(np.square(values), use)), use)

    def rate(self, hit: NDArray[np.bool_], use: NDArray[np.bool_]) -> Figure:
        """Share of the rows in `use` that are hits, with its interval.

        Of none or all, resampling knows no spread: the interval is then that of Clopper and
        Pearson for so many objects without an exception.
        """
        figure = self._figure(self._means(hit, use), use)
        if figure is None or figure[0] not in (0.0, 1.0):
            return figure
        reach = round(1.0 - 0.025 ** (1.0 / self.objects_in(use)), _DIGITS)
        return [0.0, 0.0, reach] if figure[0] == 0.0 else [1.0, round(1.0 - reach, _DIGITS), 1.0]

    def of_sums(self, score: Callable[[FloatArray], FloatArray], values: NDArray[Any]) -> Figure:
        """A figure that follows from sums: `score` takes those of `sums`, gives a score each."""
        return self.figure(score(self.sums(values)))

    def figure(self, scores: FloatArray) -> Figure:
        """A figure from scores that follow from `sums`, shape (1 + repeats,)."""
        return self._figure(scores, np.ones(self.index.size, dtype=np.bool_))

    def of_rows(self, score: Callable[[NDArray[np.intp]], float], use: NDArray[np.bool_]) -> Figure:
        """A figure of a set of rows that is no function of sums, such as a median.

        Parameters
        ----------
        score : callable
            Takes row numbers, in which rows may be repeated, gives the score.
        use : ndarray of bool, shape (n_rows,)
        """
        rows = np.flatnonzero(use)
        values = np.full(len(self.weights), np.nan)
        index = self.index[rows]
        for i, weight in enumerate(self.weights.astype(np.intp)):
            drawn = np.repeat(rows, weight[index])
            if drawn.size:
                values[i] = score(drawn)
        return self._figure(values, use)

    def _means(self, values: NDArray[Any], use: NDArray[np.bool_]) -> FloatArray:
        # NaN times zero is NaN: rows that are not used may hold anything.
        pair = np.stack([np.where(use, values, 0.0), use.astype(np.float64)], axis=1)
        total = self.sums(pair)
        return np.asarray(divide(total[:, 0], total[:, 1]))

    def _figure(self, scores: FloatArray, use: NDArray[np.bool_]) -> Figure:
        if not self.count or not np.isfinite(scores[0]):
            # None, not NaN: the card is JSON.
            return None
        value = _rounded(scores[0])
        if self.objects_in(use) < 2:
            return [value, None, None]
        low, high = np.nanpercentile(scores[1:], [2.5, 97.5])
        return [value, _rounded(low), _rounded(high)]


def _rounded(value: float) -> float:
    """Five decimals, of small numbers three digits."""
    return float(f"{value:.3g}") if abs(value) < 1e-3 else round(float(value), _DIGITS)


def divide(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """`top` over `bottom`, NaN where `bottom` is 0."""
    return np.asarray(np.where(bottom > 0, top, np.nan) / np.where(bottom > 0, bottom, 1.0))
