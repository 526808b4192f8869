"""The split by object: no object in two parts, the same for everyone, kept with its hash."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the library is built with pyarrow, of the extra 'train'")

from tiny_training import N_OBJECTS, N_SPECTRA, make_library, tiny_library

from training.archive.contradictions import denied_rows
from training.archive.labels import CLASSES
from training.archive.library import GRID_PIXELS, Library, build_library, library_hash
from training.archive.split import PARTS, make_split, read_split, rows_of, split_hash
from training.paths import ROOT

STORED = ROOT / "training" / "splits" / "transients-1.json"
CONTRADICTED = ROOT / "training" / "splits" / "contradicted-1.json"


def library_of(counts: dict[str, int]) -> Library:
    flux = np.ones(GRID_PIXELS)
    return make_library(
        [
            {"flux": flux, "label": label, "object": f"{label}-{i:03d}"}
            for label, count in counts.items()
            for i in range(count)
        ]
    )


def objects_of(split: dict[str, object], part: str) -> set[str]:
    parts = split["parts"]
    assert isinstance(parts, dict)
    return {name for names in parts[part].values() for name in names}


def test_80_10_10_in_every_class() -> None:
    split = make_split(library_of({"SN Ia": 60, "SN II": 33, "TDE": 10}), 1)
    counts = {
        label: [len(split["parts"][part][label]) for part in PARTS]
        for label in ("SN Ia", "SN II", "TDE")
    }
    assert counts == {"SN Ia": [48, 6, 6], "SN II": [27, 3, 3], "TDE": [8, 1, 1]}


@pytest.mark.parametrize(
    ("count", "expected"), [(0, [0, 0, 0]), (2, [2, 0, 0]), (3, [1, 1, 1]), (5, [3, 1, 1])]
)
def test_small_classes(count: int, expected: list[int]) -> None:
    split = make_split(library_of({"SN Ia": 10, "SN Ibn": count}), 1)
    assert [len(split["parts"][part]["SN Ibn"]) for part in PARTS] == expected


def test_no_object_is_in_two_parts_and_none_is_lost() -> None:
    library = tiny_library()
    split = make_split(library, 7)
    sets = [objects_of(split, part) for part in PARTS]
    assert sum(len(part) for part in sets) == len(set.union(*sets))
    assert set.union(*sets) == set(library.object.tolist())


def test_rows_follow_their_objects() -> None:
    library = tiny_library()
    split = make_split(library, 7)
    rows = {part: rows_of(library, split, part) for part in PARTS}
    np.testing.assert_array_equal(
        np.sort(np.concatenate(list(rows.values()))), np.arange(len(library))
    )
    for part, mine in rows.items():
        assert set(library.object[mine].tolist()) == objects_of(split, part)
    assert len(rows["test"]) == len(rows["validation"]) == len(CLASSES) * N_SPECTRA
    assert len(rows["train"]) == len(CLASSES) * N_SPECTRA * (N_OBJECTS - 2)


def test_split_is_reproducible_and_does_not_depend_on_the_order_of_rows() -> None:
    library = library_of({"SN Ia": 30, "SN II": 12})
    turned = library_of({"SN II": 12, "SN Ia": 30})
    assert make_split(library, 4) == make_split(turned, 4)
    assert make_split(library, 4)["sha256"] != make_split(library, 5)["sha256"]


def test_altered_split_is_refused(tmp_path: Path) -> None:
    split = make_split(library_of({"SN Ia": 30}), 4)
    path = tmp_path / "split.json"
    path.write_text(json.dumps(split))
    assert read_split(path) == split
    split["parts"]["train"]["SN Ia"].append(split["parts"]["test"]["SN Ia"].pop())
    path.write_text(json.dumps(split))
    with pytest.raises(SystemExit, match="altered"):
        read_split(path)


def test_objects_that_the_split_does_not_know_are_an_error() -> None:
    split = make_split(library_of({"SN Ia": 30}), 4)
    with pytest.raises(SystemExit, match="TDE-000"):
        rows_of(library_of({"SN Ia": 30, "TDE": 1}), split, "train")


def test_library_survives_its_file(tmp_path: Path) -> None:
    library = tiny_library()
    library.save(tmp_path / "library.npz")
    loaded = Library.load(tmp_path / "library.npz")
    assert library_hash(loaded) == library_hash(library)
    np.testing.assert_array_equal(loaded.phase, library.phase)
    assert [path.name for path in tmp_path.iterdir()] == ["library.npz"]
    loaded.label[0] += 1
    assert library_hash(loaded) != library_hash(library)


def test_stored_split_is_whole() -> None:
    split = read_split(STORED)
    sets = [objects_of(split, part) for part in PARTS]
    assert sum(len(part) for part in sets) == len(set.union(*sets))
    for label in CLASSES:
        counts = [len(split["parts"][part][label]) for part in PARTS]
        assert min(counts) >= 1, f"{label} has no object in some part"
        assert counts[0] >= 0.75 * sum(counts)
    # Objects whose labels disagree are in no part.
    assert not set(split["dropped"]) & set.union(*sets)


def test_shipped_networks_were_trained_on_the_stored_split() -> None:
    for path in (ROOT / "exported_models").glob("*/card.json"):
        training = json.loads(path.read_text())["training"]
        assert training["split_sha256"] == read_split(ROOT / training["split"])["sha256"]


@pytest.mark.slow
def test_stored_split_is_that_of_the_archive(shared_data: Path) -> None:
    """The library and the split, built anew from the public data."""
    library, dropped = build_library(shared_data)
    split = read_split(STORED)
    made = make_split(library, split["seed"])
    assert made["sha256"] == split["sha256"] == split_hash(split["parts"])
    assert dropped == split["dropped"]
    cards = [json.loads(p.read_text()) for p in (ROOT / "exported_models").glob("*/card.json")]
    hashes = {c["training"]["library_sha256"] for c in cards if c["family"] == "spectranet"}
    assert hashes == {library_hash(library)}
    # The list of denied redshifts was made for this library.
    denied = denied_rows(library, CONTRADICTED)
    assert 0 < denied.size < 0.005 * len(library)
    assert not library.flattened[denied].any()
    # A rest-frame grid: Si II 6150 absorption of a type Ia at maximum is where it belongs.
    early = (library.label == 0) & (np.abs(library.phase) < 4) & ~library.flattened
    grid = np.exp(np.linspace(np.log(900.0), np.log(11000.0), GRID_PIXELS + 1))
    centre = np.sqrt(grid[1:] * grid[:-1])
    window = (centre > 5950) & (centre < 6350)
    good = library.good[early][:, window]
    mean = (library.flux[early][:, window] * good).sum(axis=0) / good.sum(axis=0)
    assert centre[window][np.argmin(mean)] == pytest.approx(6150.0, abs=40.0)
