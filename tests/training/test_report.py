"""Figures of constructed trials, and of a tiny network from end to end."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training.measure takes a PyTorch network's outputs")
pytest.importorskip("pyarrow", reason="trials draw from the library (extra 'train')")

from training.archive.labels import CLASSES
from training.report import (
    _calibration_error,
    _rate,
    baselines,
    by_class,
    by_snr,
    confusion,
    figures,
)
from training.trials import Trials

N = len(CLASSES)
IA, II, GALAXY = (CLASSES.index(name) for name in ("SN Ia", "SN II", "Galaxy"))


def make_trials(label: list[int], guess: list[int], **changes: Any) -> Trials:
    """Trials with certain answers, right in all but what is changed."""
    n = len(label)
    p = np.zeros((n, N))
    p[np.arange(n), guess] = 1.0
    z = np.linspace(0.01, 0.2, n)
    facts: dict[str, Any] = {
        "label": np.array(label),
        "redshift": z,
        "phase": np.full(n, 5.0),
        "object": np.array([f"object-{i}" for i in range(n)]),
        "snr": np.full(n, 10.0),
        "host": np.zeros(n),
        "probabilities": p,
        "in_set": p > 0,
        "z": z,
        "z_err": np.full(n, 0.005),
        "days": np.full(n, 5.0),
        "days_err": np.ones(n),
        "left_out": 3,
    }
    return Trials(**(facts | changes))


def test_perfect_answers() -> None:
    label = [IA] * 20 + [II] * 10 + [GALAXY] * 5
    answer = figures(make_trials(label, label))
    assert answer["n_spectra"] == answer["n_objects"] == 35
    assert answer["n_supernova_spectra"] == 30
    assert answer["left_out"] == 3
    for name in ("three_way_accuracy", "three_way_balanced", "accuracy", "balanced_accuracy",
                 "ia_recall", "redshift_within_1_sigma", "phase_within_1_sigma",
                 "set_coverage", "set_size"):  # fmt: skip
        assert answer[name][0] == 1.0, name
        assert 0.7 < answer[name][1] <= answer[name][2] <= 1.0, name
    for name in ("redshift_rms", "redshift_nmad", "redshift_outliers", "phase_rms_days",
                 "calibration_error", "ia_false_positive_rate"):  # fmt: skip
        assert answer[name][0] == 0.0, name
        assert 0.0 <= answer[name][1] <= answer[name][2] < 0.35, name


def test_known_mistakes() -> None:
    label, guess = [IA] * 16 + [II] * 8, [IA] * 12 + [II] * 4 + [II] * 6 + [IA] * 2
    answer = figures(make_trials(label, guess))
    assert answer["three_way_accuracy"][0] == pytest.approx(18 / 24)
    assert answer["three_way_balanced"][0] == pytest.approx(0.75)
    assert answer["ia_recall"][0] == pytest.approx(0.75)
    assert answer["ia_false_positive_rate"][0] == pytest.approx(0.25)
    # Certain of everything and right in three quarters.
    assert answer["calibration_error"][0] == pytest.approx(0.25)
    assert answer["set_coverage"][0] == pytest.approx(0.75)
    for name in ("three_way_accuracy", "ia_recall"):
        value, low, high = answer[name]
        assert low < value < high


def test_redshift_figures_are_over_1_plus_z_and_supernovae_alone() -> None:
    label = [IA] * 10 + [II] * 10 + [GALAXY] * 10
    truth = np.full(30, 0.5)
    z = truth.copy()
    z[:5] += 0.015
    z[5:10] -= 0.06
    z[20:] = 3.0
    trials = make_trials(label, label, redshift=truth, z=z, z_err=np.full(30, 0.02))
    answer = figures(trials)
    assert answer["redshift_rms"][0] == pytest.approx(
        np.sqrt((5 * 0.01**2 + 5 * 0.04**2) / 20), abs=1e-5
    )
    assert answer["redshift_rms_ia"][0] == pytest.approx(np.sqrt((0.01**2 + 0.04**2) / 2), abs=1e-5)
    assert answer["redshift_outliers"][0] == pytest.approx(0.25)
    assert answer["redshift_within_1_sigma"][0] == pytest.approx(0.75)
    assert answer["redshift_within_2_sigma"][0] == pytest.approx(0.75)


def test_phases_beyond_the_head_do_not_count() -> None:
    phase = np.array([0.0, 10.0, 400.0, np.nan, 20.0])
    days = np.array([3.0, 14.0, 90.0, 0.0, np.nan])
    answer = figures(make_trials([IA] * 5, [IA] * 5, phase=phase, days=days))
    assert answer["phase_rms_days"][0] == pytest.approx(np.sqrt((9 + 16) / 2), abs=1e-5)


def test_nothing_to_count_is_none() -> None:
    answer = figures(make_trials([GALAXY] * 4, [GALAXY] * 4))
    assert answer["three_way_accuracy"] is None
    assert answer["redshift_rms"] is None
    assert answer["accuracy"] == pytest.approx([1.0, 0.025**0.25, 1.0], abs=1e-4)


def test_a_figure_without_an_answer_is_none_not_nan() -> None:
    """Without other supernovae there is no rate of false Ia, and NaN is no JSON."""
    answer = figures(make_trials([IA] * 5, [IA] * 5))
    assert answer["ia_false_positive_rate"] is None
    assert answer["ia_recall"] == pytest.approx([1.0, 0.025**0.2, 1.0], abs=1e-4)
    json.dumps(answer, allow_nan=False)


def test_baselines_look_at_no_pixel() -> None:
    label = [IA] * 3 + [II]
    trials = make_trials(label, label, redshift=np.array([0.1, 0.1, 0.1, 0.3]))
    answer = baselines(trials)
    assert answer["three_way_constant"] == pytest.approx(0.75)
    assert answer["redshift_rms_constant"] == pytest.approx(abs(1.1 / 1.3 - 1.0) / 2)
    assert answer["redshift_rms_class_median"] == pytest.approx(0.0)


def test_ranges_of_snr() -> None:
    label = [IA] * 6
    snr = np.array([4.0, 7.9, 8.0, 14.0, 39.0, 50.0])
    answer = by_snr(make_trials(label, [IA, II, IA, IA, IA, IA], snr=snr))
    assert {name: block["n_spectra"] for name, block in answer.items()} == {
        "4-8": 2,
        "8-15": 2,
        "15-40": 1,
    }
    assert answer["4-8"]["three_way_accuracy"][0] == pytest.approx(0.5)
    assert answer["8-15"]["three_way_accuracy"][0] == 1.0


def test_classes_and_confusion() -> None:
    trials = make_trials([IA, IA, IA, II], [IA, IA, II, II])
    answer = by_class(trials)
    assert set(answer) == {"SN Ia", "SN II"}
    assert answer["SN Ia"]["recall"][0] == pytest.approx(2 / 3, abs=1e-5)
    assert answer["SN Ia"]["precision"][0] == 1.0
    assert answer["SN II"]["precision"][0] == pytest.approx(0.5)
    table = np.array(confusion(trials))
    assert table.sum() == 4
    assert table[IA, IA] == 2
    assert table[IA, II] == 1
    assert table[II, II] == 1
    # A class that was never answered has no precision.
    assert by_class(make_trials([IA, II], [IA, IA]))["SN II"]["precision"] is None


def test_calibration_error_of_honest_probabilities_is_small() -> None:
    rng = np.random.default_rng(0)
    n = 20000
    top = rng.uniform(0.5, 1.0, n)
    label = np.where(rng.random(n) < top, IA, II).tolist()

    def error(stated: np.ndarray) -> float:
        p = np.zeros((n, N))
        p[:, IA], p[:, II] = stated, 1.0 - stated
        return _calibration_error(make_trials(label, label, probabilities=p))

    assert error(top) < 0.012
    # A shy network: says 0.625 on average where it is right in 0.75.
    assert error(0.25 + 0.5 * top) == pytest.approx(0.125, abs=0.01)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_rate_of_nothing_or_everything_has_an_interval(rate: float) -> None:
    objects = np.array([f"sn-{i % 10}" for i in range(30)])
    trials = make_trials([IA] * 30, [IA] * 30, object=objects)
    answer = _rate(trials, lambda t: np.full(len(t), bool(rate)))
    assert answer is not None
    value, low, high = answer
    assert value == rate
    # Ten objects without a miss: the true rate may be up to 31 % away.
    assert high - low == pytest.approx(1.0 - 0.025**0.1, abs=1e-4)
    assert low <= rate <= high
