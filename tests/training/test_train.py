"""Training from start to export with a tiny network: resumable, seeded, the same in ONNX."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training is PyTorch's (extra 'train')")
pytest.importorskip("pyarrow", reason="training draws from the library (extra 'train')")
pytest.importorskip("onnxscript", reason="the export needs onnxscript (extra 'train')")

import torch
from rich.console import Console
from tiny_training import write_inputs, write_recipe
from typer.testing import CliRunner

from specinfer.models import load_card
from specinfer.networks import spectranet
from specinfer.networks.spectranet import SpectraNetAnswer
from training import calibrate, export, train
from training.architectures import CONFIGS, SPECPT_CONFIGS, SURVEY_CONFIGS
from training.archive.library import Library
from training.archive.split import read_split, rows_of
from training.config import Recipe, read_recipe, resolve
from training.evaluate import evaluate, make_trials
from training.parity import largest_difference, run_onnx, run_torch, torch_network
from training.paths import ROOT
from training.run import CHECKPOINT, facts_of, load_average, load_members, make_batches
from training.stream import TRAIN, VALIDATION, step_rng, stream

CPU = torch.device("cpu")
runner = CliRunner()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def run_training(recipe: Path, folder: Path, *options: str) -> Any:
    arguments = [str(recipe), "--output", str(folder), "--threads", "1", *options]
    return runner.invoke(train.app, arguments)


def trained(recipe: Path, folder: Path, *options: str) -> dict[str, Any]:
    """Train by the command; the checkpoint."""
    result = run_training(recipe, folder, *options)
    assert result.exit_code == 0, result.output
    state = torch.load(folder / CHECKPOINT, weights_only=True)
    assert isinstance(state, dict)
    return state


def assert_same_weights(one: dict[str, Any], other: dict[str, Any]) -> None:
    for kind in ("model", "average"):
        assert set(one[kind]) == set(other[kind])
        for name, value in one[kind].items():
            torch.testing.assert_close(other[kind][name], value, rtol=0, atol=0, msg=name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, inputs: tuple[Path, Path]) -> Path:
    """A run of four steps, calibrated."""
    root = tmp_path_factory.mktemp("finished")
    trained(write_recipe(root / "tiny.toml", inputs), root / "run")
    result = runner.invoke(calibrate.app, [str(root / "run"), "--batches", "3"])
    assert result.exit_code == 0, result.output
    return root / "run"


@pytest.fixture(scope="module")
def exported(finished: Path) -> Path:
    """The model folder of the finished run."""
    folder = finished.parent / "exported" / "tiny"
    result = runner.invoke(export.app, [str(finished), "--output", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


# --- the recipe ----------------------------------------------------------------------


def architecture_of(path: Path) -> str:
    return str(tomllib.loads(path.read_text())["network"].get("architecture", "aligned"))


RECIPES = sorted((ROOT / "training" / "configs").glob("*.toml"))


def test_every_recipe_is_of_a_kind_that_has_its_test() -> None:
    # Those of the survey networks: test_train_survey.py, test_eigen.py, test_train_specpt.py.
    others = {*SURVEY_CONFIGS, *SPECPT_CONFIGS, "eigen", "unet"}
    assert {architecture_of(path) for path in RECIPES} == {*CONFIGS, *others}


@pytest.mark.parametrize("path", [p for p in RECIPES if architecture_of(p) in CONFIGS])
def test_shipped_recipes_are_sound(path: Path) -> None:
    recipe = read_recipe(path)
    assert path.stem == recipe.name
    assert recipe.network.n_pixels == recipe.preprocessing.n_pixels
    # A bin is two grid pixels, and the bins reach the largest redshift that is drawn.
    assert recipe.redshift_bins.step == pytest.approx(2 * recipe.preprocessing.step)
    bins = recipe.redshift_bins
    # The published network has none: its redshift is a bare number.
    if bins.size:
        assert bins.start < 0 < np.log1p(3.9) < bins.start + bins.step * (bins.size - 1)


@pytest.mark.parametrize("line", ["typo = 1", "[optimiser]\nsteps = 5", "[training]\nstep = 5"])
def test_typing_errors_never_train(tmp_path: Path, line: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f'name = "x"\nversion = "0"\n{line}\n')
    with pytest.raises(SystemExit, match="unknown"):
        read_recipe(path)


def test_learning_rate_warms_up_and_falls_to_zero(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        'name = "x"\nversion = "0"\n[training]\nsteps = 1000\nwarmup_steps = 100\n'
        "learning_rate = 0.01\n"
    )
    recipe = read_recipe(path)
    rates = np.array([train.learning_rate(step, recipe) for step in range(1001)])
    np.testing.assert_allclose(np.diff(rates[:100]), 1e-4, rtol=1e-9)
    assert rates[99] == pytest.approx(0.01)
    assert np.all(np.diff(rates[100:]) <= 0)
    assert rates[550] == pytest.approx(0.005, rel=0.01)
    assert rates[1000] == pytest.approx(0.0, abs=1e-9)


# --- training ------------------------------------------------------------------------


def test_stream_gives_the_batches_of_its_steps(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path / "tiny.toml", inputs))
    maker = make_batches(recipe, Library.load(inputs[0]), "train")
    streamed = list(stream(maker, 8, 1, 2, 5))
    assert len(streamed) == 3
    for step, batch in enumerate(streamed, start=2):
        expected = maker.make(8, step_rng(1, TRAIN, step))
        np.testing.assert_array_equal(batch.input, expected.input)
        np.testing.assert_array_equal(batch.row, expected.row)


def test_parts_do_not_share_objects(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path / "tiny.toml", inputs))
    library, split = Library.load(inputs[0]), read_split(inputs[1])
    for part in ("train", "validation"):
        batch = make_batches(recipe, library, part).make(64, step_rng(1, VALIDATION, 0))
        assert set(batch.row.tolist()) <= set(rows_of(library, split, part).tolist())


def test_four_steps_at_once_are_two_and_two(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    recipe = write_recipe(tmp_path / "tiny.toml", inputs)
    at_once = trained(recipe, tmp_path / "once")
    parts = read_recipe(recipe)
    maker = make_batches(parts, Library.load(inputs[0]), "train")
    (tmp_path / "twice").mkdir()
    for first in (0, 2):
        run = train.Run(parts, tmp_path / "twice", CPU)
        assert run.step == first
        for batch in stream(maker, 16, parts.training.seed, first, first + 2):
            run.update(batch)
        run.save()
    in_parts = torch.load(tmp_path / "twice" / CHECKPOINT, weights_only=True)
    assert at_once["step"] == in_parts["step"] == 4
    assert_same_weights(at_once, in_parts)


def test_an_interrupted_command_goes_on(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    recipe = write_recipe(tmp_path / "tiny.toml", inputs)
    at_once = trained(recipe, tmp_path / "once")
    steps = [trained(recipe, tmp_path / "often", "--stop-after", "0")["step"] for _ in range(2)]
    assert steps == [1, 2]
    assert_same_weights(at_once, trained(recipe, tmp_path / "often"))
    with (tmp_path / "often" / "log.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["step"]) for row in rows] == [1, 2, 4]
    assert float(rows[-1]["redshift_rms"]) > 0.0
    # A run that is at its end has nothing left to do.
    assert_same_weights(at_once, trained(recipe, tmp_path / "often"))


def test_dropout_does_not_make_a_resumed_run_another(
    tmp_path: Path, inputs: tuple[Path, Path]
) -> None:
    recipe = write_recipe(tmp_path / "tiny.toml", inputs, dropout=0.2)
    at_once = trained(recipe, tmp_path / "once")
    for _ in range(2):
        trained(recipe, tmp_path / "often", "--stop-after", "0")
    assert_same_weights(at_once, trained(recipe, tmp_path / "often"))


def test_the_same_seed_gives_the_same_network(
    tmp_path: Path, inputs: tuple[Path, Path], finished: Path
) -> None:
    recipe = write_recipe(tmp_path / "tiny.toml", inputs)
    again = trained(recipe, tmp_path / "again")
    assert_same_weights(torch.load(finished / CHECKPOINT, weights_only=True), again)
    other = trained(recipe, tmp_path / "other", "--seed", "2")
    assert json.loads((tmp_path / "other" / "options.json").read_text()) == {"seed": 2}
    name = "classify.weight"
    assert float((other["model"][name] - again["model"][name]).abs().max()) > 1e-3


def test_a_changed_recipe_is_refused(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    recipe = write_recipe(tmp_path / "tiny.toml", inputs)
    before = trained(recipe, tmp_path / "run", "--stop-after", "0")
    write_recipe(tmp_path / "tiny.toml", inputs, steps=5)
    result = run_training(recipe, tmp_path / "run")
    assert result.exit_code == 1
    assert "another recipe" in str(result.output) + str(result.exception)
    after = torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)
    assert after["step"] == 1
    assert_same_weights(before, after)


def test_a_changed_seed_is_refused(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    recipe = write_recipe(tmp_path / "tiny.toml", inputs)
    trained(recipe, tmp_path / "run", "--stop-after", "0", "--seed", "5")
    result = run_training(recipe, tmp_path / "run")
    assert result.exit_code == 1
    assert json.loads((tmp_path / "run" / "options.json").read_text()) == {"seed": 5}


def test_missing_library_ends_with_a_sentence(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    nowhere = (tmp_path / "nothing.npz", inputs[1])
    result = run_training(write_recipe(tmp_path / "tiny.toml", nowhere), tmp_path / "run")
    assert result.exit_code == 1
    assert "python -m training.archive" in str(result.output) + str(result.exception)


def test_a_run_says_what_made_it(finished: Path) -> None:
    facts = facts_of(finished)
    assert (facts["steps"], facts["seed"]) == (4, 1)
    assert facts["recipe"] == "training/configs/tiny.toml"


def test_training_learns(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    """A hundred steps on one batch: the loss falls far below that of a guess."""
    recipe: Recipe = read_recipe(write_recipe(tmp_path / "tiny.toml", inputs, steps=400))
    maker = make_batches(recipe, Library.load(inputs[0]), "train")
    batch = maker.make(32, step_rng(1, TRAIN, 0))
    run = train.Run(recipe, tmp_path, CPU)
    losses = [run.update(batch) for _ in range(100)]
    assert losses[0]["class_loss"] == pytest.approx(np.log(14), abs=0.7)
    assert losses[-1]["class_loss"] < 0.6 * losses[0]["class_loss"]
    assert losses[-1]["redshift_loss"] < 0.8 * losses[0]["redshift_loss"]


# --- calibration, export, evaluation -------------------------------------------------


def test_calibration_is_measured_on_validation_objects(finished: Path) -> None:
    whole = json.loads((finished / "calibration.json").read_text())
    block = whole["calibration"]
    assert block["fitted_on"]["part"] == "validation"
    assert 30 <= block["fitted_on"]["spectra"] <= 48
    assert 1 <= block["fitted_on"]["objects"] <= 14
    assert 0.0 < block["redshift_levels"]["68"] <= block["redshift_levels"]["95"] < 1.0
    assert whole["novelty"]["false_alarm_rate"] == 0.01
    assert whole["decisions"][0]["class"] == "SN Ia"
    assert whole["decisions"][0]["on_validation"]["false_positive_rate"] <= 0.005
    assert block["prediction_set"]["coverage"] == 0.9
    assert 0.0 < block["prediction_set"]["threshold"] < 1.0
    for name, (before, after) in block["fitted_on"]["nll"].items():
        assert 0.2 <= block[f"{name}_temperature"] <= 5.0
        assert after <= before + 1e-4


def test_exported_network_is_the_trained_one(finished: Path, exported: Path) -> None:
    recipe = read_recipe(finished / "recipe.toml")
    maker = make_batches(recipe, Library.load(resolve(recipe.data.library)), "validation")
    # Other inputs, and another number of them, than those of the export's own check.
    spectrum = maker.make(19, step_rng(9, VALIDATION, 1)).input
    network = load_members([finished])
    answer = run_onnx(exported, spectrum)
    assert largest_difference(run_torch(network, spectrum), answer) < 1e-4
    assert largest_difference(run_torch(torch_network(exported), spectrum), answer) < 1e-4
    assert float(answer["redshift_logits"].std()) > 1e-2


def test_exported_card_is_true(finished: Path, exported: Path) -> None:
    card = load_card(str(exported))
    recipe = read_recipe(finished / "recipe.toml")
    assert (card.name, card.version) == ("tiny", "0.0.1")
    assert vars(card.redshift_bins) == vars(recipe.redshift_bins)
    assert card.preprocessing == recipe.preprocessing.to_dict()
    assert card.raw["training"]["members"][0]["steps"] == 4
    assert card.raw["training"]["objects"]["train"]["SN Ia"] == 2
    assert card.redshift_limits["SN Ia"] == pytest.approx(0.5, abs=0.05)
    with np.load(exported / "golden.npz") as golden:
        spectrum, expected = golden["spectrum"], {n: golden[n] for n in card.output_names}
    assert largest_difference(run_onnx(exported, spectrum), expected) < 1e-4
    assert sorted(p.name for p in exported.iterdir()) == ["card.json", "golden.npz", "model.onnx"]


def test_export_without_calibration_ends_with_a_sentence(
    tmp_path: Path, inputs: tuple[Path, Path]
) -> None:
    trained(write_recipe(tmp_path / "tiny.toml", inputs), tmp_path / "run", "--stop-after", "0")
    output = tmp_path / "model"
    result = runner.invoke(export.app, [str(tmp_path / "run"), "--output", str(output)])
    assert result.exit_code == 1
    assert "training.calibrate" in str(result.output) + str(result.exception)
    assert not output.exists()


def test_a_network_that_differs_in_onnx_is_not_exported(finished: Path, exported: Path) -> None:
    recipe = read_recipe(finished / "recipe.toml")
    network = load_average(finished, recipe)
    with np.load(exported / "golden.npz") as golden:
        spectrum = golden["spectrum"]
    assert export.check_parity(network, exported, spectrum) < 1e-4
    with torch.no_grad():
        network.classify.bias[3] += 2e-4
    with pytest.raises(SystemExit, match="differ"):
        export.check_parity(network, exported, spectrum)


def test_evaluation_goes_through_the_runtime(finished: Path, exported: Path) -> None:
    recipe = read_recipe(finished / "recipe.toml")
    library = Library.load(resolve(recipe.data.library))
    quiet = Console(quiet=True)
    metrics, trials = evaluate(exported, recipe, library, "test", 40, 1, quiet)
    assert metrics["part"] == "test"
    rows = rows_of(library, read_split(resolve(recipe.data.split)), "test")
    assert len(trials) == metrics["sedm"]["n_spectra"]
    for name in metrics["kinds"]:
        if name == "as_observed":
            continue
        asked = 3 * rows.size if name == "sedm_by_spectrum" else 40
        block = metrics[name]
        assert block["n_spectra"] + block["left_out"] == asked
        assert 1 <= block["n_objects"] <= 14
        value, low, high = block["accuracy"]
        assert 0.0 <= low <= value <= high <= 1.0
    assert metrics["as_observed"]["n_spectra"] == rows.size
    assert np.sum(metrics["sedm_confusion"]) == metrics["sedm"]["n_spectra"]
    # The same seed gives the same spectra and answers.
    again = make_trials(exported, recipe, library, "test", 40, 1, quiet)
    np.testing.assert_array_equal(again["sedm"].probabilities, trials.probabilities)
    np.testing.assert_array_equal(again["sedm"].z, trials.z)


def test_exported_folder_is_one_that_the_runtime_takes(finished: Path, exported: Path) -> None:
    from training.simulate.instruments import SEDM_AXIS

    network = spectranet.load(load_card(str(exported)), device="cpu", threads=1)
    from specinfer import Spectrum

    flux = 1.0 + 0.3 * np.sin(SEDM_AXIS / 300.0)
    (answer,) = network.predict([Spectrum(SEDM_AXIS, flux)])
    assert isinstance(answer, SpectraNetAnswer)
    assert sum(answer.probabilities.values()) == pytest.approx(1.0)
    assert answer.redshift_pdf.sum() == pytest.approx(1.0)
