"""Writing an answer down: picture, annotation, and last the sidecar, which says "done"."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from specinfer import done
from specinfer.annotation import make_block, write_block
from specinfer.classifier import Classifier
from specinfer.errors import SpecinferError
from specinfer.examine import Examined
from specinfer.fits_cards import is_whole
from specinfer.gates import Gate
from specinfer.handling import Handled, Handling
from specinfer.result import Classification
from specinfer.sidecar import make_sidecar, picture_path, recall, sidecar_path, write_sidecar

T = TypeVar("T")
# matplotlib draws one picture at a time.
_DRAWING = threading.Lock()


def kept_before(examined: Examined, classifier: Classifier, handling: Handling) -> Handled | None:
    """What was done before, completed where an annotation is missing.

    Parameters
    ----------
    examined : Examined
    classifier : Classifier
        That would answer now.
    handling : Handling

    Returns
    -------
    Handled or None
        None: it is to be done now.

    Raises
    ------
    SpecinferError
        If the annotation that is missing cannot be written.
    """
    if handling.overwrite:
        return None
    document = done.by_sidecar(examined, classifier, handling.redshift)
    if document is not None:
        result = recall(document)
        wanted = handling.plot and result is not None and result.ok
        if wanted and not _picture(examined.twins.given, handling).exists():
            return None
        return _complete(examined, document, result, handling)
    if handling.annotate and not handling.sidecar:
        found = done.by_header(examined, classifier, handling.redshift)
        if found is not None:
            return _unwritten(examined, found)
    return None


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
    if not given.is_file():
        # Nothing is written for what is not there.
        return _unwritten(examined, verdict)
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
    annotated: tuple[Path, ...] = ()
    nowhere = handling.annotate
    if handling.annotate and lasting:
        written = _attempt(errors, lambda: _annotate(examined, document, result, handling))
        if written is not None:
            # Of an annotation that was there already, the date of which stays.
            annotated, document["date"] = written
            nowhere = False
    sidecar = None
    # A file that can hold no annotation still ends in a state.
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
        annotated=annotated,
        fresh=True,
        sha256=examined.content.sha256,
    )


def _annotate(
    examined: Examined,
    document: Mapping[str, Any],
    result: Classification | None,
    handling: Handling,
) -> tuple[tuple[Path, ...], str] | None:
    """The files that were changed, and the date in them; None if none can hold a block."""
    useless = document["state"] == "UNREADABLE"
    if useless and (examined.main is None or not is_whole(examined.main.data)):
        # It may be half-written: the rest would go to the file that was replaced.
        return None
    block = make_block(document["state"], result, document["date"])
    try:
        return write_block(examined.twins, block, "always" if handling.overwrite else "values")
    except SpecinferError as error:
        if useless and error.code != "not_writable":
            return None
        raise


def _complete(
    examined: Examined,
    document: Mapping[str, Any],
    result: Classification | None,
    handling: Handling,
) -> Handled:
    """A file that was done before; an annotation that is missing is made up for."""
    given = examined.twins.given
    written = _annotate(examined, document, result, handling) if handling.annotate else None
    annotated = () if written is None else written[0]
    picture = _picture(given, handling)
    return Handled(
        path=given,
        state=document["state"],
        reason=document["reason"],
        result=result,
        sidecar=sidecar_path(given),
        picture=picture if picture.exists() else None,
        annotated=annotated,
        fresh=bool(annotated),
        sha256=examined.content.sha256,
    )


def _unwritten(examined: Examined, found: Gate) -> Handled:
    """Nothing was written, and there is no sidecar."""
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
