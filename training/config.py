"""The recipe of a network: one TOML file, read into frozen dataclasses."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from specinfer.models import Bins
from specinfer.preprocess import Preprocessing
from training.architectures import CONFIGS, NetworkConfig
from training.architectures.aligned import AlignedConfig
from training.archive.labels import CLASSES
from training.paths import ROOT
from training.simulate.transients import Conditions

T = TypeVar("T")


@dataclass(frozen=True)
class DataConfig:
    """Which spectra, and how they are drawn.

    Parameters
    ----------
    library, split : str
        Paths relative to the checkout.
    contradicted : str
        The list of `training.archive.contradictions`, whose rows are left out of everything;
        empty for none.
    class_power : float
        See `training.simulate.draw.RowSampler`.
    other_share : float
        Share of what is no extragalactic transient (AGN/QSO, CV, galaxy, star);
        0 for what `class_power` gives.
    slit_share : float
        Share of each batch that is seen by a slit spectrograph, not the SEDM.
    far_quasars : float
        Share of the AGN/QSO rows that may be moved beyond a redshift of 1.
    sedm_depth : bool
        SEDM spectra keep to redshifts at which a 1.5-m telescope sees their class.
    left_out : tuple of str
        Classes that are not shown in training, to try what the network says of them.
    object_share : float
        Share of the training objects of every class that is used, to try what more or
        fewer of them do.
    """

    library: str = "runs/library.npz"
    split: str = "training/splits/transients-1.json"
    contradicted: str = "training/splits/contradicted-1.json"
    class_power: float = 0.5
    other_share: float = 0.0
    slit_share: float = 0.25
    far_quasars: float = 0.1
    sedm_depth: bool = False
    left_out: tuple[str, ...] = ()
    object_share: float = 1.0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.left_out) - set(CLASSES))
        if unknown:
            raise ValueError(f"left_out: {unknown} are no classes; those are {list(CLASSES)}")
        if not 0.0 < self.object_share <= 1.0:
            raise ValueError(f"object_share {self.object_share} is not between 0 and 1")


@dataclass(frozen=True)
class OptimConfig:
    """How the network is trained.

    With ``class_weights = "balanced"`` the class loss weighs every class by its effective
    number of training objects (`training.losses.balanced_weights`); "uniform" weighs all alike.
    """

    seed: int = 1
    steps: int = 6000
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup_steps: int = 200
    ema_decay: float = 0.999
    label_smoothing: float = 0.05
    focal_gamma: float = 0.0
    class_weights: str = "uniform"
    class_weight_beta: float = 0.999
    redshift_weight: float = 0.6
    phase_weight: float = 0.15
    subtype_weight: float = 0.2
    host_weight: float = 0.2
    redshift_sigma_bins: float = 1.0
    phase_sigma_bins: float = 1.5
    gradient_clip: float = 2.0
    bfloat16: bool = True
    validate_every: int = 500
    validation_size: int = 4096

    def __post_init__(self) -> None:
        if self.class_weights not in ("uniform", "balanced"):
            raise ValueError(f"class_weights {self.class_weights!r} is not uniform or balanced")


@dataclass(frozen=True)
class Recipe:
    """Everything that makes a network."""

    name: str
    version: str
    redshift_bins: Bins
    phase_bins: Bins
    data: DataConfig = field(default_factory=DataConfig)
    conditions: Conditions = field(default_factory=Conditions)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    network: NetworkConfig = field(default_factory=AlignedConfig)
    training: OptimConfig = field(default_factory=OptimConfig)
    text: str = ""


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    path : Path
        A TOML file like those in ``training/configs``.

    Raises
    ------
    SystemExit
        If a table or key is not known, so that a typing error never trains silently, or a
        value makes no sense.
    """
    text = path.read_text()
    tables = tomllib.loads(text)
    preprocessing = from_table(Preprocessing, tables.pop("preprocessing", {}), "preprocessing")
    shape = tables.pop("network", {})
    architecture = shape.pop("architecture", "aligned")
    if architecture not in CONFIGS:
        known = ", ".join(CONFIGS)
        raise SystemExit(f"{path}: unknown architecture {architecture!r}; known are {known}")
    network = from_table(CONFIGS[architecture], shape, "network")
    # Two redshift bins a feature step, a feature step is four grid pixels: the bin
    # width follows from the grid.
    first = tables.pop("redshift_first_bin", -2)
    phase = tables.pop("phase_bins", {"start": -20.0, "step": 2.5})
    recipe = Recipe(
        name=tables.pop("name"),
        version=tables.pop("version"),
        redshift_bins=Bins(
            first * 2 * preprocessing.step, 2 * preprocessing.step, network.n_redshift
        ),
        phase_bins=Bins(float(phase["start"]), float(phase["step"]), network.n_phase),
        data=from_table(DataConfig, tables.pop("data", {}), "data"),
        conditions=from_table(Conditions, tables.pop("conditions", {}), "conditions"),
        preprocessing=preprocessing,
        network=network,
        training=from_table(OptimConfig, tables.pop("training", {}), "training"),
        text=text,
    )
    if tables:
        raise SystemExit(f"{path}: unknown tables or keys {sorted(tables)}")
    return recipe


def resolve(path: str) -> Path:
    """A path of the recipe, relative to the checkout."""
    return Path(path) if Path(path).is_absolute() else ROOT / path


def from_table(kind: type[T], values: dict[str, Any], table: str) -> T:
    """A dataclass from a table of a recipe.

    Raises
    ------
    SystemExit
        If a key is not known or a value makes no sense.
    """
    known = set(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    unknown = set(values) - known
    if unknown:
        raise SystemExit(f"[{table}]: unknown keys {sorted(unknown)}; known are {sorted(known)}")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except ValueError as error:
        raise SystemExit(f"[{table}]: {error}") from None
