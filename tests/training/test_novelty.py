"""The novelty score knows spectra from what is none, and says how sure the classes are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="the score is a PyTorch module (extra 'train')")

import torch
from torch.nn.functional import avg_pool1d

from training.architectures.served import Novelty
from training.novelty import fit_novelty, score
from training.simulate.outliers import KINDS, outliers

SIZE = 256


def inputs_of(count: int, seed: int) -> NDArray[np.float32]:
    """Prepared spectra with one broad line to the left, some without their right end."""
    rng = np.random.default_rng(seed)
    pixel = np.arange(SIZE)
    line = 4.0 * np.exp(-0.5 * ((pixel - rng.uniform(50, 70, (count, 1))) / 6.0) ** 2)
    flux = line + 0.3 * rng.normal(size=(count, SIZE))
    valid = pixel < rng.integers(200, SIZE + 1, (count, 1))
    made = np.stack([np.where(valid, flux, 0.0), valid, np.zeros_like(flux)], axis=1)
    return made.astype(np.float32)


class Fake:
    """A network that sees four stretches of the spectrum, and two classes in them."""

    config = SimpleNamespace(n_classes=2)
    size = 4

    def clues(self, spectrum: torch.Tensor) -> torch.Tensor:
        seen = avg_pool1d(spectrum[:, :1], SIZE // 4)[:, 0]
        logits = 5.0 * seen[:, :2]
        return torch.cat([seen, logits, -logits.logsumexp(dim=1, keepdim=True)], dim=1)


def batches(count: int, seed: int) -> list[Any]:
    return [SimpleNamespace(input=inputs_of(count, seed))]


def test_outliers_keep_their_pixels_and_leave_the_input_alone() -> None:
    inputs = inputs_of(120, 0)
    before = inputs.copy()
    made, kind = outliers(inputs, np.random.default_rng(1))
    np.testing.assert_array_equal(inputs, before)
    np.testing.assert_array_equal(made[:, 1:], inputs[:, 1:])
    assert (made[:, 0][inputs[:, 1] == 0] == 0).all()
    assert set(kind) == set(range(len(KINDS)))
    assert np.isfinite(made).all()
    changed = np.abs(made[:, 0] - inputs[:, 0]).max(axis=1) > 0.1
    assert changed.all()
    turned = KINDS.index("reversed")
    for one, was in zip(made[kind == turned], inputs[kind == turned], strict=True):
        valid = was[1] > 0
        np.testing.assert_array_equal(one[0, valid], was[0, valid][::-1])


def test_the_same_seed_gives_the_same_outliers_and_the_same_score() -> None:
    inputs = inputs_of(30, 0)
    one, other = (outliers(inputs, np.random.default_rng(3))[0] for _ in range(2))
    np.testing.assert_array_equal(one, other)
    first, second = (fit_novelty(Fake(), batches(200, 1), 5) for _ in range(2))  # type: ignore[arg-type]
    for name in first:
        torch.testing.assert_close(first[name], second[name])


def test_what_is_no_spectrum_is_novel() -> None:
    fake: Any = Fake()
    state = fit_novelty(fake, batches(600, 1), 1)
    known = score(state, fake, inputs_of(400, 2))
    threshold = np.quantile(known, 0.95)
    made, kind = outliers(inputs_of(400, 3), np.random.default_rng(4))
    strange = score(state, fake, made)
    turned = np.isin(kind, [KINDS.index("reversed"), KINDS.index("negated")])
    assert np.mean(strange[turned] > threshold) > 0.9
    assert np.mean(strange > threshold) > 0.5


def test_a_spectrum_that_speaks_for_no_class_is_novel() -> None:
    """The energy: without the line both classes are unlikely."""
    fake: Any = Fake()
    state = fit_novelty(fake, batches(600, 1), 1)
    known = score(state, fake, inputs_of(200, 2))
    empty = inputs_of(200, 2)
    empty[:, 0] *= 0.1
    assert np.median(score(state, fake, empty)) > np.quantile(known, 0.95)


def test_the_definition() -> None:
    fake: Any = Fake()
    state = fit_novelty(fake, batches(300, 1), 1)
    inputs = inputs_of(5, 7)
    clues = fake.clues(torch.from_numpy(inputs)).numpy()
    hidden = np.maximum(
        clues[:, :-1] @ state["hidden.weight"].numpy().T + state["hidden.bias"].numpy(), 0.0
    )
    weight = state["out.weight"].numpy()[0]
    expected = hidden @ weight[:-1] + clues[:, -1] * weight[-1] + state["out.bias"].numpy()[0]
    np.testing.assert_allclose(score(state, fake, inputs), expected, rtol=1e-4, atol=1e-4)
    # Both parts have a standard deviation of 1 over what was shown.
    shown = fake.clues(torch.from_numpy(batches(300, 1)[0].input)).numpy()
    assert np.std(shown[:, -1] * weight[-1]) == pytest.approx(1.0, rel=0.05)
    assert Novelty(2, 4).out.weight.shape == (1, 65)
