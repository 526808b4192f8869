"""``python -m training.evaluate MODEL``: figures on test objects, written into the card."""

from __future__ import annotations

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
from training.model_readme import COMMAND, cell, write_readme, write_summary
from training.paths import ROOT
from training.report import baselines, by_class, by_snr, confusion, figures
from training.run import usable_rows
from training.stream import TEST, step_rng
from training.trials import draw_by_object, natural_trials, sedm_trials

app = typer.Typer(add_completion=False)

SNR = (4.0, 40.0)
# The model whose figures stand in the project's README.
SUMMARISED = "spectranet"


def evaluate(
    folder: Path,
    recipe: Recipe,
    library: Library,
    part: str,
    count: int,
    seed: int,
    console: Console,
) -> dict[str, Any]:
    """The card's ``metrics`` block.

    Parameters
    ----------
    folder : Path
        The model folder; the network is loaded from it as the command line does it.
    recipe : Recipe
    library : Library
    part : {"validation", "test"}
    count : int
        SEDM-like spectra of each kind.
    seed : int
    console : Console
    """
    network = spectranet.load(load_card(str(folder)), device="cpu")
    rows = usable_rows(recipe, library, part)
    every = replace(recipe, data=replace(recipe.data, contradicted=""))
    unfiltered = usable_rows(every, library, part)
    started = time.monotonic()
    trials = {}
    kinds = (
        # The first two share their random stream: they differ by the rows alone.
        ("sedm", rows, 0.0, 0),
        ("sedm_unfiltered", unfiltered, 0.0, 0),
        ("sedm_host", rows, 1.0, 1),
    )
    for name, pool, host_share, stream in kinds:
        with console.status(f"classifying {count} {name} spectra"):
            rng = step_rng(seed, TEST, stream)
            drawn = draw_by_object(library, pool, count, rng)
            trials[name] = sedm_trials(
                network, library, drawn, recipe, host_share=host_share, snr=SNR, rng=rng
            )
    with console.status("classifying SEDM spectra of every archive spectrum"):
        rng = step_rng(seed, TEST, 2)
        trials["sedm_by_spectrum"] = sedm_trials(
            network, library, np.repeat(rows, 3), recipe, host_share=0.0, snr=SNR, rng=rng
        )
    with console.status("classifying the archive spectra as they were observed"):
        trials["as_observed"] = natural_trials(network, library, rows)
    with console.status("counting"):
        blocks = {name: figures(made) for name, made in trials.items()}
        main = trials["sedm"]
        return {
            "command": COMMAND.format(name=recipe.name, part=part, count=count),
            "part": part,
            "seed": seed,
            "snr": list(SNR),
            "library_sha256": library_hash(library),
            **blocks,
            "baselines": baselines(main),
            "sedm_by_snr": by_snr(main),
            "sedm_by_class": by_class(main),
            "sedm_confusion": confusion(main),
            "seconds": round(time.monotonic() - started),
        }


def print_figures(metrics: dict[str, Any], console: Console) -> None:
    """The figures as a table for people."""
    names = [
        name for name, block in metrics.items() if isinstance(block, dict) and "n_spectra" in block
    ]
    table = Table("figure", *names, title=f"{metrics['part']} objects, 95 % intervals over objects")
    for figure in metrics[names[0]]:
        table.add_row(figure, *(cell(metrics[name][figure]) for name in names))
    console.print(table)
    classes = Table("class", "objects", "spectra", "recall", "precision")
    for name, block in metrics["sedm_by_class"].items():
        classes.add_row(
            name, str(block["n_objects"]), str(block["n_spectra"]),
            cell(block["recall"]), cell(block["precision"]),
        )  # fmt: skip
    console.print(classes)
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
        bool, typer.Option(help="Write the figures into the card and READMEs.")
    ] = False,
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
    metrics = evaluate(folder, recipe, library, part, count, seed, console)
    print_figures(metrics, Console())
    if write:
        card["metrics"] = metrics
        write_card(folder, card)
        write_readme(folder)
        if folder.resolve() == ROOT / "exported_models" / SUMMARISED:
            write_summary(ROOT / "README.md", card)
        console.print(f"written to {folder / 'card.json'} and README.md")


if __name__ == "__main__":
    app()
