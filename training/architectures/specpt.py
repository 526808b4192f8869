"""SpecPT as it became here: a transformer over patches of a spectrum, with real attention.

A convolutional stem makes one token of every 16 grid pixels; a pre-norm transformer encoder
(Vaswani et al. 2017, arXiv:1706.03762; Xiong et al. 2020, arXiv:2002.04745) lets each look at
all others, with positions that are ln(wavelength); a decoder that mirrors the stem gives the
spectrum without its noise; the redshift is read from the tokens by correlation with learned
templates over all shifts (`training.architectures.correlate`). Every spectrum is answered by
itself: nothing is shared between those of a batch. The published network (Pattnaik et al. 2025,
arXiv:2501.01070) is `training.architectures.specpt_published`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specinfer.noise_channel import CHANNELS
from training.architectures.correlate import ShiftCorrelation
from training.architectures.survey import DISTANT

# Grid pixels of a token: the strides of the stem together.
PATCH = 16
_STRIDES = (4, 2, 2)
# Attention to a token without a usable pixel: as good as none, and no NaN where all are.
_AWAY = -1e4
# What runs in half precision on GPUs.
_HALVED = (
    "stem1", "stem2", "stem3", "place", "blocks", "norm", "rise3", "mix3", "rise2", "mix2",
    "rise1", "squeeze",
)  # fmt: skip


@dataclass(frozen=True)
class SpecPTConfig:
    """Shape of the network.

    Parameters
    ----------
    n_pixels : int
        Grid pixels; a multiple of 16.
    wavelength_min, wavelength_max : float
        Of the grid, Angstrom: tokens know where they are by these.
    n_classes : int
        Subclasses, with that of no signal.
    n_shifts : int
        Steps of eight grid pixels over which templates are correlated; each makes two
        redshift bins.
    conditional : bool
        Whether there is a p(z | family) for galaxies and quasars, or one p(z).
    stem : sequence of int
        Channels after the first two of the three convolutions of the stem.
    width, depth, heads, mlp_ratio : int
        Of the transformer.
    n_features, n_templates, template_length : int
        Correlated features, learned templates, and their length in steps of eight pixels.
    n_evidence : int
        Channels of evidence at every shift.
    embedding : int
    dropout : float
    """

    n_pixels: int = 2048
    wavelength_min: float = 3560.0
    wavelength_max: float = 10380.0
    n_classes: int = 19
    n_shifts: int = 432
    conditional: bool = True
    stem: Sequence[int] = (32, 64)
    width: int = 96
    depth: int = 4
    heads: int = 4
    mlp_ratio: int = 4
    n_features: int = 12
    n_templates: int = 32
    template_length: int = 640
    n_evidence: int = 48
    embedding: int = 128
    dropout: float = 0.1

    @property
    def n_redshift(self) -> int:
        """Redshift bins."""
        return 2 * self.n_shifts

    @property
    def n_tokens(self) -> int:
        """Tokens of a spectrum."""
        return self.n_pixels // PATCH

    @property
    def redshift_outputs(self) -> tuple[str, ...]:
        """Names of the outputs with redshift logits."""
        names = [f"{name.lower()}_redshift_logits" for name in DISTANT]
        return tuple(names) if self.conditional else ("redshift_logits",)


class Attention(nn.Module):
    """Self-attention with rotary positions (Su et al. 2021, arXiv:2104.09864).

    What two tokens are to each other depends on the difference of their ln(wavelength): a
    redshift, which shifts all of them alike, changes nothing of it.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, width: int, heads: int, position: Tensor) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        half = width // heads // 2
        # Wavelengths of the rotation from two tokens to the whole spectrum.
        wave = torch.exp(
            torch.linspace(math.log(2.0), math.log(2.0 * len(position)), half, dtype=torch.float64)
        )
        angle = 2.0 * math.pi * position.double()[:, None] / wave
        self.register_buffer("cos", torch.cos(angle).float(), persistent=False)
        self.register_buffer("sin", torch.sin(angle).float(), persistent=False)

    def _turned(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return torch.cat(
            [first * self.cos - second * self.sin, first * self.sin + second * self.cos], dim=-1
        )

    def forward(self, x: Tensor, away: Tensor) -> Tensor:
        # (3, batch, heads, tokens, width of a head)
        parts = self.qkv(x).unflatten(2, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        q, k = self._turned(q), self._turned(k)
        score = q @ k.transpose(-1, -2) * self.scale + away[:, None, None]
        mixed = torch.softmax(score, dim=-1) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, config: SpecPTConfig, position: Tensor) -> None:
        super().__init__()
        width = config.width
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, config.heads, position)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, config.mlp_ratio * width)
        self.down = nn.Linear(config.mlp_ratio * width, width)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, away: Tensor) -> Tensor:
        x = x + self.drop(self.attention(self.norm1(x), away))
        return x + self.drop(self.down(F.relu(self.up(self.norm2(x)))))


