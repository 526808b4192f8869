"""The answer in the headers of a spectrum: FITS cards SPI* and lines ``# SPI*`` of its text twin.

Other programs of the SEDM pipeline read these headers by looking for words anywhere in a
line, so names and values hold none of the words that they look for. The block is written as
bytes: no other card, line, or pixel changes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from specinfer import fits_cards
from specinfer.content import FITS_MAGIC, KEYS, OWN_LINE, comment_lines, own_block
from specinfer.errors import SpecinferError, UsageError
from specinfer.gates import STATES, State, judge
from specinfer.replacing import ChangedMeanwhileError, Snapshot, replace_all, snapshot
from specinfer.result import Classification
from specinfer.sidecar import now
from specinfer.twins import Twins, find_twins

# What the pipeline's other programs look for in every line: "# SPI_QUALITY: good" crashes
# the upload.
BANNED = (
    *("SNID", "SNIASC", "NGSF", "QUALITY", "RLAP", "OBSDATE", "OBSTIME", "REQ_ID", "EXPTIME"),
    *("AIRMASS", "FLUXCAL", "P60PRID", "RA_RATE", "DEC_RATE"),
)
_NUMBERS = ("SPIPROB", "SPIZ", "SPIZERR", "SPIPHASE", "SPINOVEL")
_COMMENTS = {
    "SPITYPE": "specinfer: most probable class",
    "SPIPROB": "its probability",
    "SPIZ": "redshift",
    "SPIZERR": "1-sigma error of SPIZ",
    "SPIPHASE": "[d] rest frame, from maximum light",
    "SPISTAT": "state in which specinfer left this file",
    "SPIFLAGS": "what to know",
    "SPIMODEL": "model",
    "SPINOVEL": "how unlike the training spectra",
    "SPIDATE": "UTC of the answer",
}
_LONGEST = 68
# How often a file is read again that others write at the same time.
_TRIES = 5

# When a block that is there is replaced: if its model is another, if anything in it but the
# date is different, or in any case.
Policy = Literal["model", "values", "always"]


def annotate(
    path: str | os.PathLike[str],
    result: Classification | None,
    *,
    state: State | None = None,
    date: str | None = None,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write an answer into the header of a FITS file and of its text twin.

    Both files are replaced atomically and keep mode and owner; nothing but the SPI* cards
    and lines changes in them. Where the files have the answer of the same model already,
    nothing is written.

    Parameters
    ----------
    path : path
        Either of the two files; a text file without a FITS twin, and a FITS file without a
        text twin, are annotated alone.
    result : Classification or None
        The answer; None for a spectrum that was not classified (give its state).
    state : str, optional
        One of `specinfer.gates.STATES`; by default as `specinfer.gates.judge` sees it.
    date : str, optional
        Of the answer, UTC (``YYYY-MM-DDThh:mm:ss``); now by default.
    overwrite : bool, optional
        Write it anew in any case.

    Returns
    -------
    tuple of Path
        The files that were changed.

    Raises
    ------
    UsageError
        ``no_state`` if there is neither result nor state; ``many_spectra`` for a row of a
        file with many objects, which has one header for all.
    SpecinferError
        ``not_writable``, ``not_annotatable``, ``incomplete_twin``, ``keeps_changing``. The
        files are as they were.

    Examples
    --------
    >>> import specinfer
    >>> result = specinfer.classify("spec.fits")  # doctest: +SKIP
    >>> specinfer.annotate("spec.fits", result)  # doctest: +SKIP
    (PosixPath('spec.fits'), PosixPath('spec.txt'))
    """
    if state is None:
        if result is None:
            raise UsageError("no_state", "annotate: give a result, or the state of the spectrum")
        state = judge(result).state
    if result is not None and result.row is not None:
        raise UsageError(
            "many_spectra",
            f"{path} holds several spectra under one header; annotate files of one spectrum, or "
            "write the answers to a file of their own (--output)",
        )
    block = make_block(state, result, date or now())
    changed, _ = write_block(find_twins(path), block, "always" if overwrite else "model")
    return changed


def make_block(state: State, result: Classification | None, date: str) -> dict[str, str]:
    """What is written, by key, in its order.

    Parameters
    ----------
    state : str
        One of `specinfer.gates.STATES`.
    result : Classification or None
    date : str

    Returns
    -------
    dict of str to str
        The same characters for FITS and text. What is not known is left out; SPISTAT and
        SPIDATE are always there.

    Raises
    ------
    UsageError
        ``bad_value`` if a value holds a word that other programs look for.
    """
    if state not in STATES:
        raise UsageError("no_state", f"{state!r} is no state; known are {', '.join(STATES)}")
    known: dict[str, str | None] = {"SPISTAT": state, "SPIDATE": date}
    if result is not None:
        known["SPIFLAGS"] = _flags(result) or None
    if result is not None and result.ok:
        known |= {
            "SPITYPE": result.class_name,
            "SPIPROB": _digits(result.probability, 4),
            "SPIZ": _digits(result.redshift, 6),
            "SPIZERR": _digits(result.redshift_err, 6),
            "SPIPHASE": _digits(result.phase, 1),
            "SPIMODEL": result.model,
            "SPINOVEL": _digits(result.novelty, 4),
        }
    return {key: _checked(key, value) for key in KEYS if (value := known.get(key)) is not None}


