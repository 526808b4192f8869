"""``python -m training.leave_out RUN``: does the novelty score see a class never shown?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from training.archive.labels import CLASSES
from training.archive.library import Library
from training.calibrate import NOVELTY_RATE, Known, sedm_batches, shown_batches
from training.config import resolve
from training.evaluation.detection import auc
from training.evaluation.intervals import Resampler
from training.fits import weighted_quantile
from training.novelty import fit_novelty, score
from training.run import load_members, read_run
from training.stream import CALIBRATION, VALIDATION

app = typer.Typer(add_completion=False)
# The class that was left out is strange in both parts; test objects are not touched.
_STRANGE_PARTS = ("train", "validation")


def try_class(run: Path, library: Library, name: str, batches: int) -> dict[str, Any]:
    """How often the spectra of a class that was left out are flagged as novel.

    The threshold is that of calibration: 1 % false alarms on validation objects of the
    classes that were shown, every object equally often.

    Parameters
    ----------
    run : Path
        Trained with the class in the recipe's ``left_out``.
    library : Library
    name : str
    batches : int
        Of spectra, for each of: the class means, the threshold, the class.

    Returns
    -------
    dict
        ``flagged`` as [value, low, high] with a 95 % interval over objects, ``auc``, counts.
    """
    recipe = read_run(run)
    served = load_members([run])
    state = fit_novelty(served, shown_batches(recipe, library, batches), recipe.training.seed)
    usual = sedm_batches(recipe, library, "validation", batches, CALIBRATION)
    known = Known.of(usual, library)
    usual_score = score(state, served, np.concatenate([batch.input for batch in usual]))
    threshold = weighted_quantile(usual_score, known.weight, 1.0 - NOVELTY_RATE)
    others = tuple(other for other in CLASSES if other != name)
    only = replace(recipe, data=replace(recipe.data, left_out=others))
    strange = [
        batch
        for part in _STRANGE_PARTS
        for batch in sedm_batches(only, library, part, max(batches // 4, 1), VALIDATION)
    ]
    strange_score = score(state, served, np.concatenate([batch.input for batch in strange]))
    objects = library.object[np.concatenate([batch.row for batch in strange])]
    flagged = Resampler(objects).rate(
        strange_score > threshold, np.ones(objects.size, dtype=np.bool_)
    )
    return {
        "class": name,
        "flagged": flagged,
        "false_alarm_rate": NOVELTY_RATE,
        "auc": round(auc(strange_score, usual_score), 4),
        "spectra": int(objects.size),
        "objects": int(np.unique(objects).size),
        "steps": recipe.training.steps,
    }


@app.command()
def main(
    runs: Annotated[list[Path], typer.Argument(help="Runs whose recipes leave classes out")],
    batches: Annotated[int, typer.Option(help="Batches of simulated spectra of each kind.")] = 24,
    output: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """Train without a class, then ask whether its spectra are flagged as novel.

    Example: python -m training.leave_out runs/spectranet-without-tde
    """
    console = Console(stderr=True)
    figures = []
    for run in runs:
        recipe = read_run(run)
        if not recipe.data.left_out:
            raise SystemExit(f"{run}: its recipe leaves no class out ([data] left_out)")
        library = Library.load(resolve(recipe.data.library))
        for name in recipe.data.left_out:
            with console.status(f"{run.name}: {name}"):
                figures.append(try_class(run, library, name, batches))
            typer.echo(json.dumps(figures[-1]))
    if output is not None:
        temporary = output.with_name(output.name + ".tmp")
        temporary.write_text(json.dumps(figures, indent=1) + "\n")
        temporary.replace(output)


if __name__ == "__main__":
    app()
