"""A model that was exported before, as the graph that is made now."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from specinfer.models import load_card, read_model
from specinfer.survey_card import CombinationCard
from training.card import read_card
from training.export_again import main
from training.parity import LARGEST_DIFFERENCE, run_onnx

MODELS = Path(__file__).resolve().parents[2] / "exported_models"


def test_the_same_weights_give_the_same_numbers(tmp_path: Path) -> None:
    for name in ("gasnet2", "gasnet3", "survey"):
        shutil.copytree(MODELS / name, tmp_path / name)
    folder = tmp_path / "gasnet2"
    main(folder)
    card = load_card(f"{folder}/")
    assert read_model(card)
    with np.load(folder / "golden.npz") as golden:
        made = run_onnx(folder, golden["spectrum"])
        for name, values in made.items():
            np.testing.assert_allclose(values, golden[name], rtol=0, atol=LARGEST_DIFFERENCE)
    # Nothing but the hash is new in the card, and the combination follows it.
    before, after = read_card(MODELS / "gasnet2"), read_card(folder)
    assert {k: v for k, v in before.items() if k != "sha256"} == {
        k: v for k, v in after.items() if k != "sha256"
    }
    both = load_card(f"{tmp_path / 'survey'}/")
    assert isinstance(both, CombinationCard)
    assert both.network.sha256 == after["sha256"]


def test_eigen_spectra_are_not_exported_this_way() -> None:
    with pytest.raises(SystemExit, match="export_eigen"):
        main(MODELS / "gasnet3")
