"""The card of SpecPT: what `SubclassCard` has, and how its denoised spectrum is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from specinfer.subclass_card import SubclassCard, parse_subclasses


@dataclass(frozen=True)
class SpecPTCard(SubclassCard):
    """The card of a SpecPT.

    Parameters
    ----------
    reconstruction : str
        Output of the ONNX graph with the denoised spectrum.
    usual_misfit, high_misfit : float
        Median, and 99th percentile, of the misfit of held-out spectra (see
        `specinfer.networks.specpt.misfit`).
    """

    reconstruction: str
    usual_misfit: float
    high_misfit: float


def parse_specpt(raw: Mapping[str, Any], common: dict[str, Any]) -> SpecPTCard:
    """A card from its JSON; `common` are the fields that every family of models has.

    Raises
    ------
    KeyError, TypeError, ValueError
        If an entry is missing or wrong.
    """
    base = parse_subclasses(raw, common)
    block = raw["reconstruction"]
    output = str(block["output"])
    if output not in base.output_names:
        raise ValueError(f"the graph has no output {output!r}")
    usual, high = float(block["usual_misfit"]), float(block["high_misfit"])
    if not 0.0 < usual < high:
        raise ValueError(f"misfits {usual} and {high} are not a usual and a high one")
    fields = {name: getattr(base, name) for name in base.__dataclass_fields__}
    return SpecPTCard(**fields, reconstruction=output, usual_misfit=usual, high_misfit=high)
