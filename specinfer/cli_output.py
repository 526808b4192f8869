"""Where results go: a table for people, JSON Lines for machines, files."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from specinfer.cli_files import PendingFile
from specinfer.errors import SpecinferError, UsageError
from specinfer.result import FIELDS, Classification

if TYPE_CHECKING:
    from rich.text import Text

OUTPUT_SUFFIXES = (".jsonl", ".json", ".csv")
# Columns of a terminal on which the next best classes have a place.
_WIDE = 100


class Sink(Protocol):
    """Something that takes results as they are made."""

    def write(self, results: Sequence[Classification]) -> None:
        """Take the results of one batch."""

    def close(self) -> None:
        """No more results will come."""


class JsonLines:
    """One JSON object a line on a stream, flushed after each batch."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, results: Sequence[Classification]) -> None:
        """Write one line a result."""
        self._stream.writelines(result.to_json() + "\n" for result in results)
        self._stream.flush()

    def close(self) -> None:
        """Nothing is held back."""


class Table:
    """A table on a terminal, printed in pieces so that memory stays bounded.

    Parameters
    ----------
    top : int
        How many classes to show a spectrum.
    """

    _PIECE = 200

    def __init__(self, top: int) -> None:
        self._top = top
        self._rows: list[list[str | Text]] = []

    def write(self, results: Sequence[Classification]) -> None:
        """Keep the rows; print when there are many."""
        self._rows += [table_row(result, self._top) for result in results]
        if len(self._rows) >= self._PIECE:
            self.close()

    def close(self) -> None:
        """Print the rows that are left."""
        if self._rows:
            width = shutil.get_terminal_size().columns
            print_table(*fitting(table_header(self._top), self._rows, width))
            self._rows = []


class OutputFile:
    """A results file that appears complete or not at all (see `PendingFile`).

    Parameters
    ----------
    path : str
        Ends in ``.jsonl``, ``.json`` (one array) or ``.csv``.

    Raises
    ------
    UsageError
        If the ending is another (code ``bad_output``).
    SpecinferError
        If the file cannot be written (code ``not_writable``).
    """

    def __init__(self, path: str) -> None:
        self._kind = os.path.splitext(path)[1].lower()
        if self._kind not in OUTPUT_SUFFIXES:
            raise UsageError(
                "bad_output",
                f"--output {path}: the name must end in {' or '.join(OUTPUT_SUFFIXES)}",
            )
        self._file = PendingFile(path, "--output")
        self._count = 0

    def write(self, results: Sequence[Classification]) -> None:
        """Add results."""
        with self._file.errors():
            for result in results:
                self._file.stream.write(self._text(result))
                self._count += 1
            self._file.stream.flush()

    def close(self) -> None:
        """Put the file in its place."""
        try:
            with self._file.errors():
                if self._kind == ".json":
                    self._file.stream.write("\n]\n" if self._count else "[]\n")
                elif self._kind == ".csv" and not self._count:
                    self._file.stream.write(csv_line(CSV_COLUMNS))
        except SpecinferError:
            self.discard()
            raise
        self._file.replace()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._file.discard()

    @property
    def count(self) -> int:
        """Results written so far."""
        return self._count

    def _text(self, result: Classification) -> str:
        if self._kind == ".jsonl":
            return result.to_json() + "\n"
        if self._kind == ".json":
            return (",\n" if self._count else "[\n") + result.to_json()
        header = "" if self._count else csv_line(CSV_COLUMNS)
        return header + csv_line(csv_row(result))


def _csv_columns() -> tuple[str, ...]:
    columns: list[str] = []
    for name in FIELDS:
        if name == "error":
            columns += ["error_code", "error_message"]
        else:
            columns.append("class" if name == "class_name" else name)
    return tuple(columns)


CSV_COLUMNS = _csv_columns()


def csv_row(result: Classification) -> list[str]:
    """The columns of `CSV_COLUMNS`: lists of names joined by ";", what is nested as JSON."""
    entries = result.to_dict()
    error = entries.pop("error") or {}
    entries |= {"error_code": error.get("code"), "error_message": error.get("message")}
    cells = []
    for column in CSV_COLUMNS:
        value = entries[column]
        if value is None:
            cells.append("")
        elif column in ("flags", "prediction_set", "prediction_set_by_class"):
            cells.append(";".join(value))
        elif isinstance(value, (dict, list)):
            cells.append(json.dumps(value, allow_nan=False))
        else:
            cells.append(printable(str(value)))
    return cells


