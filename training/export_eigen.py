"""``python -m training.export_eigen RUN``: eigen-spectra and encoders as a model folder."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from rich.console import Console

from specinfer.preprocess import N_CHANNELS
from training.architectures import count_parameters
from training.architectures.eigen import EigenNet
from training.archive.rest import RestLibrary
from training.archive.sdss import part_of, read_sdss
from training.archive.subclasses import FAMILIES
from training.calibrate_eigen import load_net
from training.card import commit, publish, write_card
from training.export import OPSET, to_onnx
from training.parity import LARGEST_DIFFERENCE, largest_difference, run_onnx, run_torch
from training.paths import ROOT, shared_data
from training.provenance import provenance
from training.simulate.donors import Donors
from training.simulate.survey import REDSHIFTS, SurveySimulator
from training.stream import VALIDATION, step_rng
from training.train_eigen import EigenRecipe, inputs_of, read_libraries

app = typer.Typer(add_completion=False)
N_GOLDEN = 6
FLAGS = {"low_snr": 1.0, "min_coverage": 0.1}
CITATIONS = (
    "Eigen-spectra and coefficients of real objects: Zhong et al. 2024, arXiv:2412.21130 (MIT)",
    "SDSS spectra, eigen-spectra and star templates: York et al. 2000, AJ 120, 1579; Bolton et "
    "al. 2012, AJ 144, 144",
    "Star templates, archetypes: redrock (DESI, BSD-3), github.com/desihub/redrock-templates",
    "Luminous red galaxies and broad absorption lines: desisim (DESI, BSD-3)",
)


def with_spectra(model: onnx.ModelProto, network: EigenNet) -> onnx.ModelProto:
    """The graph with the eigen-spectra as outputs of their own.

    They are constants: a run that does not ask for them does not pay for them.
    """
    for name in network.config.n_spectra:
        values = network.eigenspectra(name).detach().numpy().astype(np.float32)
        output = f"{name}_eigenspectra"
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, f"{name}_values"))
        model.graph.node.append(onnx.helper.make_node("Identity", [f"{name}_values"], [output]))
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, values.shape)
        )
    onnx.checker.check_model(model, full_check=True)
    return model


def make_card(
    recipe: EigenRecipe, run: Path, network: EigenNet, libraries: dict[str, RestLibrary]
) -> dict[str, Any]:
    """The card of a network that was not evaluated yet.

    Raises
    ------
    SystemExit
        If the run was not calibrated.
    """
    path = run / "calibration.json"
    if not path.is_file():
        raise SystemExit(f"{path} is not there: run `python -m training.calibrate_eigen {run}`")
    scan = json.loads(path.read_text())
    grid = recipe.preprocessing
    total = sum(recipe.network.n_spectra.values())
    outputs: list[dict[str, Any]] = [{"name": "coefficients", "shape": ["batch", total]}]
    for name in FAMILIES:
        shape = list(network.roots[name].shape)
        outputs.append({"name": f"{name}_eigenspectra", "shape": shape})
    return {
        "schema": "specinfer.card/1",
        "name": recipe.name,
        "version": recipe.version,
        "family": "gasnet3",
        "task": "class, redshift and best-fit model of a galaxy, quasar or star",
        "classes": list(FAMILIES),
        "inputs": [
            {"name": "spectrum", "shape": ["batch", N_CHANNELS, grid.n_pixels], "dtype": "float32"}
        ],
        "outputs": outputs,
        "preprocessing": grid.to_dict(),
        "scan": scan,
        "flags": FLAGS,
        "valid_range": {
            "wavelength": [3000.0, 11000.0],
            "redshift": {name: list(limits) for name, limits in REDSHIFTS.items()},
            "snr": list(recipe.conditions.snr),
            "resolution": [100, 5000],
        },
        "training": {
            "network": {
                "architecture": "eigen",
                "n_spectra": dict(recipe.network.n_spectra),
                "channels": list(recipe.network.channels),
                "kernel": recipe.network.kernel,
                "stride": recipe.network.stride,
                "n_pixels": recipe.network.n_pixels,
            },
            **provenance(recipe.name, recipe.training, run, libraries),
        },
        "metrics": {},
        "citations": list(CITATIONS),
        "licence": "Apache-2.0",
        "commit": commit(),
        "opset": OPSET,
    }


@app.command()
def main(
    run: Annotated[Path, typer.Argument(help="A calibrated run, e.g. runs/gasnet3.")],
    output: Annotated[
        Path | None, typer.Option(help="The model folder (default exported_models/NAME).")
    ] = None,
) -> None:
    """Export a calibrated run: model.onnx, card.json and golden.npz.

    PyTorch and ONNX must agree to 1e-4 on simulated spectra, or nothing is written.

    Example: python -m training.export_eigen runs/gasnet3
    """
    recipe, network = load_net(run)
    libraries = read_libraries()
    donors = Donors(part_of(read_sdss(shared_data()), "train"))
    simulator = SurveySimulator(libraries, donors, "validation", recipe.conditions)
    batch = simulator.draw(N_GOLDEN, step_rng(recipe.training.seed, VALIDATION, 10**6))
    inputs = inputs_of(batch, recipe.preprocessing).numpy()
    expected = run_torch(network, inputs)  # type: ignore[arg-type]
    card = make_card(recipe, run, network, libraries)
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / recipe.name
        write_card(made, card, with_spectra(to_onnx(network), network))
        answers = run_onnx(made, inputs)
        difference = largest_difference(expected, {"coefficients": answers["coefficients"]})
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
