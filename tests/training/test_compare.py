"""Networks side by side: the same spectra for all, no figure for what is not answered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="networks are PyTorch's (extra 'train')")
pytest.importorskip("pyarrow", reason="the trials are drawn from the library (extra 'train')")
pytest.importorskip("onnxscript", reason="the costs are of ONNX graphs (extra 'train')")

import torch
from tiny_training import write_inputs, write_recipe
from typer.testing import CliRunner

from training import compare, train
from training.archive.labels import CLASSES
from training.config import read_recipe
from training.cost import Cost, Latency
from training.evaluation.measure import GROUP_OF_CLASS
from training.evaluation.report import baselines
from training.evaluation.trials import Targets
from training.paths import ROOT
from training.simulate.draw import MIN_COVERAGE

PUBLISHED = """\
name = "{name}"
version = "0.0.1"
[preprocessing]
n_pixels = 512
[data]
library = {library}
split = {split}
contradicted = ""
[network]
architecture = "published"
task = "{task}"
n_pixels = 512
widths = [4, 4, 4, 4, 8]
kernels = [3, 5, 7, 3, 5, 7, 3, 5, 7, 3, 5, 7, 3, 5, 7]
hidden = 8
[training]
class_weights = "{weights}"
focal_gamma = 2.0
batch_size = 16
steps = 20
warmup_steps = 1
bfloat16 = false
validation_size = 32
"""
COST = Cost(1000, 2_000_000, 5000, Latency(1, 1, 9, 2.0, 1.0, 3.0), Latency(64, 2, 9, 32.0, 30, 40))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def published(folder: Path, inputs: tuple[Path, Path], task: str, weights: str) -> Path:
    path = folder / f"published-{task}.toml"
    path.write_text(
        PUBLISHED.format(
            name=path.stem,
            task=task,
            weights=weights,
            library=json.dumps(str(inputs[0])),
            split=json.dumps(str(inputs[1])),
        )
    )
    return path


def make_run(recipe: Path, folder: Path) -> Path:
    """A run that was saved before its first step."""
    folder.mkdir()
    (folder / "recipe.toml").write_text(recipe.read_text())
    run = train.Run(read_recipe(recipe), folder, torch.device("cpu"))
    run.seconds = 12.4
    run.save()
    return folder


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory, inputs: tuple[Path, Path]) -> list[str]:
    """A run of ours, a pair of published ones with runs, and a recipe without."""
    root = tmp_path_factory.mktemp("compared")
    ours = write_recipe(root / "tiny.toml", inputs)
    first = published(root, inputs, "class", "balanced")
    second = published(root, inputs, "redshift", "uniform")
    runs = [make_run(path, root / path.stem) for path in (ours, first, second)]
    return [str(runs[0]), f"{runs[1]}+{runs[2]}", str(runs[1]), str(second)]


@pytest.fixture
def table(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(compare, "measure_cost", lambda network, seconds: COST)
    threads = str(torch.get_num_threads())
    options = ["--output", str(tmp_path / "made" / "table"), "--count", "60", "--threads", threads]
    result = CliRunner().invoke(compare.app, [*arguments, *options])
    assert result.exit_code == 0, result.output
    block: dict[str, Any] = json.loads((tmp_path / "made" / "table.json").read_text())
    block["markdown"] = (tmp_path / "made" / "table.md").read_text()
    return block


def test_every_network_has_the_figures_that_it_answers(table: dict[str, Any]) -> None:
    ours, pair, class_alone, recipe = (entry["figures"] for entry in table["entries"])
    for figures in (ours, pair):
        for value, low, high in figures.values():
            assert low <= value <= high
    assert class_alone["redshift_rms"] is None
    assert class_alone["redshift_nmad"] is None
    # The pair answers with the class of its first network.
    assert class_alone["accuracy"] == pair["accuracy"]
    # A recipe without a run costs something, and answers nothing.
    assert recipe is None
    assert table["entries"][3]["networks"][0]["flops"] == 2_000_000
    assert table["entries"][3]["networks"][0]["training_seconds"] is None
    assert [n["training_seconds"] for n in table["entries"][1]["networks"]] == [12, 12]


def test_the_table_says_what_stands_behind_it(table: dict[str, Any]) -> None:
    lines = table["markdown"].splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:6]] == [
        "tiny", "published-class + published-redshift", "published-class", "published-redshift",
    ]  # fmt: skip
    assert len({line.count("|") for line in lines[:6]}) == 1
    cells = [cell.strip() for cell in lines[3].split("|")[1:-1]]
    # Costs of a pair are added: parameters, MFLOP, MB, ms, spectra/s, seconds.
    assert cells[6:] == ["2,000", "4.0", "0.0", "4.00", "1,000", "24"]
    trials = table["trials"]
    assert trials["part"] == "validation"
    assert 0 < trials["n_supernova_spectra"] < trials["n_spectra"] <= 60
    assert (
        f"{trials['baselines']['redshift_rms_constant']:.4f} (always the median)"
        in table["markdown"]
    )
    assert "load average" in table["markdown"]


def test_all_grids_get_the_same_spectra(arguments: list[str]) -> None:
    members = [m for name in arguments[:2] for m in compare.load_entry(name).members]
    targets, prepared = compare.observe(members, compare.common_library(members), 40, 1)
    assert {grid.n_pixels for grid in prepared} == {256, 512}
    coverage = []
    for grid, inputs in prepared.items():
        assert inputs.shape == (len(targets), 3, grid.n_pixels)
        assert inputs.dtype == np.float32
        coverage.append(inputs[:, 1].mean(axis=1))
        assert coverage[-1].min() > MIN_COVERAGE
    np.testing.assert_allclose(*coverage, atol=0.03)


def test_networks_of_other_data_are_not_compared(arguments: list[str], tmp_path: Path) -> None:
    text = Path(arguments[3]).read_text().replace("split.json", "other.json")
    (tmp_path / "other.toml").write_text(text)
    members = [
        m
        for name in (arguments[3], str(tmp_path / "other.toml"))
        for m in compare.load_entry(name).members
    ]
    with pytest.raises(SystemExit, match="split"):
        compare.common_library(members)


def test_nothing_ends_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="neither"):
        compare.load_entry(str(tmp_path / "nothing"))


def known_targets() -> Targets:
    labels = np.array([CLASSES.index(n) for n in ("SN Ia", "SN Ia", "SN II", "SN Ib", "Galaxy")])
    none = np.full(5, np.nan)
    return Targets(
        row=np.arange(5),
        label=labels,
        object=np.array(list("abcde")),
        redshift=np.array([0.0, 0.1, 0.05, 0.02, 0.3]),
        phase=none,
        subtype=np.full(5, -1),
        snr=none,
        host=none,
        left_out=0,
    )


def test_runs_of_one_recipe_are_named_with_their_seeds() -> None:
    recipe = read_recipe(ROOT / "training" / "configs" / "spectranet.toml")
    again = replace(recipe, training=replace(recipe.training, seed=2))
    other = read_recipe(ROOT / "training" / "configs" / "published-class.toml")
    entries = [
        compare.Entry(one.name, (compare.Member(one, None, None),))  # type: ignore[arg-type]
        for one in (recipe, again, other)
    ]
    names = [entry.name for entry in compare.told_apart(entries)]
    assert names == ["spectranet, seed 1", "spectranet, seed 2", "published-class"]


def test_scores_on_a_case_whose_answer_is_known() -> None:
    targets = known_targets()
    probabilities = np.eye(len(CLASSES))[targets.label]
    perfect = compare.score(targets, probabilities, targets.redshift)
    for name, expected in (("accuracy", 1), ("macro_f1", 1), ("three_way_accuracy", 1)):
        assert perfect[name][0] == pytest.approx(expected)  # type: ignore[index]
    assert perfect["redshift_rms"][0] == 0.0  # type: ignore[index]
    # One of the Ia is called II: F1 of 2/3 for both, and 1 for the other two.
    wrong = probabilities.copy()
    wrong[1] = np.eye(len(CLASSES))[CLASSES.index("SN II")]
    figures = compare.score(targets, wrong, targets.redshift + 0.01 * (1 + targets.redshift))
    assert figures["accuracy"][0] == pytest.approx(0.8)  # type: ignore[index]
    assert figures["macro_f1"][0] == pytest.approx((2 / 3 + 2 / 3 + 1 + 1) / 4, abs=1e-4)  # type: ignore[index]
    assert figures["three_way_accuracy"][0] == pytest.approx(0.75)  # type: ignore[index]
    assert figures["redshift_rms"][0] == pytest.approx(0.01)  # type: ignore[index]
    assert figures["redshift_nmad"][0] == pytest.approx(0.0, abs=1e-4)  # type: ignore[index]
    assert set(compare.score(targets, None, None).values()) == {None}


def test_baselines_are_those_of_the_supernovae() -> None:
    targets = known_targets()
    made = baselines(targets)
    z = targets.redshift[GROUP_OF_CLASS[targets.label] >= 0]
    log1z = np.log1p(z)
    expected = np.sqrt(np.mean(np.expm1(np.median(log1z) - log1z) ** 2))
    assert made["redshift_rms_constant"] == pytest.approx(expected)
    # II and Ib stand alone in their classes.
    pair = np.expm1(np.mean(log1z[:2]) - log1z[:2])
    assert made["redshift_rms_class_median"] == pytest.approx(np.sqrt(np.sum(pair**2) / 4))


def test_published_networks_are_trained_by_the_same_command(
    tmp_path: Path, inputs: tuple[Path, Path]
) -> None:
    from training.archive.library import Library
    from training.run import make_batches
    from training.stream import TRAIN, step_rng

    library = Library.load(inputs[0])
    for task, part in (("class", "class_loss"), ("redshift", "redshift_loss")):
        recipe = read_recipe(published(tmp_path, inputs, task, "balanced"))
        batch = make_batches(recipe, library, "train").make(16, step_rng(1, TRAIN, 0))
        (tmp_path / task).mkdir()
        weights = train.class_weights(recipe, library)
        run = train.Run(recipe, tmp_path / task, torch.device("cpu"), weights)
        rows = [run.update(batch) for _ in range(15)]
        assert set(rows[0]) == {"learning_rate", "loss", part}
        assert rows[-1][part] < rows[0][part]
        scores = train.validate(run, [batch])
        assert ("redshift_rms" in scores) == (task == "redshift")
        assert ("three_way" in scores) == (task == "class")
