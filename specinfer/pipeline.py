"""One spectrum of a pipeline from file to answer: read, classify or skip, write down.

`handle` is what the watch service and the pipeline's shim call for every file. A spectrum
that cannot be used never raises: its file ends in a state, too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from specinfer.classifier import Classifier
from specinfer.errors import DeviceError, ModelError, ReadError, SpecinferError, UsageError
from specinfer.examine import Examined, examine
from specinfer.gates import Gate, SkipRules, judge
from specinfer.handling import Handled, Handling
from specinfer.keeping import keep, kept_before
from specinfer.readers import iter_spectra
from specinfer.result import Classification, failed
from specinfer.shim import record_specinfer, run_specinfer
from specinfer.spectrum import Spectrum

__all__ = [
    "Handled",
    "Handling",
    "SkipRules",
    "examine",
    "handle",
    "record",
    "record_specinfer",
    "run_specinfer",
]

T = TypeVar("T")
# How often a file is read again that changes while it is read.
_READS = 3


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
    try:
        examined = _within(handling.time_limit, lambda: examine(path, handling.skip))
    except _TooLong:
        return _out_of_reach(Path(path), handling)
    before = kept_before(examined, classifier, handling)
    if before is not None:
        return before
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


def record(
    examined: Examined,
    result: Classification,
    classifier: Classifier,
    handling: Handling,
) -> Handled:
    """Write down a result that was made by other means than `handle`, such as in a batch.

    Parameters
    ----------
    examined : Examined
        The spectrum as it was before it was read.
    result : Classification
        What is in it does not matter for a spectrum that the rules skip.
    classifier : Classifier
        That made it.
    handling : Handling

    Returns
    -------
    Handled

    Raises
    ------
    UsageError
        ``many_spectra`` for a row of a file with many objects.
    SpecinferError
        ``keeps_changing`` if the file is another one by now; else as `handle`.
    """
    if result.row is not None:
        raise UsageError(
            "many_spectra",
            "the file holds several spectra: --annotate and --sidecar are for files of one; write "
            "the answers to a file of their own (--output)",
        )
    before = kept_before(examined, classifier, handling)
    if before is not None:
        return before
    if examined.main is not None and not examined.main.unchanged:
        present = examine(examined.twins.given, handling.skip)
        if present.content.sha256 != examined.content.sha256:
            raise SpecinferError(
                "keeps_changing",
                "another program wrote the file while it was classified, it was left as it is; "
                "try again",
            )
        examined = present
    if examined.gate is not None:
        return keep(examined, examined.gate, None, handling)
    return keep(examined, judge(result), result, handling)


def _out_of_reach(path: Path, handling: Handling) -> Handled:
    """A file whose folder does not answer: nothing could be written there either."""
    return Handled(
        path=path,
        state="UNREADABLE",
        reason=f"the file cannot be read within {handling.time_limit:g} s; look at its disk",
        result=None,
        sidecar=None,
        picture=None,
        annotated=(),
        fresh=False,
        sha256="",
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
