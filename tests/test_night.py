"""`specinfer report`: the night's table, from sidecars and headers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from night_files import write_pair
from typer.testing import CliRunner

from specinfer import Classification, annotate
from specinfer.cli import app
from specinfer.content import look_at
from specinfer.gates import Gate
from specinfer.night import night_of
from specinfer.sidecar import make_sidecar, write_sidecar

ROBOT = "spec_auto_robot_lstep1__crr_b_ifu20261121_{}_{}"
CONTSEP = "spec_auto_contsep_lstep1__crr_b_ifu20261121_{}_{}"


def answer(class_name: str, redshift: float | None = 0.03, **changes: object) -> Classification:
    entries = {
        "status": "ok",
        "object": "ZTF26abcdefg",
        "model": "spectranet@0.2.1",
        "class_name": class_name,
        "probability": 0.93,
        "redshift": redshift,
        "redshift_err": 0.002,
        "decision": "auto",
    }
    return Classification(**(entries | changes))  # type: ignore[arg-type]


def done(path: Path, result: Classification | None, state: str = "OK", reason: str = "") -> None:
    sha256 = look_at(path.read_bytes()).sha256
    gate = Gate(state, reason)  # type: ignore[arg-type]
    write_sidecar(path, make_sidecar(path, sha256=sha256, gate=gate, result=result, object="X"))


@pytest.fixture
def night(tmp_path: Path) -> Path:
    late, _ = write_pair(tmp_path, ROBOT.format("09_30_00", "ZTF26late"))
    done(late, answer("SN II", flags=("Z_AMBIGUOUS",), decision="review"))
    robot, _ = write_pair(tmp_path, ROBOT.format("05_01_00", "ZTF26abc"))
    done(robot, answer("SN Ia"))
    host, _ = write_pair(tmp_path, CONTSEP.format("05_01_00", "ZTF26abc"), seed=1)
    done(host, answer("galaxy"))
    same, _ = write_pair(tmp_path, CONTSEP.format("09_30_00", "ZTF26late"), seed=2)
    annotate(same, answer("SN II", 0.0301))
    standard, _ = write_pair(tmp_path, ROBOT.format("03_00_00", "STD-Feige34"))
    done(standard, None, "STD", "a standard star (STD-Feige34)")
    write_pair(tmp_path, ROBOT.format("10_00_00", "ZTF26new"), OBJECT="ZTF26new")
    (tmp_path / "report.txt").write_text("UTStart  Object\n")
    (tmp_path / "ifu20261121_05_01_00.fits.gz").touch()
    return tmp_path


def report(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_rows_in_the_order_of_the_night(night: Path) -> None:
    rows = night_of(night)
    assert [(row.exposure or "")[12:20] for row in rows] == [
        "03_00_00",
        "05_01_00",
        "05_01_00",
        "09_30_00",
        "09_30_00",
        "10_00_00",
    ]
    assert [row.extraction for row in rows] == [
        *("robot", "robot", "contsep", "robot", "contsep", "robot")
    ]
    assert [row.state for row in rows] == ["STD", "OK", "OK", "OK", "OK", "-"]
    assert [row.source for row in rows] == [*["sidecar"] * 4, "header", None]
    assert all(row.file.endswith(".fits") for row in rows)
    assert rows[4].redshift == 0.0301
    assert not any(row.changed for row in rows)


def test_extractions_of_one_exposure_are_compared(night: Path) -> None:
    rows = night_of(night)
    assert rows[1].disagreement == rows[2].disagreement
    assert rows[1].disagreement == "robot: SN Ia P=0.93 z=0.0300; contsep: galaxy P=0.93 z=0.0300"
    assert {row.disagreement for row in (rows[0], *rows[3:])} == {None}


def test_the_table(night: Path) -> None:
    lines = report(night).splitlines()
    assert lines[0].split()[:4] == ["UT", "Object", "Extr.", "State"]
    assert lines[1].startswith("03:00:00  X ")
    assert lines[1].endswith("a standard star (STD-Feige34)")
    assert "0.0300 ± 0.0020" in lines[2]
    assert lines[2].endswith("extractions disagree")
    assert lines[4].endswith("review    Z_AMBIGUOUS")
    assert (
        lines[6].split() == ["10:00:00", "ZTF26new", "[A]", "robot", "-"] or "ZTF26new" in lines[6]
    )
    assert lines[8] == "6 spectra: 4 OK, 1 STD, 1 not done"
    assert lines[9].startswith("extractions disagree: ifu20261121_05_01_00_ZTF26abc: robot: SN Ia")
    assert len(lines) == 10


def test_json(night: Path) -> None:
    document = json.loads(report(night, "--json"))
    assert document["schema"] == "specinfer.night/1"
    assert document["counts"] == {"OK": 4, "STD": 1, "-": 1}
    assert len(document["disagreements"]) == 1
    spectrum = document["spectra"][1]
    assert (spectrum["class"], spectrum["model"]) == ("SN Ia", "spectranet@0.2.1")


def test_a_spectrum_that_was_extracted_again(night: Path) -> None:
    write_pair(night, ROBOT.format("05_01_00", "ZTF26abc"), seed=9)
    row = night_of(night)[1]
    assert row.changed
    assert "changed since it was classified" in report(night)


def test_nothing_there(tmp_path: Path) -> None:
    assert report(tmp_path).splitlines()[-1] == "0 spectra"
    assert json.loads(report("--json", tmp_path))["spectra"] == []
    result = CliRunner().invoke(app, ["report", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "give a folder" in result.stderr


def test_names_cannot_break_the_table(tmp_path: Path) -> None:
    path, _ = write_pair(tmp_path, "spec_odd")
    done(path, answer("SN Ia", object="two\nlines\x1b[31m"))
    assert len(report(tmp_path).splitlines()) == 4
    assert "\x1b" not in report(tmp_path)


def test_damaged_files_are_listed(tmp_path: Path) -> None:
    (tmp_path / "spec_auto_notfluxcal_failed.fits").touch()
    path, twin = write_pair(tmp_path, "spec_x")
    annotate(path, answer("SN Ia"))
    twin.write_bytes(twin.read_bytes()[:3000])
    rows = night_of(tmp_path)
    assert [row.state for row in rows] == ["-", "-"]
