"""``python -m training.export RUN``: a trained network as a model folder."""

from __future__ import annotations

import json
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import typer
from numpy.typing import NDArray
from onnxscript import optimizer
from rich.console import Console

from specinfer.preprocess import N_CHANNELS
from training.architectures import architecture_name, count_parameters
from training.architectures.eigen import EigenNet
from training.architectures.fuse import fuse
from training.architectures.served import Served
from training.architectures.specpt import SpecPTNet
from training.architectures.survey import SurveyNet
from training.archive.labels import CLASSES, IA_SUBTYPES, PHASE_CLASSES
from training.archive.library import Library, library_hash
from training.archive.split import PARTS, read_split, rows_of
from training.card import commit, publish, write_card
from training.config import Recipe, resolve
from training.parity import (
    LARGEST_DIFFERENCE,
    largest_difference,
    run_onnx,
    run_torch,
)
from training.paths import ROOT
from training.run import facts_of, load_members, make_batches, read_run, run_name
from training.simulate.draw import largest_redshift, redshift_limits
from training.stream import VALIDATION, step_rng

app = typer.Typer(add_completion=False)

OPSET = 18
# Below this signal-to-noise ratio a pixel, and with less of the grid than this, the
# networks were not trained: results carry a flag.
FLAGS = {"low_snr": 2.0, "min_coverage": 0.25}
N_GOLDEN = 8
# Constants of at most so many numbers, the shapes of things, are folded into the graph.
_FOLDED = 4

CITATIONS = (
    "Open Supernova and TDE Catalogs: Guillochon et al. 2017, ApJ 835, 64",
    "SNID and its templates: Blondin & Tonry 2007, ApJ 666, 1024; Liu & Modjaz 2014, "
    "arXiv:1405.1437; SNID-SAGE",
    "CfA: Matheson et al. 2008, AJ 135, 1598; Blondin et al. 2012, AJ 143, 126; "
    "Modjaz et al. 2014, AJ 147, 99",
    "BSNIP: Silverman et al. 2012, MNRAS 425, 1789; Stahl et al. 2020, MNRAS 492, 4325",
    "CSP: Folatelli et al. 2013, ApJ 773, 53",
    "Superfit: Howell et al. 2005, ApJ 634, 1190",
    "SLSN: Quimby et al. 2018, ApJ 855, 2",
    "SDSS: York et al. 2000, AJ 120, 1579; Bolton et al. 2012, AJ 144, 144",
    "Eigen-spectra: Zhong et al. 2024, arXiv:2412.21130",
    "Galaxy and quasar templates: Kinney et al. 1996, ApJ 467, 38; "
    "Vanden Berk et al. 2001, AJ 122, 549; redrock and desisim (DESI, BSD-3)",
)


def to_onnx(
    network: Served | SurveyNet | EigenNet | SpecPTNet, channels: int = N_CHANNELS
) -> onnx.ModelProto:
    """The graph of a fused network, with a free batch dimension.

    Parameters
    ----------
    network : Served
        In evaluation mode, without normalisation layers.
    channels : int, optional
        Of the input.

    Returns
    -------
    onnx.ModelProto
        Checked; initializers are named like the network's parameters.
    """
    example = torch.zeros(2, channels, network.config.n_pixels)
    batch = torch.export.Dim("batch", min=1, max=4096)
    with warnings.catch_warnings():
        # The exporter warns about its own internals.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (example,),
            input_names=["spectrum"],
            output_names=list(network.outputs),
            dynamic_shapes={"spectrum": {0: batch}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
            optimize=False,
        )
    assert program is not None
    # Parameters stay as they are, under their names, so that they can be read back; what
    # follows from them alone (the transforms of templates) onnxruntime computes on loading.
    optimizer.optimize(program.model, input_size_limit=_FOLDED)
    model = program.model_proto
    # What the exporter says about source files of this machine is nobody's business.
    del model.metadata_props[:]
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    return model


def training_block(recipe: Recipe, runs: list[Path], library: Library) -> dict[str, Any]:
    """What a stranger needs to make the network again."""
    split = read_split(resolve(recipe.data.split))
    rows = {part: rows_of(library, split, part) for part in PARTS}
    return {
        "network": {"architecture": architecture_name(recipe.network), "members": len(runs)}
        | {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(recipe.network).items()
        },
        "recipe": "training/configs/" + recipe.name + ".toml",
        "library_sha256": library_hash(library),
        "split": recipe.data.split,
        "split_sha256": split["sha256"],
        "members": [facts_of(run) for run in runs],
        "objects": {
            part: {
                name: len(set(library.object[mine[library.label[mine] == i]].tolist()))
                for i, name in enumerate(CLASSES)
            }
            for part, mine in rows.items()
        },
        "subtype_objects": {
            part: {
                name: len(set(library.object[mine[library.subtype[mine] == name]].tolist()))
                for name in IA_SUBTYPES
            }
            for part, mine in rows.items()
        },
        "spectra": {part: len(mine) for part, mine in rows.items()},
        "torch": torch.__version__,
    }


