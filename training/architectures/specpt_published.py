"""SpecPT as published (Pattnaik et al. 2025, arXiv:2501.01070), to build and to measure.

It is not shipped, for what its public code does: each spectrum is one token, so that attention
has nothing to attend to; the redshift head attends across the spectra of a batch, so that an
answer depends on its neighbours (a test shows it); nearly all of its 1.1 G parameters lie in one
dense layer; noise and masks are not seen; the redshift is a bare number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class PublishedSpecPTConfig:
    """Shape of the network; the defaults are the paper's.

    Parameters
    ----------
    n_pixels : int
    channels, kernels : sequence of int
        Of the three convolutions, each with stride 2 but the last.
    width, depth, heads : int
        Of the transformer.
    """

    n_pixels: int = 7781
    channels: Sequence[int] = (64, 128, 256)
    kernels: Sequence[int] = (41, 21, 11)
    width: int = 512
    depth: int = 3
    heads: int = 8


class PublishedSpecPTNet(nn.Module):
    """Convolutions, a transformer over sequences of one token, dense layers.

    Input as for `training.architectures.specpt.SpecPTNet`, of which the first channel is used.
    Outputs ``redshift`` (batch, 1) and ``reconstruction`` (batch, n_pixels).
    """

    outputs = ("redshift", "reconstruction")

    def __init__(self, config: PublishedSpecPTConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        before = 1
        for place, (width, kernel) in enumerate(zip(config.channels, config.kernels, strict=True)):
            stride = 1 if place == len(config.channels) - 1 else 2
            layers += [nn.Conv1d(before, width, kernel, stride, kernel // 2), nn.ReLU()]
            before = width
        self.convolutions = nn.Sequential(*layers, nn.MaxPool1d(2))
        with torch.no_grad():
            size = self.convolutions(torch.zeros(1, 1, config.n_pixels)).numel()
        self.dense = nn.Linear(size, config.width)
        self.encoder = _transformer(config)
        self.decoder = _transformer(config)
        self.out = nn.Linear(config.width, config.n_pixels)
        self.attention = nn.MultiheadAttention(config.width, config.heads)
        self.redshift = nn.Sequential(
            nn.Linear(config.width, config.width), nn.ReLU(), nn.Linear(config.width, 1)
        )

    def reconstruct(self, spectrum: Tensor) -> Tensor:
        """The reconstruction alone, (batch, n_pixels)."""
        return self(spectrum)[1]  # type: ignore[no-any-return]

    def forward(self, spectrum: Tensor) -> tuple[Tensor, ...]:
        x = self.dense(self.convolutions(spectrum[:, :1]).flatten(1))
        # (batch, 1, width): a sequence of one.
        token = self.encoder(x.unsqueeze(1))
        reconstruction = self.out(self.decoder(token).squeeze(1))
        # (batch, width): without a batch dimension, the spectra are taken for a sequence.
        row = token.squeeze(1)
        mixed = self.attention(row, row, row, need_weights=False)[0]
        return F.softplus(self.redshift(row + mixed)), reconstruction


def _transformer(config: PublishedSpecPTConfig) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(config.width, config.heads, batch_first=True)
    return nn.TransformerEncoder(layer, config.depth, enable_nested_tensor=False)
