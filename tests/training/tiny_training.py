"""A tiny library, its split and a recipe, so that the tests of training need no data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.archive.labels import CLASSES, PHASE_CLASSES
from training.archive.library import GRID_PIXELS, Library, grid_edges
from training.archive.split import make_split

FloatArray = NDArray[np.float64]

EDGES = grid_edges()
CENTRES = np.sqrt(EDGES[1:] * EDGES[:-1])
N_OBJECTS, N_SPECTRA = 4, 2

RECIPE = """\
name = "tiny"
version = "0.0.1"

[preprocessing]
n_pixels = 256

[data]
library = {library}
split = {split}
contradicted = ""

[network]
architecture = "aligned"
n_pixels = 256
n_redshift = 160
n_shifts = 40
widths = [6, 8, 8, 12]
stem_kernels = [3, 5, 9]
kernel = 3
n_features = 4
n_templates = 5
n_evidence = 6
template_length = 80
embedding = 16
dropout = {dropout}

[training]
seed = {seed}
steps = {steps}
batch_size = 16
warmup_steps = 2
bfloat16 = false
validate_every = 4
validation_size = 32
"""


def line(centre: float, sigma: float = 20.0) -> FloatArray:
    """A Gaussian line of height 1 on the library's grid."""
    return np.exp(-0.5 * ((CENTRES - centre) / sigma) ** 2)


def make_library(rows: list[dict[str, object]]) -> Library:
    """A library of rows; each has flux and label, other facts are optional."""
    return Library(
        flux=np.array([row["flux"] for row in rows], dtype=np.float32),
        good=np.array([row.get("good", np.ones(GRID_PIXELS, dtype=bool)) for row in rows]),
        label=np.array([CLASSES.index(str(row["label"])) for row in rows]),
        object=np.array([str(row.get("object", f"object-{i}")) for i, row in enumerate(rows)]),
        redshift=np.array([row.get("redshift", np.nan) for row in rows], dtype=np.float64),
        phase=np.array([row.get("phase", np.nan) for row in rows], dtype=np.float64),
        flattened=np.array([bool(row.get("flattened", False)) for row in rows]),
        subtype=np.array([str(row["label"]) for row in rows]),
        source=np.array([str(row.get("source", "tiny")) for row in rows]),
    )


def tiny_library() -> Library:
    """Every class with four objects of two spectra, told apart by where their lines are."""
    rng = np.random.default_rng(3)
    rows: list[dict[str, object]] = []
    for index, label in enumerate(CLASSES):
        lines = sum(line(3000.0 + 400.0 * (index + 2 * k), 60.0) for k in range(4))
        for number in range(N_OBJECTS):
            for _ in range(N_SPECTRA):
                wobble = 1.0 + 0.05 * rng.normal() * line(5000.0, 1500.0)
                rows.append(
                    {
                        "flux": wobble * (1.0 + 0.5 * lines),
                        "label": label,
                        "object": f"{label}-{number}",
                        "redshift": 0.03 if label != "Star" else 0.0,
                        "phase": rng.uniform(-10, 40) if label in PHASE_CLASSES else np.nan,
                        "flattened": number == 0,
                        "source": "KC96" if label == "Galaxy" else "tiny",
                    }
                )
    return make_library(rows)


def write_inputs(folder: Path) -> tuple[Path, Path]:
    """The tiny library and its split as files."""
    library = tiny_library()
    library.save(folder / "library.npz")
    (folder / "split.json").write_text(json.dumps(make_split(library, 5)))
    return folder / "library.npz", folder / "split.json"


def write_recipe(
    path: Path,
    inputs: tuple[Path, Path],
    *,
    steps: int = 4,
    seed: int = 1,
    dropout: float = 0.0,
) -> Path:
    """A recipe of a tiny network; JSON strings are TOML strings."""
    path.write_text(
        RECIPE.format(
            library=json.dumps(str(inputs[0])),
            split=json.dumps(str(inputs[1])),
            steps=steps,
            seed=seed,
            dropout=dropout,
        )
    )
    return path
