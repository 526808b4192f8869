"""``python -m training.archive``: build the library and its split."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from training.archive.labels import CLASSES
from training.archive.library import build_library, library_hash
from training.archive.split import PARTS, make_split, read_split, rows_of
from training.paths import ROOT, shared_data

app = typer.Typer(add_completion=False)


@app.command()
def main(
    output: Annotated[Path, typer.Option(help="Where the library goes.")] = ROOT
    / "runs"
    / "library.npz",
    split: Annotated[Path, typer.Option(help="The split by object; made if absent.")] = ROOT
    / "training"
    / "splits"
    / "transients-1.json",
    seed: Annotated[int, typer.Option(help="Seed of a new split.")] = 20261121,
) -> None:
    """Build the rest-frame library from the public data, and the split by object.

    Example: python -m training.archive --output runs/library.npz
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    library, dropped = build_library(shared_data())
    library.save(output)
    if not split.is_file():
        split.parent.mkdir(parents=True, exist_ok=True)
        made = make_split(library, seed)
        made["dropped"] = dropped
        split.write_text(json.dumps(made, indent=1) + "\n")
    parts = read_split(split)
    table = Table("class", *(f"{p} objects / spectra" for p in PARTS))
    rows = {part: rows_of(library, parts, part) for part in PARTS}
    for index, name in enumerate(CLASSES):
        cells = []
        for part in PARTS:
            mine = rows[part][library.label[rows[part]] == index]
            cells.append(f"{len(np.unique(library.object[mine]))} / {len(mine)}")
        table.add_row(name, *cells)
    console = Console()
    console.print(table)
    console.print(f"dropped {len(dropped)} objects whose labels disagree")
    console.print(f"sources: {dict(Counter(library.source.tolist()))}")
    console.print(f"library {output} sha256 {library_hash(library)[:16]}, split {split}")


if __name__ == "__main__":
    app()
