"""The weights of network and scan together, from cases of which the truth is known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("torch", reason="the weights are fitted with PyTorch, of the extra 'train'")
pytest.importorskip("pyarrow", reason="real spectra are read with pyarrow, of the extra 'train'")

from specinfer.survey_card import FIT_CLUES, NONE_CLUES
from training.calibrate_auto import (
    Outcome,
    class_threshold,
    fit_weights,
    least_reliability,
    outcome,
)
from training.survey_cases import Case, combinations_apart

TRUE = np.array([1.0, 0.5, 2.0])
NONE = np.array([-2.0, 0.8, 0.5, 0.0, -0.4, 0.3])


def cases(count: int, seed: int) -> list[Case]:
    """Fits of which one, or none, is right as the true weights say."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        fits = -rng.gamma(0.5, 2.0, (3, len(FIT_CLUES)))
        none = np.concatenate([[1.0], rng.normal(size=len(NONE_CLUES) - 1)])
        score = np.append(fits @ TRUE, none @ NONE)
        p = np.exp(score - score.max())
        chosen = int(rng.choice(4, p=p / p.sum()))
        right = np.arange(3) == chosen
        dz = np.where(right, 0.0, 0.5)
        made.append(Case(fits, none, np.zeros(3, dtype=np.intp), right, dz, "GALAXY", 1.0, True))
    return made


def test_the_weights_are_found_and_calibrated_on_other_cases() -> None:
    weights = fit_weights(cases(4000, 0))
    np.testing.assert_allclose(weights.fit, TRUE, atol=0.3)
    # The family's bias and that of none say the same here: it is in either.
    np.testing.assert_allclose(weights.none[1:], NONE[1:], atol=0.3)
    assert weights.none[0] - weights.bias["GALAXY"] == pytest.approx(NONE[0], abs=0.3)
    made = [outcome(weights, one) for one in cases(4000, 1)]
    reliability = np.array([one.reliability for one in made])
    right = np.array([one.right for one in made])
    for low, high in ((0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0)):
        use = (reliability >= low) & (reliability < high)
        assert use.sum() > 50
        assert right[use].mean() == pytest.approx(reliability[use].mean(), abs=0.06)


def test_the_limit_lets_little_noise_and_few_outliers_pass() -> None:
    rng = np.random.default_rng(2)
    noise = [Outcome(float(p), False, True, False, 0.0) for p in rng.uniform(0.0, 0.6, 1000)]
    good = [Outcome(float(p), True, False, True, float(p)) for p in rng.uniform(0.3, 1.0, 1000)]
    limit = least_reliability([*noise, *good])
    assert sum(one.reliability >= limit for one in noise) <= 3
    assert limit < 0.61
    bad = [Outcome(0.9, False, True, True, 0.0)] * 40
    higher = least_reliability([*noise, *good, *bad])
    assert higher > 0.9
    assert class_threshold([*noise, *good]) == pytest.approx(0.37, abs=0.03)
    # Nothing but outliers: nothing passes.
    assert least_reliability([Outcome(0.7, False, True, True, 0.0)] * 10) == 1.0


class Draft(NamedTuple):
    """What is asked of a draft of a combination."""

    network: Any


def shown(**real: object) -> Draft:
    training = {"real": {"share": 0.16, **real}} if real else {}
    return Draft(SimpleNamespace(folder=Path("gasnet2"), raw={"training": training}))


def test_a_network_is_not_asked_about_light_that_it_was_shown(tmp_path: Path) -> None:
    assert combinations_apart(shown(), None, []) == []  # type: ignore[arg-type]
    with pytest.raises(SystemExit, match=r"was shown the light .* give by --apart"):
        combinations_apart(shown(part="train"), None, [])  # type: ignore[arg-type]
    with pytest.raises(SystemExit, match="no --apart"):
        combinations_apart(shown(), None, [tmp_path, tmp_path])  # type: ignore[arg-type]


def test_one_network_apart_was_shown_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = shown(part="train").network
    monkeypatch.setattr("training.survey_cases.load_card", lambda _: card)
    with pytest.raises(SystemExit, match="was shown light of the donors"):
        combinations_apart(shown(part="train"), None, [tmp_path])  # type: ignore[arg-type]


def test_the_halves_are_asked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = shown(part="train", left_out_half=1).network
    monkeypatch.setattr("training.survey_cases.load_card", lambda _: card)
    with pytest.raises(SystemExit, match="was not trained with --without-half 0"):
        combinations_apart(shown(part="train"), None, [tmp_path, tmp_path])  # type: ignore[arg-type]
