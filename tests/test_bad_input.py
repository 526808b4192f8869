"""What bad input gets: one line that says what, where and what to do; the others are answered."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_model import fake_spectrum, write_fits_spectrum, write_fits_table, write_model
from typer.testing import CliRunner

from specinfer import nvidia, providers
from specinfer.cli import app

Maker = Callable[[Path], Path]


def table(**changes: Any) -> Maker:
    """A maker of a FITS table of a good spectrum with some columns replaced."""

    def make(folder: Path) -> Path:
        good = fake_spectrum(9)
        columns = {"wavelength": good.wavelength, "flux": good.flux, "ivar": good.ivar} | changes
        return write_fits_table(folder / "bad.fits", **columns)

    return make


def content(data: bytes, name: str = "bad.fits") -> Maker:
    """A maker of a file with these bytes."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    return make


def text(body: str) -> Maker:
    return content(body.encode(), "bad.txt")


def rows(wavelength: np.ndarray) -> str:
    return "".join(f"{x:.3f} {1 + np.sin(x / 300):.4f}\n" for x in wavelength)


def missing(folder: Path) -> Path:
    return folder / "missing.fits"


def empty_folder(folder: Path) -> Path:
    path = folder / "nothing"
    path.mkdir()
    (path / "notes.md").write_text("no spectra")
    (path / ".hidden.fits").write_text("hidden")
    (path / "specinfer_x.json").write_text("a sidecar of ours")
    return path


def pattern(folder: Path) -> Path:
    return folder / "nothing*.fits"


