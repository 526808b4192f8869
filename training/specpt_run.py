"""A SpecPT's run on disk."""

from __future__ import annotations

from pathlib import Path

import torch

from training.architectures import SpecPTNetwork, build_specpt
from training.run import CHECKPOINT
from training.specpt_recipe import SpecPTRecipe, read_specpt_recipe


def load_specpt(run: Path) -> tuple[SpecPTRecipe, SpecPTNetwork]:
    """The recipe of a run, and its averaged network in evaluation mode.

    Raises
    ------
    SystemExit
        If it was not trained.
    """
    path = run / CHECKPOINT
    if not path.is_file():
        raise SystemExit(f"{path} is not there: run `python -m training.train_specpt` first")
    recipe = read_specpt_recipe(run / "recipe.toml")
    network = build_specpt(recipe.network)
    network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["average"])
    return recipe, network.eval()
