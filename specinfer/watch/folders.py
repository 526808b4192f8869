"""Which folders are followed, and the spectra in them."""

from __future__ import annotations

import contextlib
import datetime
import fnmatch
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_NIGHT = re.compile(r"\d{8}")
_FITS_BLOCK = 2880
# A clock may be wrong by so much; a folder 20991231 is a typing error.
_FUTURE = datetime.timedelta(days=2)
# Seconds for which an older night is followed when a newer one has begun: the last
# extractions of a night come after midnight UTC.
GRACE = 3600.0


@dataclass(frozen=True)
class Found:
    """A spectrum in a followed folder.

    Parameters
    ----------
    folder, name : str
        Where it is.
    file : str
        Its path below the watched directory, as it is kept in the journal.
    signature : str
        Size, time and inode of it and of its text twin: what changes when either does.
    size : int
        Bytes.
    modified : float
        When file or twin was last written, by the clock of their file system.
    """

    folder: str
    name: str
    file: str
    signature: str
    size: int
    modified: float

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.folder, self.name)

    @property
    def whole(self) -> bool:
        """Whether the size is one that a complete file can have: FITS comes in blocks."""
        if not self.name.endswith(".fits"):
            return self.size > 0
        return self.size > 0 and self.size % _FITS_BLOCK == 0


class Nights:
    """The nights (``YYYYMMDD``) below a directory that are followed.

    The newest one is; an older one that was the newest for `grace` seconds more, or, after
    a restart, until it was caught up with.

    Parameters
    ----------
    directory : Path
    oldest : str, optional
        The oldest night that an earlier service still followed.
    grace : float, optional
    """

    def __init__(self, directory: Path, oldest: str | None = None, grace: float = GRACE) -> None:
        self.directory = directory
        self.grace = grace
        self._oldest = oldest
        self._surpassed: dict[str, float] = {}

    def follow(self, now: float, keep: Iterable[str] = ()) -> list[str]:
        """Names of the followed nights, oldest first.

        Parameters
        ----------
        now : float
            Seconds, of a clock that only goes forward.
        keep : iterable of str
            Nights in which files wait for another try.

        Raises
        ------
        OSError
            If the directory cannot be read.
        """
        kept = set(keep)
        names = sorted(
            entry.name
            for entry in os.scandir(self.directory)
            if _NIGHT.fullmatch(entry.name) and _is_date(entry.name) and entry.is_dir()
        )
        if not names:
            return []
        newest = names[-1]
        followed = []
        for name in names[:-1]:
            if name in kept:
                followed.append(name)
            elif self._oldest is not None and name >= self._oldest:
                since = self._surpassed.setdefault(name, now)
                if now - since <= self.grace:
                    followed.append(name)
        self._surpassed.pop(newest, None)
        followed.append(newest)
        self._oldest = min(followed)
        return followed

    @property
    def oldest(self) -> str | None:
        """The oldest night that is followed, to be remembered."""
        return self._oldest


def spectra(directory: Path, folder: Path, pattern: str) -> list[Found]:
    """The spectra directly in a folder, by name.

    Parameters
    ----------
    directory : Path
        The watched directory.
    folder : Path
        Itself or a night in it.
    pattern : str
        Of their names.

    Raises
    ------
    OSError
        If the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        here = {entry.name: entry for entry in entries}
    # Looked at several times a second: no more work than needed for a file.
    where, below = os.fspath(folder), folder.relative_to(directory).as_posix()
    prefix = "" if below == "." else f"{below}/"
    found = []
    for name in sorted(fnmatch.filter(here, pattern)):
        if name.startswith("."):
            continue
        try:
            if not here[name].is_file():
                continue
            status = here[name].stat()
        except OSError:  # it has gone meanwhile, or is a link to nowhere
            continue
        signature, modified = _stamp(status), status.st_mtime
        twin = here.get(os.path.splitext(name)[0] + ".txt")
        if twin is not None and twin.name != name:
            with contextlib.suppress(OSError):
                beside = twin.stat()
                signature = f"{signature} {_stamp(beside)}"
                modified = max(modified, beside.st_mtime)
        file = printable(prefix + name)
        found.append(Found(where, name, file, signature, status.st_size, modified))
    return found


def printable(name: str) -> str:
    """A name as text that can be stored anywhere, whatever bytes it holds."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"


def _is_date(name: str) -> bool:
    try:
        date = datetime.datetime.strptime(name, "%Y%m%d").date()
    except ValueError:
        return False
    return date <= datetime.datetime.now(datetime.UTC).date() + _FUTURE