def read_calibration(runs: list[Path]) -> dict[str, Any]:
    """What `training.calibrate` found for these members.

    Raises
    ------
    SystemExit
        If it was not run, or with other members.
    """
    path = runs[0] / "calibration.json"
    command = "python -m training.calibrate " + " ".join(str(run) for run in runs)
    if not path.is_file():
        raise SystemExit(f"{path} is not there: run `{command}`")
    block: dict[str, Any] = json.loads(path.read_text())
    if block.pop("members", None) != [run_name(run) for run in runs]:
        raise SystemExit(f"{path} was made for other members: run `{command}`")
    return block


def make_card(
    recipe: Recipe, runs: list[Path], library: Library, network: Served
) -> dict[str, Any]:
    """The card of a network that was not evaluated yet."""
    calibration = read_calibration(runs)
    grid = recipe.preprocessing
    every = {
        "class_logits": len(CLASSES),
        "redshift_logits": recipe.redshift_bins.size,
        "phase_logits": recipe.phase_bins.size,
        "subtype_logits": len(IA_SUBTYPES),
        "host_logit": 1,
        "novelty": 1,
        "embedding": network.size,
    }
    sizes = {name: every[name] for name in network.outputs}
    z_max = max(largest_redshift(name) for name in CLASSES)
    return {
        "schema": "specinfer.card/1",
        "name": recipe.name,
        "version": recipe.version,
        "family": "spectranet",
        "task": "class, redshift and phase of a transient, galaxy, quasar or star",
        "classes": list(CLASSES),
        "inputs": [
            {"name": "spectrum", "shape": ["batch", N_CHANNELS, grid.n_pixels], "dtype": "float32"}
        ],
        "outputs": [{"name": name, "shape": ["batch", size]} for name, size in sizes.items()],
        "preprocessing": grid.to_dict(),
        "redshift_bins": asdict(recipe.redshift_bins),
        "phase_bins": asdict(recipe.phase_bins),
        "redshift_limits": redshift_limits(recipe.redshift_bins.step),
        "phase_classes": list(PHASE_CLASSES),
        "subtypes": {"SN Ia": ["normal", *(x.removeprefix("Ia-") for x in IA_SUBTYPES[1:])]},
        **calibration,
        "flags": FLAGS,
        "valid_range": {
            "wavelength": [grid.wavelength_min, grid.wavelength_max],
            "redshift": [0.0, z_max],
            "snr": list(recipe.conditions.snr),
            "resolution": [100, 1500],
        },
        "training": training_block(recipe, runs, library),
        "metrics": {},
        "citations": list(CITATIONS),
        "licence": "Apache-2.0",
        "commit": commit(),
        "opset": OPSET,
    }


def golden_inputs(recipe: Recipe, library: Library) -> NDArray[np.float32]:
    """Inputs for the golden file: simulated spectra of validation objects."""
    maker = make_batches(recipe, library, "validation")
    return maker.make(N_GOLDEN, step_rng(recipe.training.seed, VALIDATION, 10**6)).input


def check_parity(network: Served, folder: Path, inputs: NDArray[np.float32]) -> float:
    """Compare PyTorch and ONNX; refuse to export what differs.

    Returns
    -------
    float
        The largest absolute difference of any output.
    """
    difference = largest_difference(run_torch(network, inputs), run_onnx(folder, inputs))
    if not difference < LARGEST_DIFFERENCE:
        raise SystemExit(
            f"PyTorch and ONNX differ by {difference:.2e}, more than {LARGEST_DIFFERENCE}: "
            "nothing was exported"
        )
    return difference


@app.command()
def main(
    runs: Annotated[
        list[Path], typer.Argument(help="The run folders of the members, e.g. runs/spectranet")
    ],
    output: Annotated[
        Path | None, typer.Option(help="The model folder (default exported_models/NAME).")
    ] = None,
) -> None:
    """Export a calibrated run: model.onnx, card.json and golden.npz.

    PyTorch and ONNX must agree to 1e-4 on simulated spectra, or nothing is written. The
    metrics come afterwards, from training.evaluate.

    Example: python -m training.export runs/spectranet
    """
    console = Console(stderr=True)
    recipe = read_run(runs[0])
    library = Library.load(resolve(recipe.data.library))
    trained = load_members(runs)
    network = fuse(trained)
    inputs = golden_inputs(recipe, library)
    unfused = run_torch(trained, inputs)
    folding = largest_difference(unfused, run_torch(network, inputs))
    card = make_card(recipe, runs, library, network)
    with console.status("exporting"), tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / recipe.name
        write_card(made, card, to_onnx(network))
        difference = check_parity(trained, made, inputs)
        np.savez_compressed(made / "golden.npz", spectrum=inputs, **unfused)
        folder = output or ROOT / "exported_models" / recipe.name
        publish(made, folder)
    size = (folder / "model.onnx").stat().st_size / 1e6
    console.print(
        f"{folder}: {count_parameters(network):,} parameters, {size:.1f} MB, "
        f"largest difference PyTorch - ONNX {difference:.1e} "
        f"(folding the normalisation {folding:.1e}) on {N_GOLDEN} spectra"
    )


if __name__ == "__main__":
    app()
