"""What many repetitions say: medians with intervals, percentiles, ratios, targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import require

FloatArray = NDArray[np.float64]
# Draws of the bootstrap, some at a time so that memory stays small.
_DRAWS, _AT_ONCE = 1000, 100
# With fewer repetitions the 99th percentile is just the largest.
FOR_P99 = 100


@dataclass(frozen=True)
class Figure:
    """One measured quantity.

    Parameters
    ----------
    name : str
    unit : str
    n : int
        Repetitions.
    median : float
    interval : tuple of float
        95 % of the median, by the bootstrap over repetitions.
    p5, p95 : float
    p99 : float or None
        None of fewer than `FOR_P99` repetitions.
    least, most : float
    more : dict
        Other facts of the row, as plain JSON values.
    """

    name: str
    unit: str
    n: int
    median: float
    interval: tuple[float, float]
    p5: float
    p95: float
    p99: float | None
    least: float
    most: float
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """What was asked for, and what came out.

    Parameters
    ----------
    name : str
    value, limit : float
    unit : str
    n : int
        Repetitions behind the value.
    at_least : bool
        Whether `limit` is the least or the most that is asked for.
    """

    name: str
    value: float
    limit: float
    unit: str
    n: int
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it is met; a value that is not a number is not."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def figure(name: str, values: Sequence[float], unit: str = "ms", **more: Any) -> Figure:
    """Summarise repetitions.

    Parameters
    ----------
    name : str
    values : sequence of float, length n
        In `unit`.
    unit : str, optional
    **more
        Other facts of the row.

    Raises
    ------
    UsageError
        ``too_few`` repetitions; see `benchmarks.timing.MINIMUM`.
    """
    require(len(values), f"{name}: repetitions")
    x = np.asarray(values, dtype=np.float64)
    p5, p50, p95, p99 = (float(v) for v in np.percentile(x, [5, 50, 95, 99]))
    low, high = _interval(_medians([x])[0])
    return Figure(
        name, unit, x.size, p50, (low, high), p5, p95, p99 if x.size >= FOR_P99 else None,
        float(x.min()), float(x.max()), more,
    )  # fmt: skip


def milliseconds(name: str, seconds: Sequence[float], **more: Any) -> Figure:
    """As `figure`, of seconds."""
    return figure(name, 1e3 * np.asarray(seconds, dtype=np.float64), "ms", **more)


def ratio(name: str, above: Sequence[float], below: Sequence[float], **more: Any) -> Figure:
    """Ratio of the medians of two things that took turns.

    Parameters
    ----------
    name : str
    above, below : sequence of float, length n
        The n-th of both are neighbours in time and are drawn together.
    **more
        Other facts of the row.

    Returns
    -------
    Figure
        Of unit ``x``: median is the ratio of the medians, interval its 95 % interval;
        percentiles are those of the ratios of neighbours.

    Raises
    ------
    UsageError
        ``too_few`` repetitions.
    ValueError
        If the lengths differ.
    """
    require(len(above), f"{name}: repetitions")
    a, b = (np.asarray(part, dtype=np.float64) for part in (above, below))
    if a.shape != b.shape:
        raise ValueError(f"{name}: {a.size} and {b.size} repetitions took no turns")
    first, second = _medians([a, b])
    low, high = _interval(first / second)
    each = a / b
    p5, p95, p99 = (float(v) for v in np.percentile(each, [5, 95, 99]))
    return Figure(
        name, "x", a.size, float(np.median(a) / np.median(b)), (low, high), p5, p95,
        p99 if a.size >= FOR_P99 else None, float(each.min()), float(each.max()), more,
    )  # fmt: skip


def _medians(columns: Sequence[FloatArray]) -> list[FloatArray]:
    """Medians of samples drawn with replacement, the same places of every column."""
    rng = np.random.default_rng(0)
    made: list[list[FloatArray]] = [[] for _ in columns]
    size = columns[0].size
    for _ in range(0, _DRAWS, _AT_ONCE):
        places = rng.integers(0, size, (_AT_ONCE, size))
        for parts, column in zip(made, columns, strict=True):
            parts.append(np.median(column[places], axis=1))
    return [np.concatenate(parts) for parts in made]


def _interval(values: FloatArray) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
