"""``python -m training.export_again FOLDER``: the same weights, as the graph that is made now.

Architectures learn to give onnxruntime the same numbers with less work; a model that was
exported before need not be trained for it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from training.architectures.eigen import EigenNet
from training.card import follow, read_card, write_card
from training.export import to_onnx
from training.parity import LARGEST_DIFFERENCE, largest_difference, run_onnx, torch_network

app = typer.Typer(add_completion=False)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="A model folder, e.g. exported_models/gasnet2.")],
) -> None:
    """Write model.onnx anew from its own weights; card and combinations follow.

    Old and new graph must agree to 1e-4 on the golden spectra, or nothing is written.

    Example: python -m training.export_again exported_models/gasnet2
    """
    card = read_card(folder)
    network = torch_network(folder)
    if isinstance(network, EigenNet):
        raise SystemExit(f"{folder}: its graph holds eigen-spectra, and is made by export_eigen")
    with np.load(folder / "golden.npz") as golden:
        spectrum = golden[card["inputs"][0]["name"]]
    before = run_onnx(folder, spectrum)
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / folder.resolve().name
        model = to_onnx(network)  # type: ignore[arg-type]
        write_card(made, card, model)
        difference = largest_difference(before, run_onnx(made, spectrum))
    if not difference < LARGEST_DIFFERENCE:
        raise SystemExit(f"the graphs differ by {difference:.2e}: nothing was written")
    write_card(folder, card, model)
    follow(folder, card["sha256"])
    Console(stderr=True).print(f"{folder}: written anew, largest difference {difference:.1e}")


if __name__ == "__main__":
    app()
