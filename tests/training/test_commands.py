"""Every command of training explains itself."""

from __future__ import annotations

from importlib import import_module

import pytest

pytest.importorskip("torch", reason="the commands train PyTorch networks (extra 'train')")
pytest.importorskip("pyarrow", reason="the commands read the archive (extra 'train')")
pytest.importorskip("onnx", reason="the commands write ONNX (extra 'train')")

from typer.testing import CliRunner

from training.paths import ROOT

COMMANDS = (
    "training.archive.__main__",
    "training.archive.contradictions",
    "training.archive.build_rest",
    "training.train_eigen",
    "training.calibrate_eigen",
    "training.export_eigen",
    "training.train_unet",
    "training.train_survey",
    "training.calibrate_survey",
    "training.export_survey",
    "training.calibrate_auto",
    "training.evaluate_survey",
    "training.survey_examples",
    "training.train_specpt",
    "training.calibrate_specpt",
    "training.export_again",
    "training.export_specpt",
    "training.evaluate_specpt",
    "training.try_proposer",
    "training.train",
    "training.calibrate",
    "training.export",
    "training.evaluate",
    "training.compare",
    "training.leave_out",
    "training.learning_curve",
    "training.simulate.pictures",
    "training.examples",
)


def test_no_command_is_forgotten() -> None:
    with_app = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "training").rglob("*.py")
        if "typer.Typer(" in path.read_text()
    }
    assert with_app == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name: str) -> None:
    app = import_module(name).app
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output
    # What it does, and a line that can be copied.
    assert "Example: python -m " + name.removesuffix(".__main__") in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_unknown_options_are_refused(name: str) -> None:
    result = CliRunner().invoke(import_module(name).app, ["--nonesuch"])
    assert result.exit_code == 2
    assert "Traceback" not in result.output
