"""Inputs become chunks: the same ones every time, and no row is lost or doubled."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import fits_writers as write
import pytest
from survey_files import spectra, write_coadd, write_table

from specinfer.batch.counting import Count, count
from specinfer.batch.plan import MOST_PIECES_A_GROUP, Plan, make_plan
from specinfer.errors import UsageError
from specinfer.readers import SLICED


def covered(plan: Plan) -> dict[str, list[int]]:
    """Rows of the plan by file, in the order of the chunks."""
    found: dict[str, list[int]] = {}
    for chunk in plan.chunks():
        for piece in chunk.pieces:
            start, stop = piece.start or 0, piece.rows if piece.stop is None else piece.stop
            found.setdefault(Path(piece.path).name, []).extend(
                range(piece.offset + start, piece.offset + stop)
            )
    return found


def test_counts_by_headers_alone(tmp_path: Path) -> None:
    coadd = write_coadd(tmp_path / "coadd.fits", 9)
    assert count(str(coadd)) == Count(9, sliced=True)
    packed = tmp_path / "coadd.fits.gz"
    packed.write_bytes(gzip.compress(coadd.read_bytes()))
    # Its rows are known, but it can only be read from its beginning.
    assert count(str(packed)) == Count(9, sliced=False)
    assert count(str(write.spplate(tmp_path / "spPlate.fits"))) == Count(3, sliced=True)
    for maker in (write.sdss_spec, write.lamost_table, write.iraf_1d, write.dbsp_spliced):
        assert count(str(maker(tmp_path / "one.fits"))) == Count(1)
    # Rows that belong to one spectrum must not be taken apart.
    assert not count(str(write.spspec(tmp_path / "spSpec.fits"))).sliced
    assert not count(str(write.lamost_image(tmp_path / "lamost.fits"))).sliced
    assert count(str(write.marz(tmp_path / "marz.fits", vacuum=True))) == Count(4)
    table = write_table(tmp_path / "t.parquet", spectra(10))
    assert count(str(table)) == Count(10, sliced=True, groups=(4, 4, 2))
    (tmp_path / "text.txt").write_text("5000 1\n")
    assert count(str(tmp_path / "text.txt")) == Count(1)


@pytest.mark.parametrize("length", [0, 3, 100, 2880, 4000, 20000])
def test_damaged_files_count_as_one(tmp_path: Path, length: int) -> None:
    whole = write_coadd(tmp_path / "coadd.fits", 4).read_bytes()
    path = tmp_path / "short.fits"
    path.write_bytes(whole[:length])
    assert count(str(path)) == Count(1)
    path.write_bytes(gzip.compress(whole)[: max(length // 100, 2)])
    assert count(str(path)) == Count(1)
    path.write_bytes(b"PAR1" + whole[:length])
    assert count(str(path)) == Count(1)


def test_every_row_is_in_one_chunk_of_the_wanted_size(survey: Path) -> None:
    for size in (1, 3, 5, 8, 100):
        plan = make_plan([str(survey)], size)
        chunks = list(plan.chunks())
        assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
        assert all(chunk.rows <= size for chunk in chunks)
        assert covered(plan) == {
            "coadd-0.fits": [*range(4)], "coadd-1.fits": [*range(10)], "coadd-2.fits": [*range(7)]
        }  # fmt: skip
        assert sum(chunk.rows for chunk in chunks) == plan.rows == 21


def test_the_plan_does_not_depend_on_the_order_of_inputs(survey: Path) -> None:
    names = [str(survey / f"coadd-{i}.fits") for i in range(3)]
    first = make_plan(names, 5)
    for paths in (names[::-1], [str(survey)], [f"{survey}/coadd-*.fits", names[1]]):
        other = make_plan(paths, 5)
        assert other == first
        assert other.sha256 == first.sha256
        assert list(other.chunks()) == list(first.chunks())


def test_another_input_is_another_plan(survey: Path) -> None:
    known = {make_plan([str(survey)], 5).sha256, make_plan([str(survey)], 6).sha256}
    assert len(known) == 2
    status = os.stat(survey / "coadd-1.fits")
    os.utime(survey / "coadd-1.fits", ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    known.add(make_plan([str(survey)], 5).sha256)
    (survey / "coadd-0.fits").rename(survey / "coadd-9.fits")
    known.add(make_plan([str(survey)], 5).sha256)
    (survey / "coadd-9.fits").unlink()
    known.add(make_plan([str(survey)], 5).sha256)
    assert len(known) == 5


def test_a_packed_file_stays_whole(tmp_path: Path) -> None:
    packed = tmp_path / "coadd.fits.gz"
    packed.write_bytes(gzip.compress(write_coadd(tmp_path / "coadd.fits", 9).read_bytes()))
    chunks = list(make_plan([str(packed)], 4).chunks())
    assert [(piece.start, piece.stop, piece.rows) for piece in chunks[0].pieces] == [
        (None, None, 9)
    ]
    assert len(chunks) == 1


def test_row_groups_are_cut_into_few_pieces(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", spectra(40), group=32)
    plan = make_plan([str(path)], 2)
    assert covered(plan) == {"t.parquet": [*range(40)]}
    pieces = [piece for chunk in plan.chunks() for piece in chunk.pieces]
    assert sum(piece.group == 0 for piece in pieces) == MOST_PIECES_A_GROUP
    assert {piece.offset for piece in pieces if piece.group == 1} == {32}


def test_a_hats_catalogue_is_its_leaves(tmp_path: Path) -> None:
    root = tmp_path / "hats"
    leaves = [root / f"dataset/Norder=1/Dir=0/Npix={pixel}.parquet" for pixel in (3, 44)]
    for leaf in leaves:
        write_table(leaf, spectra(2))
    write_table(root / "dataset/_metadata.parquet", spectra(1))
    (root / "properties").write_text("catalog_name=test\n")
    plan = make_plan([str(root)], 10)
    assert [one.path for one in plan.inputs] == sorted(map(str, leaves))


def test_a_folder_of_tables_and_spectra(tmp_path: Path) -> None:
    write_table(tmp_path / "mixed/t.parquet", spectra(1))
    assert [one.error for one in make_plan([str(tmp_path / "mixed")], 10).inputs] == [None]
    write_coadd(tmp_path / "mixed/coadd.fits", 3)
    assert len(make_plan([str(tmp_path / "mixed")], 10).inputs) == 2


def test_what_is_not_there_is_a_piece_with_an_error(tmp_path: Path, survey: Path) -> None:
    plan = make_plan([str(survey), str(tmp_path / "no.fits"), str(tmp_path / "*.none")], 100)
    errors = {Path(one.path).name: one.error[0] for one in plan.inputs if one.error}
    assert errors == {"no.fits": "not_found", "*.none": "not_found"}
    pieces = [piece for chunk in plan.chunks() for piece in chunk.pieces]
    assert sum(piece.error is not None for piece in pieces) == 2


def test_refusals() -> None:
    for paths, size in ([], 5), (["-"], 5), (["x"], 0):
        with pytest.raises(UsageError):
            make_plan(paths, size)


def test_what_counting_slices_the_readers_slice() -> None:
    assert SLICED == ("desi", "spplate")
