"""One spectrum of a pipeline from file to answer: read, classify or skip, write down.

`handle` is what the watch service and the pipeline's shim call for every file. A spectrum
that cannot be used never raises: its file ends in a state, too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from specinfer import done
from specinfer.annotation import make_block, write_block
from specinfer.classifier import Classifier
from specinfer.errors import DeviceError, ModelError, ReadError, SpecinferError
from specinfer.examine import Examined, examine
from specinfer.gates import Gate, SkipRules, State, judge
from specinfer.readers import iter_spectra
from specinfer.result import Classification, failed
from specinfer.shim import record_specinfer, run_specinfer
from specinfer.sidecar import make_sidecar, picture_path, recall, sidecar_path, write_sidecar
from specinfer.spectrum import Spectrum

__all__ = ["Handled", "Handling", "handle", "keep", "record_specinfer", "run_specinfer"]

T = TypeVar("T")

# A file that takes longer is given up: the pipeline behind it has no time-outs of its own.
TIME_LIMIT_S = 60.0
# How often a file is read again that changes while it is read.
_READS = 3
# matplotlib draws one picture at a time.
_DRAWING = threading.Lock()


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


class _TooLong(Exception):
    """The time limit has passed."""


def handle(
    path: str | os.PathLike[str], classifier: Classifier, handling: Handling | None = None
) -> Handled:
    """Classify one spectrum, or skip it, and write down what came of it.

    Parameters
    ----------
    path : path
        FITS file or text twin; both are annotated.
    classifier : Classifier
        Shared by all files, and by threads.
    handling : Handling, optional

    Returns
    -------
    Handled
        Also for a spectrum that cannot be used, with state UNREADABLE.

    Raises
    ------
    SpecinferError
        If what was asked for cannot be written (``not_writable``...); what could be
        written was.
    ModelError, DeviceError
        If the model itself cannot be used.
    """
    handling = handling or Handling()
    examined = examine(path, handling.skip)
    if not handling.overwrite:
        document = done.by_sidecar(examined, classifier, handling.redshift)
        if handling.plot and not _picture(examined.twins.given, handling).exists():
            document = None
        if document is not None:
            return _complete(examined, document, handling)
        if not handling.sidecar and handling.annotate:
            found = done.by_header(examined, classifier)
            if found is not None:
                return _unchanged(examined, found)
    if examined.gate is not None:
        return keep(examined, examined.gate, None, handling)
    for _ in range(_READS):
        verdict, result, lasting = _answer(examined, classifier, handling)
        if examined.main is None or examined.main.unchanged:
            return keep(examined, verdict, result, handling, lasting=lasting)
        examined = examine(path, handling.skip)
        if examined.gate is not None:
            return keep(examined, examined.gate, None, handling)
    changing = Gate("UNREADABLE", "the file changes while it is read: it is still being written")
    return keep(examined, changing, None, handling, lasting=False)


def keep(
    examined: Examined,
    verdict: Gate,
    result: Classification | None,
    handling: Handling,
    *,
    lasting: bool = True,
) -> Handled:
    """Write an answer down: picture, annotation, and last the sidecar, which says "done".

    Parameters
    ----------
    examined : Examined
    verdict : Gate
        State and reason.
    result : Classification or None
        None where nothing was classified.
    handling : Handling
    lasting : bool, optional
        False: another try may end otherwise, so the file does not count as done.

    Returns
    -------
    Handled

    Raises
    ------
    SpecinferError
        The first failure, after everything else was written.
    """
    given = examined.twins.given
    document = make_sidecar(
        given if examined.main is None else examined.main.path,
        sha256=examined.content.sha256 if lasting else "",
        gate=verdict,
        result=result,
        object=examined.object,
    )
    errors: list[SpecinferError] = []
    picture = _picture(given, handling)
    if handling.plot and result is not None and result.ok:
        _attempt(errors, lambda: _draw(result, picture))
    annotated: tuple[Path, ...] | None = ()
    if handling.annotate and lasting:
        annotated = _attempt(errors, lambda: _annotate(examined, document, result, handling))
    sidecar = None
    # A file that can hold no annotation still ends in a state.
    nowhere = handling.annotate and (not lasting or annotated is None)
    if handling.sidecar or nowhere:
        sidecar = _attempt(errors, lambda: write_sidecar(given, document))
    if errors:
        raise errors[0]
    return Handled(
        path=given,
        state=verdict.state,
        reason=verdict.reason,
        result=result,
        sidecar=sidecar,
        picture=picture if picture.exists() else None,
        annotated=annotated or (),
        fresh=True,
        sha256=examined.content.sha256,
    )


def _annotate(
    examined: Examined,
    document: Mapping[str, Any],
    result: Classification | None,
    handling: Handling,
) -> tuple[Path, ...] | None:
    """The files that were changed; None if none of a useless spectrum can hold a block."""
    block = make_block(document["state"], result, document["date"])
    try:
        return write_block(examined.twins, block, "always" if handling.overwrite else "values")
    except SpecinferError as error:
        # Nothing is lost by not writing into a file that nobody can read.
        useless = document["state"] == "UNREADABLE" and error.code != "not_writable"
        if useless:
            return None
        raise


def _complete(examined: Examined, document: Mapping[str, Any], handling: Handling) -> Handled:
    """A file that was done before; an annotation that is missing is made up for."""
    given = examined.twins.given
    result = recall(document)
    annotated: tuple[Path, ...] | None = ()
    if handling.annotate:
        annotated = _annotate(examined, document, result, handling)
    picture = _picture(given, handling)
    return Handled(
        path=given,
        state=document["state"],
        reason=document["reason"],
        result=result,
        sidecar=sidecar_path(given),
        picture=picture if picture.exists() else None,
        annotated=annotated or (),
        fresh=bool(annotated),
        sha256=examined.content.sha256,
    )


def _unchanged(examined: Examined, found: Gate) -> Handled:
    """A file that was done before and has no sidecar."""
    return Handled(
        path=examined.twins.given,
        state=found.state,
        reason=found.reason,
        result=None,
        sidecar=None,
        picture=None,
        annotated=(),
        fresh=False,
        sha256=examined.content.sha256,
    )


def _answer(
    examined: Examined, classifier: Classifier, handling: Handling
) -> tuple[Gate, Classification | None, bool]:
    """Verdict, result, and whether another try would end the same."""
    assert examined.main is not None
    path = str(examined.main.path)
    try:
        result = _within(
            handling.time_limit, lambda: _classify(path, classifier, handling.redshift)
        )
    except _TooLong:
        reason = f"no answer within {handling.time_limit:g} s; the machine may be overloaded"
        return Gate("UNREADABLE", reason), None, False
    return judge(result), result, True


def _classify(path: str, classifier: Classifier, redshift: float | None) -> Classification:
    try:
        items = []
        for item in iter_spectra(path):
            items.append(item)
            if len(items) > 1:
                raise ReadError(
                    "many_spectra",
                    "the file holds several spectra; classify it with `specinfer classify`",
                )
        if isinstance(items[0], ReadError):
            raise items[0]
        spectrum: Spectrum = items[0]
        return classifier.classify(spectrum, redshift)
    except (ModelError, DeviceError):
        raise
    except SpecinferError as error:
        return failed(error, file=path)
    except Exception as error:  # one spectrum must never stop the night
        wrapped = ReadError(
            "internal_error",
            f"{type(error).__name__}: {error}; this is a bug of specinfer, please report it with "
            "the output of `specinfer classify --debug`",
        )
        return failed(wrapped, file=path)


def _within(seconds: float, work: Callable[[], T]) -> T:
    """Do work in a thread and wait for it so long.

    A thread, not an alarm: alarms reach only the main thread, and break into whatever the
    calling program does. One that hangs is left behind; it holds no file open for writing.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="specinfer-classify", daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not outcome:
        raise _TooLong
    return outcome[0]


def _attempt(errors: list[SpecinferError], work: Callable[[], T]) -> T | None:
    """Do it; a failure is kept for later, so that the rest is still done."""
    try:
        return work()
    except SpecinferError as error:
        errors.append(error)
        return None


def _picture(given: Path, handling: Handling) -> Path:
    beside = picture_path(given)
    return beside if handling.pictures is None else handling.pictures / beside.name


def _draw(result: Classification, path: Path) -> None:
    from specinfer import plot

    plot.require_matplotlib()
    try:
        with _DRAWING:
            plot.save(result, path)
    except OSError as error:
        raise SpecinferError(
            "not_writable", f"the picture {path} cannot be written: {error.strerror or error}"
        ) from error
