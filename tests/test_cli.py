"""The command line, most of it as a process of its own."""

from __future__ import annotations

import csv
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from tiny_model import fake_spectrum, write_fits_spectrum, write_fits_table, write_model
from typer.testing import CliRunner

import specinfer
from specinfer.cli import FORMAT_NAMES, app
from specinfer.cli_inputs import expand, is_spectrum_name
from specinfer.cli_output import CSV_COLUMNS, table_header, table_row, with_error
from specinfer.cli_report import Progress
from specinfer.readers import FORMATS
from specinfer.result import FIELDS

COMMAND = [sys.executable, "-m", "specinfer"]


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, **options
    )


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return [str(write_fits_spectrum(tmp_path / f"spec_{seed}.fits", seed)) for seed in range(3)]


def in_terminal(*arguments: str, **environment: str) -> str:
    """What a command prints on a terminal of 120 columns (standard output only)."""
    import pty

    main, side = pty.openpty()
    env = os.environ | {"COLUMNS": "120", "TERM": "xterm-256color"} | environment
    process = subprocess.Popen([*COMMAND, *arguments], stdout=side, stderr=subprocess.PIPE, env=env)
    os.close(side)
    parts = []
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(main)
    process.communicate(timeout=60)
    return b"".join(parts).decode()


def test_version_and_help() -> None:
    assert run("--version").stdout == f"specinfer {specinfer.__version__}\n"
    text = run("classify", "--help").stdout
    for word in ("--redshift", "Examples", "Exit codes", "--files-from", "sedm-fits"):
        assert word in text
    for command in ("classify", "models", "doctor"):
        assert command in run("--help").stdout


def test_help_lists_the_formats_there_are() -> None:
    assert tuple(FORMAT_NAMES.split()) == FORMATS


def test_json_lines_in_a_pipe(tiny: Path, files: list[str]) -> None:
    schema_file = Path(__file__).resolve().parents[1] / "docs" / "result.schema.json"
    answer = run("classify", *files)
    assert (answer.returncode, answer.stderr) == (0, "")
    found = records(answer.stdout)
    for record in found:
        jsonschema.validate(record, json.loads(schema_file.read_text()))
    assert [record["file"] for record in found] == files


def test_table_on_a_terminal(tiny: Path, files: list[str]) -> None:
    text = in_terminal("classify", *files, NO_COLOR="1")
    for word in ("Class", "Redshift", "Next best", "spec_0.fits", "±"):
        assert word in text
    assert '"schema"' not in text
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", text), "NO_COLOR is not respected"


def test_json_on_a_terminal(tiny: Path, files: list[str]) -> None:
    assert len(records(in_terminal("classify", "--json", *files))) == 3


def test_failure_in_the_table(tiny: Path, files: list[str]) -> None:
    text = in_terminal("classify", files[0], "none.fits")
    assert "failed" in text
    assert "not_found" in text


def test_one_bad_among_good(tiny: Path, files: list[str], tmp_path: Path) -> None:
    bad = tmp_path / "empty.fits"
    bad.touch()
    answer = run("classify", files[0], str(bad), files[1])
    assert answer.returncode == 1
    assert [record["status"] for record in records(answer.stdout)] == ["ok", "failed", "ok"]
    assert answer.stderr.startswith(f"specinfer: {bad}: ")
    assert answer.stderr.count("\n") == 1


