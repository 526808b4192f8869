"""One chunk in a worker: the same answers as ``classify``, errors as rows, one part."""

from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from survey_files import DEAD, SKY, prepare, rows, spectra, write_coadd, write_table

from specinfer import Classifier, result
from specinfer.batch import tables, work
from specinfer.batch.plan import Chunk, Piece, make_plan
from specinfer.errors import ModelError, ReadError, SpecinferError
from specinfer.readers import ReadOptions, iter_spectra
from specinfer.spectrum import Spectrum


def do_all(paths: list[Path], output: Path, chunk: int = 5, **changes: Any) -> list[work.Done]:
    plan, job, _ = prepare(paths, output, chunk)
    return [work.do_chunk(replace(job, **changes), one) for one in plan.chunks()]


def test_a_part_holds_what_classify_says(survey: Path, tmp_path: Path) -> None:
    done = do_all([survey], tmp_path / "out")
    found = rows(tmp_path / "out")
    assert sum(one.rows for one in done) == len(found) == 21 - 3
    assert sum(one.failed for one in done) == 3
    classifier = Classifier("spectranet", "cpu", 1)
    place = 0
    for path in sorted(survey.iterdir()):
        for item in iter_spectra(path):
            row, place = found[place], place + 1
            assert row["file"] == str(path)
            if isinstance(item, ReadError):
                assert (row["status"], row["row"], row["error_code"]) == ("failed", DEAD, item.code)
                assert row["error_message"] == item.message
                assert row["class"] is None
                assert row["redshift"] is None
                continue
            answer = classifier.classify(item)
            assert row["row"] == item.row != SKY
            assert (row["status"], row["object"]) == ("ok", item.object)
            assert row["model"] == "spectranet@0.0.1"
            plain = answer.to_dict()
            assert row["class"] == plain["class"]
            for name in ("snr", "n_pixels", "redshift", "redshift_err", "wavelength_max"):
                assert row[name] == pytest.approx(plain[name], rel=1e-5), name
            assert dict(row["probabilities"]) == pytest.approx(plain["probabilities"], rel=1e-4)
            first, expected = row["candidates"][0], plain["candidates"][0]
            assert first["class"] == expected["class"]
            assert first["score"] == pytest.approx(expected["score"], rel=1e-4)
            assert row["flags"] == plain["flags"]


def test_a_part_does_not_depend_on_who_makes_it(survey: Path, tmp_path: Path) -> None:
    first = do_all([survey], tmp_path / "one")
    work.shared_classifier("spectranet", "cpu", 1)
    again = do_all([survey], tmp_path / "two")
    assert [one.sha256 for one in first] == [one.sha256 for one in again]
    for one in first:
        data = (tmp_path / "one" / one.part).read_bytes()
        assert hashlib.sha256(data).hexdigest() == one.sha256
        assert one.size == len(data)


def test_every_part_has_the_schema_and_says_what_it_is(survey: Path, tmp_path: Path) -> None:
    plan, job, _ = prepare([survey], tmp_path / "out")
    for chunk in plan.chunks():
        done = work.do_chunk(job, chunk)
        path = tmp_path / "out" / chunk.part
        assert pq.read_schema(path).remove_metadata() == tables.schema()
        about = tables.read_about(str(path))
        assert about is not None
        assert (about["schema"], about["chunk"]) == ("specinfer.batch/1", chunk.number)
        assert (about["plan"], about["rows"]) == (job.plan, done.rows)
    assert "latency_ms" not in tables.schema().names


def test_files_that_cannot_be_read_are_rows(survey: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "empty.fits").write_bytes(b"")
    (bad / "noise.txt").write_bytes(b"no spectrum here\n")
    (bad / "short.fits").write_bytes((survey / "coadd-1.fits").read_bytes()[:-40000])
    (bad / "broken.parquet").write_bytes(b"PAR1 and no more")
    write_coadd(bad / "z-good.fits", 4)
    done = do_all([bad, tmp_path / "none.fits"], tmp_path / "out", chunk=100)
    found = {Path(row["file"]).name: row for row in rows(tmp_path / "out") if row["row"] is None}
    codes = {name: row["error_code"] for name, row in found.items()}
    assert codes.pop("broken.parquet")
    assert codes == {
        "empty.fits": "empty_file", "noise.txt": "unknown_file", "short.fits": "bad_fits",
        "none.fits": "not_found",
    }  # fmt: skip
    assert all(row["error_message"] for row in found.values())
    count, first = done[0].failures["not_found"]
    assert count == 1
    assert first == f"{tmp_path / 'none.fits'}: no such file; check the path"
    assert sum(row["status"] == "ok" for row in rows(tmp_path / "out")) == 2


