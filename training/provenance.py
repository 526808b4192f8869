"""What the card of a survey model says about how it was trained."""

from __future__ import annotations

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


def provenance(
    name: str, settings: EigenTraining | OptimConfig, run: Path, libraries: dict[str, RestLibrary]
) -> dict[str, Any]:
    """Recipe, run, data and split, for the ``training`` block of a card.

    Parameters
    ----------
    name : str
        Of the recipe in ``training/configs``.
    settings : EigenTraining or OptimConfig
    run : Path
        The run's folder, with its checkpoint.
    libraries : dict of str to RestLibrary
        By family.
    """
    state = torch.load(run / CHECKPOINT, weights_only=True, map_location="cpu")
    return {
        "recipe": f"training/configs/{name}.toml",
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
