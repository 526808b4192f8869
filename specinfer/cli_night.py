"""`specinfer report`: the table of a night."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from specinfer.cli_exit import exit_with

if TYPE_CHECKING:
    from specinfer.night import Row

_HEADER = ("UT", "Object", "Extr.", "State", "Class", "P", "Redshift", "Decision", "Remark")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command(
        epilog="""\b
Examples:
  specinfer report /data/redux/20261121
  specinfer report --json . | jq '.counts'

\b
Exit codes:
  0  the table was printed
  2  there is no such folder
"""
    )
    def report(
        folder: Annotated[str, typer.Argument(help="The night's folder.")] = ".",
        json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
        debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    ) -> None:
        """Print what became of a night's spectra, from sidecars and headers."""
        exit_with(lambda: run(folder, as_json=json), debug=debug)


def run(folder: str, *, as_json: bool) -> int:
    """Print the table of a night.

    Parameters
    ----------
    folder : str
    as_json : bool

    Returns
    -------
    int
        Exit code 0.

    Raises
    ------
    UsageError
        If the folder cannot be listed.
    """
    import sys

    from specinfer.cli_output import dump_json
    from specinfer.night import document_of, night_of

    rows = night_of(folder)
    if as_json:
        dump_json(document_of(folder, rows))
        return 0
    # Plain text, as wide as it is: it goes into mails and files.
    sys.stdout.writelines(line + "\n" for line in table(rows))
    return 0


def table(rows: list[Row]) -> list[str]:
    """The lines of the table, and under it the sums and what disagrees.

    Parameters
    ----------
    rows : list of Row
        Of `specinfer.night.night_of`.

    Returns
    -------
    list of str
    """
    from specinfer.night import NOT_DONE, counts, disagreements

    cells = [_HEADER, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(_HEADER))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    sums = ", ".join(
        f"{n} {'not done' if state == NOT_DONE else state}" for state, n in counts(rows).items()
    )
    lines += ["", f"{len(rows)} spectra" + (f": {sums}" if sums else "")]
    lines += [f"extractions disagree: {words}" for words in disagreements(rows)]
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    from specinfer.cli_output import printable, with_error

    remarks = [
        "changed since it was classified" if row.changed else "",
        "extractions disagree" if row.disagreement else "",
        row.reason,
        " ".join(row.flags),
    ]
    cells = (
        _time(row.exposure),
        row.object or row.file,
        row.extraction or "",
        row.state,
        row.class_name or "",
        "" if row.probability is None else f"{row.probability:.2f}",
        with_error(row.redshift, row.redshift_err, 4),
        row.decision or "",
        "; ".join(filter(None, remarks)),
    )
    return tuple(printable(cell) for cell in cells)


def _time(exposure: str | None) -> str:
    """The time in ``ifu20261121_05_01_00_...``."""
    parts = (exposure or "").split("_")
    return ":".join(parts[1:4]) if len(parts) > 3 else ""
