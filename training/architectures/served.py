"""What is exported: one or more trained networks, averaged, with a novelty score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from training.architectures import Network


class Novelty(nn.Module):
    """How unlike the training spectra a spectrum is.

    A small network that was trained to tell spectra of training objects from spectra of
    nothing (outlier exposure: Hendrycks et al. 2019, arXiv:1812.04606), plus the energy of
    the class logits (Liu et al. 2020, arXiv:2010.03759): features that speak for no class.

    Parameters
    ----------
    n_classes, embedding : int
    hidden : int
    """

    def __init__(self, n_classes: int, embedding: int, hidden: int = 64) -> None:
        super().__init__()
        self.hidden = nn.Linear(embedding + n_classes, hidden)
        self.out = nn.Linear(hidden + 1, 1)

    def forward(self, clues: Tensor) -> Tensor:
        """Score of each row of `Served.clues`, (batch, 1)."""
        seen = F.relu(self.hidden(clues[:, :-1]))
        return self.out(torch.cat([seen, clues[:, -1:]], dim=1))


class Served(nn.Module):
    """Trained networks as one: probabilities averaged, embeddings side by side.

    Parameters
    ----------
    members : sequence of Network
        Of one shape.

    Notes
    -----
    Input and outputs are those of a member (class logits first, the embedding last), and
    ``novelty`` (batch, 1).
    """

    def __init__(self, members: Sequence[Network]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.config = members[0].config
        self.size = self.config.embedding * len(members)
        self.novelty = Novelty(self.config.n_classes, self.size)
        # Between the classes as training draws them and as a telescope meets them.
        self.class_bias = nn.Parameter(torch.zeros(self.config.n_classes), requires_grad=False)
        self.outputs = (*members[0].outputs, "novelty")

    def forward(self, spectrum: Tensor) -> tuple[Tensor, ...]:
        joined, clues = self._together(spectrum)
        joined[0] = joined[0] + self.class_bias
        return (*joined, self.novelty(clues))

    def clues(self, spectrum: Tensor) -> Tensor:
        """What novelty is told from: embedding, class logits, and their energy last."""
        return self._together(spectrum)[1]

    def _together(self, spectrum: Tensor) -> tuple[list[Tensor], Tensor]:
        answers = [member(spectrum) for member in self.members]
        joined = [
            _join(name, list(parts))
            for name, parts in zip(self.outputs, zip(*answers, strict=True), strict=False)
        ]
        energies = [-answer[0].logsumexp(dim=1, keepdim=True) for answer in answers]
        energy = torch.stack(energies).mean(dim=0)
        return joined, torch.cat([joined[-1], joined[0], energy], dim=1)

    def fold(self) -> None:
        """Fold the normalisation layers of all members."""
        for member in self.members:
            member.fold()  # type: ignore[operator]


def _join(name: str, parts: list[Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    if name == "embedding":
        return torch.cat(parts, dim=1)
    if name == "host_logit":
        return torch.stack(parts).mean(dim=0)
    # The logarithm of the mean probability.
    logs = torch.stack([F.log_softmax(part, dim=1) for part in parts])
    return logs.logsumexp(dim=0) - math.log(len(parts))
