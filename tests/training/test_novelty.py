"""The novelty score knows what it was fitted on."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the score is a PyTorch module (extra 'train')")

import torch

from training.novelty import fit_novelty, score


@pytest.fixture
def classes() -> tuple[np.ndarray, np.ndarray]:
    """Three classes in eight dimensions, of very different sizes."""
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], [4000, 400, 40])
    means = 4.0 * np.eye(8)[:3]
    # Correlated within the classes, and hardly any spread in the last direction.
    mix = rng.normal(size=(8, 8)) * 0.3 + np.eye(8)
    mix[:, 7] *= 1e-3
    return means[label] + rng.normal(size=(label.size, 8)) @ mix, label


def test_another_class_is_novel(classes: tuple[np.ndarray, np.ndarray]) -> None:
    embedding, label = classes
    state = fit_novelty(embedding, label, 3)
    known = score(state, embedding.astype(np.float32))
    rng = np.random.default_rng(1)
    foreign = 8.0 * np.eye(8)[4] + rng.normal(size=(200, 8)) * 0.3
    threshold = np.quantile(known, 0.99)
    assert np.mean(score(state, foreign.astype(np.float32)) > threshold) > 0.95


def test_a_small_class_counts_as_much_as_a_large_one(
    classes: tuple[np.ndarray, np.ndarray],
) -> None:
    embedding, label = classes
    few = fit_novelty(embedding, label, 3)
    again = np.concatenate([np.arange(label.size), *[np.flatnonzero(label == 2)] * 50])
    many = fit_novelty(embedding[again], label[again], 3)
    for name in few:
        torch.testing.assert_close(few[name], many[name], rtol=1e-4, atol=1e-4)


def test_a_class_left_out_is_no_home(classes: tuple[np.ndarray, np.ndarray]) -> None:
    embedding, label = classes
    kept = label != 1
    state = fit_novelty(embedding[kept], label[kept], 3)
    values = score(state, embedding.astype(np.float32))
    threshold = np.quantile(values[kept], 0.99)
    assert np.mean(values[~kept] > threshold) > 0.5


def test_the_definition(classes: tuple[np.ndarray, np.ndarray]) -> None:
    """Squared distances, written out, with the shrunk covariances."""
    embedding, label = classes
    state = fit_novelty(embedding, label, 3)
    x = embedding[:5]
    within = np.mean([np.cov(embedding[label == c].T, bias=True) for c in range(3)], axis=0)
    within = 0.98 * within + 0.02 * np.trace(within) / 8 * np.eye(8)
    means = np.stack([embedding[label == c].mean(axis=0) for c in range(3)])
    inverse = np.linalg.inv(within)
    nearest = np.min([np.einsum("ni,ij,nj->n", x - m, inverse, x - m) for m in means], axis=0)
    centre = means.mean(axis=0)
    overall = np.mean(
        [
            (embedding[label == c] - centre).T
            @ (embedding[label == c] - centre)
            / (label == c).sum()
            for c in range(3)
        ],
        axis=0,
    )
    overall = 0.98 * overall + 0.02 * np.trace(overall) / 8 * np.eye(8)
    common = np.einsum("ni,ij,nj->n", x - centre, np.linalg.inv(overall), x - centre)
    expected = (nearest - common) / 8
    np.testing.assert_allclose(score(state, x.astype(np.float32)), expected, rtol=1e-3, atol=1e-3)
