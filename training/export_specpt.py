"""``python -m training.export_specpt RUN``: a SpecPT as a model folder."""

from __future__ import annotations

import json
import shutil
import tempfile
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from numpy.typing import NDArray
from rich.console import Console

from specinfer import pdf
from specinfer.engine import Session
from specinfer.models import Bins
from specinfer.noise_channel import CHANNELS
from training.architectures import count_parameters
from training.architectures.fuse import fuse
from training.architectures.specpt import SpecPTNet
from training.architectures.survey import DISTANT
from training.archive.rest import RestLibrary
from training.archive.sdss import part_of, read_sdss
from training.archive.subclasses import PUBLISHED, SUBCLASSES
from training.calibrate_survey import families_of
from training.card import commit, publish, write_card
from training.export import OPSET, to_onnx
from training.export_eigen import CITATIONS, FLAGS, N_GOLDEN
from training.parity import LARGEST_DIFFERENCE, largest_difference, run_onnx, run_torch
from training.paths import ROOT, shared_data
from training.provenance import provenance
from training.simulate.donors import Donors
from training.simulate.survey import REDSHIFTS, SurveySimulator
from training.specpt_data import SpecPTMaker
from training.specpt_recipe import SpecPTRecipe
from training.specpt_run import load_specpt
from training.stream import VALIDATION, step_rng
from training.train_eigen import read_libraries

app = typer.Typer(add_completion=False)
# In half precision: how far a redshift may move, and on how many spectra that is looked at.
LARGEST_SHIFT = 1e-3
N_HALF = 256
PUBLISHED_IN = "SpecPT: Pattnaik et al. 2025, arXiv:2501.01070"


def make_card(
    recipe: SpecPTRecipe, run: Path, network: SpecPTNet, libraries: dict[str, RestLibrary]
) -> dict[str, Any]:
    """The card of a network that was not evaluated yet.

    Raises
    ------
    SystemExit
        If the run was not calibrated.
    """
    path = run / "calibration.json"
    if not path.is_file():
        raise SystemExit(f"{path} is not there: run `python -m training.calibrate_specpt {run}`")
    grid, shape = recipe.preprocessing, network.config
    sizes = {
        "class_logits": shape.n_classes,
        "embedding": shape.embedding,
        "reconstruction": shape.n_pixels,
        **dict.fromkeys(shape.redshift_outputs, shape.n_redshift),
    }
    return {
        "schema": "specinfer.card/1",
        "name": recipe.name,
        "version": recipe.version,
        "family": "specpt",
        "task": "redshift, denoised spectrum and class of a galaxy, quasar or star",
        "classes": list(SUBCLASSES),
        "published_classes": PUBLISHED,
        "inputs": [
            {"name": "spectrum", "shape": ["batch", CHANNELS, grid.n_pixels], "dtype": "float32"}
        ],
        "outputs": [{"name": name, "shape": ["batch", sizes[name]]} for name in network.outputs],
        "preprocessing": grid.to_dict(),
        "redshift_bins": asdict(recipe.redshift_bins),
        **json.loads(path.read_text()),
        "flags": FLAGS,
        "valid_range": {
            "wavelength": [grid.wavelength_min, grid.wavelength_max],
            "redshift": {name: list(limits) for name, limits in REDSHIFTS.items()},
            "snr": list(recipe.conditions.snr),
            "resolution": [1500, 5000],
        },
        "training": {
            "network": {"architecture": "specpt"}
            | {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(shape).items()},
            **provenance(recipe.name, recipe.training, run, libraries),
        },
        "metrics": {},
        "citations": [PUBLISHED_IN, *CITATIONS],
        "licence": "Apache-2.0",
        "commit": commit(),
        "opset": OPSET,
    }