def truncated(folder: Path) -> Path:
    whole = write_fits_spectrum(folder / "whole.fits").read_bytes()
    path = folder / "bad.fits"
    path.write_bytes(whole[: len(whole) // 2])
    return path


def array_fits(shape: tuple[int, ...]) -> Maker:
    def make(folder: Path) -> Path:
        from astropy.io import fits

        fits.PrimaryHDU(np.ones(shape)).writeto(folder / "bad.fits")
        return folder / "bad.fits"

    return make


GRID = np.linspace(3776.71, 9223.29, 214)
SHUFFLED = np.concatenate([GRID[:100], GRID[101:99:-1], GRID[102:]])
REPEATED = np.concatenate([GRID[:100], GRID[99:213]])

CASES: dict[str, tuple[Maker, str]] = {
    "missing file": (missing, r"no such file.*check the path"),
    "folder without spectra": (empty_folder, r"no spectra directly in this folder.*give"),
    "pattern without files": (pattern, r"no file matches"),
    "empty file": (content(b""), r"empty"),
    "truncated FITS": (truncated, r"truncated|damaged"),
    "image": (array_fits((300, 400)), r"found|image"),
    "cube": (array_fits((20, 30, 40)), r"found|cube"),
    "table without flux": (
        lambda folder: write_fits_table(folder / "bad.fits", wavelength=GRID, magnitude=GRID),
        r"flux|found",
    ),
    "NaN flux": (table(flux=np.full(214, np.nan)), r"no usable pixel|NaN"),
    "zero ivar": (table(ivar=np.zeros(214)), r"no usable pixel"),
    "wavelengths out of order": (table(wavelength=SHUFFLED), r"out of order.*sort"),
    "wavelengths repeated": (table(wavelength=REPEATED), r"twice.*average"),
    "wavelengths out of range": (table(wavelength=GRID + 2e4), r"are needed"),
    "words": (text("dear observer,\nthe night was cloudy\nno spectra\n"), r"found|number"),
    "words with text wavelengths": (text(rows(REPEATED)), r"twice.*average"),
    "text out of range": (text(rows(GRID + 2e4)), r"are needed"),
    "nanometres without a unit": (text(rows(GRID / 10)), r"--unit nm"),
    "binary junk": (content(bytes(range(256)) * 40), r"binary"),
    "binary junk like FITS": (
        content(b"SIMPLE  =" + bytes(range(256)) * 40),
        r"truncated|damaged|found",
    ),
    "damaged gzip": (content(b"\x1f\x8b" + b"x" * 500, "bad.fits.gz"), r"compressed.*damaged"),
}


@pytest.fixture
def good(tmp_path: Path) -> tuple[str, str]:
    folder = tmp_path / "good"
    folder.mkdir()
    first = write_fits_spectrum(folder / "a.fits", 1)
    second = write_fits_spectrum(folder / "b.fits", 2)
    return str(first), str(second)


def classify(*arguments: str) -> tuple[int, list[dict[str, Any]], list[str]]:
    """Run `specinfer classify`: exit code, results, lines of standard error."""
    result = CliRunner().invoke(app, ["classify", *arguments])
    lines = result.stderr.splitlines()
    assert not any("Traceback" in line for line in lines)
    return result.exit_code, [json.loads(x) for x in result.stdout.splitlines()], lines


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_the_others_are_answered(
    case: str, tiny: Path, tmp_path: Path, good: tuple[str, str]
) -> None:
    make, expected = CASES[case]
    bad = str(make(tmp_path))
    code, results, lines = classify(good[0], bad, good[1])
    assert code == 1
    assert [result["status"] for result in results] == ["ok", "failed", "ok"]
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"specinfer: {bad}")
    assert re.search(expected, lines[0]), lines[0]
    assert re.search(r"\([a-z_]+\)$", lines[0])
    assert "internal_error" not in lines[0]
    assert results[1]["file"] == bad
    assert results[1]["error"]["code"] in lines[0]


def test_no_permission(
    tiny: Path, tmp_path: Path, good: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: whoever runs the tests may be allowed to read everything."""
    bad = write_fits_spectrum(tmp_path / "bad.fits")
    plain = Path.open

    def refusing(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == "bad.fits":
            raise PermissionError(13, "Permission denied")
        return plain(path, *args, **options)

    monkeypatch.setattr(Path, "open", refusing)
    code, results, lines = classify(good[0], str(bad), good[1])
    assert code == 1
    assert [result["status"] for result in results] == ["ok", "failed", "ok"]
    assert len(lines) == 1
    assert "no permission" in lines[0]


def test_bad_rows_are_named(tiny: Path, samples: Path) -> None:
    """Of a multi-object file the good rows are answered, the others are a line each."""
    path = samples / "desi_coadd" / "quasarnp_test_coadd.fits"
    _, results, lines = classify(str(path))
    failures = [result for result in results if result["status"] == "failed"]
    assert len(lines) == len(failures)
    assert all(f"[row {r['row']}]" in line for r, line in zip(failures, lines, strict=True))


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_output_that_cannot_be_written(
    tiny: Path, tmp_path: Path, good: tuple[str, str], suffix: str
) -> None:
    target = tmp_path / "no" / f"out{suffix}"
    code, results, lines = classify(good[0], "--output", str(target))
    assert (code, results) == (1, [])
    assert len(lines) == 1
    assert str(target) in lines[0]
    assert "choose a folder" in lines[0]


def test_picture_that_cannot_be_written(tiny: Path, tmp_path: Path, good: tuple[str, str]) -> None:
    pytest.importorskip("matplotlib", reason="pictures are an optional extra")
    (tmp_path / "file").write_text("in the way")
    code, results, lines = classify(*good, "--plot", str(tmp_path / "file" / "x.png"))
    assert code == 1
    assert [result["status"] for result in results] == ["ok", "ok"]
    assert all("cannot be written" in line for line in lines)


def test_altered_model(
    tmp_path: Path, good: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path / "models")
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b"x")
    monkeypatch.setenv("SPECINFER_MODEL_DIR", str(tmp_path / "models"))
    code, results, lines = classify(*good)
    assert (code, results) == (3, [])
    assert len(lines) == 1
    assert re.search(r"model\.onnx was altered.*reinstall", lines[0])


def test_altered_card(
    tmp_path: Path, good: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path / "models")
    card = (folder / "card.json").read_text()
    (folder / "card.json").write_text(card.replace('"SN II"', '"SN XX"'))
    monkeypatch.setenv("SPECINFER_MODEL_DIR", str(tmp_path / "models"))
    output = tmp_path / "out.jsonl"
    output.write_text("older results\n")
    code, results, lines = classify(*good, "--output", str(output))
    assert (code, results) == (3, [])
    assert len(lines) == 1
    assert re.search(r"card\.json was altered.*reinstall", lines[0])
    # Nothing was made, so nothing was replaced.
    assert output.read_text() == "older results\n"
    assert list(tmp_path.glob(".specinfer_*")) == []


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_device_that_is_not_there(
    tiny: Path, good: tuple[str, str], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvidia, "has_driver", lambda: False)
    providers.missing_library.cache_clear()
    code, results, lines = classify(*good, "--device", device)
    providers.missing_library.cache_clear()
    assert (code, results) == (3, [])
    assert len(lines) == 1
    assert re.search(f"--device {device} does not work here.*--device cpu", lines[0])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "give files"),
        (["x.fits", "--redshift", "-3"], "--redshift -3"),
        (["x.fits", "--redshift", "nan"], "--redshift nan"),
        (["x.fits", "--format", "png"], "--format 'png' is not one of .*sedm-fits"),
        (["x.fits", "--noise", "loud"], "--noise 'loud' is not one of ivar"),
        (["x.fits", "--unit", "parsec"], "--unit 'parsec' is not one of angstrom"),
        (["x.fits", "--device", "abacus"], "--device 'abacus' is not one of auto"),
        (["x.fits", "--threads", "0"], "threads must be at least 1"),
        (["x.fits", "--top", "0"], "--top"),
        (["x.fits", "--output", "x.docx"], r"must end in \.jsonl"),
        (["-", "--files-from", "-"], "standard input cannot be both"),
        (["--files-from", "nonesuch.list"], r"nonesuch\.list.*check the path"),
    ],
)
def test_wrong_usage(tiny: Path, arguments: list[str], expected: str) -> None:
    code, results, lines = classify(*arguments)
    assert (code, results) == (2, [])
    assert len(lines) == 1
    assert re.search(expected, lines[0]), lines[0]


def test_unknown_model(tiny: Path) -> None:
    code, _, lines = classify("x.fits", "--model", "nonesuch")
    assert code == 3
    assert "installed are: spectranet" in lines[0]


def test_debug_shows_the_traceback(tiny: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["classify", "--debug", str(tmp_path / "no.fits")])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "no such file" in result.stderr.splitlines()[-1]


def test_a_bug_in_a_reader_stops_nothing(
    tiny: Path, good: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from specinfer import cli_classify

    plain = cli_classify.iter_spectra

    def failing(path: Any, options: Any) -> Any:
        if path == good[0]:
            raise ZeroDivisionError("oops")
        return plain(path, options)

    monkeypatch.setattr(cli_classify, "iter_spectra", failing)
    code, results, lines = classify(*good)
    assert code == 1
    assert [result["status"] for result in results] == ["failed", "ok"]
    assert "this is a bug" in lines[0]
    assert "--debug" in lines[0]