def write_block(
    twins: Twins, block: Mapping[str, str], policy: Policy
) -> tuple[tuple[Path, ...], str]:
    """Put a block into the files of a spectrum.

    Parameters
    ----------
    twins : Twins
    block : mapping of str to str
        Of `make_block`.
    policy : {"model", "values", "always"}
        What must be different for a block to be replaced.

    Returns
    -------
    changed : tuple of Path
        The files that were changed.
    date : str
        Of the answer that stands in them now.

    Raises
    ------
    SpecinferError
        See `annotate`.
    """
    for _ in range(_TRIES):
        files = holders(twins)
        if not files:
            raise SpecinferError(
                "not_annotatable",
                f"{twins.given} cannot hold an annotation: it is no whole FITS file and no text "
                "that begins with '#' lines; write a sidecar instead (--sidecar)",
            )
        found = [own_block(file.data) for file in files]
        if policy != "always" and _settled(found, block, policy):
            return (), found[0].get("SPIDATE", block["SPIDATE"])
        final = dict(block)
        if policy != "always":
            # A crash between two files, or a twin that came later: the answer is that of
            # the first one, and so is its date.
            dates = [old["SPIDATE"] for old in found if _same_values(old, block)]
            final["SPIDATE"] = min(dates, default=block["SPIDATE"])
        changes = [(file, _with_block(file.data, final)) for file in files]
        changes = [(file, data) for file, data in changes if data != file.data]
        try:
            replace_all(changes)
        except ChangedMeanwhileError:
            continue
        return tuple(file.path for file, _ in changes), final["SPIDATE"]
    raise SpecinferError(
        "keeps_changing",
        f"{twins.given} is being written by another program, it was left as it was; try again "
        "when that has finished",
    )


def blocks(twins: Twins) -> list[dict[str, str]]:
    """The blocks in the files of a spectrum, one a file; empty where there is none."""
    return [own_block(file.data) for file in holders(twins)]


def holders(twins: Twins) -> list[Snapshot]:
    """The files of a spectrum that can hold a block.

    Raises
    ------
    SpecinferError
        ``incomplete_twin``: a text twin that is still being written would lose its end.
    """
    files = []
    for path in list(twins) or [twins.given]:
        try:
            file = snapshot(path)
        except OSError as error:
            raise SpecinferError(
                "not_readable", f"{path} cannot be read: {error.strerror or error}"
            ) from None
        if file.data.startswith(FITS_MAGIC):
            if fits_cards.is_whole(file.data):
                files.append(file)
        elif _is_text(file, files):
            files.append(file)
    return files


def _is_text(file: Snapshot, before: list[Snapshot]) -> bool:
    """Whether it is text with a header; compared with its FITS twin, if that is there."""
    if not before:
        return file.data.startswith(b"#") and b"\0" not in file.data
    cards, _ = fits_cards.split_header(before[0].data)
    header = fits_cards.values(cards, (b"NAXIS",))
    pixels = header.get("NAXIS1") if header.get("NAXIS") == 1 else None
    rows = _rows(file.data)
    if not file.data.startswith(b"#") or (pixels is not None and rows != pixels):
        raise SpecinferError(
            "incomplete_twin",
            f"{file.path} has {rows} rows of numbers under its header and the FITS file {pixels} "
            "pixels: it is damaged or still being written, so both were left as they were; "
            "mend or remove it",
        )
    return True


def _rows(data: bytes) -> int:
    """Rows of numbers; the last one only if its line has an end, as pysedm writes it."""
    _, start = comment_lines(data)
    lines = data[start:].split(b"\n")[:-1]
    return sum(1 for line in lines if line.strip() and not line.startswith(b"#"))


def _settled(found: list[dict[str, str]], block: Mapping[str, str], policy: Policy) -> bool:
    """Whether all files have one and the same block, and it is as good as the new one."""
    first = found[0]
    if "SPISTAT" not in first or any(other != first for other in found):
        return False
    if policy == "values":
        return _same_values(first, block)
    # What was only skipped does not replace an answer.
    return "SPIMODEL" not in block or first.get("SPIMODEL") == block["SPIMODEL"]


def _same_values(old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    return "SPIDATE" in old and {**old, "SPIDATE": ""} == {**new, "SPIDATE": ""}


def _with_block(data: bytes, block: Mapping[str, str]) -> bytes:
    if data.startswith(FITS_MAGIC):
        cards = [
            fits_cards.make_card(key, value, _COMMENTS[key], number=key in _NUMBERS)
            for key, value in block.items()
        ]
        return fits_cards.with_cards(data, cards, KEYS)
    lines, end = comment_lines(data)
    kept = [line for line in lines if not OWN_LINE.match(line.rstrip(b"\n"))]
    newline = b"\r\n" if lines[0].endswith(b"\r\n") else b"\n"
    if kept and not kept[-1].endswith(b"\n"):
        kept[-1] += newline
    own = [f"# {key}: {value}".encode("ascii") + newline for key, value in block.items()]
    return b"".join([*kept, *own, data[end:]])


def _digits(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _flags(result: Classification) -> str:
    """The flags, what the model says first; those without room are counted."""
    from specinfer.readers import flags as readers

    of_reader = {name for name in vars(readers) if name.isupper()}
    names = sorted(result.flags, key=lambda name: (name in of_reader, name))
    for n in range(len(names), 0, -1):
        rest = f",+{len(names) - n}" if n < len(names) else ""
        text = ",".join(names[:n]) + rest
        if len(text) <= _LONGEST:
            return text
    return ""


def _checked(key: str, value: str) -> str:
    """A value that fits a card and a line, and sets no trap for other programs."""
    word = next((word for word in BANNED if word in value), None)
    if word is not None or not (value.isascii() and value.isprintable()) or ": " in value:
        raise UsageError(
            "bad_value",
            f"{key} would be {value!r}, which holds {word or 'characters'} that other programs of "
            "the pipeline take for theirs; rename the model or its class",
        )
    return value.replace("'", "")[:_LONGEST].strip()
