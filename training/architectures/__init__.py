"""The networks, by the name that a recipe gives as ``[network] architecture``."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from training.architectures.aligned import AlignedConfig, AlignedNet
from training.architectures.eigen import EigenConfig
from training.architectures.published import PublishedConfig, PublishedNet
from training.architectures.specpt import SpecPTConfig, SpecPTNet
from training.architectures.specpt_published import PublishedSpecPTConfig, PublishedSpecPTNet
from training.architectures.survey import (
    PublishedSurveyConfig,
    PublishedSurveyNet,
    SurveyConfig,
    SurveyNet,
)

NetworkConfig = AlignedConfig | PublishedConfig
Network = AlignedNet | PublishedNet
SurveyNetworkConfig = SurveyConfig | PublishedSurveyConfig
SurveyNetwork = SurveyNet | PublishedSurveyNet
SpecPTNetworkConfig = SpecPTConfig | PublishedSpecPTConfig
SpecPTNetwork = SpecPTNet | PublishedSpecPTNet

CONFIGS: dict[str, type[NetworkConfig]] = {
    "aligned": AlignedConfig,
    "published": PublishedConfig,
}


SURVEY_CONFIGS: dict[str, type[SurveyNetworkConfig]] = {
    "survey": SurveyConfig,
    "published-survey": PublishedSurveyConfig,
}

SPECPT_CONFIGS: dict[str, type[SpecPTNetworkConfig]] = {
    "specpt": SpecPTConfig,
    "published-specpt": PublishedSpecPTConfig,
}


def build_specpt(config: SpecPTNetworkConfig) -> SpecPTNetwork:
    """A SpecPT of the shape that `config` describes, with random weights."""
    if isinstance(config, PublishedSpecPTConfig):
        return PublishedSpecPTNet(config)
    return SpecPTNet(config)


def build_survey(config: SurveyNetworkConfig) -> SurveyNetwork:
    """A survey network of the shape that `config` describes, with random weights."""
    if isinstance(config, PublishedSurveyConfig):
        return PublishedSurveyNet(config)
    return SurveyNet(config)


def build(config: NetworkConfig) -> Network:
    """A network of the shape that `config` describes, with random weights."""
    if isinstance(config, PublishedConfig):
        return PublishedNet(config)
    return AlignedNet(config)


def architecture_name(config: NetworkConfig) -> str:
    """The name that a recipe gives for this kind of network."""
    return next(name for name, kind in CONFIGS.items() if type(config) is kind)


def from_block(block: dict[str, Any]) -> NetworkConfig:
    """The shape from a card's ``training.network``."""
    values = _with_tuples(block)
    return CONFIGS[values.pop("architecture")](**values)


def survey_from_block(block: dict[str, Any]) -> SurveyNetworkConfig:
    """The shape of a survey network from a card's ``training.network``."""
    values = _with_tuples(block)
    return SURVEY_CONFIGS[values.pop("architecture")](**values)


def specpt_from_block(block: dict[str, Any]) -> SpecPTNetworkConfig:
    """The shape of a SpecPT from a card's ``training.network``."""
    values = _with_tuples(block)
    return SPECPT_CONFIGS[values.pop("architecture")](**values)


def eigen_from_block(block: dict[str, Any]) -> EigenConfig:
    """The shape of a GaSNet-III from a card's ``training.network``."""
    values = _with_tuples(block)
    values.pop("architecture")
    return EigenConfig(**values)


def _with_tuples(block: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in block.items()}


def named(network: nn.Module, outputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The outputs of a network by name."""
    return dict(zip(network.outputs, outputs, strict=True))  # type: ignore[arg-type]


def count_parameters(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
