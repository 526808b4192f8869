"""What is finished is known after any kill; what was altered is found."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from survey_files import parts, prepare

from specinfer.batch import manifest, work
from specinfer.batch.manifest import JOURNAL, MANIFEST, Ledger, claim, verify
from specinfer.errors import UsageError


@pytest.fixture
def finished(survey: Path, tmp_path: Path) -> Path:
    """A complete output."""
    output = tmp_path / "out"
    plan, job, ledger = prepare([survey], output)
    ledger.open(resume=False)
    for chunk in plan.chunks():
        ledger.record(work.do_chunk(job, chunk))
    ledger.complete({"seconds": 1.0})
    return output


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    return found


def test_a_complete_manifest_vouches_for_everything(finished: Path) -> None:
    stated = document(finished)
    assert (stated["schema"], stated["status"]) == ("specinfer.batch/1", "complete")
    assert (stated["rows"], stated["ok"], stated["failed"]) == (18, 15, 3)
    assert [line["part"] for line in stated["parts"]] == list(parts(finished))
    assert not (finished / JOURNAL).exists()
    assert verify(finished) == []


def test_what_was_altered_is_found(finished: Path) -> None:
    names = list(parts(finished))
    path = finished / names[0]
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    (finished / names[1]).write_bytes(b"PAR1")
    (finished / names[2]).unlink()
    (finished / "part-999999.parquet").write_bytes((finished / names[3]).read_bytes())
    found = verify(finished)
    assert len(found) == 4
    for name, word in zip(
        [*names[:3], "part-999999.parquet"],
        ["altered", "damaged", "missing", "not in the manifest"],
        strict=True,
    ):
        assert any(name in line and word in line for line in found), (name, found)


def test_a_manifest_that_does_not_add_up_is_found(finished: Path) -> None:
    stated = document(finished)
    stated["parts"] = stated["parts"][1:]
    (finished / MANIFEST).write_text(json.dumps(stated))
    said = " ".join(verify(finished))
    assert "not in the manifest" in said
    assert "are listed for" in said
    assert "do not add up" in said


def test_verify_needs_a_complete_output(survey: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no _manifest"):
        verify(tmp_path)
    _, _, ledger = prepare([survey], tmp_path / "out")
    ledger.open(resume=False)
    ledger.close()
    assert "not complete" in verify(tmp_path / "out")[0]
    (tmp_path / "out" / MANIFEST).write_text("{}")
    with pytest.raises(UsageError, match="damaged"):
        verify(tmp_path / "out")


@pytest.mark.parametrize("loss", ["none", "last line", "cut line", "journal", "part", "altered"])
def test_resume_finds_what_is_finished(survey: Path, tmp_path: Path, loss: str) -> None:
    output = tmp_path / "out"
    plan, job, ledger = prepare([survey], output)
    ledger.open(resume=False)
    chunks = list(plan.chunks())
    for chunk in chunks[:3]:
        ledger.record(work.do_chunk(job, chunk))
    ledger.close()
    journal = output / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    expected = {0, 1, 2}
    if loss == "last line":
        # Killed between the rename of the part and the line: the part speaks for itself.
        journal.write_bytes(b"".join(lines[:2]))
    elif loss == "cut line":
        journal.write_bytes(b"".join(lines)[:-20])
    elif loss == "journal":
        journal.unlink()
    elif loss == "part":
        (output / chunks[1].part).unlink()
        expected = {0, 2}
    elif loss == "altered":
        path = output / chunks[1].part
        path.write_bytes(path.read_bytes()[:-1] + b"2")
        expected = {0, 2}
    (output / ".specinfer_half.tmp").write_bytes(b"half a part")

    again = Ledger(output, ledger.identity)
    again.open(resume=True)
    assert set(again.done) == expected
    assert not (output / ".specinfer_half.tmp").exists()
    for chunk in chunks:
        if chunk.number not in again.done:
            again.record(work.do_chunk(job, chunk))
    again.complete({})
    assert verify(output) == []
    whole = tmp_path / "whole"
    whole.mkdir()
    for chunk in chunks:
        work.do_chunk(replace(job, output=str(whole)), chunk)
    assert parts(output) == parts(whole)


def test_an_output_is_never_overwritten(finished: Path, survey: Path) -> None:
    before = parts(finished)
    _, _, ledger = prepare([survey], finished)
    with pytest.raises(UsageError, match="complete") as caught:
        ledger.open(resume=False)
    assert caught.value.code == "output_exists"
    (finished / MANIFEST).unlink()
    with pytest.raises(UsageError, match="new folder"):
        ledger.open(resume=True)
    assert parts(finished) == before


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("inputs", "x", "input files"),
        ("chunk_size", 6, "--chunk"),
        ("model", "survey", "--model"),
        ("models", {"spectranet@0.0.1": "x"}, "the models"),
        ("options", {"sky": True}, "reading options"),
        ("version", "9", "version of specinfer"),
    ],
)
def test_another_run_is_not_resumed(
    finished: Path, survey: Path, field: str, value: Any, words: str
) -> None:
    before = parts(finished)
    _, _, ledger = prepare([survey], finished)
    other = Ledger(finished, replace(ledger.identity, **{field: value}))
    with pytest.raises(UsageError, match=words) as caught:
        other.open(resume=True)
    assert caught.value.code == "other_run"
    assert parts(finished) == before


def test_a_complete_run_has_nothing_left(finished: Path, survey: Path) -> None:
    plan, _, ledger = prepare([survey], finished)
    ledger.open(resume=True)
    assert set(ledger.done) == {chunk.number for chunk in plan.chunks()}
    ledger.close()


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with claim(tmp_path / "out"):
        with pytest.raises(UsageError) as caught, claim(tmp_path / "out"):
            pass
        assert caught.value.code == "output_busy"
    with claim(tmp_path / "out"):
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(manifest.SpecinferError) as caught, claim(tmp_path / "file" / "out"):
        pass
    assert caught.value.code == "not_writable"


def test_the_journal_is_on_disk_before_a_chunk_counts(
    survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, job, ledger = prepare([survey], tmp_path / "out")
    ledger.open(resume=False)
    done = work.do_chunk(job, next(plan.chunks()))
    synced: list[int] = []
    original = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(handle), original(handle)))
    ledger.record(done)
    assert synced
    assert json.loads((tmp_path / "out" / JOURNAL).read_text())["sha256"] == done.sha256
    ledger.close()
