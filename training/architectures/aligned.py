"""The network that finds the redshift first and reads the class there.

A convolutional trunk sees the whole spectrum. Beside it, learned features are correlated
with learned templates over all shifts (`training.architectures.correlate`); what every
template says at a shift is evidence for the redshift, and, at the redshifts that are
believed, for the class, the phase and the rest: the same features, read in the rest frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specinfer.preprocess import N_CHANNELS
from training.architectures.correlate import ShiftCorrelation
from training.architectures.fuse import fold_trunk


@dataclass(frozen=True)
class AlignedConfig:
    """Shape of the network.

    Parameters
    ----------
    n_pixels : int
        Grid pixels; a multiple of 32.
    n_classes, n_subtypes : int
        Classes, and subtypes of SN Ia.
    n_redshift : int
        Redshift bins in ln(1+z); four grid pixels make one feature step and two bins.
    n_shifts : int
        Feature steps over which the templates are correlated; bins beyond get their
        score from the dense part alone.
    n_phase : int
    stem_kernels : sequence of int
        Kernel sizes of the parallel stem convolutions.
    widths : sequence of int
        Channels after the stem, then after each halving of the length.
    kernel : int
        Kernel size in the stages.
    n_features, n_templates, template_length : int
        Correlated features, learned templates, and their length in feature steps.
    n_evidence : int
        Channels of evidence at every shift.
    embedding : int
        Dimension of the embedding.
    dropout : float
    """

    n_pixels: int = 1024
    n_classes: int = 14
    n_subtypes: int = 5
    n_redshift: int = 640
    n_shifts: int = 160
    n_phase: int = 52
    stem_kernels: Sequence[int] = (9, 31, 95)
    widths: Sequence[int] = (48, 64, 96, 160)
    kernel: int = 5
    n_features: int = 16
    n_templates: int = 48
    template_length: int = 330
    n_evidence: int = 64
    embedding: int = 128
    dropout: float = 0.2


class Residual(nn.Module):
    """Two convolutions and a bypass; the first may halve the length."""

    def __init__(self, before: int, after: int, kernel: int, *, halve: bool) -> None:
        super().__init__()
        self.down: nn.Conv1d | None = None
        if halve:
            self.down = nn.Conv1d(before, after, kernel, stride=2, padding=kernel // 2)
            self.norm0 = nn.BatchNorm1d(after)
        self.conv1 = nn.Conv1d(after, after, kernel, padding=kernel // 2)
        self.norm1 = nn.BatchNorm1d(after)
        self.conv2 = nn.Conv1d(after, after, kernel, padding=kernel // 2)
        self.norm2 = nn.BatchNorm1d(after)

    def forward(self, x: Tensor) -> Tensor:
        if self.down is not None:
            x = F.relu(self.norm0(self.down(x)))
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(x + self.norm2(self.conv2(y)))


class AlignedNet(nn.Module):
    """Trunk, correlation and heads.

    Input ``spectrum`` (batch, 3, n_pixels), see `specinfer.preprocess.Prepared`.
    Outputs, each (batch, size), are named in `outputs`; ``host_logit`` is the logit of
    the share of host light.
    """

    outputs = (
        "class_logits", "redshift_logits", "phase_logits", "subtype_logits", "host_logit",
        "embedding",
    )  # fmt: skip

    def __init__(self, config: AlignedConfig) -> None:
        super().__init__()
        self.config = config
        w = list(config.widths)
        each = w[0] // len(config.stem_kernels)
        sizes = [w[0] - each * (len(config.stem_kernels) - 1)] + [each] * (
            len(config.stem_kernels) - 1
        )
        self.stem = nn.ModuleList(
            nn.Conv1d(N_CHANNELS, size, kernel, stride=4, padding=kernel // 2)
            for size, kernel in zip(sizes, config.stem_kernels, strict=True)
        )
        self.stem_norm = nn.BatchNorm1d(w[0])
        self.stages = nn.ModuleList(
            [Residual(w[0], w[0], config.kernel, halve=False)]
            + [Residual(a, b, config.kernel, halve=True) for a, b in pairwise(w)]
        )
        self.n_steps = config.n_pixels // 4
        length = self.n_steps // 2 ** (len(w) - 1)
        self.squeeze = nn.Conv1d(w[-1], 24, 1)
        self.look = nn.Sequential(
            nn.Linear(2 * w[-1] + 24 * length, 256), nn.ReLU(), nn.Dropout(config.dropout)
        )
        # Redshift: learned features correlated with learned templates over all shifts.
        self.fine = nn.Conv1d(w[0], config.n_features, 1)
        self.coarse = nn.Conv1d(w[1], config.n_features, 1)
        self.correlate = ShiftCorrelation(
            config.n_features,
            config.n_templates,
            self.n_steps,
            config.template_length,
            config.n_shifts,
        )
        self.gate = nn.Linear(256, config.n_templates)
        self.evidence = nn.Conv1d(config.n_templates, config.n_evidence, 3, padding=1)
        self.score = nn.Conv1d(config.n_evidence, 2, 3, padding=1)
        self.dense_redshift = nn.Sequential(
            nn.Linear(256, 96), nn.ReLU(), nn.Linear(96, config.n_redshift)
        )
        self.embed = nn.Linear(256 + config.n_evidence, config.embedding)
        self.drop = nn.Dropout(config.dropout)
        self.classify = nn.Linear(config.embedding, config.n_classes)
        self.subtype = nn.Linear(config.embedding, config.n_subtypes)
        self.host = nn.Linear(config.embedding, 1)
        self.phase = nn.Sequential(
            nn.Linear(config.embedding, 128), nn.ReLU(), nn.Linear(128, config.n_phase)
        )
        # Set by `fold`: the trunk then runs over images of height one.
        self.folded = False

    def forward(self, spectrum: Tensor) -> tuple[Tensor, ...]:
        config = self.config
        x = spectrum.unsqueeze(2) if self.folded else spectrum
        x = F.relu(self.stem_norm(torch.cat([branch(x) for branch in self.stem], dim=1)))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        if self.folded:
            maps = [m.squeeze(2) for m in maps]
        x = maps[-1]
        looked = self.look(
            torch.cat([x.mean(dim=2), x.amax(dim=2), F.relu(self.squeeze(x)).flatten(1)], dim=1)
        )
        coarse = self.coarse(maps[1])
        # Every coarse step twice, to lie beside the fine ones.
        features = self.fine(maps[0]) + torch.stack([coarse, coarse], dim=3).flatten(2)
        correlation = self.correlate(features)
        gated = correlation * torch.sigmoid(self.gate(looked)).unsqueeze(2)
        evidence = F.relu(self.evidence(gated))
        score = self.score(evidence).transpose(1, 2).flatten(1)
        redshift = self.dense_redshift(looked) + F.pad(
            score, (0, config.n_redshift - 2 * config.n_shifts)
        )
        near = redshift[:, : 2 * config.n_shifts].float().unflatten(1, (config.n_shifts, 2))
        belief = F.softmax(near.logsumexp(dim=2), dim=1)
        read = (evidence.float() * belief.unsqueeze(1)).sum(dim=2)
        embedding = self.embed(torch.cat([looked, read.to(looked.dtype)], dim=1))
        active = self.drop(F.relu(embedding))
        return (
            self.classify(active),
            redshift,
            self.phase(active),
            self.subtype(active),
            self.host(active),
            embedding,
        )

    def fold(self) -> None:
        """Fold the normalisation layers away; see `training.architectures.fuse`."""
        fold_trunk(self)
        self.folded = True
        self.correlate.as_products = True
