"""One process at a time delivers from an outbox; two would both find a post missing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from specinfer.errors import SpecinferError


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[bool]:
    """Hold a lock that the system releases when the process dies, however it dies.

    Parameters
    ----------
    path : Path
        The lock's file; made if it is not there, and left there.

    Yields
    ------
    bool
        False if another one holds it. Where the system has no such locks, always True.

    Raises
    ------
    SpecinferError
        ``no_lock``: the file cannot be made, or its file system knows no locks.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield True
        return
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _no_lock(path, error) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alone = False
        except OSError as error:
            raise _no_lock(path, error) from None
        else:
            alone = True
        yield alone
    finally:
        os.close(handle)


def _no_lock(path: Path, error: OSError) -> SpecinferError:
    return SpecinferError(
        "no_lock", f"{path} cannot be locked ({error.strerror}); keep the journal on a local disk"
    )
