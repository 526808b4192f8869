"""What the journal keeps of an attempt: done, to be tried again, or set aside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from specinfer.errors import ReadError, SpecinferError
from specinfer.watch import pairs
from specinfer.watch.folders import Found
from specinfer.watch.journal import ASIDE, DONE, GONE, PENDING, RUNNING, Entry
from specinfer.watch.options import WatchOptions

if TYPE_CHECKING:
    from specinfer.pipeline import Handled

UNREADABLE = "UNREADABLE"
_EVENTS = {"restored": "was answered before", "annotated": "annotation made up for"}
# States whose answer is worth comparing with that of another extraction.
COMPARED = ("OK", "LOWQ")


def begun(found: Found, before: Entry | None, now: float) -> Entry:
    """The entry of a file that is taken in hand; one that has changed starts afresh."""
    if before is not None and before.signature == found.signature:
        return replace(before, status=RUNNING, started=now)
    parsed = pairs.parse(found.file)
    return replace(
        before or Entry(file=found.file, signature="", first_seen=now),
        signature=found.signature,
        status=RUNNING,
        exposure=parsed.exposure if parsed else None,
        extraction=parsed.extraction if parsed else None,
        attempts=0,
        crashes=0,
        started=now,
    )


def answered(
    entry: Entry, handled: Handled, document: Mapping[str, Any] | None, now: float
) -> Entry:
    """The entry of a file that was answered.

    Parameters
    ----------
    entry : Entry
        As it was when the work began.
    handled : Handled
        In a state other than UNREADABLE.
    document : mapping or None
        Its sidecar.
    now : float
    """
    answer = (document or {}).get("result") or {}
    return replace(
        entry,
        status=DONE,
        state=handled.state,
        reason=handled.reason or None,
        sha256=handled.sha256,
        model=(document or {}).get("model") or answer.get("model"),
        class_name=answer.get("class"),
        probability=answer.get("probability"),
        redshift=answer.get("redshift"),
        redshift_err=answer.get("redshift_err"),
        next_try=0.0,
        finished=now
        if entry.finished is None or event(entry, handled) == "answered"
        else entry.finished,
    )


def event(entry: Entry, handled: Handled) -> str | None:
    """What is new about a file: answered, restored (a lost journal), annotated, or nothing.

    Parameters
    ----------
    entry : Entry
        As it was when the work began.
    handled : Handled
    """
    same = entry.finished is not None and entry.sha256 == handled.sha256
    if not handled.fresh:
        return None if same else "restored"
    # A text twin that came later than its spectrum.
    made_up_for = same and bool(handled.annotated)
    return "annotated" if made_up_for else "answered"


def failed(
    entry: Entry, reason: str, options: WatchOptions, now: float, *, for_ever: bool = False
) -> Entry:
    """The entry of a file that could not be answered.

    Parameters
    ----------
    entry : Entry
        As it was when the work began.
    reason : str
        One sentence.
    options : WatchOptions
        How often to try, and the pauses.
    now : float
    for_ever : bool, optional
        Whether the fault is not in the file, so that trying again never ends.

    Returns
    -------
    Entry
        Pending, or set aside if it was tried often enough.
    """
    tried = entry.attempts + 1
    aside = tried >= options.attempts and not for_ever
    return replace(
        entry,
        status=ASIDE if aside else PENDING,
        state=None if for_ever else UNREADABLE,
        reason=reason,
        attempts=tried,
        next_try=0.0 if aside else now + pause(options, tried),
        finished=now if aside else None,
    )


def pause(options: WatchOptions, attempts: int) -> float:
    """Seconds before the next try of a file that failed so often."""
    # The exponent is bounded: a full disk may be tried for days.
    doubled = options.retry_first * 2.0 ** min(max(attempts, 1) - 1, 30)
    return min(options.retry_most, doubled)


def is_not_of_the_file(error: Exception) -> bool:
    """Whether another file would have failed in the same way (disk full, no permission)."""
    return isinstance(error, SpecinferError) and not isinstance(error, ReadError)


def sentence(error: Exception) -> str:
    """An error as one line."""
    words = str(error) if isinstance(error, SpecinferError) else f"{type(error).__name__}: {error}"
    return " ".join(words.split())


def timed(entry: Entry, latency: float) -> Entry:
    """The entry with the seconds from the file's last change to its answer."""
    return replace(entry, latency=round(latency, 4))


def disagreeing(entry: Entry, disagreement: str | None) -> Entry:
    """The entry with how it differs from other extractions; None if it does not."""
    return replace(entry, disagreement=disagreement)


def gone(entry: Entry) -> Entry:
    """The entry of a file that failed and was taken away."""
    return replace(entry, status=GONE)


def words(entry: Entry, event: str) -> str:
    """An answer as a log line."""
    if event != "answered":
        return f"{entry.file}: {_EVENTS[event]} ({entry.state})"
    text = f"{entry.file}: {entry.state}"
    if entry.class_name is not None:
        text += f" {entry.class_name}"
        text += "" if entry.probability is None else f" P={entry.probability:.2f}"
        text += "" if entry.redshift is None else f" z={entry.redshift:.4f}"
    text += f" ({entry.reason})" if entry.reason else ""
    return text if entry.latency is None else f"{text}, {entry.latency:.2f} s after it was complete"


def facts(entry: Entry) -> dict[str, Any]:
    """An entry's part in a JSON log line."""
    return {
        "file": entry.file, "status": entry.status, "state": entry.state, "reason": entry.reason,
        "class": entry.class_name, "probability": entry.probability, "redshift": entry.redshift,
        "attempts": entry.attempts, "model": entry.model, "sha256": entry.sha256,
        "latency_s": entry.latency,
    }  # fmt: skip