class SpecPTNet(nn.Module):
    """Stem, transformer, decoder and heads.

    Input ``spectrum`` (batch, 4, n_pixels), see `specinfer.noise_channel.with_noise`. Outputs,
    named in `outputs`: ``class_logits``, the redshift logits (of p(z | family) or of p(z)),
    ``embedding``, and ``reconstruction`` (batch, n_pixels), the first channel without noise.
    """

    position: Tensor
    wave: Tensor

    def __init__(self, config: SpecPTConfig) -> None:
        super().__init__()
        self.config = config
        self.outputs = ("class_logits", *config.redshift_outputs, "embedding", "reconstruction")
        first, second = config.stem
        width = config.width
        self.stem1 = nn.Conv1d(CHANNELS, first, 17, stride=_STRIDES[0], padding=8)
        self.stem2 = nn.Conv1d(first, second, 5, stride=_STRIDES[1], padding=2)
        self.stem3 = nn.Conv1d(second, width, 5, stride=_STRIDES[2], padding=2)
        # ln(wavelength) of the tokens in units of their distance, and waves of it: what a
        # token is depends on where it was seen (sky lines), beside what is around it.
        step = math.log(config.wavelength_max / config.wavelength_min) / config.n_tokens
        start = math.log(config.wavelength_min) + 0.5 * step
        place = torch.arange(config.n_tokens, dtype=torch.float64) + start / step
        periods = torch.exp(
            torch.linspace(math.log(4.0), math.log(2.0 * config.n_tokens), 16, dtype=torch.float64)
        )
        angle = 2.0 * math.pi * place[:, None] / periods
        wave = torch.cat([torch.sin(angle), torch.cos(angle)], dim=1).float()
        self.register_buffer("wave", wave, persistent=False)
        self.place = nn.Linear(wave.shape[1], width)
        self.blocks = nn.ModuleList([Block(config, place) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(width)
        # The decoder: the stem backwards.
        self.rise3 = nn.ConvTranspose1d(width, second, 4, stride=2, padding=1)
        self.mix3 = nn.Conv1d(second, second, 5, padding=2)
        self.rise2 = nn.ConvTranspose1d(second, first, 4, stride=2, padding=1)
        self.mix2 = nn.Conv1d(first, first, 5, padding=2)
        self.rise1 = nn.ConvTranspose1d(first, 1, 12, stride=4, padding=4)
        # The heads.
        self.squeeze = nn.Linear(width, 12)
        self.look = nn.Sequential(
            nn.Linear(2 * width + 12 * config.n_tokens, 256), nn.ReLU(), nn.Dropout(config.dropout)
        )
        self.features = nn.Conv1d(2 * second, config.n_features, 1)
        self.correlate = ShiftCorrelation(
            config.n_features,
            config.n_templates,
            config.n_pixels // 8,
            config.template_length,
            config.n_shifts,
        )
        self.gate = nn.Linear(256, config.n_templates)
        self.evidence = nn.Conv1d(config.n_templates, config.n_evidence, 3, padding=1)
        n_heads = len(config.redshift_outputs)
        self.score = nn.Conv1d(config.n_evidence, 2 * n_heads, 3, padding=1)
        self.dense_redshift = nn.Sequential(
            nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, n_heads * config.n_redshift)
        )
        self.embed = nn.Linear(256 + n_heads * config.n_evidence, config.embedding)
        self.drop = nn.Dropout(config.dropout)
        self.classify = nn.Linear(config.embedding, config.n_classes)

    def encode(self, spectrum: Tensor, order: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens (batch, n_tokens, width), and the map of half a token's distance before them.

        `order`, a permutation of the tokens after the stem and before their positions are
        added, shows in tests that attention knows where they are.
        """
        seen = spectrum[:, 1].unflatten(1, (-1, PATCH)).amax(dim=2)
        x = F.relu(self.stem1(spectrum.to(self.stem1.weight.dtype)))
        local = F.relu(self.stem2(x))
        tokens = self.stem3(local).transpose(1, 2)
        if order is not None:
            tokens, seen = tokens[:, order], seen[:, order]
        tokens = tokens + self.place(self.wave.to(self.place.weight.dtype))
        away = ((1.0 - seen) * _AWAY).to(self.place.weight.dtype)
        for block in self.blocks:
            tokens = block(tokens, away)
        return self.norm(tokens), local

    def decode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The reconstruction (batch, n_pixels), and the decoder's first map."""
        x = F.relu(self.rise3(tokens.transpose(1, 2)))
        coarse = F.relu(self.mix3(x))
        x = F.relu(self.mix2(F.relu(self.rise2(coarse))))
        return self.rise1(x).squeeze(1), coarse

    def reconstruct(self, spectrum: Tensor) -> Tensor:
        """The reconstruction alone, (batch, n_pixels): what pre-training needs."""
        return self.decode(self.encode(spectrum)[0])[0]

    def forward(self, spectrum: Tensor, order: Tensor | None = None) -> tuple[Tensor, ...]:
        config = self.config
        tokens, local = self.encode(spectrum, order)
        reconstruction, coarse = self.decode(tokens)
        looked = self.look(
            torch.cat(
                [tokens.mean(dim=1), tokens.amax(dim=1), F.relu(self.squeeze(tokens)).flatten(1)],
                dim=1,
            ).float()
        )
        features = self.features(torch.cat([local, coarse], dim=1).float())
        gated = self.correlate(features) * torch.sigmoid(self.gate(looked)).unsqueeze(2)
        evidence = F.relu(self.evidence(gated))
        n_heads = len(config.redshift_outputs)
        # (batch, head, shift, 2)
        score = self.score(evidence).unflatten(1, (n_heads, 2)).transpose(2, 3)
        dense = self.dense_redshift(looked).unflatten(1, (n_heads, config.n_redshift))
        redshift = (dense + score.flatten(2)).float()
        # What the templates say at the redshifts that each head believes in.
        belief = F.softmax(redshift.unflatten(2, (config.n_shifts, 2)).logsumexp(dim=3), dim=2)
        read = torch.einsum("bes,bfs->bfe", evidence.float(), belief).flatten(1)
        embedding = self.embed(torch.cat([looked, read.to(looked.dtype)], dim=1))
        logits = self.classify(self.drop(F.relu(embedding)))
        heads = redshift.unbind(1)
        return (logits, *heads, embedding, reconstruction.float())

    def halve(self) -> None:
        """Stem, transformer and decoder in half precision, for GPUs.

        What the redshift is read with stays in single precision: sums over hundreds of steps.
        """
        for name, part in self.named_children():
            if name in _HALVED:
                part.half()

    def fold(self) -> None:
        """Make the graph that is exported: transforms become products, see `fuse`."""
        self.correlate.as_products = True
