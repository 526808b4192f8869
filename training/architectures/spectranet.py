"""SpectraNet: one convolutional trunk with class, redshift and phase heads.

The published network (SpectraNet of AppleCiDEr II) runs kernels of up to 1021
pixels over 4096 linear pixels, twice. On a logarithmic grid a redshift is a shift,
so 1024 pixels and a shared trunk do, and the redshift head can be what Tonry &
Davis (1979, AJ 84, 1511) did by hand: a correlation of the spectrum with templates
over all shifts; here both the features that are correlated and the templates are
learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.architectures.fuse import fold, fold_branches


@dataclass(frozen=True)
class SpectraNetConfig:
    """Shape of the network.

    Parameters
    ----------
    n_pixels : int
        Grid pixels; a multiple of 32.
    n_classes : int
    n_redshift : int
        Redshift bins in ln(1+z); four grid pixels make one feature step and two bins.
    n_shifts : int
        Feature steps over which the templates are correlated; bins beyond get their
        score from the dense part alone.
    n_phase : int
    widths : sequence of int
        Channels after the stem and after each of the four stages.
    stem_kernels : sequence of int
        Kernel sizes of the parallel stem convolutions.
    kernel : int
        Kernel size in the stages.
    n_features, n_templates, template_length : int
        Correlated features, learned templates, and their length in feature steps.
    embedding : int
        Dimension of the embedding.
    dropout : float
    """

    n_pixels: int = 1024
    n_classes: int = 14
    n_redshift: int = 640
    n_shifts: int = 160
    n_phase: int = 52
    widths: Sequence[int] = (32, 48, 64, 96, 160)
    stem_kernels: Sequence[int] = (7, 21, 61)
    kernel: int = 7
    n_features: int = 12
    n_templates: int = 20
    template_length: int = 330
    embedding: int = 128
    dropout: float = 0.2


class Stage(nn.Module):
    """Halve the length, then one residual block of two convolutions."""

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__()
        self.down = nn.Conv1d(before, after, kernel, stride=2, padding=kernel // 2)
        self.norm0 = nn.BatchNorm1d(after)
        self.conv1 = nn.Conv1d(after, after, kernel, padding=kernel // 2)
        self.norm1 = nn.BatchNorm1d(after)
        self.conv2 = nn.Conv1d(after, after, kernel, padding=kernel // 2)
        self.norm2 = nn.BatchNorm1d(after)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm0(self.down(x)))
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(x + self.norm2(self.conv2(y)))


class SpectraNet(nn.Module):
    """Trunk and heads.

    Input ``spectrum`` (batch, 2, n_pixels): normalised flux and valid-pixel channel.
    Outputs: class logits (batch, n_classes), redshift logits (batch, n_redshift), phase
    logits (batch, n_phase), embedding (batch, embedding).
    """

    outputs = ("class_logits", "redshift_logits", "phase_logits", "embedding")

    def __init__(self, config: SpectraNetConfig) -> None:
        super().__init__()
        self.config = config
        w = list(config.widths)
        each = w[0] // len(config.stem_kernels)
        sizes = [w[0] - each * (len(config.stem_kernels) - 1)] + [each] * (
            len(config.stem_kernels) - 1
        )
        self.stem = nn.ModuleList(
            nn.Conv1d(2, size, kernel, stride=2, padding=kernel // 2)
            for size, kernel in zip(sizes, config.stem_kernels, strict=True)
        )
        self.stem_norm = nn.BatchNorm1d(w[0])
        self.stages = nn.ModuleList(
            Stage(before, after, config.kernel) for before, after in pairwise(w)
        )
        length = config.n_pixels // 32
        self.squeeze = nn.Conv1d(w[-1], 24, 1)
        self.embed = nn.Sequential(
            nn.Linear(2 * w[-1] + 24 * length, 256),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(256, config.embedding),
        )
        self.classify = nn.Linear(config.embedding, config.n_classes)
        self.phase = nn.Sequential(
            nn.ReLU(), nn.Linear(config.embedding, 128), nn.ReLU(), nn.Linear(128, config.n_phase)
        )
        # Redshift: learned features correlated with learned templates over all shifts.
        self.features = nn.Conv1d(w[1] + w[2], config.n_features, 1)
        self.templates = nn.Conv1d(
            config.n_features, config.n_templates, config.template_length, bias=True
        )
        self.gate = nn.Linear(config.embedding, config.n_templates)
        self.score = nn.Sequential(
            nn.Conv1d(config.n_templates, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(32, 2, 3, padding=1),
        )
        self.dense_redshift = nn.Sequential(
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.embedding, 192),
            nn.ReLU(),
            nn.Linear(192, config.n_redshift),
        )
        # 1 / sqrt(features) keeps the first correlations of order one.
        nn.init.normal_(
            self.templates.weight, std=(config.n_features * config.template_length) ** -0.5
        )

    def forward(self, spectrum: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = F.relu(self.stem_norm(torch.cat([branch(spectrum) for branch in self.stem], dim=1)))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        pooled = torch.cat(
            [x.mean(dim=2), x.amax(dim=2), F.relu(self.squeeze(x)).flatten(1)], dim=1
        )
        embedding = self.embed(pooled)
        redshift = self.dense_redshift(embedding)
        redshift = redshift + F.pad(
            self._correlate(maps[0], maps[1], embedding),
            (0, self.config.n_redshift - 2 * self.config.n_shifts),
        )
        active = F.relu(embedding)
        return self.classify(active), redshift, self.phase(embedding), embedding

    def _correlate(self, fine: Tensor, coarse: Tensor, embedding: Tensor) -> Tensor:
        """Scores of all shifts, (batch, 2 n_shifts): two bins a feature step."""
        config = self.config
        upsampled = torch.repeat_interleave(coarse, 2, dim=2)
        features = self.features(torch.cat([fine, upsampled], dim=1))
        # A template pixel r seen at shift s lies at feature pixel r + s - lead: pad so
        # that every shift 0..n_shifts-1 has a full window.
        length = config.n_pixels // 4
        lead = config.template_length - length
        padded = F.pad(features, (lead, config.n_shifts - 1))
        correlation = self.templates(padded)
        gated = correlation * torch.sigmoid(self.gate(embedding)).unsqueeze(2)
        score = self.score(gated)
        return score.transpose(1, 2).flatten(1)

    def fold(self) -> None:
        """Fold the normalisation layers away; see `training.architectures.fuse`."""
        fold_branches(self.stem, self.stem_norm)
        self.stem_norm = nn.Identity()  # type: ignore[assignment]
        for stage in self.stages:
            for conv, norm in (("down", "norm0"), ("conv1", "norm1"), ("conv2", "norm2")):
                fold(getattr(stage, conv), getattr(stage, norm))
                setattr(stage, norm, nn.Identity())
