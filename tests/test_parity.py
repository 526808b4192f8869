"""Every shipped network gives in onnxruntime what it gave in PyTorch, to 1e-4."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from specinfer.engine import Session
from specinfer.models import ModelCard, load_card, read_model

MODELS = Path(__file__).resolve().parents[1] / "exported_models"
FOLDERS = sorted(path.parent for path in MODELS.glob("*/model.onnx"))
LARGEST_DIFFERENCE = 1e-4

pytestmark = pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)


def load_golden(folder: Path, card: ModelCard) -> dict[str, NDArray[np.float32]]:
    with np.load(folder / "golden.npz") as data:
        golden = {name: data[name] for name in data.files}
    assert set(golden) == {card.input_name, *computed(card)}
    return golden


def computed(card: ModelCard) -> tuple[str, ...]:
    """The outputs that depend on the input; the others (eigen-spectra) are constants."""
    return tuple(one["name"] for one in card.raw["outputs"] if one["shape"][0] == "batch")


def run(card: ModelCard, spectrum: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    session = Session(read_model(card), name=card.label, device="cpu", threads=1)
    return session.run({card.input_name: spectrum}, only=computed(card))


def assert_close(
    answer: dict[str, NDArray[np.float32]], expected: dict[str, NDArray[np.float32]]
) -> None:
    for name, values in answer.items():
        assert values.shape == expected[name].shape
        difference = float(np.abs(values - expected[name]).max())
        assert difference < LARGEST_DIFFERENCE, f"{name} differs by {difference:.2e}"


def test_golden_inputs_are_real_ones(folder: Path) -> None:
    """Several different prepared spectra: a parity on zeros would say nothing."""
    card = load_card(str(folder))
    golden = load_golden(folder, card)
    spectrum = golden[card.input_name]
    assert spectrum.dtype == np.float32
    assert len(spectrum) >= 4
    assert spectrum.shape[1:] == tuple(card.raw["inputs"][0]["shape"][1:])
    assert set(np.unique(spectrum[:, 1])) <= {0.0, 1.0}
    assert np.all(spectrum[:, 0].std(axis=-1) > 0.1)
    for name in computed(card):
        assert golden[name].shape[0] == len(spectrum)
        assert np.all(np.isfinite(golden[name]))
        assert np.all(golden[name].std(axis=0).max() > 10 * LARGEST_DIFFERENCE)


def test_onnxruntime_gives_the_golden_outputs(folder: Path) -> None:
    card = load_card(str(folder))
    golden = load_golden(folder, card)
    answer = run(card, golden[card.input_name])
    assert set(answer) == set(computed(card))
    assert_close(answer, golden)


def test_outputs_do_not_depend_on_the_batch(folder: Path) -> None:
    card = load_card(str(folder))
    spectrum = load_golden(folder, card)[card.input_name]
    together = run(card, spectrum)
    alone = [run(card, spectrum[i : i + 1]) for i in range(len(spectrum))]
    assert_close(together, {name: np.concatenate([a[name] for a in alone]) for name in together})


def test_pytorch_gives_what_onnxruntime_gives(folder: Path) -> None:
    """The network rebuilt in PyTorch with the weights that lie in model.onnx."""
    pytest.importorskip("torch", reason="parity with PyTorch needs the extra 'train'")
    pytest.importorskip("onnx", reason="parity with PyTorch needs the extra 'train'")
    from training import parity

    assert parity.LARGEST_DIFFERENCE <= LARGEST_DIFFERENCE
    card = load_card(str(folder))
    golden = load_golden(folder, card)
    spectrum = golden[card.input_name]
    rebuilt = parity.run_torch(parity.torch_network(folder), spectrum)
    assert set(rebuilt) == set(computed(card))
    assert_close(run(card, spectrum), rebuilt)
    assert_close(rebuilt, golden)


def test_graph_names_no_path_of_the_machine_it_was_made_on(folder: Path) -> None:
    content = (folder / "model.onnx").read_bytes()
    assert not re.search(rb"site-packages|/home/|/usr/|\.py\b", content)


def test_there_is_a_model(folder: Path) -> None:
    assert (folder / "card.json").is_file()
    assert (folder / "README.md").is_file()
