"""A survey network's run on disk, and what it says about spectra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from specinfer.preprocess import Preprocessing, prepare
from training.architectures import SurveyNetwork, build_survey, named
from training.archive.sdss import SdssSpectrum
from training.run import CHECKPOINT
from training.survey_recipe import SurveyRecipe, read_survey_recipe

# Raw outputs by name, each (n, size).
Outputs = dict[str, NDArray[np.float32]]
_CHUNK = 64


def load_survey(run: Path) -> tuple[SurveyRecipe, SurveyNetwork]:
    """The recipe of a run, and its averaged network in evaluation mode.

    Raises
    ------
    SystemExit
        If it was not trained.
    """
    path = run / CHECKPOINT
    if not path.is_file():
        raise SystemExit(f"{path} is not there: run `python -m training.train_survey` first")
    recipe = read_survey_recipe(run / "recipe.toml")
    network = build_survey(recipe.network)
    network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["average"])
    return recipe, network.eval()


def outputs_of(network: SurveyNetwork, inputs: NDArray[np.float32]) -> Outputs:
    """Raw outputs of prepared spectra, (n, 3, n_pixels)."""
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in network.outputs}
    for start in range(0, len(inputs), _CHUNK):
        with torch.no_grad():
            made = named(network, network(torch.from_numpy(inputs[start : start + _CHUNK])))
        for name, values in made.items():
            parts[name].append(values.numpy())
    return {name: np.concatenate(part) for name, part in parts.items()}


def real_inputs(spectra: Sequence[SdssSpectrum], grid: Preprocessing) -> NDArray[np.float32]:
    """Real spectra as a network sees them, (n, 3, n_pixels)."""
    return np.stack([prepare(one.wavelength, one.flux, one.ivar, grid).input for one in spectra])
