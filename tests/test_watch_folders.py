"""Which folders are followed, which files are found, and when they are complete."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest

from specinfer.watch.folders import Nights, spectra
from specinfer.watch.settle import Settling

BLOCK = b" " * 2880


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(directory: Path, folder: Path | None = None, pattern: str = "spec_*.fits") -> list[str]:
    return [found.file for found in spectra(directory, folder or directory, pattern)]


def test_only_spectra_are_found(tmp_path: Path) -> None:
    for name in (
        "spec_b.fits",
        "spec_a.fits",
        "spec_a.txt",
        "specinfer_spec_a.json",
        ".specinfer_x.tmp",
        ".spec_c.fits",
        "crr_b.fits",
        "spec_with blank [A].fits",
    ):
        touch(tmp_path / name)  # fmt: skip
    (tmp_path / "spec_folder.fits").mkdir()
    (tmp_path / "spec_nowhere.fits").symlink_to("nonesuch")
    (tmp_path / "spec_link.fits").symlink_to("crr_b.fits")
    assert names(tmp_path) == [
        "spec_a.fits",
        "spec_b.fits",
        "spec_link.fits",
        "spec_with blank [A].fits",
    ]
    assert names(tmp_path, pattern="crr_*") == ["crr_b.fits"]
    touch(tmp_path / "20261121" / "spec_n.fits")
    assert names(tmp_path, tmp_path / "20261121") == ["20261121/spec_n.fits"]


def test_names_that_are_no_text_can_be_stored(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/spec_\xff.fits"
    with open(odd, "wb"):
        pass
    (found,) = spectra(tmp_path, tmp_path, "spec_*.fits")
    assert found.file == "spec_\\xff.fits"
    assert found.file.encode("utf-8")
    assert found.path.exists()


def test_a_change_of_file_or_twin_changes_the_signature(tmp_path: Path) -> None:
    path = touch(tmp_path / "spec_a.fits")
    seen = set()

    def signature() -> str:
        (found,) = spectra(tmp_path, tmp_path, "spec_*.fits")
        seen.add(found.signature)
        return found.signature

    assert signature() == signature()
    touch(path, b"xy")
    signature()
    twin = touch(tmp_path / "spec_a.txt")
    signature()
    os.utime(twin, (1e9, 1e9))
    signature()
    replacement = touch(tmp_path / "new", b"xy")
    os.utime(replacement, (path.stat().st_mtime, path.stat().st_mtime))
    replacement.replace(path)
    signature()
    assert len(seen) == 5


def test_the_time_is_that_of_the_later_of_the_two(tmp_path: Path) -> None:
    os.utime(touch(tmp_path / "spec_a.fits"), (2e9, 2e9))
    os.utime(touch(tmp_path / "spec_a.txt"), (1e9, 1e9))
    (found,) = spectra(tmp_path, tmp_path, "spec_*.fits")
    assert found.modified == 2e9


def test_the_newest_night_is_followed(tmp_path: Path) -> None:
    assert Nights(tmp_path).follow(0.0) == []
    for name in ("20261119", "20261120", "notanight", "20269999", "123456789"):
        (tmp_path / name).mkdir()
    touch(tmp_path / "20261130")  # a file
    future = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=30)
    (tmp_path / future.strftime("%Y%m%d")).mkdir()
    nights = Nights(tmp_path)
    assert nights.follow(0.0) == ["20261120"]
    assert nights.oldest == "20261120"


def test_the_night_before_is_followed_for_a_while(tmp_path: Path) -> None:
    (tmp_path / "20261120").mkdir()
    nights = Nights(tmp_path, grace=100.0)
    assert nights.follow(0.0) == ["20261120"]
    (tmp_path / "20261121").mkdir()
    assert nights.follow(1000.0) == ["20261120", "20261121"]
    assert nights.follow(1100.0) == ["20261120", "20261121"]
    assert nights.follow(1101.0) == ["20261121"]
    assert nights.oldest == "20261121"
    assert nights.follow(1102.0) == ["20261121"]


def test_a_night_with_unfinished_business_is_kept(tmp_path: Path) -> None:
    for name in ("20261119", "20261120", "20261121"):
        (tmp_path / name).mkdir()
    nights = Nights(tmp_path)
    assert nights.follow(0.0, keep=["20261119"]) == ["20261119", "20261121"]


def test_a_restart_catches_up_with_the_nights_between(tmp_path: Path) -> None:
    for name in ("20261117", "20261118", "20261119", "20261120"):
        (tmp_path / name).mkdir()
    nights = Nights(tmp_path, oldest="20261118", grace=10.0)
    assert nights.follow(0.0) == ["20261118", "20261119", "20261120"]
    assert nights.oldest == "20261118"
    assert nights.follow(11.0) == ["20261120"]


def test_linked_nights_are_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    touch(elsewhere / "spec_a.fits")
    watched = tmp_path / "watched"
    watched.mkdir()
    (watched / "20261121").symlink_to(elsewhere)
    assert Nights(watched).follow(0.0) == ["20261121"]
    assert names(watched, watched / "20261121") == ["20261121/spec_a.fits"]


def test_a_directory_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nonesuch"):
        Nights(tmp_path / "nonesuch").follow(0.0)


def test_a_file_is_complete_when_it_has_not_changed(tmp_path: Path) -> None:
    path = touch(tmp_path / "spec_a.fits", BLOCK)
    settling = Settling(1.0)

    def complete(now: float) -> bool:
        return bool(settling.settled(spectra(tmp_path, tmp_path, "spec_*"), now))

    assert not complete(0.0)
    assert settling.next_settled() == 1.0
    assert not complete(0.9)
    touch(path, BLOCK * 2)
    assert not complete(1.0)
    assert settling.next_settled() == 2.0
    assert not complete(1.9)
    assert complete(2.0)
    assert settling.next_settled() is None
    assert complete(3.0)


@pytest.mark.parametrize("content", [b"", BLOCK[:-1], BLOCK + b"x"])
def test_a_size_that_no_fits_file_has_is_waited_for(tmp_path: Path, content: bytes) -> None:
    touch(tmp_path / "spec_a.fits", content)
    settling = Settling(1.0)
    found = spectra(tmp_path, tmp_path, "spec_*")
    assert settling.settled(found, 0.0) == []
    assert settling.settled(found, 9.9) == []
    assert settling.next_settled() == 10.0
    assert settling.settled(found, 10.0) == found


def test_text_of_any_size_may_be_complete(tmp_path: Path) -> None:
    touch(tmp_path / "spec_a.txt")
    settling = Settling(1.0)
    found = spectra(tmp_path, tmp_path, "spec_*")
    assert settling.settled(found, 0.0) == []
    assert settling.settled(found, 1.0) == found


def test_an_old_time_does_not_make_a_file_complete(tmp_path: Path) -> None:
    """The clock of a network share may be wrong, and copies keep the time of the original."""
    os.utime(touch(tmp_path / "spec_a.fits"), (1e9, 1e9))
    settling = Settling(1.0)
    assert settling.settled(spectra(tmp_path, tmp_path, "spec_*"), 50.0) == []


def test_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    path = touch(tmp_path / "spec_a.fits")
    settling = Settling(1.0)
    found = spectra(tmp_path, tmp_path, "spec_*")
    settling.settled(found, 0.0)
    settling.settled([], 0.5)
    assert settling.next_settled() is None
    assert path.exists()
    assert settling.settled(found, 1.0) == []
