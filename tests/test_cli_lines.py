"""`specinfer classify --lines`: JSON with all lines, a table with those that are there."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from specinfer import Classifier, Spectrum, read
from specinfer.cli import app
from specinfer.cli_lines import LineTable, _measured, line_rows
from specinfer.result import Classification

ROOT = Path(__file__).resolve().parents[1]
GALAXY = str(ROOT / "examples" / "survey" / "spec-0001-61365-0001.fits")
QUASAR = str(ROOT / "examples" / "survey" / "spec-0001-61365-0002.fits")
TRANSIENT = str(next((ROOT / "examples").glob("spec_auto_*SIM01.fits")))


@pytest.fixture(scope="module")
def galaxy() -> Classification:
    result = Classifier("survey", device="cpu").classify(_one(GALAXY))
    assert result.class_name == "GALAXY"
    return result


def _one(path: str) -> Spectrum:
    return read(path)[0]


def test_json_has_all_lines_that_are_covered() -> None:
    done = CliRunner().invoke(app, ["classify", GALAXY, QUASAR, "--lines", "--json"])
    assert done.exit_code == 0, done.stderr
    galaxy, quasar = (json.loads(line) for line in done.stdout.splitlines())
    schema = json.loads((ROOT / "docs" / "result.schema.json").read_text())
    for record in (galaxy, quasar):
        jsonschema.validate(record, schema)
        places = [line["rest_wavelength"] for line in record["lines"]]
        assert places == sorted(places)
    names = {line["name"] for line in galaxy["lines"]}
    assert {"[O II]", "Ca K", "H-beta", "H-alpha"} <= names
    assert "C IV" not in names
    broad = {line["name"]: line for line in quasar["lines"]}
    assert broad["C IV"]["snr"] > 10
    assert broad["C IV"]["sigma"] > 800


def test_lines_are_null_unless_they_are_asked_for(galaxy: Classification) -> None:
    assert galaxy.to_dict()["lines"] is None
    assert galaxy.with_lines().to_dict()["lines"]


def test_a_model_without_a_reconstruction_says_so_once() -> None:
    done = CliRunner().invoke(app, ["classify", TRANSIENT, TRANSIENT, "--lines", "--json"])
    assert done.exit_code == 0
    assert done.stderr.count("--lines") == 1
    assert "--model survey or specpt" in done.stderr
    assert all(json.loads(line)["lines"] is None for line in done.stdout.splitlines())


def test_a_csv_file_has_them_as_json(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    done = CliRunner().invoke(app, ["classify", GALAXY, "--lines", "-o", str(path)])
    assert done.exit_code == 0
    (row,) = csv.DictReader(path.open())
    assert any(line["name"] == "Ca K" for line in json.loads(row["lines"]))


def test_the_table_shows_lines_that_are_there(
    galaxy: Classification,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    measured = galaxy.with_lines()
    rows = line_rows(measured)
    shown = {row[1] for row in rows}
    assert "Ca K" in shown
    weak = {line["name"] for line in measured.lines or () if abs(line["snr"]) < 3.0}
    assert not weak & shown
    # The name of the spectrum stands once.
    assert [bool(row[0]) for row in rows] == [True, *[False] * (len(rows) - 1)]
    table = LineTable()
    table.write([measured, galaxy])
    table.close()
    table.close()
    printed = capsys.readouterr().out
    assert printed.count("Ca K") == 1
    assert "spec-0001-61365-0001.fits" in printed


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-8.04, 0.79, "-8.04 ± 0.79"),
        (231.4, 23.2, "231 ± 23"),
        (4.5e-16, 1.4e-17, "4.50e-16 ± 1.4e-17"),
        (1.0, None, ""),
    ],
)
def test_values_have_the_digits_of_their_errors(
    value: float, error: float | None, text: str
) -> None:
    assert _measured(value, error) == text


def test_failures_have_no_lines() -> None:
    failed = Classification(error={"code": "x", "message": "y"})
    assert failed.with_lines() is failed
    assert failed.reconstruction is None
