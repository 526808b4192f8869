"""``python benchmarks/int8.py``: would the networks be faster in 8-bit integers on this CPU?

Each network is quantised in several ways, and each way runs in turn with the network as it
ships, on one core. Nothing is written but into a temporary folder.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import onnxruntime
import typer
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType
from onnxruntime.quantization import quantize_dynamic as dynamic
from onnxruntime.quantization import quantize_static as static
from rich.console import Console
from rich.table import Table

from specinfer.models import load_card, read_model

NAMES = ("spectranet", "gasnet2", "specpt")
SINGLE = "as it ships"
WEIGHTS = QuantType.QInt8

app = typer.Typer(add_completion=False)


class Rows(CalibrationDataReader):  # type: ignore[misc]
    """The inputs that ranges are taken from, one by one."""

    def __init__(self, name: str, inputs: NDArray[np.float32]) -> None:
        self._rows = iter([{name: inputs[i : i + 1]} for i in range(len(inputs))])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next input; None after the last."""
        return next(self._rows, None)


def session(
    model: bytes | str, level: str = "ORT_ENABLE_ALL", save: str = ""
) -> onnxruntime.InferenceSession:
    """A session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    if save:
        options.optimized_model_filepath = save
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def ways(source: str, name: str, inputs: NDArray[np.float32]) -> dict[str, Callable[[str], object]]:
    """By name: what writes the quantised network to a path."""
    products, convolutions = ["MatMul", "Gemm"], ["Conv"]

    def quantise_static(path: str, types: list[str], per_channel: bool) -> None:
        static(
            source,
            path,
            Rows(name, inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=types,
            per_channel=per_channel,
            activation_type=QuantType.QUInt8,
            weight_type=WEIGHTS,
        )

    return {
        "dynamic, matrix products": lambda path: dynamic(
            source, path, op_types_to_quantize=products, weight_type=WEIGHTS
        ),
        "dynamic, convolutions too": lambda path: dynamic(
            source, path, op_types_to_quantize=products + convolutions, weight_type=WEIGHTS
        ),
        "static, convolutions": lambda path: quantise_static(path, convolutions, True),
        "static, both": lambda path: quantise_static(path, products + convolutions, False),
    }


def off(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Median over rows of the distance to what is expected, in units of its length."""
    distance = np.linalg.norm(found - expected, axis=1)
    return float(np.median(distance / np.linalg.norm(expected, axis=1)))


def measure(name: str, repeats: int, batches: tuple[int, ...]) -> list[dict[str, Any]]:
    """A row for every way and batch size."""
    card = load_card(name)
    with np.load(card.folder / "golden.npz") as golden:
        inputs = golden[card.input_name]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        # Weights that ship in half precision become constants that can be quantised.
        source = os.path.join(folder, "single.onnx")
        session(read_model(card), "ORT_ENABLE_BASIC", source)
        sessions, sizes = {SINGLE: session(read_model(card))}, {SINGLE: os.path.getsize(source)}
        for way, write in ways(source, card.input_name, inputs).items():
            path = os.path.join(folder, "quantised.onnx")
            write(path)
            sessions[way], sizes[way] = session(path), os.path.getsize(path)
        expected = sessions[SINGLE].run(None, {card.input_name: inputs})
        place = [node.name for node in sessions[SINGLE].get_outputs()].index("embedding")

        def alone(one: onnxruntime.InferenceSession) -> NDArray[np.float32]:
            """The embeddings of the inputs, each run on its own."""
            each = [one.run(None, {card.input_name: inputs[i : i + 1]}) for i in range(len(inputs))]
            return np.concatenate([answers[place] for answers in each])

        for batch in batches:
            feed = {card.input_name: np.resize(inputs, (batch, *inputs.shape[1:]))}
            times: dict[str, list[float]] = {way: [] for way in sessions}
            for turn in range(repeats + 2):
                for way, one in sessions.items():
                    started = time.perf_counter()
                    one.run(None, feed)
                    # The first turns allocate.
                    if turn >= 2:
                        times[way].append((time.perf_counter() - started) * 1e3)
            for way, found in times.items():
                low, middle, high = np.percentile(found, [5, 50, 95])
                ratios = np.asarray(found) / np.asarray(times[SINGLE])
                answers = sessions[way].run(None, {card.input_name: inputs})
                rows.append(
                    {
                        "model": card.label,
                        "way": way,
                        "batch": batch,
                        "n": repeats,
                        "bytes": sizes[way],
                        "ms": [round(float(x), 3) for x in (low, middle, high)],
                        "least_ms": round(min(found), 3),
                        "ratio": round(float(np.median(ratios)), 3),
                        "embedding_off": round(off(answers[place], expected[place]), 4),
                        "company": round(off(answers[place], alone(sessions[way])), 7),
                    }
                )
    return rows


@app.command()
def main(
    models: Annotated[list[str] | None, typer.Argument(help="Models (default: three).")] = None,
    repeats: Annotated[int, typer.Option(help="Runs of each, in turns.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="JSON Lines instead of a table.")] = False,
) -> None:
    """Print the time of each way on one core, and how far its embeddings are off.

    The ratio is the median over turns of the time over that of the network as it ships. The
    embeddings are those of the model's golden spectra, which the static ways were fitted to;
    "company" is how far those of a spectrum in a batch are from those of the same alone.

    Example: taskset -c 0 python benchmarks/int8.py spectranet --repeats 60
    """
    logging.disable(logging.WARNING)
    rows = [row for name in models or NAMES for row in measure(name, repeats, (1, 64))]
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    table = Table(
        "Model", "Batch", "Way", "MB", "Median ms (5-95 %)", "Least", "Ratio", "Embedding off"
    )
    for row in rows:
        low, middle, high = row["ms"]
        table.add_row(
            row["model"],
            str(row["batch"]),
            row["way"],
            f"{row['bytes'] / 1e6:.1f}",
            f"{middle:.2f} ({low:.2f}-{high:.2f})",
            f"{row['least_ms']:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['embedding_off']:.1%}",
            f"{row['company']:.1e}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    app()
