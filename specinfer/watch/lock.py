"""One service a directory: a lock that goes away with the process, however it dies."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from specinfer.errors import SpecinferError

FILE_NAME = "watch.lock"
# Whoever asks whether there is a service holds the lock for a moment.
_PATIENCE = 1.0
_PAUSE = 0.05
# File systems that have no such locks answer one of these.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)


@contextlib.contextmanager
def only_one(directory: Path, state: Path) -> Iterator[None]:
    """Hold the lock of a watched directory.

    Two things are locked: a file in the state folder, which names the holder, and the
    directory itself where its file system can do that, so that a second service with
    another state folder is kept away, too. The kernel drops both when the process dies.

    Parameters
    ----------
    directory : Path
        What is watched.
    state : Path
        The state folder; it exists.

    Raises
    ------
    SpecinferError
        ``already_watched`` if another process has it, ``no_lock`` if the state folder
        cannot be written or has no locks.
    """
    path = state / FILE_NAME
    with contextlib.ExitStack() as held:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise _no_lock(path, error) from None
        held.callback(os.close, file)
        try:
            taken = lock_patiently(file)
        except OSError as error:
            raise _no_lock(path, error) from None
        if not taken:
            raise SpecinferError(
                "already_watched",
                f"{directory} is already watched by {_name(holder(state))}; stop that one first",
            )
        folder = _lock_folder(directory)
        if folder is not None:
            held.callback(os.close, folder)
        about = {"pid": os.getpid(), "host": socket.gethostname(), "started": time.time()}
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(about).encode(), 0)
        yield


def holder(state: Path) -> dict[str, object] | None:
    """Who wrote the lock file last: pid, host and when; None if that cannot be read."""
    try:
        about = json.loads((state / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) else None


def is_held(state: Path) -> bool | None:
    """Whether a service holds the lock now; None if that cannot be found out here."""
    try:
        file = os.open(state / FILE_NAME, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        return not _lock(file)
    except OSError:
        return None
    finally:
        os.close(file)


def _name(about: dict[str, object] | None) -> str:
    if about is None:
        return "another process"
    return f"process {about.get('pid')} on {about.get('host')}"


def _lock_folder(directory: Path) -> int | None:
    """Lock the directory itself; None where that does not work (network shares, Windows)."""
    if sys.platform == "win32":
        return None
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        if lock_patiently(folder):
            return folder
    except OSError:
        os.close(folder)
        return None
    os.close(folder)
    raise SpecinferError(
        "already_watched",
        f"{directory} is already watched by a process with another state folder; stop that one "
        "first",
    )


def lock_patiently(file: int) -> bool:
    """Take the lock of an open file; False if someone else keeps it.

    Raises
    ------
    OSError
        If the file system has no locks.
    """
    deadline = time.monotonic() + _PATIENCE
    while not _lock(file):
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def _lock(file: int) -> bool:
    """Take the lock; False if someone else has it.

    Raises
    ------
    OSError
        If the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            # Far behind what is written, which must stay readable.
            os.lseek(file, 1 << 20, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise
        return False
    return True


def _no_lock(path: Path, error: OSError) -> SpecinferError:
    return SpecinferError(
        "no_lock",
        f"{path} cannot be locked ({error.strerror}); give a folder on a local disk that you may "
        "write to with --state",
    )
