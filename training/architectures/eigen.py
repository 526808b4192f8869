"""GaSNet-III: encoders and learnable rest-frame eigen-spectra, one set a family.

As published (Zhong et al. 2024, arXiv:2412.21130): three convolutions and a dense layer turn
an observed spectrum into coefficients that are not negative; times eigen-spectra that are
learned with them, at the true redshift, they give the spectrum back. Ours are positive
fluxes with their continuum, masked pixels count for nothing, and shifts are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specinfer.preprocess import N_CHANNELS


@dataclass(frozen=True)
class EigenConfig:
    """Shape of the network.

    Parameters
    ----------
    n_pixels : int
        Of the input grid.
    n_spectra : mapping of str to int
        Eigen-spectra of each family.
    channels : sequence of int
    kernel, stride : int
        Of the convolutions.
    """

    n_pixels: int = 2048
    n_spectra: Mapping[str, int] = field(
        default_factory=lambda: {"GALAXY": 10, "QSO": 10, "STAR": 12}
    )
    channels: Sequence[int] = (8, 16, 32)
    kernel: int = 9
    stride: int = 5


class Encoder(nn.Module):
    """Coefficients of one family, none of them negative, for a flux of median 1."""

    def __init__(self, config: EigenConfig, count: int) -> None:
        super().__init__()
        before, layers = N_CHANNELS, []
        for width in config.channels:
            layers += [
                nn.Conv1d(before, width, config.kernel, config.stride, config.kernel // 2),
                nn.ReLU(),
            ]
            before = width
        self.convolutions = nn.Sequential(*layers)
        with torch.no_grad():
            size = self.convolutions(torch.zeros(1, N_CHANNELS, config.n_pixels)).numel()
        self.dense = nn.Linear(size, 96)
        self.out = nn.Linear(96, count)

    def forward(self, spectrum: Tensor) -> Tensor:
        x = self.convolutions(spectrum).flatten(1)
        return F.softplus(self.out(F.relu(self.dense(x))))


class EigenNet(nn.Module):
    """Encoders and eigen-spectra of all families.

    Input ``spectrum`` (batch, 3, n_pixels), see `specinfer.preprocess.Prepared`. Output
    ``coefficients`` (batch, sum of n_spectra), family after family.

    Parameters
    ----------
    config : EigenConfig
    spectra : mapping of str to Tensor, shape (K, n)
        Where the eigen-spectra start.
    """

    outputs = ("coefficients",)

    def __init__(self, config: EigenConfig, spectra: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.config = config
        self.encoders = nn.ModuleDict(
            {name: Encoder(config, count) for name, count in config.n_spectra.items()}
        )
        # Squares of free parameters: never negative, and the slope is never lost.
        self.roots = nn.ParameterDict(
            {name: nn.Parameter(spectra[name].clamp(min=1e-4).sqrt()) for name in config.n_spectra}
        )

    def forward(self, spectrum: Tensor) -> tuple[Tensor, ...]:
        return (torch.cat([encoder(spectrum) for encoder in self.encoders.values()], dim=1),)

    def eigenspectra(self, family: str) -> Tensor:
        """The eigen-spectra of a family, (K, n)."""
        return self.roots[family] ** 2


class UNet(nn.Module):
    """The published variant without eigen-spectra: an observed spectrum, denoised.

    Input and output on the same grid: ``spectrum`` (batch, 3, n_pixels) in,
    ``reconstruction`` (batch, n_pixels) out, the first channel without its noise.
    """

    outputs = ("reconstruction",)

    def __init__(self, config: EigenConfig) -> None:
        super().__init__()
        self.config = config
        widths = [4 * width for width in config.channels]
        self.down = nn.ModuleList()
        before = N_CHANNELS
        for width in widths:
            self.down.append(_block(before, width, config.kernel))
            before = width
        self.bottom = _block(before, 2 * before, config.kernel)
        before *= 2
        self.up = nn.ModuleList()
        for width in reversed(widths):
            self.up.append(_block(before + width, width, config.kernel))
            before = width
        self.out = nn.Conv1d(before, 1, 1)

    def forward(self, spectrum: Tensor) -> tuple[Tensor, ...]:
        x, kept = spectrum, []
        for block in self.down:
            x = block(x)
            kept.append(x)
            x = F.max_pool1d(x, 4)
        x = self.bottom(x)
        for block, beside in zip(self.up, reversed(kept), strict=True):
            x = F.interpolate(x, size=beside.shape[-1], mode="linear", align_corners=False)
            x = block(torch.cat([x, beside], dim=1))
        return (self.out(x).squeeze(1),)


def _block(before: int, after: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(before, after, kernel, padding=kernel // 2),
        nn.BatchNorm1d(after),
        nn.ReLU(),
        nn.Conv1d(after, after, kernel, padding=kernel // 2),
        nn.BatchNorm1d(after),
        nn.ReLU(),
    )


def shifted(spectra: Tensor, place: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Rest-frame spectra on the observed axis, and where they reach.

    Parameters
    ----------
    spectra : Tensor, shape (batch, ..., n)
    place : Tensor, shape (batch,)
        Position, in rest-frame pixels, of the first observed one.
    count : int
        Observed pixels.

    Returns
    -------
    shifted : Tensor, shape (batch, ..., count)
        By cubic interpolation; 0 beyond the ends.
    inside : Tensor of bool, shape (batch, count)
    """
    whole = torch.floor(place)
    t = (place - whole).to(spectra.dtype)
    base = whole.long()[:, None] + torch.arange(count, device=place.device)
    n = spectra.shape[-1]
    inside = (base >= 1) & (base < n - 2)
    base = base.clamp(1, n - 3)
    weights = (
        -t * (t - 1) * (t - 2) / 6,
        (t + 1) * (t - 1) * (t - 2) / 2,
        -(t + 1) * t * (t - 2) / 2,
        (t + 1) * t * (t - 1) / 6,
    )
    extra = spectra.dim() - 2
    shape = (len(base), *([1] * extra), count)
    full = (*spectra.shape[:-1], count)
    total = torch.zeros(full, dtype=spectra.dtype, device=spectra.device)
    for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
        index = (base + offset).reshape(shape).expand(full)
        part = spectra.gather(-1, index)
        total = total + weight.reshape(-1, *([1] * (extra + 1))) * part
    return total * inside.reshape(shape), inside
