"""Correlation with learned templates over all shifts, by Fourier transform.

On a logarithmic wavelength grid a redshift is a shift, and the correlation of a spectrum
with a template over all shifts is how redshifts have been measured since Tonry & Davis
(1979, AJ 84, 1511). Here features and templates are learned. A direct convolution with
templates as long as the spectrum costs most of a small network; through the transform the
same numbers cost a sixth.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ShiftCorrelation(nn.Module):
    """Correlate features with templates at shifts of 0 to n_shifts - 1 steps.

    A template step r seen at shift s lies at feature step ``r + s - lead``, with
    ``lead = template_length - n_steps``: what lies outside the features counts as zero.

    Parameters
    ----------
    n_features, n_templates : int
    n_steps : int
        Length of the features.
    template_length : int
        Length of the templates, at least `n_steps`.
    n_shifts : int

    Notes
    -----
    Input (batch, n_features, n_steps), output (batch, n_templates, n_shifts).
    """

    def __init__(
        self, n_features: int, n_templates: int, n_steps: int, template_length: int, n_shifts: int
    ) -> None:
        super().__init__()
        self.n_steps, self.n_shifts = n_steps, n_shifts
        self.lead = template_length - n_steps
        # Long enough that nothing wraps around into a shift that is asked for: features and
        # templates overlap at shifts from 1 - n_steps to template_length - 1.
        self.length = max(template_length, n_steps + n_shifts - 1)
        # 1 / sqrt(inputs) keeps the first correlations of order one.
        self.weight = nn.Parameter(
            torch.randn(n_templates, n_features, template_length)
            * (n_features * template_length) ** -0.5
        )
        self.bias = nn.Parameter(torch.zeros(n_templates))
        # Exported graphs hold matrix products: onnxruntime has no fast transform.
        self.as_products = False

    def forward(self, features: Tensor) -> Tensor:
        # bfloat16 would spoil sums over hundreds of steps.
        with torch.autocast(features.device.type, enabled=False):
            answer = (self._products if self.as_products else self._transforms)(features.float())
        return answer + self.bias[:, None]

    def _transforms(self, features: Tensor) -> Tensor:
        length = _fast_length(self.length)
        spectrum = torch.fft.rfft(F.pad(features, (self.lead, 0)), length)
        templates = torch.fft.rfft(self.weight, length).conj()
        product = torch.einsum("bcf,kcf->bkf", spectrum, templates)
        return torch.fft.irfft(product, length)[..., : self.n_shifts]

    def _products(self, features: Tensor) -> Tensor:
        """The same as three matrix products with constant matrices.

        Frequencies come with their real and imaginary parts side by side: of a single
        spectrum nothing then has to be transposed.
        """
        n, k = self.length, self.weight.shape[0]
        cos, sin = _waves(torch.arange(self.n_steps) + self.lead, n)
        half = cos.shape[1]
        # (batch, frequency, real and imaginary features)
        spectrum = (features @ torch.stack([cos, -sin], dim=2).flatten(1)).transpose(1, 2)
        moved = spectrum.unflatten(1, (half, 2)).flatten(2).transpose(0, 1)
        cos, sin = _waves(torch.arange(self.weight.shape[2]), n)
        real, imaginary = self.weight @ cos, self.weight @ sin
        # (a + ib) times the conjugate (c - i(-d)), c = real and d = imaginary as made here.
        real, imaginary = real.permute(2, 1, 0), imaginary.permute(2, 1, 0)
        top = torch.cat([real, imaginary], dim=2)
        bottom = torch.cat([-imaginary, real], dim=2)
        product = (moved @ torch.cat([top, bottom], dim=1)).transpose(0, 1)
        back = product.unflatten(2, (2, k)).flatten(1, 2)
        cos, sin = _waves(torch.arange(self.n_shifts), n)
        # Every frequency but zero (and the last, if the length is even) stands for two.
        weight = torch.full((half,), 2.0)
        weight[0] = 1.0
        if n % 2 == 0:
            weight[-1] = 1.0
        inverse = torch.stack([(cos * weight).T, -(sin * weight).T], dim=1).flatten(0, 1) / n
        return back.transpose(1, 2) @ inverse


def _waves(positions: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (positions, length // 2 + 1), of a real transform."""
    frequency = torch.arange(length // 2 + 1)
    # The product is taken modulo the length as integers, so that no digit is lost.
    angle = (positions[:, None] * frequency % length).double() * (2.0 * math.pi / length)
    return torch.cos(angle).float(), torch.sin(angle).float()


def _fast_length(length: int) -> int:
    """The next power of two."""
    return int(2 ** math.ceil(math.log2(length)))
