"""A spectrum in two files: FITS and its text twin of the same name, as the SEDM pipeline writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FITS_SUFFIXES = (".fits", ".fit", ".fts")
TEXT_SUFFIX = ".txt"
COMPRESSION = (".gz", ".bz2", ".xz", ".fz")


@dataclass(frozen=True)
class Twins:
    """The files of one spectrum.

    Parameters
    ----------
    given : Path
        The one that was asked for.
    fits, text : Path or None
        None where there is none; for files of other kinds both are None.
    """

    given: Path
    fits: Path | None
    text: Path | None

    def __iter__(self) -> Iterator[Path]:
        """The files that are there, FITS first."""
        yield from (path for path in (self.fits, self.text) if path is not None)


def find_twins(path: str | os.PathLike[str]) -> Twins:
    """The files that belong to a spectrum.

    Parameters
    ----------
    path : path
        Either of the two. Its twin has the same folder and name, and the other ending.

    Returns
    -------
    Twins
    """
    given = Path(path)
    suffix = given.suffix
    if suffix.lower() in FITS_SUFFIXES:
        text = given.with_suffix(TEXT_SUFFIX)
        return Twins(given, given, text if text.is_file() else None)
    if suffix.lower() == TEXT_SUFFIX:
        beside = (given.with_suffix(ending) for ending in FITS_SUFFIXES)
        return Twins(given, next((one for one in beside if one.is_file()), None), given)
    return Twins(given, None, None)


def stem_of(path: str | os.PathLike[str]) -> str:
    """The name that twins share: without folder, ending and compression's ending."""
    name = Path(path).name
    for ending in COMPRESSION:
        name = name.removesuffix(ending)
    return Path(name).stem
