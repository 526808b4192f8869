"""The blocks of a model card, made into typed and checked values.

A wrong entry raises one of ``KeyError``, ``TypeError`` and ``ValueError``, which
`specinfer.models.load_card` turns into a `ModelError` that names the card.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The intervals that a card with calibrated levels gives, by name and nominal coverage.
LEVELS = ("68", "95")


@dataclass(frozen=True)
class Bins:
    """Equally spaced bins; `start` is the centre of the first."""

    start: float
    step: float
    size: int

    @property
    def centres(self) -> NDArray[np.float64]:
        """Bin centres, shape (size,)."""
        # Cards are also read by commands that need no numpy.
        import numpy as np

        return self.start + self.step * np.arange(self.size, dtype=np.float64)


@dataclass(frozen=True)
class Calibration:
    """How logits become probabilities and decisions.

    Parameters
    ----------
    class_temperature, redshift_temperature, phase_temperature, subtype_temperature : float
        Divisors of the logits.
    set_threshold : float
        Classes at least this probable are in the prediction set.
    set_coverage : float
        Share of held-out objects whose true class is in the set.
    set_thresholds : mapping of str to float, or None
        Thresholds of the class-conditional prediction set, one a class (Vovk 2012,
        arXiv:1209.2673): the same share holds for each true class by itself. A class
        without one in the card has `set_threshold`.
    redshift_levels, phase_levels : mapping of str to float, or None
        By "68" and "95": the mass of the central interval of p(z), p(phase), that
        covers 68 % and 95 % of held-out objects.
    """

    class_temperature: float
    redshift_temperature: float
    phase_temperature: float
    set_threshold: float
    set_coverage: float
    subtype_temperature: float = 1.0
    set_thresholds: Mapping[str, float] | None = None
    redshift_levels: Mapping[str, float] | None = None
    phase_levels: Mapping[str, float] | None = None


@dataclass(frozen=True)
class NoveltyLimit:
    """Above `threshold` a spectrum is NOVEL, as `false_alarm_rate` of known ones are."""

    threshold: float
    false_alarm_rate: float


@dataclass(frozen=True)
class OperatingPoint:
    """From which probability on a class may be posted without a human.

    Parameters
    ----------
    class_name : str
    threshold : float
    false_positive_rate : float or None
        Share of held-out objects of other classes that pass it.
    """

    class_name: str
    threshold: float
    false_positive_rate: float | None


@dataclass(frozen=True)
class Trust:
    """What a card says about when to believe an answer; every part is optional.

    Parameters
    ----------
    novelty : NoveltyLimit or None
    host_dominated : float or None
        Estimated share of host light above which a transient is flagged HOST_DOMINATED.
    conflict_level : float or None
        Mass of the highest-density region of p(z) beyond which a given redshift is
        flagged Z_CONFLICT.
    operating_points : tuple of OperatingPoint
    """

    novelty: NoveltyLimit | None = None
    host_dominated: float | None = None
    conflict_level: float | None = None
    operating_points: tuple[OperatingPoint, ...] = ()


def parse_bins(block: Mapping[str, Any]) -> Bins:
    """A ``redshift_bins`` or ``phase_bins`` block."""
    bins = Bins(_number(block, "start"), _positive(block, "step"), int(block["size"]))
    if bins.size < 4:
        raise ValueError("fewer than four bins")
    return bins


def parse_calibration(block: Mapping[str, Any], classes: Sequence[str]) -> Calibration:
    """The ``calibration`` block of a card with these classes."""
    prediction_set = block["prediction_set"]
    common = _number(prediction_set, "threshold")
    return Calibration(
        class_temperature=_positive(block, "class_temperature"),
        redshift_temperature=_positive(block, "redshift_temperature"),
        phase_temperature=_positive(block, "phase_temperature"),
        set_threshold=common,
        set_coverage=_number(prediction_set, "coverage"),
        subtype_temperature=(
            _positive(block, "subtype_temperature") if "subtype_temperature" in block else 1.0
        ),
        set_thresholds=_thresholds(prediction_set.get("by_class"), classes, common),
        redshift_levels=_levels(block.get("redshift_levels"), "redshift_levels"),
        phase_levels=_levels(block.get("phase_levels"), "phase_levels"),
    )


def parse_subtypes(
    card: Mapping[str, Any], classes: Sequence[str], outputs: Mapping[str, int | None]
) -> dict[str, tuple[str, ...]]:
    """The second level of classes, in the order of ``subtype_logits``.

    Parameters
    ----------
    card : mapping
    classes : sequence of str
    outputs : mapping
        Of `output_sizes`.

    Returns
    -------
    dict
        By class; empty for a card without ``subtypes`` or a network without their logits.
    """
    block = card.get("subtypes")
    if block is None or "subtype_logits" not in outputs:
        return {}
    subtypes = {str(name): tuple(str(part) for part in parts) for name, parts in block.items()}
    for name, parts in subtypes.items():
        if name not in classes:
            raise ValueError(f"subtypes of {name!r}, which is none of the classes")
        if len(set(parts)) != len(parts) or len(parts) < 2:
            raise ValueError(f"subtypes of {name!r} must be at least two different names")
    size, named = outputs["subtype_logits"], sum(map(len, subtypes.values()))
    if size not in (None, named):
        raise ValueError(f"{named} subtypes but {size} subtype_logits")
    return subtypes


def parse_trust(
    card: Mapping[str, Any], classes: Sequence[str], outputs: Mapping[str, int | None]
) -> Trust:
    """The blocks ``novelty``, ``host``, ``redshift_conflict`` and ``decisions``."""
    novelty = host = conflict = None
    if (block := card.get("novelty")) is not None:
        _needs(outputs, "novelty", "novelty")
        novelty = NoveltyLimit(_number(block, "threshold"), _share(block, "false_alarm_rate"))
    if (block := card.get("host")) is not None:
        _needs(outputs, "host_logit", "host")
        host = _share(block, "dominated")
    if (block := card.get("redshift_conflict")) is not None:
        conflict = _share(block, "level")
    points = tuple(_operating_point(block, classes) for block in card.get("decisions") or ())
    return Trust(novelty, host, conflict, points)


def output_sizes(card: Mapping[str, Any]) -> dict[str, int | None]:
    """Length of every output a spectrum, in the order of the card; None where it says none."""
    sizes: dict[str, int | None] = {}
    for output in card["outputs"]:
        shape = output.get("shape") or [None]
        sizes[str(output["name"])] = shape[-1] if isinstance(shape[-1], int) else None
    return sizes


def _operating_point(block: Mapping[str, Any], classes: Sequence[str]) -> OperatingPoint:
    name = str(block["class"])
    if name not in classes:
        raise ValueError(f"a decision about {name!r}, which is none of the classes")
    rate = _share(block, "false_positive_rate") if "false_positive_rate" in block else None
    return OperatingPoint(name, _share(block, "threshold"), rate)


def _thresholds(
    block: Mapping[str, Any] | None, classes: Sequence[str], common: float
) -> Mapping[str, float] | None:
    if block is None:
        return None
    if unknown := set(block) - set(classes):
        raise ValueError(f"prediction_set.by_class names {sorted(unknown)}, none of the classes")
    return {name: _share(block, name) if name in block else common for name in classes}


def _levels(block: Mapping[str, Any] | None, key: str) -> Mapping[str, float] | None:
    if block is None:
        return None
    levels = {name: _share(block, name) for name in LEVELS}
    if not 0.0 < levels["68"] <= levels["95"]:
        raise ValueError(f"{key} must rise from 68 to 95 and be above 0")
    return levels


def _needs(outputs: Mapping[str, int | None], output: str, block: str) -> None:
    if output not in outputs:
        raise ValueError(f"the block {block!r} needs the output {output!r}")


def _number(block: Mapping[str, Any], key: str) -> float:
    value = float(block[key])
    if not math.isfinite(value):
        raise ValueError(f"{key} is {value}")
    return value


def _positive(block: Mapping[str, Any], key: str) -> float:
    value = _number(block, key)
    if value <= 0.0:
        raise ValueError(f"{key} is {value}")
    return value


def _share(block: Mapping[str, Any], key: str) -> float:
    value = _number(block, key)
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{key} is {value}, not between 0 and 1")
    return value
