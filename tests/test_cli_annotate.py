"""`specinfer classify --annotate` and `--sidecar`, also as the pipeline runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits
from night_files import plain_header, write_pair
from tiny_model import write_fits_spectrum
from typer.testing import CliRunner, Result

from specinfer.cli import app
from specinfer.sidecar import read_sidecar, sidecar_path

runner = CliRunner()


def classify(*arguments: object) -> Result:
    return runner.invoke(app, ["classify", *map(str, arguments)])


def records(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def night(tmp_path: Path, tiny: Path) -> Path:
    folder = tmp_path / "night"
    folder.mkdir()
    write_pair(folder, "spec_good", seed=1)
    write_pair(folder, "spec_standard", OBJECT="STD-Feige34 [A]")
    write_pair(folder, "spec_other", seed=2)
    (folder / "spec_auto_notfluxcal_failed.fits").touch()
    return folder


def states(folder: Path) -> dict[str, str | None]:
    return {
        path.stem: fits.getheader(path).get("SPISTAT")
        for path in sorted(folder.glob("spec_*.fits"))
        if path.stat().st_size
    }


def test_a_night_by_pattern(night: Path) -> None:
    answer = classify("--annotate", night / "spec_*.fits")
    assert answer.exit_code == 1
    found = records(answer)
    assert [record["status"] for record in found] == ["failed", "ok", "ok", "failed"]
    assert found[-1]["error"]["code"] == "skipped"
    lines = answer.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("(empty_file)")
    assert "STD: a standard star (STD-Feige34); --no-skip classifies it (skipped)" in lines[1]
    assert states(night)["spec_standard"] == "STD"
    for stem in ("spec_good", "spec_other"):
        record = next(one for one in found if one["file"].endswith(f"{stem}.fits"))
        header = plain_header(night / f"{stem}.txt")
        assert header["SPITYPE"] == record["class"]
        assert header["SPISTAT"] == states(night)[stem]
    # Only what can hold no annotation has a sidecar.
    sidecars = [path.name for path in night.glob("specinfer_*")]
    assert sidecars == ["specinfer_spec_auto_notfluxcal_failed.json"]


def test_a_folder_twice_is_done_once(night: Path) -> None:
    (night / "spec_auto_notfluxcal_failed.fits").unlink()
    assert classify("--annotate", night).exit_code == 0
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in night.iterdir()}
    again = classify("--annotate", night)
    assert again.exit_code == 0
    # The results come all the same: three spectra, each in two files.
    assert len(records(again)) == 6
    assert {path: (path.stat().st_ino, path.read_bytes()) for path in night.iterdir()} == before
    assert classify("--annotate", "--overwrite", "-z", "0.03", night).exit_code == 0
    assert plain_header(night / "spec_good.txt")["SPIZ"] == "0.030000"
    assert fits.getheader(night / "spec_good.fits")["SPIZ"] == 0.03


def test_sidecars(night: Path) -> None:
    before = {path: path.read_bytes() for path in night.iterdir()}
    answer = classify("--sidecar", night)
    assert answer.exit_code == 1
    assert {path: path.read_bytes() for path in before} == before
    for stem, state in (("spec_standard", "STD"), ("spec_auto_notfluxcal_failed", "UNREADABLE")):
        document = read_sidecar(night / f"{stem}.fits")
        assert document is not None
        assert document["state"] == state
    good = read_sidecar(night / "spec_good.txt")
    assert good is not None
    assert good["result"] in records(answer)


def test_no_skip(night: Path) -> None:
    answer = classify("--annotate", "--no-skip", night / "spec_standard.txt")
    assert answer.exit_code == 0
    assert records(answer)[0]["status"] == "ok"
    assert states(night)["spec_standard"] != "STD"
    assert "SPITYPE" in plain_header(night / "spec_standard.txt")


def test_quiet_says_failures_alone(night: Path) -> None:
    answer = classify("--annotate", "--quiet", night)
    assert [line.rsplit("(")[-1] for line in answer.stderr.splitlines()] == ["empty_file)"]


def test_one_that_cannot_be_written_stops_nothing(night: Path) -> None:
    (night / "spec_good.txt").chmod(0o444)
    before = (night / "spec_good.fits").read_bytes()
    answer = classify("--annotate", night / "spec_[go]*.fits")
    assert answer.exit_code == 1
    assert [record["status"] for record in records(answer)] == ["ok", "ok"]
    assert answer.stderr.count("\n") == 1
    assert "read-only" in answer.stderr
    assert (night / "spec_good.fits").read_bytes() == before
    assert states(night)["spec_other"] is not None


def test_without_the_options_nothing_is_skipped_or_written(night: Path) -> None:
    before = {path: path.read_bytes() for path in night.iterdir()}
    answer = classify(night / "spec_standard.fits")
    assert records(answer)[0]["status"] == "ok"
    assert {path: path.read_bytes() for path in night.iterdir()} == before


def test_a_table_shows_what_was_skipped(night: Path) -> None:
    from specinfer.cli_output import table_row
    from specinfer.errors import ReadError
    from specinfer.result import failed

    row = table_row(failed(ReadError("skipped", "STD: a standard star"), file="a"), 3)
    assert str(row[1]) == "skipped"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--annotate", "-"],
        ["--annotate", "--join", "a.fits", "b.fits"],
        ["--sidecar", "-"],
        ["--overwrite", "a.fits"],
        ["--no-skip", "a.fits"],
    ],
)
def test_wrong_usage(tiny: Path, arguments: list[str]) -> None:
    answer = classify(*arguments)
    assert answer.exit_code == 2
    assert "bad_option" in answer.stderr


def test_many_objects_are_refused_once(tiny: Path, samples: Path, tmp_path: Path) -> None:
    source = next(samples.glob("desi_coadd/coadd*.fits"), None)
    if source is None:
        pytest.skip("no DESI sample here")
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes())
    answer = classify("--model", "spectranet", "--annotate", path)
    assert answer.exit_code == 1
    assert answer.stderr.count("many_spectra") == 1
    assert path.read_bytes() == source.read_bytes()


def test_other_instruments(tiny: Path, tmp_path: Path) -> None:
    path = write_fits_spectrum(tmp_path / "other.fits")
    assert classify("--annotate", "--sidecar", path).exit_code == 0
    assert "SPITYPE" in fits.getheader(path)
    assert sidecar_path(path).exists()


def test_in_the_pipelines_own_environment(night: Path, tiny: Path) -> None:
    """Isolated, from another folder, as the line of the Makefile runs it."""
    environment = os.environ | {"SPECINFER_MODEL_DIR": str(tiny)}
    root = Path(__file__).resolve().parents[1]
    command = (
        f"import sys; sys.path.insert(0, {str(root)!r}); from specinfer.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", command, "classify", "--annotate", "-q", "spec_good.txt"],
        cwd=night,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["file"] == "spec_good.txt"
    assert states(night)["spec_good"] == plain_header(night / "spec_good.txt")["SPISTAT"]
