"""Intervals over objects, on cases whose answer is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.intervals import Resampler, divide


def width(figure: list[float] | None) -> float:
    assert figure is not None
    return figure[2] - figure[1]


def everything(n: int) -> np.ndarray:
    return np.ones(n, dtype=bool)


def test_interval_covers_the_truth_as_often_as_stated() -> None:
    rng = np.random.default_rng(1)
    inside = []
    for trial in range(150):
        values = rng.normal(0.7, 0.2, 60)
        draws = Resampler(np.arange(60), 200, trial)
        _, low, high = draws.mean(values, everything(60))
        inside.append(low <= 0.7 <= high)
    assert 0.88 < np.mean(inside) < 1.0


def test_interval_is_over_objects_not_spectra() -> None:
    """A hundred copies of each of 25 objects say no more than 25 spectra."""
    values = np.random.default_rng(2).normal(size=25)
    many = np.repeat(values, 100)
    one = Resampler(np.arange(25)).mean(values, everything(25))
    copies = Resampler(np.repeat(np.arange(25), 100)).mean(many, everything(2500))
    as_spectra = Resampler(np.arange(2500)).mean(many, everything(2500))
    assert copies == pytest.approx(one)
    assert width(as_spectra) < 0.2 * width(one)


def test_interval_width_is_that_of_a_proportion() -> None:
    right = np.arange(400) < 360
    value, low, high = Resampler(np.arange(400), 1000).rate(right, everything(400))
    assert value == pytest.approx(0.9)
    assert 0.5 * (high - low) == pytest.approx(1.96 * np.sqrt(0.9 * 0.1 / 400), rel=0.1)


def test_sums_and_rows_tell_the_same() -> None:
    """The quick way and the plain way draw the same resamples."""
    rng = np.random.default_rng(3)
    values, objects = rng.normal(size=90), rng.integers(0, 20, 90)
    use = rng.random(90) < 0.6
    draws = Resampler(objects)
    plain = draws.of_rows(lambda rows: float(values[rows].mean()), use)
    assert draws.mean(values, use) == pytest.approx(plain, abs=1e-5)
    squares = draws.of_rows(lambda rows: float(np.sqrt(np.mean(values[rows] ** 2))), use)
    assert draws.root_mean_square(values, use) == pytest.approx(squares, abs=1e-5)
    sums = draws.sums(np.stack([values * use, use], axis=1))
    assert draws.figure(divide(sums[:, 0], sums[:, 1])) == pytest.approx(plain, abs=1e-5)


def test_rows_that_are_not_used_may_hold_anything() -> None:
    values = np.array([1.0, 2.0, np.nan, np.inf])
    figure = Resampler(np.arange(4)).mean(values, np.isfinite(values))
    assert figure[0] == pytest.approx(1.5)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_rate_of_nothing_or_everything_has_an_interval(rate: float) -> None:
    objects = np.array([f"sn-{i % 10}" for i in range(30)])
    figure = Resampler(objects).rate(np.full(30, bool(rate)), everything(30))
    assert figure is not None
    value, low, high = figure
    assert value == rate
    # Ten objects without a miss: the true rate may be up to 31 % away.
    assert high - low == pytest.approx(1.0 - 0.025**0.1, abs=1e-4)
    assert low <= rate <= high


def test_one_object_alone_has_no_interval() -> None:
    draws = Resampler(np.array(["a"] * 3 + ["b"] * 3))
    first = np.arange(6) < 3
    hit = np.array([True, False, False, True, True, True])
    assert draws.rate(hit, first) == [pytest.approx(1 / 3, abs=1e-5), None, None]
    assert draws.objects_in(first) == 1
    # Resamples without an object of the kind are left out, not counted as 0.
    assert draws.rate(~first, ~first) == [1.0, 0.025, 1.0]


def test_nothing_to_count_is_none() -> None:
    draws = Resampler(np.arange(4))
    nothing = np.zeros(4, dtype=bool)
    assert draws.rate(nothing, nothing) is None
    assert draws.mean(np.ones(4), nothing) is None
    assert draws.of_rows(lambda rows: 1.0, nothing) is None
    empty = Resampler(np.array([], dtype=str))
    assert empty.rate(np.zeros(0, dtype=bool), np.zeros(0, dtype=bool)) is None
