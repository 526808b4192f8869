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
    """How far an embedding lies from every training class.

    Relative Mahalanobis distance (Ren et al. 2021, arXiv:2106.09022): the squared distance
    to the nearest class mean under the covariance within classes, minus that to the common
    mean under the covariance of all. What is odd about every spectrum cancels.

    Parameters
    ----------
    n_classes, embedding : int
    """

    def __init__(self, n_classes: int, embedding: int) -> None:
        super().__init__()
        # Parameters, so that they are found by name in the exported graph.
        self.within = nn.Parameter(torch.zeros(embedding, embedding), requires_grad=False)
        self.means = nn.Parameter(torch.zeros(n_classes, embedding), requires_grad=False)
        self.overall = nn.Parameter(torch.zeros(embedding, embedding), requires_grad=False)
        self.centre = nn.Parameter(torch.zeros(1, embedding), requires_grad=False)

    def forward(self, embedding: Tensor) -> Tensor:
        """Score of each row, (batch, 1)."""
        # `means` and `centre` are already whitened.
        near = embedding @ self.within
        # Differences first: sums of squares of large numbers would leave no digits.
        distance = ((near.unsqueeze(1) - self.means) ** 2).sum(dim=2)
        common = ((embedding @ self.overall - self.centre) ** 2).sum(dim=1, keepdim=True)
        return (distance.amin(dim=1, keepdim=True) - common) / embedding.shape[1]


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
        answers = [member(spectrum) for member in self.members]
        joined = [
            _join(name, list(parts))
            for name, parts in zip(self.outputs, zip(*answers, strict=True), strict=False)
        ]
        joined[0] = joined[0] + self.class_bias
        return (*joined, self.novelty(joined[-1]))

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
