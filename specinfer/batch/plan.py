"""Inputs become chunks: always the same ones, so that a run can go on where it was killed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from specinfer.batch.counting import Count, count
from specinfer.cli_inputs import Target, expand
from specinfer.errors import UsageError

# A Parquet row group is decoded from its beginning, so one is cut into few pieces only.
MOST_PIECES_A_GROUP = 8
# Headers are waited for, on network shares above all.
_THREADS = 8
_TABLE_ENDINGS = (".parquet", ".parq")


@dataclass(frozen=True, slots=True)
class Input:
    """A file, as it was when the run was planned.

    Parameters
    ----------
    path : str
        Absolute.
    size, mtime_ns : int
    count : Count
    error : tuple of str, or None
        Code and message, if it cannot be read at all.
    """

    path: str
    size: int = 0
    mtime_ns: int = 0
    count: Count = field(default_factory=Count)
    error: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """What of a file one chunk holds.

    Parameters
    ----------
    path : str
    rows : int
        Rows, as far as the plan knows.
    start, stop : int or None
        Rows of the file (of the row group, for a table); None: all of it.
    group : int or None
        Row group of a Parquet file.
    offset : int
        Rows of the file before the row group.
    error : tuple of str, or None
        As in `Input`.
    """

    path: str
    rows: int
    start: int | None = None
    stop: int | None = None
    group: int | None = None
    offset: int = 0
    error: tuple[str, str] | None = None


@dataclass(frozen=True)
class Chunk:
    """What a worker does at a time; its answers are one part of the output.

    Parameters
    ----------
    number : int
        From 0, without gaps.
    pieces : tuple of Piece
    """

    number: int
    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int:
        """Rows, as far as the plan knows."""
        return sum(piece.rows for piece in self.pieces)

    @property
    def part(self) -> str:
        """Name of the part."""
        return f"part-{self.number:06d}.parquet"


@dataclass(frozen=True)
class Plan:
    """All that there is to do.

    Parameters
    ----------
    inputs : tuple of Input
        In the order of their paths.
    chunk_size : int
        Rows a chunk holds at most, but for files that cannot be cut.
    """

    inputs: tuple[Input, ...]
    chunk_size: int

    @property
    def rows(self) -> int:
        """Rows of all chunks, as far as headers tell."""
        return sum(one.count.rows for one in self.inputs)

    @property
    def sha256(self) -> str:
        """Of the inputs: paths, sizes, dates, rows, and how they are cut."""
        digest = hashlib.sha256(f"{self.chunk_size}\n".encode())
        for one in self.inputs:
            facts = (one.size, one.mtime_ns, one.count.rows, one.count.groups, one.error)
            digest.update(os.fsencode(one.path) + f"\0{facts}\n".encode())
        return digest.hexdigest()

    def chunks(self) -> Iterator[Chunk]:
        """The chunks in order, made one by one."""
        held: list[Piece] = []
        number = rows = 0
        for piece in self._pieces():
            if held and rows + piece.rows > self.chunk_size:
                yield Chunk(number, tuple(held))
                number, held, rows = number + 1, [], 0
            held.append(piece)
            rows += piece.rows
        if held:
            yield Chunk(number, tuple(held))

    def _pieces(self) -> Iterator[Piece]:
        for one in self.inputs:
            known = one.count
            if one.error is not None:
                yield Piece(one.path, 1, error=one.error)
            elif known.is_table:
                offset = 0
                for group, rows in enumerate(known.groups):
                    most = max(self.chunk_size, -(-rows // MOST_PIECES_A_GROUP))
                    for start, stop in _cut(rows, most):
                        yield Piece(one.path, stop - start, start, stop, group, offset)
                    offset += rows
            elif known.sliced:
                for start, stop in _cut(known.rows, self.chunk_size):
                    yield Piece(one.path, stop - start, start, stop)
            else:
                yield Piece(one.path, known.rows)


def make_plan(paths: Iterable[str], chunk_size: int, *, slicing: bool = True) -> Plan:
    """Find the files that paths mean and look at their headers.

    Parameters
    ----------
    paths : iterable of str
        Files, folders, HATS catalogues, patterns.
    chunk_size : int
        Rows a chunk.
    slicing : bool
        False: no file is read in slices, because its format is not for its headers to say.

    Returns
    -------
    Plan

    Raises
    ------
    UsageError
        ``bad_option`` for a chunk size below 1 or standard input, ``no_input`` if there
        is no path.
    """
    if chunk_size < 1:
        raise UsageError("bad_option", f"--chunk must be at least 1, not {chunk_size}")
    found: dict[str, Target] = {}
    for path in paths:
        if path == "-":
            raise UsageError(
                "bad_option", "standard input cannot be resumed; give files, or their --list"
            )
        for target in _files(path):
            found.setdefault(os.path.abspath(target.path), target)
    if not found:
        raise UsageError("no_input", "there is nothing to classify; give files, folders or --list")
    order = sorted(found)
    with ThreadPoolExecutor(_THREADS) as pool:
        inputs = pool.map(lambda path: _look(path, found[path], slicing), order)
        return Plan(tuple(inputs), chunk_size)


def _files(path: str) -> Iterator[Target]:
    """The files of one path: those of `expand`, and tables in folders."""
    if not os.path.isdir(path):
        yield from expand([path])
        return
    catalogue = _catalogue(Path(path))
    if catalogue is not None:
        yield from (Target(name) for name in catalogue)
        return
    names = (os.path.join(path, name) for name in sorted(os.listdir(path)))
    tables = [Target(name) for name in names if name.lower().endswith(_TABLE_ENDINGS)]
    yield from tables
    targets = list(expand([path]))
    # "No spectra in this folder" is no failure where there are tables.
    yield from (one for one in targets if not (tables and one.error is not None))


def _catalogue(folder: Path) -> list[str] | None:
    """The leaves of a HATS (or HiPSCat) catalogue; None if the folder is none."""
    stated = any((folder / name).is_file() for name in ("properties", "hats.properties"))
    dataset = folder / "dataset" if (folder / "dataset").is_dir() else folder
    if not stated and not any(dataset.glob("Norder=*")):
        return None
    leaves = dataset.glob("Norder=*/**/*.parquet")
    return [str(leaf) for leaf in leaves if not leaf.name.startswith(("_", "."))]


def _look(path: str, target: Target, slicing: bool) -> Input:
    if target.error is not None:
        return Input(path, error=(target.error.code, target.error.message))
    try:
        status = os.stat(path)
        known = count(path)
    except FileNotFoundError:
        return Input(path, error=("not_found", "no such file; check the path"))
    except OSError as error:
        said = f"cannot open the file: {error.strerror}; check its mode and owner"
        return Input(path, error=("not_readable", said))
    if not slicing and not known.is_table:
        known = Count(known.rows)
    return Input(path, status.st_size, status.st_mtime_ns, known)


def _cut(rows: int, most: int) -> Sequence[tuple[int, int]]:
    """Ranges of nearly equal length, none longer than `most`."""
    count = -(-rows // most)
    return [(rows * i // count, rows * (i + 1) // count) for i in range(count)]
