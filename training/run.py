"""A training run on disk: its batches, its checkpoint, its log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.architectures import Network, build
from training.architectures.served import Served
from training.archive.contradictions import denied_rows
from training.archive.labels import CLASSES
from training.archive.library import Library
from training.archive.split import read_split, rows_of
from training.config import Recipe, read_recipe, resolve
from training.paths import ROOT
from training.simulate.draw import BatchMaker, host_rows

CHECKPOINT = "checkpoint.pt"
SERVED = "served.pt"
# What the command line changed of the recipe.
OPTIONS = "options.json"


# Not an observed object but a model fitted to SN 1999em, which is in the training part.
NOT_OBSERVED = ("theory99em",)


def claim(folder: Path, text: str) -> None:
    """Make a run's folder, or find it made for the same recipe, whose text it keeps.

    Raises
    ------
    SystemExit
        If it holds a run of another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "recipe.toml"
    if kept.is_file() and kept.read_text() != text:
        raise SystemExit(f"{folder} holds a run of another recipe; give another --output")
    kept.write_text(text)


def with_options(recipe: Recipe, options: dict[str, Any]) -> Recipe:
    """A recipe with what the command line changed: seed, steps, left_out, object_share."""
    training = {key: options[key] for key in ("seed", "steps") if key in options}
    data = {key: options[key] for key in ("left_out", "object_share") if key in options}
    if "left_out" in data:
        data["left_out"] = tuple(data["left_out"])
    return replace(
        recipe,
        training=replace(recipe.training, **training),
        data=replace(recipe.data, **data),
    )


def read_run(folder: Path) -> Recipe:
    """The recipe of a run, with the options that it was started with.

    Raises
    ------
    SystemExit
        If the folder holds no run.
    """
    path = folder / "recipe.toml"
    if not path.is_file():
        raise SystemExit(f"{folder} holds no run: train first (python -m training.train)")
    options = folder / OPTIONS
    changed = json.loads(options.read_text()) if options.is_file() else {}
    return with_options(read_recipe(path), changed)


def usable_rows(recipe: Recipe, library: Library, part: str) -> NDArray[np.intp]:
    """Rows of a part that a network may learn from, or be measured on.

    Parameters
    ----------
    recipe : Recipe
        Names the split and the list of contradicted redshifts.
    library : Library
    part : {"train", "validation", "test"}

    Returns
    -------
    ndarray of int
    """
    rows = rows_of(library, read_split(resolve(recipe.data.split)), part)
    if recipe.data.contradicted:
        rows = rows[~np.isin(rows, denied_rows(library, resolve(recipe.data.contradicted)))]
    rows = rows[~np.isin(library.object[rows], NOT_OBSERVED)]
    rows = rows[~np.isin(np.array(CLASSES)[library.label[rows]], recipe.data.left_out)]
    if part == "train" and recipe.data.object_share < 1.0:
        rows = rows[share_of_objects(library.object[rows], recipe.data.object_share)]
    return rows


def share_of_objects(objects: NDArray[np.str_], share: float) -> NDArray[np.bool_]:
    """Which rows belong to a fixed share of the objects; a larger share holds the smaller.

    By a hash of the name, so that neither the order nor other objects matter.
    """
    names, inverse = np.unique(objects, return_inverse=True)
    place = [int(hashlib.sha256(str(name).encode()).hexdigest()[:8], 16) for name in names]
    return np.asarray((np.array(place) / 16.0**8 < share)[inverse])


def make_batches(recipe: Recipe, library: Library, part: str) -> BatchMaker:
    """The maker of simulated batches from one part of the split.

    What only training adds (`Conditions.as_seen`) is left out of the other parts.
    """
    rows = usable_rows(recipe, library, part)
    train = part == "train"
    return BatchMaker(
        library,
        rows,
        host_rows(library, rows),
        recipe.preprocessing,
        recipe.conditions if train else recipe.conditions.as_seen(),
        recipe.data.class_power,
        recipe.data.slit_share,
        recipe.data.far_quasars,
        recipe.data.sedm_depth,
        recipe.data.other_share,
    )


def load_average(folder: Path, recipe: Recipe) -> Network:
    """The averaged network of a run, in evaluation mode.

    Raises
    ------
    SystemExit
        If the run has no checkpoint yet.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise SystemExit(f"{path} is not there: train first (python -m training.train)")
    model = build(recipe.network)
    model.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["average"])
    return model.eval()


def load_members(folders: Sequence[Path]) -> Served:
    """The averaged networks of runs as the one that is served, in evaluation mode.

    What calibration found for them lies in the first folder.

    Raises
    ------
    SystemExit
        If the runs are of different shapes, or one has no checkpoint yet.
    """
    recipes = [read_run(folder) for folder in folders]
    if any(recipe.network != recipes[0].network for recipe in recipes):
        raise SystemExit("the members must be networks of one shape; these recipes differ")
    served = Served([load_average(*pair) for pair in zip(folders, recipes, strict=True)])
    path = folders[0] / SERVED
    if path.is_file():
        state = torch.load(path, weights_only=True, map_location="cpu")
        bias = state.pop("class_bias")
        wanted = served.novelty.state_dict()
        # A calibration of another score, or of other members, is to be made again.
        if {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in wanted.items()}:
            served.novelty.load_state_dict(state)
            served.class_bias.data.copy_(bias)
    return served.eval()


def run_name(folder: Path) -> str:
    """The path of a run as cards and calibrations name it, relative to the checkout."""
    resolved = folder.resolve()
    return resolved.relative_to(ROOT).as_posix() if resolved.is_relative_to(ROOT) else folder.name


def facts_of(folder: Path) -> dict[str, Any]:
    """What made a run: its recipe, its seed, and the steps and seconds that it took."""
    recipe = read_run(folder)
    state = torch.load(folder / CHECKPOINT, weights_only=True, map_location="cpu")
    return {
        "recipe": f"training/configs/{recipe.name}.toml",
        "seed": recipe.training.seed,
        "steps": state["step"],
        "seconds": round(state["seconds"]),
    }
