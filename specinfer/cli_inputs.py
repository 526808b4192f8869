"""Which files a command line means: paths, patterns, folders, lists of files."""

from __future__ import annotations

import glob
import os
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
# Our own sidecars lie beside the spectra.
_OWN_PREFIX = "specinfer_"


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
    """The paths in a list of files, one a line; empty lines are left out.

    Parameters
    ----------
    source : str
        A file, or ``"-"`` for standard input, which is followed line by line.

    Raises
    ------
    UsageError
        If the list cannot be read (code ``bad_file_list``).
    """
    # File names need not be valid text: they go through unchanged, as they came.
    if source == "-":
        for raw in sys.stdin.buffer:
            if line := os.fsdecode(raw).rstrip("\r\n"):
                yield line
        return
    try:
        lines = Path(source).read_bytes().splitlines()
    except OSError as error:
        raise UsageError(
            "bad_file_list", f"--files-from {source}: {error.strerror}; check the path"
        ) from None
    yield from (os.fsdecode(line) for line in lines if line.strip())


def is_spectrum_name(name: str) -> bool:
    """Whether a file of this name in a folder is taken for a spectrum."""
    lower = name.lower()
    if lower.startswith((".", _OWN_PREFIX)):
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
        if not os.path.isdir(path) and not os.path.basename(path).startswith(_OWN_PREFIX)
    )
    if not found:
        yield Target(pattern, ReadError("not_found", "no file matches the pattern; check it"))
    yield from map(Target, found)
