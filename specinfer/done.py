"""Whether a spectrum was done before: by its sidecar, or by what is written in its headers."""

from __future__ import annotations

from typing import Any

from specinfer import __version__
from specinfer.annotation import blocks
from specinfer.classifier import Classifier
from specinfer.errors import ModelError, SpecinferError
from specinfer.examine import Examined
from specinfer.gates import STATES, Gate
from specinfer.sidecar import read_sidecar

# Sidecars hold seven digits.
_SAME_Z = 1e-6


def by_sidecar(
    examined: Examined, classifier: Classifier, redshift: float | None = None
) -> dict[str, Any] | None:
    """The sidecar of a spectrum, if it holds what would be answered now.

    Parameters
    ----------
    examined : Examined
    classifier : Classifier
    redshift : float, optional
        The known redshift.

    Returns
    -------
    dict or None
        None if there is none, or it is of other contents, another model version or another
        given redshift. An answer stays valid where the rules would skip the spectrum now:
        it was asked for by hand.
    """
    document = read_sidecar(examined.twins.given)
    if document is None or not document["sha256"]:
        return None
    if document["sha256"] != examined.content.sha256:
        return None
    result = document["result"]
    if result is None or result["status"] != "ok":
        if document["state"] == "UNREADABLE":
            # A newer version may read it.
            return document if document["specinfer"] == __version__ else None
        return document if examined.gate is not None else None
    given = result["redshift"] if "Z_GIVEN" in result["flags"] else None
    current = _same(given, redshift) and _is_current(classifier, document["model"])
    return document if current or examined.gate is not None else None


def by_header(
    examined: Examined, classifier: Classifier, redshift: float | None = None
) -> Gate | None:
    """The state in the headers, if all files of a spectrum hold the answer of the present model.

    Parameters
    ----------
    examined : Examined
    classifier : Classifier
    redshift : float, optional
        The known redshift.

    Returns
    -------
    Gate or None
        None if one of them holds none or another one.
    """
    try:
        found = blocks(examined.twins)
    except SpecinferError:
        return None
    if not found or any(block != found[0] for block in found):
        return None
    block = found[0]
    state = next((one for one in STATES if one == block.get("SPISTAT")), None)
    current = _same(_given_in(block), redshift) and _is_current(classifier, block.get("SPIMODEL"))
    if state is None or not (current or examined.gate is not None):
        return None
    return Gate(state, "" if examined.gate is None else examined.gate.reason)


def _given_in(block: dict[str, str]) -> float | None:
    """The redshift that was given for the answer of a block."""
    if "Z_GIVEN" not in block.get("SPIFLAGS", "").split(","):
        return None
    try:
        return float(block.get("SPIZ", ""))
    except ValueError:
        return None


def _same(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return abs(first - second) < _SAME_Z


def _is_current(classifier: Classifier, label: str | None) -> bool:
    """Whether a label, "name@version", is that of the model that would answer now."""
    if label is None:
        return False
    name = label.partition("@")[0] if classifier.model == "auto" else classifier.model
    try:
        return classifier.network(name).card.label == label
    except ModelError:
        # Of a model that is not installed here any more.
        return False