def largest_shift(
    graph: onnx.ModelProto, half: onnx.ModelProto, inputs: NDArray[np.float32], card: dict[str, Any]
) -> float:
    """Largest change of a redshift, over 1 + z, by half precision, on the CPU.

    Of the median of p(z | family) of the most probable family that has one.
    """
    single, other = (
        Session(one.SerializeToString(), name="half", device="cpu", threads=1).run(
            {"spectrum": inputs}
        )
        for one in (graph, half)
    )
    bins = Bins(**card["redshift_bins"])
    p = families_of(pdf.softmax(single["class_logits"]))
    best = p[:, : len(DISTANT)].argmax(axis=1)
    worst = 0.0
    for row, place in enumerate(best):
        head = card["redshift"][DISTANT[place]]
        a, b = (
            pdf.quantile(
                pdf.softmax(one[head["output"]][row], head["temperature"]), bins.centres, 0.5
            )
            for one in (single, other)
        )
        worst = max(worst, abs(float(np.expm1(float(a) - float(b)))))
    return worst


def keep_curves(run: Path, folder: Path) -> None:
    """The learning curves of a run beside the card: numbers and picture."""
    (folder / "pictures").mkdir(exist_ok=True)
    for name, kept in (
        ("log.csv", "learning-curves.csv"),
        ("curves.png", "pictures/learning-curves.png"),
    ):
        if (run / name).is_file():
            shutil.copyfile(run / name, folder / kept)


@app.command()
def main(
    run: Annotated[Path, typer.Argument(help="A calibrated run, e.g. runs/specpt.")],
    output: Annotated[
        Path | None, typer.Option(help="The model folder (default exported_models/NAME).")
    ] = None,
) -> None:
    """Export a calibrated run: model.onnx, card.json, golden.npz and the learning curves.

    PyTorch and ONNX must agree to 1e-4 on simulated spectra, or nothing is written.

    Example: python -m training.export_specpt runs/specpt
    """
    recipe, trained = load_specpt(run)
    if not isinstance(trained, SpecPTNet):
        raise SystemExit(f"{run} is not a SpecPT of ours: the published one is for comparison")
    libraries = read_libraries()
    donors = Donors(part_of(read_sdss(shared_data()), "train"))
    simulator = SurveySimulator(libraries, donors, "validation", recipe.conditions)
    maker = SpecPTMaker(simulator, recipe.preprocessing)
    inputs = maker.make(N_GOLDEN, step_rng(recipe.training.seed, VALIDATION, 10**6)).input
    expected = run_torch(trained, inputs)
    network = fuse(trained)
    card = make_card(recipe, run, trained, libraries)
    graph = to_onnx(network, CHANNELS)
    halved = deepcopy(network)
    halved.halve()
    half = to_onnx(halved, CHANNELS)
    batch = maker.make(N_HALF, step_rng(recipe.training.seed, VALIDATION, 10**6 + 1))
    shift = largest_shift(graph, half, batch.input, card)
    if not shift < LARGEST_SHIFT:
        raise SystemExit(f"half precision moves a redshift by {shift:.1e}: nothing was exported")
    card["half"] = {"largest_dz": float(f"{shift:.2g}"), "n_spectra": N_HALF}
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / recipe.name
        write_card(made, card, graph, half)
        difference = largest_difference(expected, run_onnx(made, inputs))
        if not difference < LARGEST_DIFFERENCE:
            raise SystemExit(f"PyTorch and ONNX differ by {difference:.2e}: nothing was exported")
        np.savez_compressed(made / "golden.npz", spectrum=inputs, **expected)
        folder = output or ROOT / "exported_models" / recipe.name
        publish(made, folder)
    keep_curves(run, folder)
    size = (folder / "model.onnx").stat().st_size / 1e6
    Console(stderr=True).print(
        f"{folder}: {count_parameters(network):,} parameters, {size:.1f} MB, largest difference "
        f"PyTorch - ONNX {difference:.1e} on {N_GOLDEN} spectra"
    )


if __name__ == "__main__":
    app()
