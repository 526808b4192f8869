"""``python -m training.evaluate MODEL``: figures on test objects, written into the card."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from specinfer.models import load_card
from specinfer.networks import spectranet
from training.archive.library import Library, library_hash
from training.card import read_card, write_card
from training.config import Recipe, read_recipe, resolve
from training.evaluation.breakdown import by_class, by_phase, by_snr, confusion, curves, subtypes
from training.evaluation.model_readme import COMMAND, cell, write_readme, write_summary
from training.evaluation.observe import AS_OBSERVED, FILTERED, KINDS, SNR, Observatory
from training.evaluation.pictures import FOLDER, write_pictures
from training.evaluation.report import baselines, figures
from training.evaluation.trials import Trials, classify
from training.paths import ROOT
from training.run import usable_rows

app = typer.Typer(add_completion=False)

# The model whose figures stand in the project's README.
SUMMARISED = "spectranet"
MAIN = "sedm"


def make_trials(
    folder: Path,
    recipe: Recipe,
    library: Library,
    part: str,
    count: int,
    seed: int,
    console: Console,
) -> dict[str, Trials]:
    """All kinds of trials of a model.

    No spectrum of the part is left out of them: what the list of denied redshifts names is
    left out of ``sedm_filtered`` alone.

    Parameters
    ----------
    folder : Path
        The model folder; the network is loaded from it as the command line does it.
    recipe : Recipe
    library : Library
    part : {"validation", "test"}
    count : int
        Spectra of each kind; those by spectrum are three an archive spectrum.
    seed : int
    console : Console

    Returns
    -------
    dict of str to Trials
    """
    network = spectranet.load(load_card(str(folder)), device="cpu")
    unfiltered = replace(recipe, data=replace(recipe.data, contradicted=""))
    with console.status("smoothing the library"):
        observatory = Observatory(library, usable_rows(unfiltered, library, part), recipe, seed)
    trials: dict[str, Trials] = {}
    for kind in KINDS:
        with console.status(f"classifying {kind.name}"):
            trials[kind.name] = classify(network, *observatory.observe(kind, count))
        if kind.name == MAIN:
            believed = np.isin(trials[MAIN].row, usable_rows(recipe, library, part))
            trials[FILTERED[0]] = trials[MAIN].take(np.flatnonzero(believed))
    with console.status("classifying the archive spectra as they were observed"):
        trials[AS_OBSERVED[0]] = classify(network, *observatory.as_observed())
    return trials


def measure(trials: dict[str, Trials], card: dict[str, Any]) -> dict[str, Any]:
    """The figures of trials: part of the card's ``metrics`` block.

    Parameters
    ----------
    trials : dict of str to Trials
        Of `make_trials`.
    card : dict
        For its decision about SN Ia.
    """
    decisions = [d for d in card.get("decisions") or [] if d["class"] == "SN Ia"]
    decision = decisions[0] if decisions else None
    words = {kind.name: [kind.heading, kind.words] for kind in KINDS}
    words |= {name: [heading, text] for name, heading, text in (FILTERED, AS_OBSERVED)}
    main = trials[MAIN]
    return {
        "kinds": {name: words[name] for name in trials},
        **{name: figures(made, decision) for name, made in trials.items()},
        "baselines": baselines(main),
        f"{MAIN}_by_snr": by_snr(main),
        f"{MAIN}_by_phase": by_phase(main),
        f"{MAIN}_by_class": by_class(main),
        f"{MAIN}_confusion": confusion(main),
        f"{MAIN}_subtypes": subtypes(main),
        f"{MAIN}_curves": curves(main),
    }


def evaluate(
    folder: Path,
    recipe: Recipe,
    library: Library,
    part: str,
    count: int,
    seed: int,
    console: Console,
) -> tuple[dict[str, Any], Trials]:
    """The card's ``metrics`` block, and the main trials for pictures of them.

    Parameters as in `make_trials`.
    """
    started = time.monotonic()
    trials = make_trials(folder, recipe, library, part, count, seed, console)
    with console.status("counting"):
        measured = measure(trials, read_card(folder))
    metrics = {
        "command": COMMAND.format(name=recipe.name, part=part, count=count),
        "part": part,
        "seed": seed,
        "snr": list(SNR),
        "library_sha256": library_hash(library),
        **measured,
        "seconds": round(time.monotonic() - started),
    }
    return metrics, trials[MAIN]


def print_figures(metrics: dict[str, Any], console: Console) -> None:
    """The figures as a table for people."""
    names = list(metrics["kinds"])
    table = Table("figure", *names, title=f"{metrics['part']} objects, 95 % intervals over objects")
    for figure in metrics[names[0]]:
        table.add_row(figure, *(cell(metrics[name][figure]) for name in names))
    console.print(table)
    for key in (f"{MAIN}_by_snr", f"{MAIN}_by_phase", f"{MAIN}_by_class"):
        parts = metrics[key]
        columns = list(next(iter(parts.values())))
        table = Table(key.removeprefix(f"{MAIN}_by_"), *columns)
        for name, block in parts.items():
            table.add_row(name, *(cell(block[column]) for column in columns))
        console.print(table)
    console.print(f"without looking at the spectrum: {metrics['baselines']}")


@app.command()
def main(
    folder: Annotated[
        Path, typer.Argument(help="The model folder, e.g. exported_models/spectranet")
    ],
    part: Annotated[
        str, typer.Option(help="test, or validation while a network is made.")
    ] = "test",
    count: Annotated[int, typer.Option(help="Simulated spectra of each kind.")] = 6000,
    seed: Annotated[int, typer.Option(help="Seed of the trials.")] = 1,
    write: Annotated[
        bool, typer.Option(help="Write the figures into the card, the pictures and READMEs.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Write metrics.json and the pictures here; the model stays as it is."),
    ] = None,
) -> None:
    """Measure an exported network on objects that it has never seen.

    Every spectrum goes through the runtime (preprocessing, onnxruntime, calibration), as
    on the telescope. With --write the figures go into card.json and the READMEs.

    Example: python -m training.evaluate exported_models/spectranet --write
    """
    if part not in ("test", "validation"):
        raise typer.BadParameter("--part is test or validation")
    console = Console(stderr=True)
    card = read_card(folder)
    recipe = read_recipe(ROOT / card["training"]["recipe"])
    library = Library.load(resolve(recipe.data.library))
    metrics, trials = evaluate(folder, recipe, library, part, count, seed, console)
    print_figures(metrics, Console())
    if output is not None:
        write_pictures(output, trials, metrics)
        text = json.dumps(metrics, indent=1, allow_nan=False)
        (output / "metrics.json").write_text(text + "\n")
        console.print(f"written to {output}")
    if write:
        card["metrics"] = metrics
        write_card(folder, card)
        write_pictures(folder / FOLDER, trials, metrics)
        write_readme(folder)
        if folder.resolve() == ROOT / "exported_models" / SUMMARISED:
            write_summary(ROOT / "README.md", card)
        console.print(f"written to {folder / 'card.json'} and README.md")


if __name__ == "__main__":
    app()
