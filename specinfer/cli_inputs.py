"""Which files a command line means: paths, patterns, folders, lists of files."""

from __future__ import annotations

import glob
import os
import select
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from specinfer.errors import ReadError, UsageError

# Of a folder only files with these endings are taken (also compressed).
SUFFIXES = (
    ".fits",
    ".fit",
    ".fts",
    ".txt",
    ".ascii",
    ".asci",
    ".asc",
    ".dat",
    ".flm",
    ".csv",
    ".ecsv",
    ".tsv",
    ".lnw",
    ".json",
    ".spec",
    ".vot",
    ".xml",
)
_COMPRESSION = (".gz", ".bz2", ".xz", ".fz")
# What lies beside spectra and holds none: our own sidecars, and DESI's catalogues of what
# was measured on them. Who names such a file is told so.
_OWN_PREFIX = "specinfer_"
_COMPANIONS = (_OWN_PREFIX, "redrock-", "zbest-", "qso_mgii-", "qso_qn-", "emline-", "hpixexp-")
# How long standard input may be silent before what was read so far is answered.
_PATIENCE_S = 0.1


@dataclass(frozen=True)
class Target:
    """A file to read, or why there is none."""

    path: str
    error: ReadError | None = None


def expand(paths: Iterable[str]) -> Iterator[Target]:
    """The files that paths mean, in order.

    Parameters
    ----------
    paths : iterable of str
        Files, ``"-"`` for standard input, folders (the files directly inside that have
        a known ending; hidden ones are left out), and patterns (``*``, ``?``, ``[]``,
        ``**``) that the shell has not expanded.

    Yields
    ------
    Target
        A folder without spectra and a pattern without files give a target with an error.
    """
    for path in paths:
        if path == "-" or os.path.lexists(path):
            yield from _folder(path) if os.path.isdir(path) else [Target(path)]
        elif glob.has_magic(path):
            yield from _pattern(path)
        else:
            yield Target(path)


def listed_files(source: str) -> Iterator[str]:
    """The paths in a file that lists them, one a line; empty lines are left out.

    Raises
    ------
    UsageError
        If the list cannot be read (code ``bad_file_list``).
    """
    try:
        content = Path(source).read_bytes()
    except OSError as error:
        raise UsageError(
            "bad_file_list", f"--files-from {source}: {error.strerror}; check the path"
        ) from None
    yield from _names(content.split(b"\n"))


def followed_files() -> Iterator[str | None]:
    """The paths that come on standard input, one a line, as they come.

    Yields
    ------
    str or None
        None: nothing more for the moment, so that work that waits can be done.
    """
    try:
        handle = sys.stdin.fileno()
        select.select([handle], [], [], 0.0)
    except (OSError, ValueError):
        # Standard input is no pipe or terminal that can be watched (as on Windows).
        yield from _names(sys.stdin.buffer)
        return
    rest = b""
    while True:
        if not select.select([handle], [], [], _PATIENCE_S)[0]:
            yield None
            select.select([handle], [], [])
        chunk = os.read(handle, 65536)
        *lines, rest = (rest + chunk).split(b"\n")
        yield from _names(lines)
        if not chunk:
            yield from _names([rest])
            return


def _names(lines: Iterable[bytes]) -> Iterator[str]:
    # File names need not be valid text: they go through unchanged, as they came.
    for line in lines:
        if name := os.fsdecode(line).rstrip("\r\n"):
            yield name


def is_spectrum_name(name: str) -> bool:
    """Whether a file of this name in a folder is taken for a spectrum."""
    lower = name.lower()
    if lower.startswith((".", *_COMPANIONS)):
        return False
    for ending in _COMPRESSION:
        lower = lower.removesuffix(ending)
    return lower.endswith(SUFFIXES)


def _folder(path: str) -> Iterator[Target]:
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        yield Target(path, ReadError("not_readable", f"cannot list the folder: {error.strerror}"))
        return
    files = [os.path.join(path, name) for name in names if is_spectrum_name(name)]
    files = [name for name in files if not os.path.isdir(name)]
    if not files:
        yield Target(
            path,
            ReadError(
                "no_spectra",
                "no spectra directly in this folder (looked for files that end in "
                f"{' '.join(SUFFIXES)}); give the files, or a pattern such as 'folder/**/*.fits'",
            ),
        )
    yield from map(Target, files)


def _pattern(pattern: str) -> Iterator[Target]:
    found = sorted(
        path
        for path in glob.glob(pattern, recursive=True)
        if not os.path.isdir(path) and not os.path.basename(path).startswith(_COMPANIONS)
    )
    if not found:
        yield Target(pattern, ReadError("not_found", "no file matches the pattern; check it"))
    yield from map(Target, found)