def csv_line(cells: Iterable[str]) -> str:
    """One line of CSV (RFC 4180 quoting, newline at the end)."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(list(cells))
    return buffer.getvalue()


# No redshift is known better.
_MOST_DIGITS = 7


def table_header(top: int) -> list[str]:
    """Column titles of the table for people."""
    header = ["Spectrum", "Class", "P", "Redshift", "Phase (d)", "S/N"]
    return [*header, *(["Next best"] if top > 1 else []), "Decision", "Flags"]


def fitting(
    header: Sequence[str], rows: Sequence[Sequence[str | Text]], width: int
) -> tuple[list[str], list[list[str | Text]]]:
    """The columns that are worth their place on a terminal.

    Decision and flags need something in them; the next best classes need a wide terminal,
    where they do not squeeze the name of the file.
    """
    empty = {
        title
        for title, cells in zip(header, zip(*rows, strict=True), strict=True)
        if title in ("Decision", "Flags") and not any(str(cell) for cell in cells)
    }
    if width < _WIDE:
        empty.add("Next best")
    keep = [i for i, title in enumerate(header) if title not in empty]
    return [header[i] for i in keep], [[row[i] for i in keep] for row in rows]


def table_row(result: Classification, top: int) -> list[str | Text]:
    """One result as cells of the table for people."""
    from rich.text import Text

    name = spectrum_name(result)
    if not result.ok or result.probabilities is None or result.probability is None:
        code = result.error["code"] if result.error else "unknown"
        blanks = [""] * (len(table_header(top)) - 3)
        if code == "skipped":
            return [name, Text("skipped", style="yellow"), *blanks, ""]
        return [name, Text("failed", style="red"), *blanks, Text(code, style="red")]
    best = sorted(result.probabilities.items(), key=lambda item: -item[1])[1:top]
    row: list[str | Text] = [
        name,
        Text(result.class_label, style="bold"),
        f"{result.probability:.2f}",
        with_error(result.redshift, result.redshift_err, 4),
        with_error(result.phase, result.phase_err, 0),
        "" if result.snr is None else f"{result.snr:.1f}",
    ]
    if top > 1:
        row.append("  ".join(f"{key} {value:.2f}" for key, value in best))
    style = "green" if result.decision == "auto" else "yellow"
    row.append(Text(result.decision or "", style=style))
    return [*row, Text(" ".join(result.flags), style="yellow")]


def with_error(value: float | None, error: float | None, digits: int) -> str:
    """A value with its error, "0.0312 ± 0.0021"; empty if there is none.

    As many digits as given, more where the error would hardly have any.
    """
    if value is None:
        return ""
    if error is not None and 0.0 < error < 10.0**-digits:
        digits = min(1 - math.floor(math.log10(error)), _MOST_DIGITS)
    text = f"{value:.{digits}f}"
    return text if error is None else f"{text} ± {error:.{digits}f}"


def print_table(header: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Print a table on standard output; colours only on a terminal, NO_COLOR respected."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in header:
        number = title in ("P", "S/N", "Redshift", "Phase (d)")
        table.add_column(
            title,
            justify="right" if number else "left",
            no_wrap=number or title in ("Class", "Decision"),
            overflow="fold",
        )
    for row in rows:
        # Text, not str: names such as "SN [A]" are no markup.
        table.add_row(*(Text(printable(cell)) if isinstance(cell, str) else cell for cell in row))
    Console(file=sys.stdout, highlight=False).print(table)


def spectrum_name(result: Classification) -> str:
    """File, row and object of a result."""
    name = os.path.basename(result.file) if result.file else ""
    if result.row is not None:
        name += f"[{result.row}]"
    return " ".join(part for part in (name, result.object or "") if part) or "spectrum"


def printable(text: str) -> str:
    """Text without control characters and without bytes that are no text."""
    clean = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in clean)


def dump_json(value: Any) -> None:
    """Print a value as indented JSON on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")
    sys.stdout.flush()
