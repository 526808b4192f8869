"""Recipes of SpecPT."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from specinfer.models import Bins
from specinfer.preprocess import Preprocessing
from training.architectures import SPECPT_CONFIGS, SpecPTNetworkConfig
from training.architectures.specpt import SpecPTConfig
from training.config import OptimConfig, from_table
from training.simulate.real import RealConditions
from training.simulate.survey import SurveyConditions


@dataclass(frozen=True)
class SpecPTOptim(OptimConfig):
    """How SpecPT is trained: first to fill in what is hidden, then for class and redshift, too.

    Parameters
    ----------
    pretrain_steps : int
        Steps of the reconstruction alone.
    hidden_share : float
        Share of the patches that are hidden in these.
    hidden_later : float
        Share that is hidden afterwards.
    reconstruction_weight : float
        Of the reconstruction in the loss, afterwards.
    floor : float
        However small the noise of a pixel, a reconstruction need not be better than this, in
        units of the network's first channel.
    polish_steps : int
        Of the steps, the last ones, which ask more of the reconstruction of bright lines.
    polish_rate, polish_floor, polish_weight : float
        Learning rate (falling as a cosine), floor, and weight of the reconstruction, in these.
    no_noise_share : float
        Share of the spectra that are shown without their noise, as from a file that has none.
    galaxy_share : float
        Share of the simulated spectra that are galaxies beyond those that come with all
        subclasses alike.
    """

    pretrain_steps: int = 1000
    hidden_share: float = 0.4
    hidden_later: float = 0.05
    reconstruction_weight: float = 0.5
    floor: float = 0.2
    polish_steps: int = 0
    polish_rate: float = 4e-4
    polish_floor: float = 0.04
    polish_weight: float = 1.0
    no_noise_share: float = 0.1
    galaxy_share: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("hidden_share", "hidden_later", "no_noise_share", "galaxy_share"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} {getattr(self, name)} is not between 0 and 1")
        if not 0 <= self.pretrain_steps <= self.steps - self.polish_steps:
            raise ValueError(f"pretrain_steps {self.pretrain_steps} is not within the steps")


@dataclass(frozen=True)
class SpecPTRecipe:
    """Everything that makes a SpecPT."""

    name: str
    version: str
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    conditions: SurveyConditions = field(default_factory=SurveyConditions)
    network: SpecPTNetworkConfig = field(default_factory=SpecPTConfig)
    training: SpecPTOptim = field(default_factory=SpecPTOptim)
    real: RealConditions = field(default_factory=RealConditions)
    text: str = ""

    @property
    def redshift_bins(self) -> Bins:
        """Bins of ln(1+z): two for each step of eight grid pixels."""
        if not isinstance(self.network, SpecPTConfig):
            raise ValueError("this network gives no distribution of the redshift")
        step = 4.0 * self.preprocessing.step
        return Bins(-2.0 * step, step, self.network.n_redshift)


def read_specpt_recipe(path: Path) -> SpecPTRecipe:
    """Read a recipe; an unknown key is an error.

    Raises
    ------
    SystemExit
        If a table, key or architecture is not known, or grid and network do not fit.
    """
    text = path.read_text()
    tables = tomllib.loads(text)
    shape = tables.pop("network", {})
    architecture = shape.pop("architecture", "specpt")
    if architecture not in SPECPT_CONFIGS:
        known = ", ".join(SPECPT_CONFIGS)
        raise SystemExit(f"{path}: unknown architecture {architecture!r}; known are {known}")
    grid = from_table(Preprocessing, tables.pop("preprocessing", {}), "preprocessing")
    if architecture == "specpt":
        # Positions are ln(wavelength): the network has to know the grid's.
        shape |= {
            "n_pixels": grid.n_pixels,
            "wavelength_min": grid.wavelength_min,
            "wavelength_max": grid.wavelength_max,
        }
    recipe = SpecPTRecipe(
        name=tables.pop("name"),
        version=tables.pop("version"),
        preprocessing=grid,
        conditions=from_table(SurveyConditions, tables.pop("conditions", {}), "conditions"),
        network=from_table(SPECPT_CONFIGS[architecture], shape, "network"),
        training=from_table(SpecPTOptim, tables.pop("training", {}), "training"),
        real=from_table(RealConditions, tables.pop("real", {}), "real"),
        text=text,
    )
    if tables:
        raise SystemExit(f"{path}: unknown tables or keys {sorted(tables)}")
    if recipe.network.n_pixels != grid.n_pixels:
        raise SystemExit(f"{path}: the network's n_pixels are not those of the grid")
    return recipe
