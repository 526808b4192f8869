"""``python -m training.learning_curve RUN...``: what more training objects would give.

Runs of one recipe whose ``[data] object_share`` differs, on the same validation spectra.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console

from training.archive.labels import CLASSES, THREE_WAY
from training.archive.library import Library
from training.compare import answers, common_library, load_entry, observe, score
from training.config import Recipe
from training.paths import ROOT
from training.run import usable_rows

app = typer.Typer(add_completion=False)

_FIGURES = ("three_way_accuracy", "macro_f1", "redshift_rms", "redshift_nmad")
_LABELS = {
    "three_way_accuracy": "three-way accuracy",
    "macro_f1": "macro-F1, 14 classes",
    "redshift_rms": "redshift RMS",
    "redshift_nmad": "redshift NMAD",
}


def training_objects(recipe: Recipe, library: Library) -> int:
    """Number of supernovae that a run of a recipe is trained on."""
    rows = usable_rows(recipe, library, "train")
    supernova = np.isin(library.label[rows], [CLASSES.index(name) for name in THREE_WAY])
    return int(np.unique(library.object[rows[supernova]]).size)


def curve(runs: Sequence[Path], count: int, seed: int, console: Console) -> list[dict[str, Any]]:
    """Figures of every run, fewest objects first; each figure as [value, low, high]."""
    entries = [load_entry(str(run)) for run in runs]
    members = [entry.members[0] for entry in entries]
    with console.status("simulating"):
        library = common_library(members)
        targets, prepared = observe(members, library, count, seed)
    points = []
    for run, entry in zip(runs, entries, strict=True):
        recipe = entry.members[0].recipe
        with console.status(run.name):
            figures = score(targets, *answers(entry, prepared))
        points.append(
            {
                "run": run.name,
                "objects": training_objects(recipe, library),
                "steps": recipe.training.steps,
                **{name: figures[name] for name in _FIGURES},
            }
        )
    return sorted(points, key=lambda point: point["objects"])


def write_csv(points: Sequence[dict[str, Any]], path: Path) -> None:
    """One line a run; an interval in columns beside its value."""
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        bounds = [f"{name}{end}" for name in _FIGURES for end in ("", "_low", "_high")]
        writer.writerow(["run", "objects", "steps", *bounds])
        for point in points:
            values = [value for name in _FIGURES for value in point[name]]
            writer.writerow([point["run"], point["objects"], point["steps"], *values])


def draw(points: Sequence[dict[str, Any]], path: Path) -> None:
    """The curves as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.2), layout="constrained")
    objects = np.array([point["objects"] for point in points])
    for axes, name in zip(figure.subplots(1, len(_FIGURES)), _FIGURES, strict=True):
        value, low, high = np.array([point[name] for point in points], dtype=float).T
        axes.errorbar(
            objects, value, yerr=[value - low, high - value], marker="o", markersize=4,
            linewidth=1.2, capsize=2, color="#2b5c8a",
        )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(objects, [str(n) for n in objects])
        axes.minorticks_off()
        axes.set_title(_LABELS[name], fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    figure.supxlabel("supernovae trained on", fontsize=9)
    figure.savefig(path, dpi=120)


@app.command()
def main(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of one recipe.")],
    output: Annotated[Path, typer.Option(help="Where the curve goes, as .csv and .png.")] = ROOT
    / "docs"
    / "pictures"
    / "learning-curve",
    count: Annotated[int, typer.Option(help="Simulated spectra.")] = 4000,
    seed: Annotated[int, typer.Option(help="Seed of the simulated spectra.")] = 5,
    threads: Annotated[int, typer.Option(help="CPU threads of PyTorch.")] = 2,
) -> None:
    """Accuracy against the number of training objects, on validation objects.

    Example: python -m training.learning_curve runs/quarter runs/half runs/spectranet
    """
    torch.set_num_threads(threads)
    points = curve(runs, count, seed, Console(stderr=True))
    output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(points, output.with_suffix(".csv"))
    draw(points, output.with_suffix(".png"))
    typer.echo(output.with_suffix(".csv").read_text(), nl=False)


if __name__ == "__main__":
    app()
