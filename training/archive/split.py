"""The split of the library by object, written down with its hash before training."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from training.archive.labels import CLASSES
from training.archive.library import Library

PARTS = ("train", "validation", "test")


def make_split(library: Library, seed: int) -> dict[str, Any]:
    """80/10/10 by object, stratified by class.

    Every class with at least three objects has at least one in each part.

    Returns
    -------
    dict
        ``{"seed", "parts": {part: {class: [objects]}}, "sha256"}``
    """
    by_class: dict[str, set[str]] = defaultdict(set)
    for name, label in zip(library.object, library.label, strict=True):
        by_class[CLASSES[label]].add(str(name))
    rng = np.random.default_rng(seed)
    parts: dict[str, dict[str, list[str]]] = {part: {} for part in PARTS}
    for label in CLASSES:
        names = sorted(by_class[label])
        rng.shuffle(names)
        held = max(1, round(0.1 * len(names))) if len(names) >= 3 else 0
        parts["test"][label] = sorted(names[:held])
        parts["validation"][label] = sorted(names[held : 2 * held])
        parts["train"][label] = sorted(names[2 * held :])
    return {"seed": seed, "parts": parts, "sha256": split_hash(parts)}


def split_hash(parts: dict[str, Any]) -> str:
    """sha256 of the canonical JSON of the parts."""
    return hashlib.sha256(
        json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def read_split(path: Path) -> dict[str, Any]:
    """Read a split file and check its hash.

    Raises
    ------
    SystemExit
        If the file was altered.
    """
    split: dict[str, Any] = json.loads(path.read_text())
    if split_hash(split["parts"]) != split["sha256"]:
        raise SystemExit(f"{path} was altered: its hash does not match its contents")
    return split


def rows_of(library: Library, split: dict[str, Any], part: str) -> np.ndarray:
    """Row indices of the library that belong to a part.

    Raises
    ------
    SystemExit
        If the library holds objects that the split does not know: it was made
        from other data.
    """
    known = {n: p for p in PARTS for names in split["parts"][p].values() for n in names}
    where = np.array([known.get(str(name), "") for name in library.object])
    if (where == "").any():
        missing = sorted(set(library.object[where == ""]))[:5]
        raise SystemExit(f"the split does not know {missing}...; remake the library or the split")
    return np.flatnonzero(where == part)
