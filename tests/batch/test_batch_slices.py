"""Rows that are read alone are the rows of the whole file."""

from __future__ import annotations

from pathlib import Path

import fits_writers as write
import numpy as np
import pytest
from survey_files import same, spectra, write_coadd, write_table

from specinfer.batch.columns_input import iter_table
from specinfer.batch.plan import Piece, make_plan
from specinfer.errors import ReadError
from specinfer.readers import ReadOptions, Source, iter_spectra
from specinfer.readers.join import coadd
from specinfer.spectrum import Spectrum

Items = list[Spectrum | ReadError]


def assert_same(sliced: Items, whole: Items) -> None:
    assert len(sliced) == len(whole)
    for one, other in zip(sliced, whole, strict=True):
        if isinstance(one, Spectrum):
            assert isinstance(other, Spectrum)
            assert same(one, other)
        else:
            assert isinstance(other, ReadError)
            assert (one.code, one.row, one.object) == (other.code, other.row, other.object)


def cut(path: Path, rows: int, step: int, **options: bool) -> Items:
    found: Items = []
    for start in range(0, rows, step):
        found += iter_spectra(path, ReadOptions(rows=(start, start + step), **options))
    return found


@pytest.mark.parametrize("step", [1, 3, 20, 100])
def test_slices_of_a_coadd_are_the_whole(tmp_path: Path, step: int) -> None:
    path = write_coadd(tmp_path / "coadd.fits", 45)
    for sky in (False, True):
        assert_same(cut(path, 45, step, sky=sky), list(iter_spectra(path, ReadOptions(sky=sky))))


@pytest.mark.parametrize("step", [1, 2, 7])
def test_exposures_far_apart_belong_to_the_first(tmp_path: Path, step: int) -> None:
    ids = [5, 6, 7, 5, 8, 6, 9, 5, 10, 11, 12, 13, 14, 15, 16, 5]
    path = write_coadd(tmp_path / "spectra.fits", len(ids), targetids=ids)
    whole = list(iter_spectra(path))
    assert sum(isinstance(one, Spectrum) for one in whole) == len(set(ids)) - 2
    assert_same(cut(path, len(ids), step), whole)


def test_arms_on_other_grids(tmp_path: Path) -> None:
    path = write_coadd(tmp_path / "coadd.fits", 5, shift=0.3)
    assert_same(cut(path, 5, 2), list(iter_spectra(path)))


@pytest.mark.parametrize("step", [1, 2, 5])
def test_slices_of_a_plate_are_the_whole(tmp_path: Path, step: int) -> None:
    path = write.spplate(tmp_path / "spPlate.fits")
    for sky in (False, True):
        whole = list(iter_spectra(path, ReadOptions(sky=sky)))
        assert_same(cut(path, 3, step, sky=sky), whole)


def test_a_slice_reads_only_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_coadd(tmp_path / "coadd.fits", 50)

    def whole(_: Source) -> bytes:
        raise AssertionError("the whole file was read")

    monkeypatch.setattr(Source, "data", property(whole))
    read = 0
    original = np.fromfile

    def counted(*arguments: object, **options: object) -> object:
        nonlocal read
        made = original(*arguments, **options)  # type: ignore[call-overload]
        read += made.nbytes
        return made

    monkeypatch.setattr(np, "fromfile", counted)
    assert len(list(iter_spectra(path, ReadOptions(rows=(10, 12))))) == 2
    # Flux, ivar and mask of two of fifty rows, wavelengths and the fibre map.
    assert read < 0.12 * path.stat().st_size


def test_other_formats_are_not_sliced(tmp_path: Path) -> None:
    path = write.marz(tmp_path / "marz.fits", vacuum=True)
    with pytest.raises(ReadError) as caught:
        list(iter_spectra(path, ReadOptions(rows=(0, 1))))
    assert caught.value.code == "not_sliced"


def test_a_damaged_file_says_so_in_every_slice(tmp_path: Path) -> None:
    path = write_coadd(tmp_path / "coadd.fits", 6)
    path.write_bytes(path.read_bytes()[:-30000])
    for rows in (None, (0, 2), (2, 6)):
        with pytest.raises(ReadError) as caught:
            list(iter_spectra(path, ReadOptions(rows=rows)))
        assert caught.value.code == "bad_fits"


