"""The card of a combination: a network that proposes, a scan that decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specinfer.errors import ModelError
from specinfer.models import ModelCard, card_fingerprint, load_card
from specinfer.subclass_card import NO_SIGNAL

# What speaks for a fit, and for none of them (see `specinfer.zweigh`).
FIT_CLUES = ("family", "redshift", "misfit")
NONE_CLUES = ("one", "no_signal", "gain", "reduced_chi2", "coverage", "snr")


@dataclass(frozen=True)
class Weights:
    """Of the clues; what `training.calibrate_auto` fits.

    Parameters
    ----------
    fit : tuple of float
        As `FIT_CLUES`.
    none : tuple of float
        As `NONE_CLUES`.
    bias : mapping of str to float
        By family.
    """

    fit: tuple[float, ...]
    none: tuple[float, ...]
    bias: Mapping[str, float]


@dataclass(frozen=True)
class Windows:
    """Where the scan looks first.

    Parameters
    ----------
    half_width : float
        In ln(1+z), around each mode of p(z | family).
    modes : int
        Of a family, at most.
    least_family, least_mode : float
        Families and modes that are less probable are not looked at.
    enough : float
        An answer at least this probable is taken; otherwise every redshift is scanned.
    """

    half_width: float
    modes: int
    least_family: float
    least_mode: float
    enough: float


@dataclass(frozen=True)
class CombinationCard(ModelCard):
    """The card of a combination; it has no network of its own.

    Parameters
    ----------
    network, scan : ModelCard
        Its members, which are those that it was fitted with.
    windows : Windows
    weights : Weights
    limits : mapping of str to float
        Of `specinfer.zwarn.Limits`; those that are not given are its defaults.
    least_reliability : float
        Answers that are right with a smaller probability carry UNRELIABLE.
    set_threshold, set_coverage : float
        Families at least this probable are in the prediction set.
    """

    network: ModelCard
    scan: ModelCard
    windows: Windows
    weights: Weights
    limits: Mapping[str, float]
    least_reliability: float
    set_threshold: float
    set_coverage: float

    @property
    def networks(self) -> tuple[ModelCard, ...]:
        """The cards of its members."""
        return (self.network, self.scan)


def parse_combination(folder: Path, raw: Mapping[str, Any]) -> CombinationCard:
    """A card from its JSON.

    Raises
    ------
    ModelError
        ``card_altered`` if the card, or a member, is not the one that was published.
    KeyError, TypeError, ValueError
        If an entry is missing or wrong.
    """
    fingerprint = card_fingerprint(raw)
    name, version = str(raw["name"]), str(raw["version"])
    if raw["sha256"] != fingerprint:
        raise ModelError(
            "card_altered",
            f"{folder / 'card.json'} was altered: its hash is not the one that it states; "
            "reinstall specinfer or restore the folder",
        )
    block = raw["combination"]
    network = _member(folder, raw["members"]["network"], name)
    scan = _member(folder, raw["members"]["scan"], name)
    classes = tuple(str(one) for one in raw["classes"])
    named = {one.split(" ", maxsplit=1)[0] for one in network.classes} - {NO_SIGNAL}
    if not set(classes) == set(scan.classes) == named:
        raise ValueError("the classes are not the families of its members")
    weights = Weights(
        fit=tuple(float(block["weights"]["fit"][clue]) for clue in FIT_CLUES),
        none=tuple(float(block["weights"]["none"][clue]) for clue in NONE_CLUES),
        bias={str(k): float(v) for k, v in block["weights"]["bias"].items()},
    )
    windows = block["windows"]
    return CombinationCard(
        folder=folder,
        name=name,
        version=version,
        family=str(raw["family"]),
        task=str(raw["task"]),
        classes=classes,
        input_name=network.input_name,
        output_names=(),
        preprocessing=network.preprocessing,
        low_snr=float(raw["flags"]["low_snr"]),
        min_coverage=float(raw["flags"]["min_coverage"]),
        embedding_size=network.embedding_size,
        sha256=fingerprint,
        fingerprint=fingerprint,
        raw=raw,
        network=network,
        scan=scan,
        windows=Windows(
            half_width=float(windows["half_width"]),
            modes=int(windows["modes"]),
            least_family=float(windows["least_family"]),
            least_mode=float(windows["least_mode"]),
            enough=float(windows["enough"]),
        ),
        weights=weights,
        limits={str(name): float(value) for name, value in block.get("limits", {}).items()},
        least_reliability=float(block["least_reliability"]),
        set_threshold=float(block["prediction_set"]["threshold"]),
        set_coverage=float(block["prediction_set"]["coverage"]),
    )


def _member(folder: Path, block: Mapping[str, Any], name: str) -> ModelCard:
    """The card of a member: beside the combination, or wherever models are."""
    beside = folder.parent / str(block["name"])
    card = load_card(f"{beside}/" if beside.is_dir() else str(block["name"]))
    if card.sha256 != block["sha256"]:
        raise ModelError(
            "card_altered",
            f"model {name} was fitted with {block['name']}@{block['version']}, here is another "
            f"{card.label}; install the two together",
        )
    return card