def test_names_of_files_need_not_be_text(tmp_path: Path, tiny: Path) -> None:
    for name in (b"coadd-\xff.fits", b"bad-\xfe.fits"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        try:
            path.write_bytes(b"nothing")
        except OSError:
            pytest.skip("file names must be text here")
    write_coadd(Path(os.fsdecode(os.fsencode(tmp_path) + b"/coadd-\xff.fits")), 4)
    do_all([path.parent], tmp_path / "out", chunk=100)
    found = rows(tmp_path / "out")
    assert {Path(row["file"]).name for row in found} == {"coadd-�.fits", "bad-�.fits"}
    assert sum(row["status"] == "ok" for row in found) == 2


def test_empty_tables_are_no_failures(tmp_path: Path, tiny: Path) -> None:
    full = pq.read_table(write_table(tmp_path / "t" / "full.parquet", spectra(2)))
    pq.write_table(full.slice(0, 0), tmp_path / "t" / "empty.parquet")
    do_all([tmp_path / "t"], tmp_path / "out")
    assert [row["status"] for row in rows(tmp_path / "out")] == ["ok", "ok"]


def test_a_chunk_of_sky_alone_is_an_empty_part(tmp_path: Path, tiny: Path) -> None:
    path = write_coadd(tmp_path / "coadd.fits", 4, objtypes=["SKY"] * 4)
    (done,) = do_all([path], tmp_path / "out")
    assert (done.rows, done.failed) == (0, 0)
    assert pq.read_table(tmp_path / "out" / done.part).num_rows == 0
    (done,) = do_all([path], tmp_path / "sky", reading=ReadOptions(sky=True))
    assert done.rows == 4


def test_tables_are_classified_with_their_ids(tmp_path: Path, tiny: Path) -> None:
    for number in range(2):
        leaf = tmp_path / f"hats/dataset/Norder=0/Dir=0/Npix={number}.parquet"
        write_table(leaf, spectra(6, number))
    do_all([tmp_path / "hats"], tmp_path / "out", chunk=4)
    found = rows(tmp_path / "out")
    assert [row["row"] for row in found] == [*range(6)] * 2
    assert [row["object"] for row in found[:6]] == [str(7000 + row) for row in range(6)]
    assert [(row["ra"], row["dec"]) for row in found[:2]] == [(10.0, -5.5), (11.0, -5.5)]
    assert {row["status"] for row in found} == {"ok"}
    assert {row["reader"] for row in found} == {"parquet"}


def test_a_bug_that_one_spectrum_meets_costs_no_other(
    survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Classifier._batch

    def faulty(self: Classifier, batch: Any, redshifts: Any) -> Any:
        if any(one.object == "1003" for one in batch):
            raise ZeroDivisionError("a bug")
        return original(self, batch, redshifts)

    monkeypatch.setattr(Classifier, "_batch", faulty)
    do_all([survey / "coadd-0.fits", survey / "coadd-1.fits"], tmp_path / "out", chunk=100)
    bad = [row for row in rows(tmp_path / "out") if row["error_code"] == "internal_error"]
    assert [(row["object"], row["file"]) for row in bad] == [("1003", str(survey / "coadd-0.fits"))]
    assert "ZeroDivisionError" in bad[0]["error_message"]
    assert sum(row["status"] == "ok" for row in rows(tmp_path / "out")) == 9


def test_memory_holds_one_batch_whatever_the_chunk(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import weakref

    alive: list[Any] = []
    most = 0
    original = Spectrum.__post_init__

    def counted(self: Spectrum, *arguments: Any) -> None:
        nonlocal most
        original(self, *arguments)
        alive.append(weakref.ref(self.wavelength))
        most = max(most, sum(one() is not None for one in alive))

    monkeypatch.setattr(Spectrum, "__post_init__", counted)
    monkeypatch.setattr(work, "BATCH", 8)
    path = write_coadd(tmp_path / "coadd.fits", 60)
    do_all([path], tmp_path / "out", chunk=100)
    assert len(alive) >= 50
    # The one in work, and the one that is read meanwhile.
    assert most <= 2 * 8 + 1


def test_workers_with_other_models_are_refused(survey: Path, tmp_path: Path) -> None:
    plan, job, _ = prepare([survey], tmp_path / "out")
    chunk = next(plan.chunks())
    for name, changes in (
        ("other_version", {"version": "9.9.9", "plan": "a"}),
        ("other_models", {"models": {"spectranet@0.0.1": "x"}, "plan": "b"}),
    ):
        with pytest.raises(ModelError) as caught:
            work.do_chunk(replace(job, **changes), chunk)
        assert caught.value.code == name
    assert not list((tmp_path / "out").iterdir())


def test_an_output_that_cannot_be_written_is_no_row(survey: Path, tmp_path: Path) -> None:
    plan, job, _ = prepare([survey], tmp_path / "out")
    (tmp_path / "out").rmdir()
    with pytest.raises(SpecinferError) as caught:
        work.do_chunk(job, next(plan.chunks()))
    assert caught.value.code == "not_writable"


def test_what_nobody_has_thought_of_is_an_error_of_the_chunk(
    survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, job, _ = prepare([survey], tmp_path / "out")
    monkeypatch.setattr(tables, "part_bytes", lambda *_: 1 / 0)
    with pytest.raises(work.ChunkError, match="ZeroDivisionError") as caught:
        work.do_chunk(job, next(plan.chunks()))
    # It comes back from a worker as it is.
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.code) == (work.ChunkError, "internal_error")
    assert again.message == caught.value.message


def test_lost_rows_are_named(survey: Path, tmp_path: Path) -> None:
    _, job, _ = prepare([survey], tmp_path / "out")
    pieces = (
        Piece("/x/a.fits", 2, 3, 5),
        Piece("/x/b.fits", 1),
        Piece("/x/t.parquet", 2, 0, 2, 1, 9),
    )
    done = work.write_lost(job, Chunk(7, pieces), ReadError("worker_died", "they died"))
    assert (done.rows, done.failed, done.part) == (5, 5, "part-000007.parquet")
    found = [(row["file"], row["row"], row["error_code"]) for row in rows(tmp_path / "out")]
    assert found == [
        ("/x/a.fits", 3, "worker_died"), ("/x/a.fits", 4, "worker_died"),
        ("/x/b.fits", None, "worker_died"),
        ("/x/t.parquet", 9, "worker_died"), ("/x/t.parquet", 10, "worker_died"),
    ]  # fmt: skip


def test_columns_of_answers_with_everything_and_with_nothing() -> None:
    full = result.Classification(
        file="f", status="ok", class_name="SN Ia", probability=np.float32(0.5),
        probabilities={"SN Ia": 0.5, "star": 0.5}, redshift=0.123456789, redshift_err=float("nan"),
        redshift_interval={"68": (0.1, 0.2), "95": (0.0, 0.3)}, prediction_set=("SN Ia",),
        flags=("A", "B"), zwarning=4,
        candidates=({"class": "SN Ia", "redshift": 0.1, "score": 0.9, "more": 1},),
    )  # fmt: skip
    columns = tables.to_columns([full, result.Classification()])
    assert set(columns) == set(tables.schema().names)
    data = tables.part_bytes(columns, {})
    one, other = pq.read_table(pa.BufferReader(data)).to_pylist()
    assert one["redshift"] == 0.1234568
    assert one["redshift_err"] is None
    ends = [one[f"redshift_{level}_{end}"] for level in ("68", "95") for end in ("low", "high")]
    assert ends == [0.1, 0.2, 0.0, 0.3]
    assert one["candidates"] == [{"class": "SN Ia", "redshift": 0.1, "score": 0.9}]
    assert one["flags"] == ["A", "B"]
    assert other["status"] == "failed"
    assert other["flags"] == []
    assert all(other[name] is None for name in ("class", "probabilities", "redshift_68_low"))


def test_a_plan_can_go_without_slices(survey: Path) -> None:
    plan = make_plan([str(survey)], 5, slicing=False)
    assert all(piece.start is None for chunk in plan.chunks() for piece in chunk.pieces)
    assert plan.rows == 21