def test_rows_are_coadded_together_as_alone() -> None:
    rng = np.random.default_rng(3)
    grids = [np.arange(0, 50), np.arange(40, 90), np.array([91, 93, 97])]
    fluxes = [rng.normal(size=(4, grid.size)) for grid in grids]
    ivars = [rng.uniform(0, 2, (4, grid.size)) for grid in grids]
    ivars[0][1, 3], ivars[1][2, 5], fluxes[0][0, 45], fluxes[1][3, 2] = 0, -1, np.nan, np.inf
    flux, ivar = coadd(100, grids, fluxes, ivars)
    assert flux.shape == ivar.shape == (4, 100)
    for row in range(4):
        alone = coadd(100, grids, [f[row] for f in fluxes], [i[row] for i in ivars])
        np.testing.assert_array_equal(flux[row], alone[0])
        np.testing.assert_array_equal(ivar[row], alone[1])
    # Where one arm alone has a pixel, it stays what it was.
    np.testing.assert_allclose(flux[0, 10], fluxes[0][0, 10])


@pytest.mark.parametrize("nested", [None, "struct of lists", "list of structs"])
def test_tables_give_what_was_written(tmp_path: Path, nested: str | None) -> None:
    made = spectra(10)
    path = write_table(tmp_path / "t.parquet", made, nested=nested)
    pieces = [piece for chunk in make_plan([str(path)], 3).chunks() for piece in chunk.pieces]
    assert len(pieces) > 3
    found = [item for piece in pieces for item in iter_table(piece, {}, ReadOptions())]
    assert [one.row for one in found] == list(range(10))
    for one, expected in zip(found, made, strict=True):
        assert isinstance(one, Spectrum)
        np.testing.assert_array_equal(one.wavelength, expected["wavelength"])
        np.testing.assert_array_equal(one.flux, expected["flux"])
        np.testing.assert_array_equal(one.ivar, expected["ivar"])
        assert one.has_noise
        assert one.object == str(expected["object_id"])
        assert one.header == {"RA": expected["ra"], "DEC": expected["dec"]}


def test_columns_by_the_user(tmp_path: Path) -> None:
    made = spectra(2)
    renamed = {"wavelength": "x", "flux": "y", "ivar": "z"}
    named = {"wavelength": "x", "flux": "y", "sigma": "z"}
    for nested in (None, "struct of lists"):
        path = write_table(tmp_path / f"{nested}.parquet", made, nested=nested, names=renamed)
        piece = Piece(str(path), 2, 0, 2, 0)
        with pytest.raises(ReadError):
            list(iter_table(piece, {}, ReadOptions()))
        names = named if nested is None else {k: f"spectrum.{v}" for k, v in named.items()}
        found = [
            one for one in iter_table(piece, names, ReadOptions()) if isinstance(one, Spectrum)
        ]
        assert len(found) == 2
        np.testing.assert_array_equal(found[0].flux, made[0]["flux"])
        assert found[0].ivar[5] == pytest.approx(made[0]["ivar"][5] ** -2)


def test_tables_that_hold_no_spectra(tmp_path: Path) -> None:
    made = spectra(2)
    path = write_table(tmp_path / "t.parquet", made)
    piece = Piece(str(path), 2, 0, 2, 0)
    for names in ({"wavelength": "wave", "flux": "flux"}, {"wavelength": "ra", "flux": "flux"}):
        with pytest.raises(ReadError) as caught:
            list(iter_table(piece, names, ReadOptions()))
        assert caught.value.code == "no_columns"
    path.write_bytes(path.read_bytes()[:200] + b"\0" * 5000 + path.read_bytes()[5200:])
    with pytest.raises(ReadError) as caught:
        list(iter_table(piece, {}, ReadOptions()))
    assert caught.value.code == "bad_table"


def test_a_bad_row_of_a_table_is_an_error(tmp_path: Path) -> None:
    made = spectra(3)
    made[1]["flux"] = made[1]["flux"][:-1]
    made[2]["wavelength"] = made[2]["wavelength"] * 0
    path = write_table(tmp_path / "t.parquet", made)
    found = list(iter_table(Piece(str(path), 3, 0, 3, 0), {}, ReadOptions()))
    assert isinstance(found[0], Spectrum)
    assert [(e.code, e.row, e.object) for e in found[1:] if isinstance(e, ReadError)] == [
        ("shape_mismatch", 1, "7001"), ("no_unit", 2, "7002")
    ]  # fmt: skip
