"""Replace files atomically: whoever reads sees the old file or the new one, never a part.

A file keeps its mode and its owner. Several files are replaced together: all are written
and on disk before the first takes its place, so that a full disk or a missing permission
leaves all of them as they were.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from specinfer.errors import SpecinferError

# Hidden, so that no pattern of a pipeline takes it for a spectrum.
_PREFIX, _SUFFIX = ".specinfer_", ".tmp"
# Left behind by a process that was killed.
_STALE_S = 3600.0
# Threads that annotate the two twins at once do not mix their answers.
_TURN = threading.Lock()


class ChangedMeanwhileError(Exception):
    """Somebody else wrote the file after it was read."""


@dataclass(frozen=True)
class Snapshot:
    """A file as it was read: its contents, and what tells that it is still the same.

    Parameters
    ----------
    path : Path
        As it was given.
    target : Path
        Where links lead to: this file is replaced, the link stays.
    data : bytes
    status : os.stat_result
    """

    path: Path
    target: Path
    data: bytes
    status: os.stat_result

    @property
    def unchanged(self) -> bool:
        """Whether the file is still the one that was read."""
        try:
            now = os.stat(self.target)
        except OSError:
            return False
        return _identity(now) == _identity(self.status)


def snapshot(path: Path) -> Snapshot:
    """Read a file whole.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    target = Path(os.path.realpath(path))
    with open(target, "rb") as handle:
        # Of the file that is open, whatever takes its name meanwhile.
        status = os.fstat(handle.fileno())
        return Snapshot(path, target, handle.read(), status)


def replace_all(changes: Sequence[tuple[Snapshot, bytes]]) -> None:
    """Give files new contents, all or, on a failure, none.

    Only a crash between two renames can leave one file new and the next one old; each is
    whole.

    Parameters
    ----------
    changes : sequence of (Snapshot, bytes)

    Raises
    ------
    SpecinferError
        ``not_writable``: nothing was changed.
    ChangedMeanwhileError
        Somebody else wrote one of the files since it was read; nothing was changed.
    """
    written: list[tuple[str, Snapshot]] = []
    try:
        for old, data in changes:
            _refuse_read_only(old)
            with _naming(old.path):
                written.append((_write_beside(old, data), old))
        with _TURN:
            if not all(old.unchanged for _, old in written):
                raise ChangedMeanwhileError
            while written:
                temporary, old = written[0]
                with _naming(old.path):
                    os.replace(temporary, old.target)
                del written[0]
    finally:
        for temporary, _ in written:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
    for folder in {old.target.parent for old, _ in changes}:
        _sync_folder(folder)


def write_new(path: Path, data: bytes) -> None:
    """Write a file of our own, new or over an older one of its name.

    Raises
    ------
    SpecinferError
        ``not_writable``.
    """
    target = os.path.realpath(path)
    with _naming(path):
        handle, temporary = tempfile.mkstemp(_SUFFIX, _PREFIX, os.path.dirname(target))
        try:
            with open(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fchmod(stream.fileno(), _new_mode())
                os.fsync(stream.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    _sync_folder(Path(target).parent)


def sweep(folder: Path, age: float = _STALE_S) -> int:
    """Remove what processes that were killed have left in a folder; how many files.

    Only our own temporary files that nobody has touched for so many seconds.
    """
    removed = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX):
                with contextlib.suppress(OSError):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime >= age:
                        os.unlink(entry.path)
                        removed += 1
    return removed


def _write_beside(old: Snapshot, data: bytes) -> str:
    """A temporary file in the same folder with the same mode and owner, on disk."""
    handle, temporary = tempfile.mkstemp(_SUFFIX, _PREFIX, old.target.parent)
    try:
        with open(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            fresh = os.fstat(stream.fileno())
            if (fresh.st_uid, fresh.st_gid) != (old.status.st_uid, old.status.st_gid):
                os.fchown(stream.fileno(), old.status.st_uid, old.status.st_gid)
            # After the owner, which clears the bits of set-uid.
            os.fchmod(stream.fileno(), stat.S_IMODE(old.status.st_mode))
            _copy_attributes(old.target, stream.fileno())
            os.fsync(stream.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return temporary


def _refuse_read_only(old: Snapshot) -> None:
    """A rename would replace even a file that may not be written."""
    if not old.status.st_mode & 0o222 or not os.access(old.target, os.W_OK):
        raise SpecinferError(
            "not_writable",
            f"{old.path} is read-only, nothing was changed; make it writable (chmod u+w), or "
            "write sidecars instead (--sidecar)",
        )


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Failures of the file system as an error that names the file."""
    try:
        yield
    except OSError as error:
        raise SpecinferError(
            "not_writable",
            f"{path} cannot be written ({error.strerror or error}), it was left as it was; "
            "check the permissions of its folder, its owner, and the space on the disk",
        ) from error


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _copy_attributes(source: Path, handle: int) -> None:
    """Extended attributes, access control lists among them, where the system has them."""
    if not hasattr(os, "listxattr"):
        return
    with contextlib.suppress(OSError):
        for name in os.listxattr(source):
            with contextlib.suppress(OSError):
                os.setxattr(handle, name, os.getxattr(source, name))


def _sync_folder(folder: Path) -> None:
    """The renames themselves on disk; not all file systems can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _new_mode() -> int:
    """Mode of a new file. The umask can only be read by setting it, which threads must not."""
    return 0o666 & ~_UMASK


_UMASK = os.umask(0)
os.umask(_UMASK)
