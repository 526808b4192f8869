"""Sidecars: the answer in a file of its own, ``specinfer_<stem>.json``, beside the spectrum.

A sidecar is also what marks a spectrum as done: it names what was read, by a hash, and the
model that answered.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from specinfer import __version__
from specinfer.gates import STATES, Gate
from specinfer.result import FIELDS, SCHEMA, Classification
from specinfer.twins import stem_of

SIDECAR_SCHEMA = "specinfer.sidecar/1"
PREFIX = "specinfer_"
# Fields of a result that are tuples, which JSON does not have.
_TUPLES = ("prediction_set", "prediction_set_by_class", "flags", "candidates", "lines")


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """Where the sidecar of a spectrum is; the same for FITS and its text twin."""
    return Path(path).with_name(f"{PREFIX}{stem_of(path)}.json")


def picture_path(path: str | os.PathLike[str]) -> Path:
    """Where the picture of a spectrum is, if it was asked for."""
    return Path(path).with_name(f"{PREFIX}{stem_of(path)}.png")


def now() -> str:
    """The present, UTC, to the second, as FITS writes dates."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def make_sidecar(
    path: str | os.PathLike[str],
    *,
    sha256: str,
    gate: Gate,
    result: Classification | None,
    object: str | None = None,
    model: str | None = None,
    date: str | None = None,
) -> dict[str, Any]:
    """The document of a sidecar.

    Parameters
    ----------
    path : path
        The file that was read.
    sha256 : str
        See `specinfer.content.Content`.
    gate : Gate
        State and reason.
    result : Classification or None
        None where nothing was classified.
    object : str, optional
        The target, where there is no result to name it.
    model : str, optional
        ``name@version`` that answered; by default that of the result.
    date : str, optional
        Of the answer, UTC; now by default.

    Returns
    -------
    dict
        Plain JSON values.
    """
    return {
        "schema": SIDECAR_SCHEMA,
        "specinfer": __version__,
        "file": Path(path).name,
        "object": result.object if result is not None else object,
        "sha256": sha256,
        "state": gate.state,
        "reason": gate.reason,
        "model": model or (None if result is None else result.model),
        "date": date or now(),
        "result": None if result is None else result.to_dict(),
    }


def write_sidecar(path: str | os.PathLike[str], document: Mapping[str, Any]) -> Path:
    """Write the sidecar of a spectrum, complete or not at all.

    Parameters
    ----------
    path : path
        The spectrum.
    document : mapping
        Of `make_sidecar`.

    Returns
    -------
    Path
        The sidecar.

    Raises
    ------
    SpecinferError
        ``not_writable``.
    """
    from specinfer.replacing import write_new

    target = sidecar_path(path)
    write_new(target, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
    return target


def read_sidecar(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The sidecar of a spectrum.

    Parameters
    ----------
    path : path
        The spectrum, or the sidecar itself.

    Returns
    -------
    dict or None
        None if there is none that this version understands: the spectrum is to be done
        again, and the sidecar to be written anew.
    """
    own = Path(path)
    if not (own.name.startswith(PREFIX) and own.suffix == ".json"):
        own = sidecar_path(path)
    try:
        document = json.loads(own.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict) or document.get("schema") != SIDECAR_SCHEMA:
        return None
    result = document.get("result")
    known = (
        document.get("state") in STATES
        and all(isinstance(document.get(key), str) for key in ("file", "sha256", "date", "reason"))
        and (document.get("model") is None or isinstance(document["model"], str))
        and (result is None or (isinstance(result, dict) and result.get("schema") == SCHEMA))
    )
    return document if known else None


def recall(document: Mapping[str, Any]) -> Classification | None:
    """The result in a sidecar; without spectrum and embedding, which it does not hold."""
    result = document.get("result")
    if result is None:
        return None
    entries = {name: result.get("class" if name == "class_name" else name) for name in FIELDS}
    for name in _TUPLES:
        if entries[name] is not None:
            entries[name] = tuple(entries[name])
    return Classification(**entries)
