"""Fold batch normalisation into the convolutions before it, for inference."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from training.architectures.spectranet import SpectraNet, SpectraNetConfig, Stage


def fuse(model: SpectraNet) -> SpectraNet:
    """A copy in evaluation mode whose normalisation layers are folded away.

    A convolution followed by a normalisation with fixed statistics is a convolution:
    the exported graph holds one operation instead of two, and its weights keep the
    names of the network, so that they can be read back from ONNX (see `training.parity`).
    """
    fused = deepcopy(model).eval()
    sizes = [branch.out_channels for branch in fused.stem]
    start = 0
    for branch, size in zip(fused.stem, sizes, strict=True):
        _fold(branch, fused.stem_norm, slice(start, start + size))
        start += size
    fused.stem_norm = nn.Identity()
    for stage in fused.stages:
        assert isinstance(stage, Stage)
        for conv, norm in (("down", "norm0"), ("conv1", "norm1"), ("conv2", "norm2")):
            _fold(getattr(stage, conv), getattr(stage, norm), slice(None))
            setattr(stage, norm, nn.Identity())
    return fused


def empty_fused(config: SpectraNetConfig) -> SpectraNet:
    """A network without normalisation layers, for weights that were folded."""
    return fuse(SpectraNet(config))


def _fold(conv: nn.Conv1d, norm: nn.BatchNorm1d, part: slice) -> None:
    """Scale and shift a convolution's weights by a part of a normalisation's channels."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert conv.bias is not None
    with torch.no_grad():
        scale = norm.weight[part] / torch.sqrt(norm.running_var[part] + norm.eps)
        conv.weight.mul_(scale[:, None, None])
        conv.bias.copy_((conv.bias - norm.running_mean[part]) * scale + norm.bias[part])
