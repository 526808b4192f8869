"""``python -m training.export_survey RUN``: a GaSNet-II as a model folder."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from specinfer.preprocess import N_CHANNELS
from training.architectures import count_parameters
from training.architectures.fuse import fuse
from training.architectures.survey import DISTANT, SurveyNet
from training.archive.rest import RestLibrary
from training.archive.sdss import part_of, read_sdss
from training.archive.subclasses import PUBLISHED, SUBCLASSES
from training.card import commit, publish, write_card
from training.export import OPSET, to_onnx
from training.export_eigen import CITATIONS, FLAGS, N_GOLDEN
from training.parity import LARGEST_DIFFERENCE, largest_difference, run_onnx, run_torch
from training.paths import ROOT, shared_data
from training.provenance import provenance
from training.simulate.donors import Donors
from training.simulate.survey import REDSHIFTS, SurveySimulator
from training.stream import VALIDATION, step_rng
from training.survey_recipe import SurveyRecipe
from training.survey_run import load_survey
from training.train_eigen import read_libraries
from training.train_survey import SurveyMaker, options_of

app = typer.Typer(add_completion=False)


def make_card(
    recipe: SurveyRecipe, run: Path, network: SurveyNet, libraries: dict[str, RestLibrary]
) -> dict[str, Any]:
    """The card of a network that was not evaluated yet.

    Raises
    ------
    SystemExit
        If the run was not calibrated.
    """
    path = run / "calibration.json"
    if not path.is_file():
        raise SystemExit(f"{path} is not there: run `python -m training.calibrate_survey {run}`")
    grid, shape = recipe.preprocessing, network.config
    sizes = {"class_logits": shape.n_classes, "embedding": shape.embedding}
    sizes |= {f"{name.lower()}_redshift_logits": shape.n_redshift for name in DISTANT}
    return {
        "schema": "specinfer.card/1",
        "name": recipe.name,
        "version": recipe.version,
        "family": "gasnet2",
        "task": "subclass and redshift of a galaxy, quasar or star",
        "classes": list(SUBCLASSES),
        "published_classes": PUBLISHED,
        "inputs": [
            {"name": "spectrum", "shape": ["batch", N_CHANNELS, grid.n_pixels], "dtype": "float32"}
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
            "network": {"architecture": "survey"}
            | {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(shape).items()},
            **provenance(recipe.name, recipe.training, run, libraries),
            **shown(recipe, run),
        },
        "metrics": {},
        "citations": list(CITATIONS),
        "licence": "Apache-2.0",
        "commit": commit(),
        "opset": OPSET,
    }


def shown(recipe: SurveyRecipe, run: Path) -> dict[str, Any]:
    """Which real spectra a network was shown in training; empty for none."""
    if recipe.real.share == 0:
        return {}
    return {"real": asdict(recipe.real) | {"part": "train", **options_of(run)}}


@app.command()
def main(
    run: Annotated[Path, typer.Argument(help="A calibrated run, e.g. runs/gasnet2.")],
    output: Annotated[
        Path | None, typer.Option(help="The model folder (default exported_models/NAME).")
    ] = None,
) -> None:
    """Export a calibrated run: model.onnx, card.json and golden.npz.

    PyTorch and ONNX must agree to 1e-4 on simulated spectra, or nothing is written.

    Example: python -m training.export_survey runs/gasnet2
    """
    recipe, trained = load_survey(run)
    if not isinstance(trained, SurveyNet):
        raise SystemExit(f"{run} is not a GaSNet-II of ours: the published one is for comparison")
    libraries = read_libraries()
    donors = Donors(part_of(read_sdss(shared_data()), "train"))
    simulator = SurveySimulator(libraries, donors, "validation", recipe.conditions)
    maker = SurveyMaker(simulator, recipe.preprocessing)
    inputs = maker.make(N_GOLDEN, step_rng(recipe.training.seed, VALIDATION, 10**6)).input
    expected = run_torch(trained, inputs)
    network = fuse(trained)
    card = make_card(recipe, run, trained, libraries)
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / recipe.name
        write_card(made, card, to_onnx(network))
        difference = largest_difference(expected, run_onnx(made, inputs))
        if not difference < LARGEST_DIFFERENCE:
            raise SystemExit(f"PyTorch and ONNX differ by {difference:.2e}: nothing was exported")
        np.savez_compressed(made / "golden.npz", spectrum=inputs, **expected)
        folder = output or ROOT / "exported_models" / recipe.name
        publish(made, folder)
    size = (folder / "model.onnx").stat().st_size / 1e6
    Console(stderr=True).print(
        f"{folder}: {count_parameters(network):,} parameters, {size:.1f} MB, largest difference "
        f"PyTorch - ONNX {difference:.1e} on {N_GOLDEN} spectra"
    )


if __name__ == "__main__":
    app()
