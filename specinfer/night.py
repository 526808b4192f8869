"""What became of the spectra of a night, from their sidecars and headers; nothing is classified."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from specinfer.annotation import blocks
from specinfer.cli_inputs import is_spectrum_name
from specinfer.errors import SpecinferError, UsageError
from specinfer.examine import Examined, examine
from specinfer.gates import STATES
from specinfer.sidecar import read_sidecar
from specinfer.twins import stem_of
from specinfer.watch.pairs import disagreement, parse

# State of a spectrum that nobody has looked at.
NOT_DONE = "-"
NIGHT_SCHEMA = "specinfer.night/1"


@dataclass(frozen=True)
class Row:
    """One spectrum of a night.

    Parameters
    ----------
    file : str
        Name without folder; the FITS file's, where there are two.
    object : str or None
        The target.
    exposure : str or None
        ``ifuYYYYMMDD_HH_MM_SS`` and target, of names as SEDM's; extractions of one
        exposure have it in common.
    extraction : str or None
        robot, contsep, ...
    state : str
        One of `specinfer.gates.STATES`, or "-".
    reason : str
        Why; empty for OK.
    class_name : str or None
    probability, redshift, redshift_err : float or None
    flags : tuple of str
    decision : str or None
    model, date : str or None
    source : {"sidecar", "header"} or None
        Where this stands.
    changed : bool
        Whether the spectrum is another one since.
    disagreement : str or None
        How the extractions of its exposure differ.
    """

    file: str
    object: str | None = None
    exposure: str | None = None
    extraction: str | None = None
    state: str = NOT_DONE
    reason: str = ""
    class_name: str | None = None
    probability: float | None = None
    redshift: float | None = None
    redshift_err: float | None = None
    flags: tuple[str, ...] = ()
    decision: str | None = None
    model: str | None = None
    date: str | None = None
    source: str | None = None
    changed: bool = False
    disagreement: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the class under ``class``, as in a result."""
        entries = asdict(self) | {"flags": list(self.flags)}
        return {("class" if key == "class_name" else key): entries[key] for key in entries}


def night_of(folder: str | os.PathLike[str]) -> list[Row]:
    """The spectra directly in a folder, extractions of one exposure together.

    Parameters
    ----------
    folder : path

    Returns
    -------
    list of Row
        In the order of exposures, which is that of time.

    Raises
    ------
    UsageError
        ``not_found`` if there is no such folder or it cannot be listed.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UsageError(
            "not_found", f"cannot list {os.fspath(folder)}: {error.strerror}; give a folder"
        ) from None
    files: dict[str, Path] = {}
    for name in names:
        path = Path(folder) / name
        if is_spectrum_name(name) and path.is_file():
            # Twins are one spectrum; FITS comes before text.
            files.setdefault(stem_of(name), path)
    rows = [row for path in files.values() if (row := _row(path)) is not None]
    rows.sort(key=lambda row: (row.exposure or row.file, row.extraction != "robot", row.file))
    return _compared(rows)


def document_of(folder: str | os.PathLike[str], rows: list[Row]) -> dict[str, Any]:
    """A night as one JSON document.

    Parameters
    ----------
    folder : path
    rows : list of Row

    Returns
    -------
    dict
        ``schema``, ``folder``, ``counts`` by state, ``spectra``, ``disagreements``.
    """
    return {
        "schema": NIGHT_SCHEMA,
        "folder": os.fspath(folder),
        "counts": counts(rows),
        "spectra": [row.to_dict() for row in rows],
        "disagreements": disagreements(rows),
    }


def counts(rows: list[Row]) -> dict[str, int]:
    """How many spectra are in each state, in the order of the states."""
    found = Counter(row.state for row in rows)
    return {state: found[state] for state in (*STATES, NOT_DONE) if found[state]}


def disagreements(rows: list[Row]) -> list[str]:
    """The differences between extractions, once an exposure."""
    first = {row.exposure: row.disagreement for row in reversed(rows) if row.disagreement}
    return [f"{exposure}: {words}" for exposure, words in reversed(first.items())]


def _row(path: Path) -> Row | None:
    """The row of a file; None for other files of a night, such as ``report.txt``."""
    examined = examine(path, None)
    parsed = parse(path.name)
    exposure, extraction = (parsed.exposure, parsed.extraction) if parsed else (None, None)
    row = Row(path.name, examined.object, exposure, extraction)
    known = _by_sidecar(row, path, examined) or _by_header(row, examined)
    return known or (row if examined.content.sedm or path.name.startswith("spec") else None)


def _by_sidecar(row: Row, path: Path, examined: Examined) -> Row | None:
    document = read_sidecar(path)
    if document is None:
        return None
    result = document["result"] or {}
    known = document["sha256"]
    return Row(
        file=row.file,
        object=document.get("object") or row.object,
        exposure=row.exposure,
        extraction=row.extraction,
        state=document["state"],
        reason=document["reason"],
        class_name=result.get("class"),
        probability=result.get("probability"),
        redshift=result.get("redshift"),
        redshift_err=result.get("redshift_err"),
        flags=tuple(result.get("flags") or ()),
        decision=result.get("decision"),
        model=document["model"],
        date=document["date"],
        source="sidecar",
        changed=bool(known) and known != examined.content.sha256,
    )


def _by_header(row: Row, examined: Examined) -> Row | None:
    try:
        found = [block for block in blocks(examined.twins) if "SPISTAT" in block]
    except SpecinferError:
        # A twin that is being written: the next report has it.
        return None
    if not found:
        return None
    block = found[0]
    return Row(
        file=row.file,
        object=row.object,
        exposure=row.exposure,
        extraction=row.extraction,
        state=block["SPISTAT"] if block["SPISTAT"] in STATES else NOT_DONE,
        class_name=block.get("SPITYPE"),
        probability=_number(block.get("SPIPROB")),
        redshift=_number(block.get("SPIZ")),
        redshift_err=_number(block.get("SPIZERR")),
        flags=tuple(filter(None, block.get("SPIFLAGS", "").split(","))),
        model=block.get("SPIMODEL"),
        date=block.get("SPIDATE"),
        source="header",
    )


def _compared(rows: list[Row]) -> list[Row]:
    """The same rows, each with how the others of its exposure differ."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.exposure is not None:
            groups.setdefault(row.exposure, []).append(row)
    compared = []
    for row in rows:
        group = groups.get(row.exposure or "", [])
        compared.append(Row(**(vars(row) | {"disagreement": _differences(group)})))
    return compared


def _differences(group: list[Row]) -> str | None:
    """How the first of a group differs from the others."""
    answered = [row for row in group if row.class_name is not None]
    return disagreement(answered[0], answered[1:]) if len(answered) > 1 else None


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
