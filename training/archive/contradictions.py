"""``python -m training.archive.contradictions``: redshifts that the spectra themselves deny.

A few archive spectra are not at the redshift, or not in the frame, that the archive states:
their features lie several percent beside those of every other supernova. Taken at its
word, such a spectrum teaches a network a wrong redshift and counts a right answer as wrong.
They are found by cross-correlation with flattened templates of the training part (Tonry &
Davis 1979, AJ 84, 1511), by one rule for all parts; the list is written down and left out of
training, calibration and evaluation alike. How the rule was tuned: training/README.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from training.archive.correlation import (
    STEP,
    TEMPLATES,
    choose_templates,
    enough,
    flatten,
    symmetric_bank,
)
from training.archive.labels import CLASSES
from training.archive.library import Library, library_hash
from training.archive.split import PARTS, read_split, rows_of
from training.paths import ROOT

app = typer.Typer(add_completion=False)

# What counts as no shift, in ln(lambda).
AT_REST = 0.015
# The redshift is denied if the third best template correlates this well somewhere beyond
# a shift of MIN_SHIFT, and by MIN_GAIN less well at the stated redshift.
MIN_CORRELATION, MIN_GAIN, MIN_SHIFT = 0.6, 0.25, 0.02


def find_contradictions(
    library: Library, templates: NDArray[np.intp], rows: NDArray[np.intp]
) -> list[dict[str, Any]]:
    """The rows whose redshift is denied, with the correlations that deny it."""
    bank = symmetric_bank(flatten(library, templates))
    owners = library.object[templates]
    shifts = bank.shifts * STEP
    found = []
    for start in track(range(0, rows.size, 64), "correlating", console=Console(stderr=True)):
        part = rows[start : start + 64]
        for row, spectrum in zip(part, flatten(library, part), strict=True):
            # Not with itself; the third best, so that no single template decides.
            others = enough(bank.correlate(spectrum))[owners != library.object[row]]
            best = np.sort(others, axis=0)[-3]
            at_rest = float(best[np.abs(shifts) < AT_REST].max())
            peak = int(best.argmax())
            if (
                best[peak] > MIN_CORRELATION
                and best[peak] - at_rest > MIN_GAIN
                and abs(shifts[peak]) > MIN_SHIFT
            ):
                found.append(
                    {
                        "row": int(row),
                        "object": str(library.object[row]),
                        "source": str(library.source[row]),
                        "correlation": round(float(best[peak]), 3),
                        "at_stated_redshift": round(at_rest, 3),
                        "shift": round(float(shifts[peak]), 4),
                    }
                )
    return found


def denied_rows(library: Library, path: Path) -> NDArray[np.intp]:
    """Rows of the library that a list of contradictions names.

    Raises
    ------
    SystemExit
        If the list was made for another library.
    """
    listed = json.loads(path.read_text())
    rows = np.array([entry["row"] for entry in listed["rows"]], dtype=np.intp)
    names = [entry["object"] for entry in listed["rows"]]
    if rows.size and (rows.max() >= len(library) or library.object[rows].tolist() != names):
        raise SystemExit(f"{path} was made for another library; make it again")
    return rows


@app.command()
def main(
    library: Annotated[Path, typer.Option(help="Of python -m training.archive.")] = ROOT
    / "runs"
    / "library.npz",
    split: Annotated[Path, typer.Option(help="The split by object.")] = ROOT
    / "training"
    / "splits"
    / "transients-1.json",
    output: Annotated[Path, typer.Option(help="Where the list goes.")] = ROOT
    / "training"
    / "splits"
    / "contradicted-1.json",
) -> None:
    """List the archive spectra of supernovae whose features deny their redshift.

    Example: python -m training.archive.contradictions
    """
    loaded, parts = Library.load(library), read_split(split)
    supernova = np.isin(loaded.label, [CLASSES.index(name) for name in TEMPLATES])
    rows = np.flatnonzero(supernova & ~loaded.flattened)
    templates = choose_templates(loaded, rows_of(loaded, parts, "train"))
    found = find_contradictions(loaded, templates, rows)
    listed = {
        "rule": {
            "min_correlation": MIN_CORRELATION,
            "min_gain": MIN_GAIN,
            "min_shift": MIN_SHIFT,
            "templates": int(templates.size),
            "spectra": int(rows.size),
        },
        "library_sha256": library_hash(loaded),
        "rows": found,
    }
    temporary = output.with_suffix(".tmp")
    temporary.write_text(json.dumps(listed, indent=1) + "\n")
    temporary.replace(output)
    table = Table("part", "spectra tried", "redshift denied", "of objects")
    denied = np.array([entry["row"] for entry in found], dtype=np.intp)
    for part in PARTS:
        mine = rows_of(loaded, parts, part)
        names = loaded.object[denied[np.isin(denied, mine)]]
        tried = int(np.isin(rows, mine).sum())
        table.add_row(part, str(tried), str(names.size), str(np.unique(names).size))
    Console().print(table)


if __name__ == "__main__":
    app()
