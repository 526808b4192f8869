"""Recipes of the survey networks."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from specinfer.models import Bins
from specinfer.preprocess import Preprocessing
from training.architectures import SURVEY_CONFIGS, SurveyNetworkConfig
from training.architectures.survey import SurveyConfig
from training.config import OptimConfig, from_table
from training.simulate.real import RealConditions
from training.simulate.survey import SurveyConditions


@dataclass(frozen=True)
class SurveyOptim(OptimConfig):
    """How a survey network is trained.

    Parameters
    ----------
    start : str
        Folder of a run of the same shape, relative to the checkout, whose averaged weights
        training goes on from; empty for random ones.
    """

    start: str = ""


@dataclass(frozen=True)
class SurveyRecipe:
    """Everything that makes a survey network."""

    name: str
    version: str
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    conditions: SurveyConditions = field(default_factory=SurveyConditions)
    network: SurveyNetworkConfig = field(default_factory=SurveyConfig)
    training: SurveyOptim = field(default_factory=SurveyOptim)
    real: RealConditions = field(default_factory=RealConditions)
    text: str = ""

    @property
    def redshift_bins(self) -> Bins:
        """Bins of ln(1+z): two for each step of eight grid pixels."""
        if not isinstance(self.network, SurveyConfig):
            raise ValueError("this network gives no redshift")
        step = 4.0 * self.preprocessing.step
        return Bins(-2.0 * step, step, self.network.n_redshift)


def read_survey_recipe(path: Path) -> SurveyRecipe:
    """Read a recipe; an unknown key is an error.

    Raises
    ------
    SystemExit
        If a table, key or architecture is not known.
    """
    text = path.read_text()
    tables = tomllib.loads(text)
    shape = tables.pop("network", {})
    architecture = shape.pop("architecture", "survey")
    if architecture not in SURVEY_CONFIGS:
        known = ", ".join(SURVEY_CONFIGS)
        raise SystemExit(f"{path}: unknown architecture {architecture!r}; known are {known}")
    recipe = SurveyRecipe(
        name=tables.pop("name"),
        version=tables.pop("version"),
        preprocessing=from_table(Preprocessing, tables.pop("preprocessing", {}), "preprocessing"),
        conditions=from_table(SurveyConditions, tables.pop("conditions", {}), "conditions"),
        real=from_table(RealConditions, tables.pop("real", {}), "real"),
        network=from_table(SURVEY_CONFIGS[architecture], shape, "network"),
        training=from_table(SurveyOptim, tables.pop("training", {}), "training"),
        text=text,
    )
    if tables:
        raise SystemExit(f"{path}: unknown tables or keys {sorted(tables)}")
    if recipe.network.n_pixels != recipe.preprocessing.n_pixels:
        raise SystemExit(f"{path}: the network's n_pixels are not those of the grid")
    return recipe
