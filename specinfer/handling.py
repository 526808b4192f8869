"""How the files of a pipeline are to be handled, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from specinfer.gates import SkipRules, State
from specinfer.result import Classification

# A file that takes longer is given up: the pipeline behind it has no time-outs of its own.
TIME_LIMIT_S = 60.0


@dataclass(frozen=True)
class Handling:
    """How files are handled.

    Parameters
    ----------
    annotate : bool
        Write the answer into the headers of the FITS file and of its text twin.
    overwrite : bool
        Do again what was done, and replace the answer.
    skip : SkipRules or None
        What is not classified, of SEDM spectra; None classifies everything.
    plot : bool
        Draw a picture of every answer.
    redshift : float, optional
        The redshift, if it is known.
    sidecar : bool
        Write a sidecar. Files that cannot hold an annotation get one in any case.
    pictures : Path, optional
        Folder for the pictures; by default beside the spectra.
    time_limit : float
        Seconds for reading and classifying one file.
    """

    annotate: bool = False
    overwrite: bool = False
    skip: SkipRules | None = field(default_factory=SkipRules)
    plot: bool = False
    redshift: float | None = None
    sidecar: bool = True
    pictures: Path | None = None
    time_limit: float = TIME_LIMIT_S


@dataclass(frozen=True)
class Handled:
    """What became of a file.

    Parameters
    ----------
    path : Path
        As it was given.
    state : str
        One of `specinfer.gates.STATES`.
    reason : str
        Why; empty for OK.
    result : Classification or None
        None for a skipped file. From the sidecar, if the file was done before.
    sidecar, picture : Path or None
        Those that are there.
    annotated : tuple of Path
        Files that were changed now.
    fresh : bool
        False: it was done before by the same version of the model, nothing was changed.
    sha256 : str
        Of what the answer depends on; empty if the file could not be read at all.
    """

    path: Path
    state: State
    reason: str
    result: Classification | None
    sidecar: Path | None
    picture: Path | None
    annotated: tuple[Path, ...]
    fresh: bool
    sha256: str
