"""GaSNet-II as it became here: subclass and p(z | family) of a survey spectrum in one pass.

The published network (Zhong et al. 2023, arXiv:2311.04146) has six residual blocks for the
subclass and ten more networks a subclass for the redshift; it is `PublishedSurveyNet`. Ours
(`SurveyNet`) reads both from one trunk, with learned features correlated with learned
templates over all shifts as in `training.architectures.aligned`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specinfer.preprocess import N_CHANNELS
from training.architectures.aligned import Residual
from training.architectures.correlate import ShiftCorrelation
from training.architectures.fuse import fold_trunk

# Families with a redshift worth the name, in the order of the heads.
DISTANT = ("GALAXY", "QSO")


@dataclass(frozen=True)
class SurveyConfig:
    """Shape of the network.

    Parameters
    ----------
    n_pixels : int
        Grid pixels; a multiple of 64.
    n_classes : int
        Subclasses, with that of no signal.
    n_shifts : int
        Feature steps (eight grid pixels each) over which the templates are correlated; each
        makes two redshift bins.
    stem_kernels : sequence of int
        Kernel sizes of the parallel stem convolutions.
    widths : sequence of int
        Channels after the stem, then after each halving of the length.
    kernel : int
    n_features, n_templates, template_length : int
        Correlated features, learned templates, and their length in feature steps.
    n_evidence : int
        Channels of evidence at every shift.
    embedding : int
    dropout : float
    """

    n_pixels: int = 2048
    n_classes: int = 19
    n_shifts: int = 432
    stem_kernels: Sequence[int] = (9, 33, 129)
    widths: Sequence[int] = (48, 64, 96, 160)
    kernel: int = 5
    n_features: int = 12
    n_templates: int = 40
    template_length: int = 640
    n_evidence: int = 48
    embedding: int = 128
    dropout: float = 0.2

    @property
    def n_redshift(self) -> int:
        """Redshift bins."""
        return 2 * self.n_shifts


class SurveyNet(nn.Module):
    """Trunk, correlation and heads.

    Input ``spectrum`` (batch, 3, n_pixels), see `specinfer.preprocess.Prepared`. Outputs, each
    (batch, size), are named in `outputs`: the redshift logits are those of p(z | family).
    """

    outputs = ("class_logits", "galaxy_redshift_logits", "qso_redshift_logits", "embedding")

    def __init__(self, config: SurveyConfig) -> None:
        super().__init__()
        self.config = config
        w = list(config.widths)
        branches = len(config.stem_kernels)
        each = w[0] // branches
        sizes = [w[0] - each * (branches - 1)] + [each] * (branches - 1)
        self.stem = nn.ModuleList(
            nn.Conv1d(N_CHANNELS, size, kernel, stride=8, padding=kernel // 2)
            for size, kernel in zip(sizes, config.stem_kernels, strict=True)
        )
        self.stem_norm = nn.BatchNorm1d(w[0])
        self.stages = nn.ModuleList(
            [Residual(w[0], w[0], config.kernel, halve=False)]
            + [Residual(a, b, config.kernel, halve=True) for a, b in pairwise(w)]
        )
        self.n_steps = config.n_pixels // 8
        length = self.n_steps // 2 ** (len(w) - 1)
        self.squeeze = nn.Conv1d(w[-1], 24, 1)
        self.look = nn.Sequential(
            nn.Linear(2 * w[-1] + 24 * length, 256), nn.ReLU(), nn.Dropout(config.dropout)
        )
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
        # Two bins a shift for each family.
        self.score = nn.Conv1d(config.n_evidence, 2 * len(DISTANT), 3, padding=1)
        self.dense_redshift = nn.Sequential(
            nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, len(DISTANT) * config.n_redshift)
        )
        self.embed = nn.Linear(256 + len(DISTANT) * config.n_evidence, config.embedding)
        self.drop = nn.Dropout(config.dropout)
        self.classify = nn.Linear(config.embedding, config.n_classes)
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
        features = self.fine(maps[0]) + torch.stack([coarse, coarse], dim=3).flatten(2)
        gated = self.correlate(features) * torch.sigmoid(self.gate(looked)).unsqueeze(2)
        evidence = F.relu(self.evidence(gated))
        # (batch, family, shift, 2)
        score = self.score(evidence).unflatten(1, (len(DISTANT), 2)).transpose(2, 3)
        dense = self.dense_redshift(looked).unflatten(1, (len(DISTANT), config.n_redshift))
        redshift = (dense + score.flatten(2)).float()
        # What the templates say at the redshifts that each family believes in.
        belief = F.softmax(redshift.unflatten(2, (config.n_shifts, 2)).logsumexp(dim=3), dim=2)
        read = torch.einsum("bes,bfs->bfe", evidence.float(), belief).flatten(1)
        embedding = self.embed(torch.cat([looked, read.to(looked.dtype)], dim=1))
        active = self.drop(F.relu(embedding))
        return (self.classify(active), redshift[:, 0], redshift[:, 1], embedding)

    def fold(self) -> None:
        """Fold the normalisation layers away; see `training.architectures.fuse`."""
        fold_trunk(self)
        self.folded = True
        self.correlate.as_products = True


@dataclass(frozen=True)
class PublishedSurveyConfig:
    """Shape of the published network.

    Parameters
    ----------
    n_pixels : int
        3600 in the paper.
    n_classes : int
        13 in the paper; for a regression of the redshift, 1.
    filters : sequence of int
        Of the six residual blocks.
    kernel, stride : int
    dense : int
    """

    n_pixels: int = 3600
    n_classes: int = 13
    filters: Sequence[int] = (16, 32, 64, 128, 256, 512)
    kernel: int = 5
    stride: int = 3
    dense: int = 256


class PublishedSurveyNet(nn.Module):
    """GaSNet-II as published: residual blocks, then dense layers, on the flux alone.

    Input as for `SurveyNet`, of which only the first channel is used; output
    ``class_logits`` (batch, n_classes).
    """

    outputs = ("class_logits",)

    def __init__(self, config: PublishedSurveyConfig) -> None:
        super().__init__()
        self.config = config
        before = 1
        self.blocks = nn.ModuleList()
        self.bypasses = nn.ModuleList()
        self.norms = nn.ModuleList()
        length = config.n_pixels
        for width in config.filters:
            self.blocks.append(
                nn.Sequential(
                    nn.Conv1d(before, width, config.kernel, padding=config.kernel // 2),
                    nn.ReLU(),
                    nn.Conv1d(
                        width, width, config.kernel, config.stride, padding=config.kernel // 2
                    ),
                )
            )
            self.bypasses.append(nn.Conv1d(before, width, 1, config.stride))
            self.norms.append(nn.BatchNorm1d(width))
            before, length = width, -(-length // config.stride)
        self.dense = nn.Linear(before * length, config.dense)
        self.classify = nn.Linear(config.dense, config.n_classes)

    def forward(self, spectrum: Tensor) -> tuple[Tensor, ...]:
        x = spectrum[:, :1]
        for block, bypass, norm in zip(self.blocks, self.bypasses, self.norms, strict=True):
            x = F.relu(norm(block(x) + bypass(x)))
        return (self.classify(F.relu(self.dense(x.flatten(1)))),)
