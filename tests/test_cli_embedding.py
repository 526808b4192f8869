"""`--embedding`: one array for all results, complete or not at all, never over an input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_cli import run
from tiny_model import write_fits_spectrum

import specinfer
from specinfer import UsageError
from specinfer.cli_files import EmbeddingFile, guard_inputs, npy_header
from specinfer.cli_inputs import expand


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return [str(write_fits_spectrum(tmp_path / f"spec_{seed}.fits", seed)) for seed in range(3)]


def test_rows_are_in_the_order_of_the_results(tiny: Path, files: list[str], tmp_path: Path) -> None:
    target = tmp_path / "out.npy"
    given = [files[0], "none.fits", files[1], files[2]]
    answer = run("classify", *given, "--batch-size", "2", "--embedding", str(target))
    assert answer.returncode == 1
    assert [json.loads(line)["status"] for line in answer.stdout.splitlines()] == [
        "ok", "failed", "ok", "ok",
    ]  # fmt: skip
    rows = np.load(target)
    assert (rows.shape, rows.dtype) == ((4, 8), np.float32)
    assert np.isnan(rows[1]).all()
    for row, path in zip(rows[[0, 2, 3]], files, strict=True):
        result = specinfer.classify(path)
        assert isinstance(result, specinfer.Classification)
        assert result.embedding is not None
        assert result.embedding.dtype == np.float32
        np.testing.assert_allclose(row, result.embedding, rtol=1e-4, atol=1e-5)
    assert not list(tmp_path.glob(".specinfer_*"))


def test_with_an_output_file(tiny: Path, files: list[str], tmp_path: Path) -> None:
    table, target = tmp_path / "out.jsonl", tmp_path / "out.npy"
    assert run("classify", *files, "-o", str(table), "--embedding", str(target)).returncode == 0
    assert len(np.load(target)) == len(table.read_text().splitlines()) == 3


def test_nothing_but_failures_is_an_array_too(tiny: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.npy"
    assert run("classify", "none.fits", "--embedding", str(target)).returncode == 1
    rows = np.load(target)
    assert rows.shape == (1, 8)
    assert np.isnan(rows).all()


@pytest.mark.parametrize(
    ("name", "code", "exit_code"),
    [("out.npz", "bad_output", 2), ("none/out.npy", "not_writable", 1)],
)
def test_what_cannot_be_written_is_said_first(
    tiny: Path, files: list[str], tmp_path: Path, name: str, code: str, exit_code: int
) -> None:
    other = tmp_path / "out.jsonl"
    answer = run(
        "classify", files[0], "--embedding", str(tmp_path / name), "--output", str(other)
    )  # fmt: skip
    assert answer.returncode == exit_code
    assert answer.stderr.endswith(f"({code})\n")
    assert answer.stderr.count("\n") == 1
    assert not other.exists()
    assert not list(tmp_path.glob(".specinfer_*"))


def test_inputs_are_never_replaced(tiny: Path, files: list[str], tmp_path: Path) -> None:
    for option, name in (("--embedding", "in.npy"), ("--output", "in.csv"), ("--plot", "in.png")):
        source = tmp_path / name
        source.write_bytes(Path(files[0]).read_bytes())
        before = source.read_bytes()
        (tmp_path / "link.fits").unlink(missing_ok=True)
        (tmp_path / "link.fits").symlink_to(source)
        answer = run("classify", files[1], str(tmp_path / "link.fits"), option, str(source))
        assert answer.returncode == 2
        assert answer.stderr.endswith("(would_overwrite)\n")
        assert source.read_bytes() == before


def test_a_followed_list_is_guarded_too(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.touch()
    targets = guard_inputs(expand(["-", str(path)]), [("--embedding", str(path))])
    assert next(targets) is not None
    with pytest.raises(UsageError, match="--embedding"):
        next(targets)


def test_a_model_without_embedding(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        EmbeddingFile(str(tmp_path / "x.npy"), None)
    assert caught.value.code == "no_embedding"


@pytest.mark.parametrize("rows", [0, 7, 10**12])
def test_header_is_that_of_numpy(rows: int) -> None:
    import io

    from numpy.lib import format as npy

    header = npy_header(rows, 128)
    stream = io.BytesIO(header)
    assert npy.read_magic(stream) == (1, 0)
    assert npy.read_array_header_1_0(stream) == ((rows, 128), False, np.dtype("<f4"))
    assert stream.tell() == len(header) == 128
