"""Files that are replaced whole, together, with their mode and owner."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from specinfer import replacing
from specinfer.errors import SpecinferError
from specinfer.replacing import ChangedMeanwhileError, replace_all, snapshot, sweep, write_new


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    files = tmp_path / "one", tmp_path / "two"
    for file in files:
        file.write_bytes(b"old")
    return files


def test_mode_owner_and_links_are_kept(pair: tuple[Path, Path], tmp_path: Path) -> None:
    one, two = pair
    one.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(one, 1234, 4321)
    link = tmp_path / "folder" / "link"
    link.parent.mkdir()
    link.symlink_to(two)
    before = one.stat()
    replace_all([(snapshot(one), b"new"), (snapshot(link), b"new")])
    after = one.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert link.is_symlink()
    assert [one.read_bytes(), two.read_bytes()] == [b"new", b"new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "one", "two"]
    assert list(link.parent.iterdir()) == [link]


def test_a_full_disk_leaves_both(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = os.fsync

    def second_fails(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", second_fails)
    with pytest.raises(SpecinferError, match="No space left") as caught:
        replace_all([(snapshot(path), b"new") for path in pair])
    assert caught.value.code == "not_writable"
    assert [path.read_bytes() for path in pair] == [b"old", b"old"]
    assert len(list(pair[0].parent.iterdir())) == 2


def test_read_only_files_are_respected(pair: tuple[Path, Path]) -> None:
    pair[1].chmod(0o444)
    with pytest.raises(SpecinferError, match="read-only, nothing was changed"):
        replace_all([(snapshot(path), b"new") for path in pair])
    assert [path.read_bytes() for path in pair] == [b"old", b"old"]


def test_read_only_folder(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(replacing.tempfile, "mkstemp", refuse)
    with pytest.raises(SpecinferError, match="Permission denied"):
        replace_all([(snapshot(pair[0]), b"new")])
    with pytest.raises(SpecinferError, match="Permission denied"):
        write_new(pair[0], b"new")
    assert pair[0].read_bytes() == b"old"


def test_a_foreign_owner_that_cannot_be_kept(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    old = snapshot(pair[0])
    foreign = list(old.status)
    foreign[4] += 1
    status = os.stat_result(foreign)
    with pytest.raises(SpecinferError, match="its owner"):
        replace_all([(replacing.Snapshot(old.path, old.target, old.data, status), b"new")])
    assert pair[0].read_bytes() == b"old"


def test_what_others_wrote_meanwhile_is_not_lost(pair: tuple[Path, Path]) -> None:
    snapshots = [snapshot(path) for path in pair]
    pair[1].write_bytes(b"by another program")
    with pytest.raises(ChangedMeanwhileError):
        replace_all([(one, b"new") for one in snapshots])
    assert [path.read_bytes() for path in pair] == [b"old", b"by another program"]
    assert len(list(pair[0].parent.iterdir())) == 2


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([letter]) * 200_000 for letter in b"abc"]
    path.write_bytes(contents[0])
    stop = threading.Event()
    seen: list[bytes] = []

    def read() -> None:
        while not stop.is_set():
            seen.append(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(60):
        replace_all([(snapshot(path), contents[turn % 3])])
    stop.set()
    reader.join()
    assert seen
    assert all(content in contents for content in seen)


def test_killed_at_any_moment_each_file_is_whole(pair: tuple[Path, Path]) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from specinfer.replacing import replace_all, snapshot\n"
        "files = [Path(name) for name in sys.argv[1:]]\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    for letter in (b'a', b'b'):\n"
        "        replace_all([(snapshot(file), letter * 100000) for file in files])\n"
    )
    whole = {b"old", b"a" * 100_000, b"b" * 100_000}
    for turn in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, pair)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.02 + 0.013 * turn)
        process.kill()
        process.wait()
        process.stdout.close()
        assert all(path.read_bytes() in whole for path in pair)
    left = [path for path in pair[0].parent.iterdir() if path not in pair]
    assert all(path.name.startswith(".specinfer_") for path in left)
    for path in left:
        os.utime(path, (1.0, 1.0))
    assert sweep(pair[0].parent) == len(left)
    assert sorted(pair[0].parent.iterdir()) == sorted(pair)


def test_sweep_leaves_what_is_not_ours_or_still_in_use(tmp_path: Path) -> None:
    fresh, other = tmp_path / ".specinfer_x.tmp", tmp_path / ".other.tmp"
    for path in (fresh, other):
        path.touch()
    os.utime(other, (1.0, 1.0))
    assert sweep(tmp_path) == 0
    assert sweep(tmp_path / "none") == 0
    assert fresh.exists()
    assert other.exists()
