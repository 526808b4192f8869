"""Losses of the heads."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from specinfer.models import Bins
from training.config import OptimConfig


def soft_bins(values: Tensor, bins: Bins, sigma_bins: float) -> Tensor:
    """Gaussian targets over bins, (batch, size), each summing to one."""
    centres = bins.start + bins.step * torch.arange(bins.size)
    clipped = values.clamp(bins.start, bins.start + bins.step * (bins.size - 1))
    distance = (centres[None, :] - clipped[:, None]) / (bins.step * sigma_bins)
    weight = torch.exp(-0.5 * distance**2)
    return weight / weight.sum(dim=1, keepdim=True)


def balanced_weights(counts: NDArray[np.int64], beta: float) -> Tensor:
    """Class weights from effective numbers (Cui et al. 2019, CVPR, arXiv:1901.05555).

    Parameters
    ----------
    counts : ndarray of int, shape (n_classes,)
        Training objects of each class.
    beta : float
        0 weighs all alike; towards 1 the weight becomes one over the count.

    Returns
    -------
    Tensor, shape (n_classes,), float32
        (1 - beta) / (1 - beta^count), scaled to a mean of one over the classes that have
        objects; 0 for the others.
    """
    seen = counts > 0
    weight = np.where(seen, (1.0 - beta) / (1.0 - beta ** np.maximum(counts, 1.0)), 0.0)
    return torch.from_numpy((weight * seen.sum() / weight.sum()).astype(np.float32))


def class_loss(
    logits: Tensor, label: Tensor, config: OptimConfig, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy with label smoothing, focal if ``focal_gamma`` is above 0 (Lin+17).

    `weights`, shape (n_classes,), multiply the rows of each class.
    """
    each = F.cross_entropy(logits, label, label_smoothing=config.label_smoothing, reduction="none")
    if config.focal_gamma > 0:
        p = F.softmax(logits, dim=1).gather(1, label[:, None])[:, 0]
        each = each * (1.0 - p) ** config.focal_gamma
    if weights is not None:
        each = each * weights[label]
    return each.mean()


def binned_loss(logits: Tensor, target: Tensor, use: Tensor) -> Tensor:
    """Cross-entropy against soft bins over the rows where `use` is true."""
    each = -(target * F.log_softmax(logits, dim=1)).sum(dim=1)
    return (each * use).sum() / use.sum().clamp(min=1)


def subtype_loss(logits: Tensor, subtype: Tensor) -> Tensor:
    """Cross-entropy of the second level over the rows that have one (index 0 or more)."""
    known = subtype >= 0
    each = F.cross_entropy(logits, subtype.clamp(min=0), reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def share_loss(logit: Tensor, share: Tensor) -> Tensor:
    """Cross-entropy of a share between 0 and 1 over the rows where it is known (not NaN)."""
    known = torch.isfinite(share)
    each = F.binary_cross_entropy_with_logits(
        logit[:, 0], torch.nan_to_num(share), reduction="none"
    )
    return (each * known).sum() / known.sum().clamp(min=1)


def scalar_redshift_loss(redshift: Tensor, log1z: Tensor) -> Tensor:
    """Mean squared error of a bare redshift, shape (batch, 1): the published SpectraNet's."""
    return F.mse_loss(redshift[:, 0], torch.expm1(log1z))
