"""The pictures of the model card are drawn, are not empty, and are small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib (extra 'plot')")
pytest.importorskip("torch", reason="training.evaluate loads the training code (extra 'train')")
pytest.importorskip("pyarrow", reason="training.evaluate loads the library (extra 'train')")

from synthetic_trials import GALAXY, IA, IB, II, N, make_trials

from training.evaluate import measure
from training.evaluation.pictures import PICTURES, write_pictures
from training.evaluation.trials import Trials


def noisy_trials(seed: int) -> Trials:
    """A network that is right in three quarters, and half sure."""
    rng = np.random.default_rng(seed)
    label = np.array([IA] * 60 + [II] * 30 + [IB] * 10 + [GALAXY] * 20)
    p = rng.dirichlet(np.full(N, 0.3), label.size)
    right = rng.random(label.size) < 0.75
    p[right, label[right]] += 2.0
    p /= p.sum(axis=1, keepdims=True)
    truth = rng.uniform(0.0, 0.2, label.size)
    return make_trials(
        label.tolist(),
        label.tolist(),
        probabilities=p,
        redshift=truth,
        z=truth + rng.normal(0.0, 0.004, label.size),
        snr=np.exp(rng.uniform(np.log(4.0), np.log(40.0), label.size)),
    )


@pytest.fixture(scope="module")
def card() -> dict[str, object]:
    return {"decisions": [{"class": "SN Ia", "threshold": 0.6, "false_positive_rate": 0.005}]}


def test_pictures(tmp_path: Path, card: dict[str, object]) -> None:
    from matplotlib.image import imread

    trials = noisy_trials(1)
    metrics = measure({"sedm": trials}, card) | {"part": "validation"}
    written = write_pictures(tmp_path / "pictures", trials, metrics)
    assert [path.name for path in written] == list(PICTURES)
    for path in written:
        assert 5_000 < path.stat().st_size < 150_000, path.name
        image = imread(path)[..., :3]
        assert min(image.shape[:2]) > 300, path.name
        # Something is drawn on most of the rows and columns, in more than black and white.
        ink = (image < 0.99).any(axis=-1)
        assert ink.any(axis=1).mean() > 0.5, path.name
        assert ink.any(axis=0).mean() > 0.5, path.name
        assert np.ptp(image, axis=-1).max() > 0.2, path.name


def test_a_network_without_decisions_and_trials_without_others_are_drawn(tmp_path: Path) -> None:
    trials = noisy_trials(2)
    alone = trials.take(np.flatnonzero(trials.label == IA))
    metrics = measure({"sedm": alone}, {}) | {"part": "validation"}
    assert metrics["sedm_curves"]["roc"] is None
    assert len(write_pictures(tmp_path, alone, metrics)) == len(PICTURES)


def test_other_answers_give_other_pictures(tmp_path: Path, card: dict[str, object]) -> None:
    content = []
    for name, trials in (("a", noisy_trials(1)), ("b", noisy_trials(1)), ("c", noisy_trials(3))):
        shifted = replace(trials, z=trials.z + 0.01) if name == "c" else trials
        metrics = measure({"sedm": shifted}, card) | {"part": "test"}
        write_pictures(tmp_path / name, shifted, metrics)
        content.append([(tmp_path / name / picture).read_bytes() for picture in PICTURES])
    assert content[0] == content[1]
    assert all(one != other for one, other in zip(content[0], content[2], strict=True))