def test_given_redshift(tiny: Path, files: list[str]) -> None:
    record = records(run("classify", files[0], "--redshift", "0.031").stdout)[0]
    assert record["redshift"] == 0.031
    assert "Z_GIVEN" in record["flags"]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_output_file(tiny: Path, files: list[str], tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"out.{suffix}"
    target.write_text("old")
    target.chmod(0o640)
    answer = run("classify", *files, "none.fits", "--output", str(target))
    assert answer.returncode == 1
    assert answer.stdout == ""
    content = target.read_text()
    if suffix == "csv":
        rows = list(csv.DictReader(content.splitlines()))
        assert [row["status"] for row in rows] == ["ok"] * 3 + ["failed"]
        assert rows[3]["error_code"] == "not_found"
        assert rows[3]["redshift"] == ""
        assert json.loads(rows[0]["probabilities"])[rows[0]["class"]] > 0
    else:
        found = records(content) if suffix == "jsonl" else json.loads(content)
        assert [record["status"] for record in found] == ["ok"] * 3 + ["failed"]
    assert target.stat().st_mode & 0o777 == 0o640
    assert not list(tmp_path.glob(".specinfer_*"))


def test_output_file_through_a_link(tiny: Path, files: list[str], tmp_path: Path) -> None:
    (tmp_path / "real.jsonl").touch()
    link = tmp_path / "link.jsonl"
    link.symlink_to("real.jsonl")
    assert run("classify", files[0], "--output", str(link)).returncode == 0
    assert link.is_symlink()
    assert len(records((tmp_path / "real.jsonl").read_text())) == 1


def test_output_file_and_json_together(tiny: Path, files: list[str], tmp_path: Path) -> None:
    answer = run("classify", *files, "--json", "--output", str(tmp_path / "x.jsonl"))
    assert answer.stdout == (tmp_path / "x.jsonl").read_text()


def test_no_results_are_still_valid_files(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("\n\n")
    for suffix, expected in (
        ("json", "[]\n"),
        ("jsonl", ""),
        ("csv", ",".join(CSV_COLUMNS) + "\n"),
    ):
        target = tmp_path / f"out.{suffix}"
        answer = run("classify", "--files-from", str(tmp_path / "list"), "-o", str(target))
        assert answer.returncode == 0
        assert target.read_text() == expected


def test_folder_pattern_and_list(tiny: Path, files: list[str], tmp_path: Path) -> None:
    (tmp_path / "._spec_0.fits").write_bytes(b"junk of another system")
    (tmp_path / "specinfer_spec_0.json").write_text("{}")
    (tmp_path / "list.lst").write_text("\r\n".join(files) + "\r\n")
    for arguments in (
        [str(tmp_path)],
        [str(tmp_path / "spec_*.fits")],
        [str(tmp_path.parent / "**" / tmp_path.name / "spec_?.fits")],
        ["--files-from", str(tmp_path / "list.lst")],
    ):
        answer = run("classify", *arguments)
        assert answer.returncode == 0, answer.stderr
        assert [record["file"] for record in records(answer.stdout)] == files


def test_names_with_brackets_and_odd_bytes(tiny: Path, tmp_path: Path) -> None:
    odd = os.fsdecode(b"a[1] \xff\n.fits")
    write_fits_spectrum(tmp_path / "spec[1].fits")
    (tmp_path / "spec[1].fits").rename(tmp_path / odd)
    answer = run("classify", str(tmp_path / odd))
    assert answer.returncode == 0
    assert records(answer.stdout)[0]["file"] == str(tmp_path / odd)
    assert "a[1]" in in_terminal("classify", str(tmp_path / odd))


def test_standard_input(tiny: Path, files: list[str]) -> None:
    content = Path(files[0]).read_bytes()
    answer = subprocess.run([*COMMAND, "classify", "-"], input=content, capture_output=True)
    record = json.loads(answer.stdout)
    assert (record["status"], record["file"]) == ("ok", "-")
    failure = subprocess.run([*COMMAND, "classify", "-"], input=b"", capture_output=True)
    assert failure.returncode == 1
    assert failure.stderr.startswith(b"specinfer: standard input: ")


def test_files_are_answered_as_they_are_listed(tiny: Path, files: list[str]) -> None:
    """A process that is fed paths answers each while the next is still to come."""
    process = subprocess.Popen(
        [*COMMAND, "classify", "--files-from", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for path in files:
        process.stdin.write(path + "\n")
        process.stdin.flush()
        assert select.select([process.stdout], [], [], 30)[0], "no answer in 30 s"
        assert json.loads(process.stdout.readline())["file"] == path
    process.stdin.close()
    assert process.wait(30) == 0
    process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_keeps_the_results(
    tiny: Path, files: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    target = tmp_path / "kept.json"
    process = subprocess.Popen(
        [*COMMAND, "classify", "--json", "--files-from", "-", "--output", str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        # Who runs the tests in the background of a shell has Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(files[0] + "\n")
    process.stdin.flush()
    assert process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "specinfer: interrupted; the results made so far are kept\n"
    assert len(json.loads(target.read_text())) == 1


def test_reader_of_the_pipe_goes_away(tiny: Path, files: list[str]) -> None:
    process = subprocess.Popen(
        [*COMMAND, "classify", "--batch-size", "1", *(files * 40)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 141


def test_batch_size_changes_nothing(tiny: Path, files: list[str]) -> None:
    one = records(run("classify", "--batch-size", "1", *files).stdout)
    many = records(run("classify", *files).stdout)
    for a, b in zip(one, many, strict=True):
        assert a["class"] == b["class"]
        assert a["probability"] == pytest.approx(b["probability"], abs=2e-6)


def test_join_makes_one_object(tiny: Path, tmp_path: Path) -> None:
    spectrum = fake_spectrum(5)
    parts = []
    for name, part in (("blue", slice(0, 120)), ("red", slice(110, 214))):
        parts.append(
            str(
                write_fits_table(
                    tmp_path / f"{name}.fits",
                    wavelength=spectrum.wavelength[part],
                    flux=spectrum.flux[part],
                    ivar=spectrum.ivar[part],
                )
            )
        )
    found = records(run("classify", "--join", *parts).stdout)
    assert len(found) == 1
    assert "JOINED" in found[0]["flags"]
    assert found[0]["wavelength_min"] == pytest.approx(spectrum.wavelength[0], abs=0.01)
    assert found[0]["wavelength_max"] == pytest.approx(spectrum.wavelength[-1], abs=0.01)


def test_join_reports_a_missing_channel(tiny: Path, files: list[str]) -> None:
    answer = run("classify", "--join", files[0], "none.fits")
    assert answer.returncode == 1
    assert sorted(record["status"] for record in records(answer.stdout)) == ["failed", "ok"]


def test_pictures(tiny: Path, files: list[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures are an optional extra")
    folder = tmp_path / "pictures"
    assert run("classify", *files, "--plot", str(folder)).returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        f"specinfer_spec_{seed}.png" for seed in range(3)
    ]
    single = tmp_path / "one.png"
    assert run("classify", files[0], "--plot", str(single)).returncode == 0
    assert single.read_bytes().startswith(b"\x89PNG")


def test_models_command(tiny: Path) -> None:
    listed = json.loads(run("models", "--verify").stdout)
    ours = next(entry for entry in listed if entry["name"] == "spectranet")
    assert ours["verified"] is True
    assert ours["classes"][0] == "SN Ia"
    card = json.loads(run("models", "spectranet").stdout)
    assert card["schema"] == "specinfer.card/1"
    assert "spectranet@0.0.1" in in_terminal("models")
    assert run("models", "nonesuch").returncode == 3


def test_models_command_finds_what_was_altered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path)
    (folder / "model.onnx").write_bytes(b"other")
    monkeypatch.setenv("SPECINFER_MODEL_DIR", str(tmp_path))
    answer = run("models", "--verify")
    assert answer.returncode == 3
    assert "altered" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_doctor(tiny: Path) -> None:
    answer = run("doctor", "--json")
    report = json.loads(answer.stdout)
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["device cpu"]["state"] == "ok"
    assert checks["model spectranet"]["state"] == "ok"
    assert checks["onnxruntime build"]["state"] == "ok"
    assert re.search(r"one spectrum in \d+\.\d ms", checks["self-test"]["detail"])
    assert (answer.returncode, report["ok"]) == (0, True)
    assert "self-test" in in_terminal("doctor")


def test_doctor_finds_what_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path)
    card = (folder / "card.json").read_text()
    (folder / "card.json").write_text(card.replace("0.0.1", "0.0.7"))
    monkeypatch.setenv("SPECINFER_MODEL_DIR", str(tmp_path))
    answer = run("doctor")
    assert answer.returncode == 3
    assert "card.json was altered" in answer.stderr
    assert json.loads(answer.stdout)["ok"] is False


def test_doctor_finds_two_runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    from specinfer import doctor

    monkeypatch.setattr(
        doctor, "_version", lambda name: "1" if name in ("onnxruntime", "onnxruntime-gpu") else None
    )
    check = doctor._distributions()
    assert check.state == "broken"
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in check.detail


def test_quiet_and_warnings(tiny: Path, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings of specinfer are single lines; --quiet leaves them out."""
    import warnings

    from specinfer import cli_classify

    plain = cli_classify.run

    def warning(job: Any) -> int:
        warnings.warn("the weather is bad", specinfer.SpecinferWarning, stacklevel=1)
        warnings.warn("deep inside a library", RuntimeWarning, stacklevel=1)
        return plain(job)

    monkeypatch.setattr(cli_classify, "run", warning)
    loud = CliRunner().invoke(app, ["classify", files[0]])
    assert loud.stderr == "specinfer: warning: the weather is bad\n"
    quiet = CliRunner().invoke(app, ["classify", "--quiet", files[0]])
    assert quiet.stderr == ""


def test_csv_columns_are_the_schema() -> None:
    names = ["class" if name == "class_name" else name for name in FIELDS]
    assert [c for c in CSV_COLUMNS if not c.startswith("error_")] == [
        name for name in names if name != "error"
    ]


def test_table_rows(tiny: Path) -> None:
    result = specinfer.Classifier().classify(
        fake_spectrum(1, object="[red]x[/red]", file="a/b.fits")
    )
    for top in (1, 3):
        row = [str(cell) for cell in table_row(result, top)]
        assert len(row) == len(table_header(top))
        assert row[0] == "b.fits [red]x[/red]"
    assert with_error(0.03124, 0.00213, 4) == "0.0312 ± 0.0021"
    assert with_error(0.2136812, 0.0000273, 4) == "0.213681 ± 0.000027"
    assert with_error(11.2, 5.3, 0) == "11 ± 5"
    assert with_error(11.2, 0.4, 0) == "11.20 ± 0.40"
    assert with_error(None, None, 1) == ""


def test_expand(tmp_path: Path) -> None:
    assert [target.path for target in expand(["-", "x.fits"])] == ["-", "x.fits"]
    assert is_spectrum_name("A.FITS.gz")
    assert not is_spectrum_name("notes.md")
    assert not is_spectrum_name("specinfer_a.json")
    assert not is_spectrum_name("redrock-4-80613-thru20210324.fits")
    assert is_spectrum_name("coadd-4-80613-thru20210324.fits")
    (tmp_path / "folder.fits").mkdir()
    (errors,) = [target.error for target in expand([str(tmp_path)])]
    assert errors is not None
    assert errors.code == "no_spectra"


def test_progress_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert not Progress(100).enabled
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert not Progress(2).enabled
    assert not Progress(100, enabled=False).enabled
    progress = Progress(100)
    progress.step()
    progress.hide()
    assert "1/100 files" in capsys.readouterr().err
    progress.done = 50
    assert progress.text(10.0) == f"[{'#' * 15}{'-' * 15}] 50/100 files, 10 s left"
    assert Progress(None).text(3.0) == "0 files, 3 s"
    one = Progress(1)
    one.row(5, 10)
    one.hide()
    assert capsys.readouterr().err == ""
    one.row(250, 500)
    one.hide()
    assert "250/500 rows" in capsys.readouterr().err
    assert one.row_text(250, 500, 4.0) == f"[{'#' * 15}{'-' * 15}] 250/500 rows, 4 s left"
    assert "250/500 rows of file 51/100" in progress.row_text(250, 500, 4.0)


def test_everything_of_a_multi_object_file(tiny: Path, samples: Path) -> None:
    path = str(samples / "desi_coadd" / "coadd-main-dark-9144.fits")
    found = records(run("classify", path).stdout)
    assert len(found) > 1
    rows = [record["row"] for record in found]
    assert np.all(np.diff(rows) > 0)
