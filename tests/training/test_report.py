"""Figures of constructed trials, and of a tiny network from end to end."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="training.evaluation.measure takes a PyTorch network's outputs")
pytest.importorskip("pyarrow", reason="trials draw from the library (extra 'train')")

from synthetic_trials import AGN, GALAXY, IA, IB, II, N, make_trials

from training.archive.labels import IA_SUBTYPES
from training.evaluation.breakdown import (
    by_class,
    by_phase,
    by_snr,
    confusion,
    curves,
    subtypes,
)
from training.evaluation.detection import calibration_error, reliability_sums
from training.evaluation.report import baselines, figures


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
    assert answer["phase_nmad_days"][0] == pytest.approx(1.4826 * 0.5, abs=1e-4)


def test_nothing_to_count_is_none() -> None:
    answer = figures(make_trials([GALAXY] * 4, [GALAXY] * 4))
    assert answer["three_way_accuracy"] is None
    assert answer["redshift_rms"] is None
    assert answer["accuracy"] == pytest.approx([1.0, 0.025**0.25, 1.0], abs=1e-4)


def test_a_figure_without_an_answer_is_none_not_nan() -> None:
    """Without other supernovae there is no rate of false Ia, and NaN is no JSON."""
    answer = figures(make_trials([IA] * 5, [IA] * 5))
    assert answer["ia_false_positive_rate"] is None
    assert answer["ia_auc"] is None
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
    top = rng.uniform(0.5, 1.0, 20000)
    right = rng.random(20000) < top

    def error(stated: np.ndarray) -> float:
        return float(calibration_error(reliability_sums(stated, right).sum(axis=0)))

    assert error(top) < 0.012
    # A shy network: says 0.625 on average where it is right in 0.75.
    assert error(0.25 + 0.5 * top) == pytest.approx(0.125, abs=0.01)


def test_what_a_network_does_not_say_is_none() -> None:
    """The card of 0.1.0 has no intervals, subtypes, host share, novelty or decision."""
    label = [IA] * 6 + [II] * 6
    answer = figures(make_trials(label, label))
    silent = {name for name, value in answer.items() if value is None}
    assert silent == {
        "ia_decision_recall", "ia_decision_false_positive_rate",
        "ia_decision_false_positive_rate_supernovae",
        "auto_share", "auto_ia_recall", "auto_false_positive_rate", "auto_purity",
        "redshift_within_68", "redshift_within_95",
        "phase_within_68", "phase_within_95", "phase_within_68_ia", "phase_within_95_ia",
        "phase_within_68_cc", "phase_within_95_cc",
        "class_set_coverage", "class_set_size", "subtype_accuracy", "subtype_balanced_accuracy",
        "host_share_rms", "host_share_bias", "host_flagged", "novel_false_alarms",
    }  # fmt: skip
    assert subtypes(make_trials(label, label)) is None


def test_f1_and_balanced_accuracy_by_hand() -> None:
    # Ia: 6 of 8 right, one II called Ia; II: 4 of 5; Ib: one object, called II.
    label = [IA] * 8 + [II] * 5 + [IB]
    guess = [IA] * 6 + [II] * 2 + [II] * 4 + [IA] + [II]
    trials = make_trials(label, guess)
    answer = figures(trials)
    f1_ia, f1_ii = 12 / (12 + 1 + 2), 8 / (8 + 3 + 1)
    assert answer["macro_f1"][0] == pytest.approx((f1_ia + f1_ii + 0.0) / 3, abs=1e-5)
    assert answer["macro_f1_many"][0] == pytest.approx((f1_ia + f1_ii) / 2, abs=1e-5)
    assert answer["balanced_accuracy"][0] == pytest.approx((6 / 8 + 4 / 5 + 0.0) / 3, abs=1e-5)
    # One object of Ib is too few to count.
    assert answer["balanced_accuracy_many"][0] == pytest.approx((6 / 8 + 4 / 5) / 2, abs=1e-5)
    classes = by_class(trials)
    assert classes["SN Ia"]["f1"][0] == pytest.approx(f1_ia, abs=1e-5)
    assert classes["SN Ib"]["recall"] == [0.0, 0.0, 0.975]


def test_a_constant_redshift_scores_like_its_baseline() -> None:
    label = [IA] * 20 + [II] * 20
    truth = np.concatenate([np.linspace(0.05, 0.15, 20), np.linspace(0.01, 0.05, 20)])
    guess = np.expm1(np.full(40, np.median(np.log1p(truth))))
    answer = figures(make_trials(label, label, redshift=truth, z=guess))
    assert answer["redshift_rms"] == pytest.approx(answer["redshift_rms_constant"], abs=2e-5)
    # Who knows the class does better.
    assert answer["redshift_rms_class_median"][0] < 0.7 * answer["redshift_rms_constant"][0]
    ia = truth[:20]
    expected = np.expm1(np.median(np.log1p(ia)) - np.log1p(ia))
    assert answer["redshift_rms_class_median_ia"][0] == pytest.approx(
        np.sqrt(np.mean(expected**2)), abs=1e-5
    )


def test_coverage_of_intervals_is_counted() -> None:
    n = 1000
    label = [IA] * n
    rng = np.random.default_rng(5)
    truth = rng.uniform(0.02, 0.2, n)
    z = truth + rng.normal(0.0, 0.004, n)
    days = 5.0 + rng.normal(0.0, 3.0, n)

    def around(value: np.ndarray, half: float) -> np.ndarray:
        return np.stack([value - half, value + half], axis=1)

    # Exactly 680 and 950 intervals hold the truth.
    order = np.argsort(np.abs(z - truth))
    half68, half95 = (np.abs(z - truth)[order[k - 1]] + 1e-12 for k in (680, 950))
    answer = figures(
        make_trials(
            label,
            label,
            redshift=truth,
            z=z,
            z68=around(z, half68),
            z95=around(z, half95),
            days=days,
            days68=around(days, 3.0),
            days95=around(days, 6.0),
        )
    )
    assert answer["redshift_within_68"][0] == pytest.approx(0.68)
    assert answer["redshift_within_95"][0] == pytest.approx(0.95)
    assert answer["phase_within_68"][0] == pytest.approx(0.683, abs=0.04)
    assert answer["phase_within_95_ia"][0] == pytest.approx(0.954, abs=0.02)
    assert answer["phase_within_95_cc"] is None
    assert answer["phase_rms_days"][0] == pytest.approx(3.0, rel=0.1)


def scored(label: list[int], score: np.ndarray) -> np.ndarray:
    """Probabilities with a certain P(SN Ia); the rest is Galaxy."""
    p = np.zeros((len(label), N))
    p[:, IA], p[:, GALAXY] = score, 1.0 - score
    return p


def test_roc_points_and_the_threshold_of_the_card() -> None:
    label = [IA] * 100 + [II] * 500 + [AGN] * 500
    # 80 Ia above everything, 20 below all; 4 II and 6 AGN are above the threshold of 0.9.
    score = np.concatenate(
        [np.full(80, 0.99), np.full(20, 0.01), np.full(4, 0.95), np.linspace(0.1, 0.8, 496),
         np.full(6, 0.95), np.linspace(0.1, 0.8, 494)]
    )  # fmt: skip
    trials = make_trials(label, [IA] * 1100, probabilities=scored(label, score))
    answer = figures(trials, {"class": "SN Ia", "threshold": 0.9})
    assert answer["ia_auc"][0] == pytest.approx(0.8)
    assert answer["ia_roc_recall"][0] == pytest.approx(0.8)
    assert answer["ia_decision_recall"][0] == pytest.approx(0.8)
    assert answer["ia_decision_false_positive_rate"][0] == pytest.approx(0.01)
    assert answer["ia_decision_false_positive_rate_supernovae"][0] == pytest.approx(0.008)
    lines = curves(trials)
    for name in ("roc", "roc_supernovae"):
        rate, recall, threshold = lines[name].values()
        assert 2 <= len(rate) == len(recall) == len(threshold) <= 61
        assert (rate[0], recall[0]) == (0.0, 0.8)
        assert (rate[-1], recall[-1]) == (1.0, 1.0)
        assert np.all(np.diff(rate) > 0)
        assert np.all(np.diff(recall) >= 0)
    assert sum(n for _, _, n in lines["reliability"]) == 1100


def test_decisions_without_a_human() -> None:
    label = [IA] * 10 + [II] * 8 + [GALAXY] * 2
    auto = np.array([1.0] * 8 + [0.0] * 2 + [1.0] + [0.0] * 9)
    answer = figures(make_trials(label, label, auto=auto))
    assert answer["auto_share"][0] == pytest.approx(0.45)
    assert answer["auto_ia_recall"][0] == pytest.approx(0.8)
    assert answer["auto_false_positive_rate"][0] == pytest.approx(0.1)
    assert answer["auto_purity"][0] == pytest.approx(8 / 9, abs=1e-5)


def test_subtypes_host_light_novelty_and_sets_by_class() -> None:
    label = [IA] * 8 + [GALAXY] * 4
    subtype = np.array([0] * 4 + [1] * 2 + [2, -1] + [-1] * 4)
    said = np.full((12, len(IA_SUBTYPES)), 0.05)
    # Three of four normal ones right, both 91T, the 91bg taken for a normal one.
    for row, index in enumerate([0, 0, 0, 1, 1, 1, 0, 0] + [0] * 4):
        said[row, index] = 0.8
    members = np.zeros((12, N))
    members[:, IA] = 1.0
    trials = make_trials(
        label,
        label,
        subtype=subtype,
        subtype_probabilities=said,
        host=np.array([0.3] * 8 + [1.0] * 4),
        host_share=np.array([0.4] * 8 + [0.8] * 4),
        novel=np.array([1.0] + [0.0] * 11),
        hosted=np.array([1.0, 1.0, *[0.0] * 6, *[1.0] * 4]),
        in_class_set=members,
    )
    answer = figures(trials)
    assert answer["subtype_accuracy"][0] == pytest.approx(5 / 7, abs=1e-5)
    assert answer["subtype_balanced_accuracy"][0] == pytest.approx((0.75 + 1 + 0) / 3, abs=1e-5)
    assert answer["host_share_rms"][0] == pytest.approx(
        np.sqrt((8 * 0.01 + 4 * 0.04) / 12), abs=1e-5
    )
    assert answer["host_share_bias"][0] == pytest.approx(0.0)
    assert answer["novel_false_alarms"][0] == pytest.approx(1 / 12, abs=1e-5)
    # Of the transients alone: a galaxy is light of a galaxy.
    assert answer["host_flagged"][0] == pytest.approx(2 / 8, abs=1e-5)
    assert answer["class_set_coverage"][0] == pytest.approx(8 / 12, abs=1e-5)
    assert answer["class_set_size"][0] == pytest.approx(1.0)
    table = subtypes(trials)
    assert table is not None
    assert table["confusion"][0][:2] == [3, 1]
    assert table["confusion"][2][0] == 1
    assert table["by_subtype"]["Ia-91T"]["recall"][0] == 1.0
    assert table["by_subtype"]["Ia-91T"]["precision"][0] == pytest.approx(2 / 3, abs=1e-5)
    classes = by_class(trials)
    assert classes["SN Ia"]["class_set_coverage"][0] == 1.0
    assert classes["Galaxy"]["class_set_coverage"][0] == 0.0


def test_ranges_of_phase() -> None:
    phase = np.array([-10.0, 0.0, 0.0, 20.0, 400.0, np.nan])
    trials = make_trials([IA] * 6, [IA, IA, II, IA, IA, IA], phase=phase, days=np.full(6, 3.0))
    answer = by_phase(trials)
    assert [block["n_spectra"] for block in answer.values()] == [1, 2, 0, 1, 0]
    assert answer["-5 to 5"]["three_way_accuracy"][0] == pytest.approx(0.5)
    assert answer["-5 to 5"]["phase_rms_days"][0] == pytest.approx(3.0)
    assert answer["5 to 15"]["three_way_accuracy"] is None
    json.dumps(answer, allow_nan=False)
