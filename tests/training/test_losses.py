"""Losses and soft targets of the heads."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("torch", reason="losses are PyTorch's (extra 'train')")
pytest.importorskip("pyarrow", reason="the recipe imports the library (extra 'train')")

import numpy as np
import torch

from specinfer.models import Bins
from training.config import OptimConfig
from training.losses import (
    balanced_weights,
    binned_loss,
    class_loss,
    scalar_redshift_loss,
    soft_bins,
)

BINS = Bins(-0.005, 0.0025, 200)


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.5])
def test_soft_bins_sum_to_one_and_peak_at_the_value(sigma: float) -> None:
    values = torch.tensor([-0.005, 0.0, 0.1, 0.2362, 0.4925])
    target = soft_bins(values, BINS, sigma)
    assert target.shape == (5, 200)
    torch.testing.assert_close(target.sum(dim=1), torch.ones(5))
    expected = torch.round((values - BINS.start) / BINS.step).long()
    torch.testing.assert_close(target.argmax(dim=1), expected)


def test_soft_bins_have_the_mean_and_width_asked_for() -> None:
    values = torch.tensor([0.1007, 0.2493], dtype=torch.float64)
    target = soft_bins(values, BINS, 1.5).double()
    centres = BINS.start + BINS.step * torch.arange(BINS.size, dtype=torch.float64)
    mean = target @ centres
    torch.testing.assert_close(mean, values, atol=1e-6, rtol=0)
    sigma = torch.sqrt(target @ centres**2 - mean**2)
    torch.testing.assert_close(sigma, torch.full((2,), 1.5 * BINS.step).double(), rtol=1e-2, atol=0)


def test_values_beyond_the_bins_go_to_the_ends() -> None:
    target = soft_bins(torch.tensor([-3.0, 9.0]), BINS, 1.0)
    assert target.argmax(dim=1).tolist() == [0, 199]
    torch.testing.assert_close(target.sum(dim=1), torch.ones(2))


def test_binned_loss_is_least_at_the_target() -> None:
    target = soft_bins(torch.tensor([0.1, 0.3]), BINS, 1.0)
    use = torch.ones(2, dtype=torch.bool)
    entropy = -(target * torch.log(target.clamp(min=1e-30))).sum(dim=1).mean()
    at_truth = binned_loss(torch.log(target.clamp(min=1e-30)), target, use)
    assert float(at_truth) == pytest.approx(float(entropy), rel=1e-4)
    flat = binned_loss(torch.zeros(2, 200), target, use)
    assert float(flat) == pytest.approx(math.log(200), rel=1e-5)
    assert float(at_truth) < float(flat)


def test_rows_without_truth_do_not_count() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 200, generator=generator, requires_grad=True)
    target = soft_bins(torch.tensor([0.1, 0.2, 0.0, 0.0]), BINS, 1.0)
    use = torch.tensor([True, True, False, False])
    loss = binned_loss(logits, target, use)
    loss.backward()
    assert logits.grad is not None
    assert torch.all(logits.grad[2:] == 0)
    assert torch.all(logits.grad[:2].abs().sum(dim=1) > 0)
    alone = binned_loss(logits[:2], target[:2], use[:2])
    torch.testing.assert_close(loss, alone)


def test_no_truth_at_all_is_no_loss() -> None:
    loss = binned_loss(torch.randn(3, 200), torch.full((3, 200), 1 / 200), torch.zeros(3))
    assert float(loss) == 0.0


def test_class_loss_is_cross_entropy() -> None:
    config = OptimConfig(label_smoothing=0.0)
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]]))
    expected = -(math.log(0.7) + math.log(0.3)) / 2
    assert float(class_loss(logits, torch.tensor([0, 1]), config)) == pytest.approx(expected)


def test_label_smoothing_fears_certainty() -> None:
    config = OptimConfig(label_smoothing=0.1)
    label = torch.tensor([0])
    sure = class_loss(torch.tensor([[50.0, 0.0, 0.0]]), label, config)
    right = class_loss(torch.log(torch.tensor([[0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3]])), label, config)
    assert float(right) < float(sure)


def test_focal_loss_weighs_easy_rows_down() -> None:
    plain, focal = OptimConfig(label_smoothing=0.0), OptimConfig(
        label_smoothing=0.0, focal_gamma=2.0
    )  # fmt: skip
    for p in (0.5, 0.9):
        logits = torch.log(torch.tensor([[p, 1.0 - p]]))
        ratio = class_loss(logits, torch.tensor([0]), focal) / class_loss(
            logits, torch.tensor([0]), plain
        )
        assert float(ratio) == pytest.approx((1 - p) ** 2, rel=1e-4)


def test_balanced_weights_are_those_of_effective_numbers() -> None:
    """Cui et al. 2019: (1 - beta^n) / (1 - beta) objects are worth n."""
    counts = np.array([1, 10, 1000, 0])
    weights = balanced_weights(counts, 0.999)
    effective = (1.0 - 0.999 ** counts[:3]) / (1.0 - 0.999)
    expected = 3.0 / effective / (1.0 / effective).sum()
    np.testing.assert_allclose(weights[:3].numpy(), expected, rtol=1e-5)
    assert float(weights[3]) == 0.0
    # The two ends: all alike, and one over the count.
    np.testing.assert_allclose(balanced_weights(counts[:3], 0.0).numpy(), 1.0)
    ends = balanced_weights(counts[:3], 1.0 - 1e-9).numpy()
    np.testing.assert_allclose(ends[0] / ends[2], 1000.0, rtol=1e-3)


def test_class_weights_multiply_the_rows_of_their_class() -> None:
    config = OptimConfig(label_smoothing=0.0)
    logits, label = torch.log(torch.tensor([[0.7, 0.3], [0.6, 0.4]])), torch.tensor([0, 1])
    loss = class_loss(logits, label, config, torch.tensor([0.5, 1.5]))
    assert float(loss) == pytest.approx(-(0.5 * math.log(0.7) + 1.5 * math.log(0.4)) / 2)
    same = class_loss(logits, label, config, torch.ones(2))
    torch.testing.assert_close(same, class_loss(logits, label, config))


def test_scalar_redshift_loss_is_the_mean_squared_error_of_z() -> None:
    z = torch.tensor([0.0, 0.1, 0.5])
    redshift = (z + torch.tensor([0.01, -0.02, 0.0]))[:, None]
    loss = scalar_redshift_loss(redshift, torch.log1p(z))
    assert float(loss) == pytest.approx((1e-4 + 4e-4) / 3, rel=1e-3)
