"""The card of a model that brings eigen-spectra for the redshift scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from specinfer.card_blocks import output_sizes
from specinfer.models import ModelCard


@dataclass(frozen=True)
class FamilyBlock:
    """What the card says of one family's eigen-spectra.

    Parameters
    ----------
    name : str
    output : str
        Output of the ONNX graph that holds them, shape (K, n).
    first : int
        Number of their first pixel (see `specinfer.zgrid.STEP`).
    redshift_min, redshift_max : float
        What is searched.
    resolution : float
        lambda / FWHM.
    binning : int
        Fine pixels a pixel of the scan, at least.
    typical : tuple of float
    moments : tuple of tuple of float
        See `specinfer.zscan.Family`.
    error_scale : float
    error_floors : tuple of (float, float)
        Redshift and floor, in order of redshift. The redshift error is the curvature's times
        the scale, and in quadrature the floor times (1+z); fitted on held-out spectra.
    """

    name: str
    output: str
    first: int
    redshift_min: float
    redshift_max: float
    resolution: float
    binning: int
    typical: tuple[float, ...]
    moments: tuple[tuple[float, ...], ...]
    error_scale: float
    error_floors: tuple[tuple[float, float], ...]

    def error_floor(self, redshift: float) -> float:
        """The floor at a redshift: linear between those that are stated, level beyond them."""
        at, floors = zip(*self.error_floors, strict=True)
        return float(np.interp(redshift, at, floors))


@dataclass(frozen=True)
class ScanCard(ModelCard):
    """The card of a GaSNet-III.

    Parameters
    ----------
    families : tuple of FamilyBlock
        In the order of `classes`.
    additive, multiplicative : int
        Terms of the polynomials (see `specinfer.zscan.Scanner`).
    temperature : float
        P(family) ~ exp(-chi2 / (2 temperature)).
    limits : mapping of str to float
        Of `specinfer.zwarn.Limits`; those that are not given are its defaults.
    set_threshold, set_coverage : float
        Families at least this probable are in the prediction set, which holds the true one
        for this share of held-out spectra.
    chi2_limit : float
        Reduced chi2 that 1 % of held-out spectra exceed.
    """

    families: tuple[FamilyBlock, ...]
    additive: int
    multiplicative: int
    temperature: float
    limits: Mapping[str, float]
    set_threshold: float
    set_coverage: float
    chi2_limit: float


def parse_scan(raw: Mapping[str, Any], common: dict[str, Any]) -> ScanCard:
    """A card from its JSON; `common` are the fields that every family of models has.

    Raises
    ------
    KeyError, TypeError, ValueError
        If an entry is missing or wrong.
    """
    block = raw["scan"]
    families = tuple(_family(str(name), one) for name, one in block["families"].items())
    if tuple(one.name for one in families) != common["classes"]:
        raise ValueError("the families of the scan are not the classes")
    outputs = set(common["output_names"])
    if missing := [one.output for one in families if one.output not in outputs]:
        raise ValueError(f"the graph has no outputs {missing}")
    temperature = float(block["temperature"])
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}")
    # The encoders' coefficients are what an embedding is elsewhere.
    common = common | {"embedding_size": output_sizes(raw).get("coefficients")}
    return ScanCard(
        **common,
        families=families,
        additive=int(block["additive"]),
        multiplicative=int(block["multiplicative"]),
        temperature=temperature,
        limits={str(name): float(value) for name, value in block.get("limits", {}).items()},
        set_threshold=float(block["prediction_set"]["threshold"]),
        set_coverage=float(block["prediction_set"]["coverage"]),
        chi2_limit=float(block["chi2_limit"]),
    )


def _family(name: str, block: Mapping[str, Any]) -> FamilyBlock:
    typical = tuple(float(x) for x in block["typical"])
    moments = tuple(tuple(float(x) for x in row) for row in block["moments"])
    if not typical or [len(row) for row in moments] != [len(typical)] * len(typical):
        raise ValueError(f"{name}: typical and moments must be of one length")
    low, high = float(block["redshift_min"]), float(block["redshift_max"])
    if not -1.0 < low < high:
        raise ValueError(f"{name}: redshifts from {low} to {high}")
    return FamilyBlock(
        name=name,
        output=str(block["output"]),
        first=int(block["first"]),
        redshift_min=low,
        redshift_max=high,
        resolution=float(block["resolution"]),
        binning=int(block["binning"]),
        typical=typical,
        moments=moments,
        error_scale=float(block["error_scale"]),
        error_floors=_floors(name, block["error_floor"]),
    )


def _floors(name: str, stated: Any) -> tuple[tuple[float, float], ...]:
    """The floors of a family: one number for all redshifts, or pairs of redshift and floor."""
    if isinstance(stated, (int, float)):
        stated = [[0.0, stated]]
    floors = tuple((float(redshift), float(floor)) for redshift, floor in stated)
    if not floors or any(floor < 0 for _, floor in floors):
        raise ValueError(f"{name}: error_floor must be at or above 0, not {stated}")
    if any(after[0] <= before[0] for before, after in pairwise(floors)):
        raise ValueError(f"{name}: the redshifts of error_floor must increase, not {stated}")
    return floors
