"""Fold batch normalisation into the convolutions before it, for inference."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

if TYPE_CHECKING:
    from training.architectures import Network, NetworkConfig, SpecPTNet, SurveyNet
    from training.architectures.served import Served

Foldable = TypeVar("Foldable", bound="Network | SpecPTNet | SurveyNet | Served")


def fuse(network: Foldable) -> Foldable:
    """A copy in evaluation mode whose normalisation layers are folded away.

    A convolution followed by a normalisation with fixed statistics is a convolution:
    the exported graph holds one operation instead of two, and its weights keep the
    names of the network, so that they can be read back from ONNX (see `training.parity`).
    """
    fused = deepcopy(network).eval()
    fused.fold()
    return fused


def empty_fused(config: NetworkConfig, members: int) -> Served:
    """The served network of so many members without normalisation layers, for folded weights."""
    from training.architectures import build
    from training.architectures.served import Served

    return fuse(Served([build(config) for _ in range(members)]))


def fold(conv: nn.Conv1d, norm: nn.BatchNorm1d, part: slice = slice(None)) -> None:
    """Scale and shift a convolution's weights by a part of a normalisation's channels."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert conv.bias is not None
    with torch.no_grad():
        scale = norm.weight[part] / torch.sqrt(norm.running_var[part] + norm.eps)
        conv.weight.mul_(scale[:, None, None])
        conv.bias.copy_((conv.bias - norm.running_mean[part]) * scale + norm.bias[part])


def fold_branches(branches: nn.ModuleList, norm: nn.BatchNorm1d) -> None:
    """The same for one normalisation over parallel convolutions."""
    start = 0
    for branch in branches:
        assert isinstance(branch, nn.Conv1d)
        fold(branch, norm, slice(start, start + branch.out_channels))
        start += branch.out_channels


def fold_trunk(network: nn.Module) -> None:
    """Fold a stem of parallel convolutions and its residual stages, and make them images.

    `network` has ``stem``, ``stem_norm`` and ``stages`` of
    `training.architectures.aligned.Residual`.
    """
    fold_branches(network.stem, network.stem_norm)  # type: ignore[arg-type]
    network.stem_norm = nn.Identity()
    network.stem = nn.ModuleList(as_image(branch) for branch in network.stem)  # type: ignore
    for stage in network.stages:  # type: ignore[union-attr]
        for conv, norm in (("down", "norm0"), ("conv1", "norm1"), ("conv2", "norm2")):
            if getattr(stage, conv) is not None:
                fold(getattr(stage, conv), getattr(stage, norm))
                setattr(stage, norm, nn.Identity())
                setattr(stage, conv, as_image(getattr(stage, conv)))


def as_image(conv: nn.Conv1d) -> nn.Conv2d:
    """The same convolution over an image of height one.

    onnxruntime lays out the channels of two-dimensional convolutions for the CPU's vectors,
    and runs them an eighth to a quarter faster than one-dimensional ones.
    """
    image = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        (1, conv.kernel_size[0]),
        stride=(1, conv.stride[0]),
        padding=(0, int(conv.padding[0])),
    )
    assert conv.bias is not None
    assert image.bias is not None
    with torch.no_grad():
        image.weight.copy_(conv.weight.unsqueeze(2))
        image.bias.copy_(conv.bias)
    return image
