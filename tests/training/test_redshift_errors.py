"""How large redshift errors are, from few spectra."""

from __future__ import annotations

import numpy as np
import pytest

from training.redshift_errors import (
    error_floors,
    expected_floor,
    quadrature_floor,
    robust_scale,
)


def test_the_scale_is_that_of_normal_values_and_ignores_a_few_others() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0.0, 3.0, 20_000)
    assert robust_scale(values) == pytest.approx(3.0, rel=0.03)
    values[:1000] = 1e6
    assert robust_scale(values) == pytest.approx(3.0, rel=0.15)


def test_the_floor_is_found() -> None:
    rng = np.random.default_rng(1)
    raw = rng.uniform(1e-5, 1e-4, 5000)
    dz = rng.normal(0.0, np.hypot(2.0 * raw, 2e-4))
    assert quadrature_floor(dz, raw, 2.0) == pytest.approx(2e-4, rel=0.05)
    assert quadrature_floor(rng.normal(0.0, raw), raw, 2.0) == 0.0


def test_few_spectra_ask_for_a_larger_floor_that_holds_for_others() -> None:
    """Over many samples of 16, other spectra have a pull about 1."""
    rng = np.random.default_rng(2)
    pulls, plain = [], []
    for _ in range(12):
        raw = rng.uniform(1e-6, 2e-5, 216)
        dz = rng.normal(0.0, np.hypot(raw, 1e-5))
        mine, other = slice(16), slice(16, None)
        floor, limits = expected_floor(dz[mine], raw[mine], 1.0)
        assert limits[0] <= floor * 1.05
        pulls.append(robust_scale(dz[other] / np.hypot(raw[other], floor)))
        best = quadrature_floor(dz[mine], raw[mine], 1.0)
        plain.append(robust_scale(dz[other] / np.hypot(raw[other], best)))
    assert np.mean(pulls) == pytest.approx(1.0, abs=0.12)
    # The floor that fits best is too small more often, and by more.
    assert max(pulls) < max(plain)
    assert np.mean(pulls) < np.mean(plain)


def test_the_floor_of_quasars_changes_with_redshift() -> None:
    rng = np.random.default_rng(3)
    z = np.concatenate([rng.uniform(0.2, 0.8, 60), rng.uniform(1.4, 3.5, 60)])
    raw = np.full(120, 2e-5)
    dz = rng.normal(0.0, np.where(z < 1.05, 1e-4, 1e-3))
    (low, near), (high, far) = error_floors("QSO", z, dz, raw, 1.0)
    assert 0.0 < low < high
    assert near == pytest.approx(1e-4, rel=0.35)
    assert far == pytest.approx(1e-3, rel=0.35)
    assert len(error_floors("GALAXY", z, dz, raw, 1.0)) == 1
    # Too few of one kind: one floor for all.
    assert len(error_floors("QSO", z[:65], dz[:65], raw[:65], 1.0)) == 1
    assert error_floors("STAR", z[:5], dz[:5], raw[:5], 1.0) == [[0.0, 0.0]]
