"""The card of a model that gives subclasses and p(z | family) of survey spectra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from specinfer.card_blocks import LEVELS, Bins, parse_bins
from specinfer.models import ModelCard

NO_SIGNAL = "NO_SIGNAL"


@dataclass(frozen=True)
class RedshiftHead:
    """How p(z | family) is read.

    Parameters
    ----------
    output : str or None
        Output of the ONNX graph with the logits of the bins; None for a family whose
        redshift is always close to 0.
    temperature : float
        Divisor of the logits.
    levels : mapping of str to float
        By "68" and "95": the mass of the central interval that covers so many per cent of
        held-out objects.
    spread : float
        Standard deviation of the redshift of a family without an output.
    """

    output: str | None
    temperature: float
    levels: Mapping[str, float]
    spread: float


@dataclass(frozen=True)
class SubclassCard(ModelCard):
    """The card of a GaSNet-II. Its classes are "FAMILY subclass", and NO_SIGNAL.

    Parameters
    ----------
    families : tuple of str
        In the order in which they first appear among the classes.
    redshift_bins : Bins
        Bin centres in ln(1+z).
    heads : mapping of str to RedshiftHead
        By family.
    class_temperature : float
        Divisor of the class logits.
    set_threshold, set_coverage : float
        Families at least this probable are in the prediction set.
    novelty_limit : float
        More novel spectra carry NOVEL: 1 % of held-out ones.
    """

    families: tuple[str, ...]
    redshift_bins: Bins
    heads: Mapping[str, RedshiftHead]
    class_temperature: float
    set_threshold: float
    set_coverage: float
    novelty_limit: float

    def columns(self, family: str) -> tuple[int, ...]:
        """Places of a family's subclasses among the classes."""
        return tuple(
            i for i, name in enumerate(self.classes) if name.split(" ", maxsplit=1)[0] == family
        )


def parse_subclasses(raw: Mapping[str, Any], common: dict[str, Any]) -> SubclassCard:
    """A card from its JSON; `common` are the fields that every family of models has.

    Raises
    ------
    KeyError, TypeError, ValueError
        If an entry is missing or wrong.
    """
    names = [str(name).split(" ", maxsplit=1)[0] for name in common["classes"]]
    families = tuple(dict.fromkeys(names))
    calibration = raw["calibration"]
    heads = {
        str(name): _head(block, common["output_names"]) for name, block in raw["redshift"].items()
    }
    if set(heads) != set(families) - {NO_SIGNAL}:
        raise ValueError("the redshift heads are not those of the families")
    temperature = float(calibration["class_temperature"])
    if not temperature > 0:
        raise ValueError(f"class_temperature is {temperature}")
    return SubclassCard(
        **common,
        families=families,
        redshift_bins=parse_bins(raw["redshift_bins"]),
        heads=heads,
        class_temperature=temperature,
        set_threshold=float(calibration["prediction_set"]["threshold"]),
        set_coverage=float(calibration["prediction_set"]["coverage"]),
        novelty_limit=float(calibration["novelty_limit"]),
    )


def _head(block: Mapping[str, Any], outputs: tuple[str, ...]) -> RedshiftHead:
    output = block.get("output")
    if output is not None and output not in outputs:
        raise ValueError(f"the graph has no output {output!r}")
    temperature = float(block.get("temperature", 1.0))
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}")
    levels = {name: float(block["levels"][name]) for name in LEVELS} if output else {}
    return RedshiftHead(output, temperature, levels, float(block.get("spread", 0.0)))
