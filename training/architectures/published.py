"""SpectraNet as it was published (AppleCiDEr II): two large convolutional networks.

Built from the description of the published network, to be compared with ours. Five stages
run a short, a medium and a long kernel side by side; one network answers with the class,
another of the same shape with the redshift as a bare number.

What the description leaves open, and what is taken here: padding that keeps the length,
biases everywhere, GELU between the two layers of the head, no dropout. With these the full
size has 25.2 million parameters and 8.2 GFLOP a network, as published. What differs: the
input is that of our own preprocessing (a logarithmic grid in the observed frame, continuum
divided out; its flux channel alone, the valid-pixel channel is not used, as published), and
the classes are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TASKS = ("class", "redshift")


@dataclass(frozen=True)
class PublishedConfig:
    """Shape of the network; the defaults are the published ones.

    Parameters
    ----------
    n_pixels : int
        Grid pixels; a multiple of `pool` to the power of the number of stages less one.
    task : {"class", "redshift"}
        What the network answers.
    n_classes : int
    widths : sequence of int
        Channels of each kernel's branch, and after each stage's projection.
    kernels : sequence of int
        Odd kernel sizes, three for each stage, one stage after the other.
    pool : int
        Factor by which the length falls after every stage but the last.
    hidden : int
        Neurons between the pooled features and the answer.

    Raises
    ------
    ValueError
        If the parts do not fit together.
    """

    n_pixels: int = 4096
    task: str = "class"
    n_classes: int = 14
    widths: Sequence[int] = (64, 128, 256, 512, 1024)
    kernels: Sequence[int] = (3, 61, 1021, 3, 31, 251, 3, 15, 61, 3, 11, 31, 3, 7, 13)
    pool: int = 4
    hidden: int = 384
    # It gives neither p(z) nor a phase: a recipe has no bins for it.
    n_redshift: ClassVar[int] = 0
    n_phase: ClassVar[int] = 0

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"task {self.task!r} is not one of {', '.join(TASKS)}")
        if len(self.kernels) != 3 * len(self.widths):
            raise ValueError(f"{len(self.widths)} widths need {3 * len(self.widths)} kernels")
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError("kernels must be odd, or a stage would change the length")
        if self.n_pixels % self.pool ** (len(self.widths) - 1):
            raise ValueError(f"n_pixels {self.n_pixels} cannot be pooled by {self.pool} so often")


class SpectraBlock(nn.Module):
    """Three kernels side by side, normalised over channels; then fewer channels and pixels.

    Parameters
    ----------
    before, after : int
        Channels in and out.
    kernels : sequence of int
    pool : int
    last : bool
        Without projection and pooling: three times `after` channels come out.
    """

    def __init__(
        self, before: int, after: int, kernels: Sequence[int], pool: int, *, last: bool
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv1d(before, after, kernel, padding=kernel // 2) for kernel in kernels
        )
        width = after * len(kernels)
        self.norm = nn.LayerNorm(width)
        self.project = None if last else nn.Conv1d(width, after, 1)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([branch(x) for branch in self.branches], dim=1)
        x = F.gelu(self.norm(x.transpose(1, 2)).transpose(1, 2))
        if self.project is None:
            return x
        return F.max_pool1d(self.project(x), self.pool)


class PublishedNet(nn.Module):
    """One of the two published networks.

    Input ``spectrum`` (batch, 3, n_pixels), see `specinfer.preprocess.Prepared`, of
    which the flux alone is looked at. One output: ``class_logits`` (batch, n_classes), or
    ``redshift`` (batch, 1), positive by a softplus.
    """

    def __init__(self, config: PublishedConfig) -> None:
        super().__init__()
        self.config = config
        self.outputs = ("class_logits",) if config.task == "class" else ("redshift",)
        stages: list[nn.Module] = []
        before = 1
        for index, width in enumerate(config.widths):
            kernels = config.kernels[3 * index : 3 * index + 3]
            last = index == len(config.widths) - 1
            stages.append(SpectraBlock(before, width, kernels, config.pool, last=last))
            before = width
        self.stages = nn.Sequential(*stages)
        self.hidden = nn.Linear(3 * config.widths[-1], config.hidden)
        self.answer = nn.Linear(config.hidden, config.n_classes if config.task == "class" else 1)

    def forward(self, spectrum: Tensor) -> tuple[Tensor, ...]:
        x = self.stages(spectrum[:, :1]).amax(dim=2)
        x = self.answer(F.gelu(self.hidden(x)))
        return (x if self.config.task == "class" else F.softplus(x.float()),)

    def fold(self) -> None:
        """Nothing to fold: a normalisation over channels has no fixed statistics."""
