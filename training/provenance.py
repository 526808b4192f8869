"""What the card of a survey model says about how it was trained."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from training.archive.build_rest import rest_hash
from training.archive.rest import RestLibrary
from training.archive.sdss import SPLIT
from training.archive.split import PARTS, read_split
from training.config import OptimConfig
from training.paths import ROOT
from training.run import CHECKPOINT, run_name
from training.train_eigen import EigenTraining


def recipe_file(text: str, name: str) -> str:
    """The recipe in ``training/configs`` that a run was made by, from its text.

    That with the model's name if the recipe has changed since.
    """
    folder = ROOT / "training" / "configs"
    same = [path for path in sorted(folder.glob("*.toml")) if path.read_text() == text]
    return (same[0] if same else folder / f"{name}.toml").relative_to(ROOT).as_posix()


def started_from(settings: EigenTraining | OptimConfig) -> dict[str, str]:
    """The run that training went on from, with the hash of its checkpoint; empty without one."""
    start = getattr(settings, "start", "")
    if not start:
        return {}
    path = ROOT / start / CHECKPOINT
    if not path.is_file():
        raise SystemExit(f"{path} is not there: the card names what training started from")
    return {"start": start, "start_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def provenance(
    name: str, settings: EigenTraining | OptimConfig, run: Path, libraries: dict[str, RestLibrary]
) -> dict[str, Any]:
    """Recipe, run, data and split, for the ``training`` block of a card.

    Parameters
    ----------
    name : str
        Of the model.
    settings : EigenTraining or OptimConfig
    run : Path
        The run's folder, with its checkpoint.
    libraries : dict of str to RestLibrary
        By family.
    """
    state = torch.load(run / CHECKPOINT, weights_only=True, map_location="cpu")
    return {
        "recipe": recipe_file((run / "recipe.toml").read_text(), name),
        **started_from(settings),
        "run": run_name(run),
        "settings": asdict(settings),
        "steps": state["step"],
        "seconds": round(state["seconds"]),
        "libraries_sha256": {family: rest_hash(one) for family, one in libraries.items()},
        "rows": {
            part: {family: len(one.part(part)) for family, one in libraries.items()}
            for part in PARTS
        },
        "split": SPLIT.relative_to(ROOT).as_posix(),
        "split_sha256": read_split(SPLIT)["sha256"],
        "torch": torch.__version__,
    }
