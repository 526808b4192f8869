"""``python -m benchmarks.int8_accuracy``: what 8-bit integers cost in right answers.

The same simulated validation spectra go through the whole runtime with the network as it
ships and with each way of `benchmarks.int8`. Needs the public archive (training/README.md).
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.int8 import NAMES, SINGLE, session, ways
from specinfer.classifier import Classifier
from specinfer.errors import ReadError
from specinfer.models import load_card, read_model
from specinfer.spectrum import Spectrum
from training.archive.library import Library
from training.archive.sdss import part_of, read_sdss
from training.archive.subclasses import FAMILIES
from training.card import read_card
from training.config import read_recipe, resolve
from training.evaluate_survey import GOOD, Truth, simulated_spectra
from training.evaluation.measure import three_way
from training.evaluation.observe import KINDS, Observatory
from training.evaluation.trials import classify
from training.paths import ROOT, shared_data
from training.run import usable_rows
from training.simulate.donors import Donors
from training.simulate.survey import SurveyConditions, SurveySimulator
from training.stream import CALIBRATION, VALIDATION, step_rng
from training.train_eigen import read_libraries

BoolArray = NDArray[np.bool_]
# By name of the figure: which answers are right.
Right = dict[str, BoolArray]
# Spectra that the ranges of the static ways are taken from.
RANGES = 256

app = typer.Typer(add_completion=False)


class Replaced:
    """Stands for a network's session: remembers inputs, answers with another graph."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.seen: list[Mapping[str, NDArray[np.float32]]] = []

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """As `specinfer.engine.Session.run`."""
        self.seen.append(inputs)
        names = [node.name for node in self.graph.get_outputs()]
        return dict(zip(names, self.graph.run(None, dict(inputs)), strict=True))


def transients(count: int) -> tuple[list[Spectrum], Callable[[Any], Right]]:
    """SEDM-like spectra to take ranges from, and what judges a SpectraNet on others."""
    card = read_card(ROOT / "exported_models" / "spectranet")
    recipe = read_recipe(ROOT / card["training"]["recipe"])
    library = Library.load(resolve(recipe.data.library))
    unfiltered = replace(recipe, data=replace(recipe.data, contradicted=""))
    rows = usable_rows(unfiltered, library, "validation")
    targets, spectra = Observatory(library, rows, recipe, 1).observe(KINDS[0], count)
    _, others = Observatory(library, rows, recipe, 2).observe(KINDS[0], RANGES)

    def judge(network: Any) -> Right:
        found = classify(network, targets, spectra)
        return {
            "three-way": three_way(found.probabilities, found.label),
            "class": found.probabilities.argmax(axis=1) == found.label,
            "|dz| < 0.01 (1+z)": np.abs(found.z - found.redshift) < 0.01 * (1 + found.redshift),
        }

    return others, judge


def surveys(count: int) -> tuple[list[Spectrum], Callable[[Any], Right]]:
    """The same for galaxies, quasars and stars."""
    donors = Donors(part_of(read_sdss(shared_data()), "train"))
    conditions = SurveyConditions(no_signal_share=0.0, borrowed_snr=True)
    simulator = SurveySimulator(read_libraries(), donors, "validation", conditions)
    spectra: list[Spectrum] = []
    truths: list[Truth] = []
    others: list[Spectrum] = []
    for index, family in enumerate(FAMILIES):
        drawn = simulator.draw(count // len(FAMILIES), step_rng(11, VALIDATION, index), family)
        made = simulated_spectra(drawn)
        spectra, truths = spectra + made[0], truths + made[1]
        drawn = simulator.draw(RANGES // len(FAMILIES), step_rng(11, CALIBRATION, index), family)
        others += simulated_spectra(drawn)[0]

    def judge(network: Any) -> Right:
        family, near = [], []
        for answer, (_, name, redshift, _) in zip(network.predict(spectra), truths, strict=True):
            if isinstance(answer, ReadError):
                continue
            family.append(max(answer.probabilities, key=answer.probabilities.get) == name)
            off = abs((answer.redshift or 0.0) - redshift) / (1 + redshift)
            near.append(off < GOOD[name])
        return {"class": np.array(family), "class and redshift": np.array(family) & np.array(near)}

    return others, judge


@app.command()
def main(
    models: Annotated[list[str] | None, typer.Argument(help="Models (default: three).")] = None,
    count: Annotated[int, typer.Option(help="Spectra.")] = 3000,
) -> None:
    """Print the share of right answers, and the change with its standard error.

    Example: python -m benchmarks.int8_accuracy spectranet --count 3000
    """
    logging.disable(logging.WARNING)
    table = Table("Model", "Way", "What", "n", "Right", "Change in points (standard error)")
    for name in models or NAMES:
        card = load_card(name)
        others, judge = (transients if name == "spectranet" else surveys)(count)
        network = Classifier(device="cpu").network(name)

        def put(graph: Any, network: Any = network) -> Replaced:
            # In the place of the cached property that holds the session.
            network.__dict__["checked_session"] = made = Replaced(graph)
            return made

        single = session(read_model(card))
        recorder = put(single)
        network.predict(others)
        inputs = np.concatenate([one[card.input_name] for one in recorder.seen])
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "single.onnx")
            session(read_model(card), "ORT_ENABLE_BASIC", source)
            graphs = {SINGLE: single}
            for way, write in ways(source, card.input_name, inputs).items():
                path = os.path.join(folder, "quantised.onnx")
                write(path)
                graphs[way] = session(path)
            judged = {}
            for way, graph in graphs.items():
                put(graph)
                judged[way] = judge(network)
        for way, figures in judged.items():
            for what, right in figures.items():
                change = right.astype(float) - judged[SINGLE][what]
                error = change.std(ddof=1) / np.sqrt(change.size)
                table.add_row(
                    card.label, way, what, str(right.size), f"{100 * right.mean():.2f} %",
                    "" if way == SINGLE else f"{100 * change.mean():+.2f} ({100 * error:.2f})",
                )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    app()
