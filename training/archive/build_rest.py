"""``python -m training.archive.build_rest``: the rest-frame libraries of the survey networks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.table import Table

from training.archive.rest import RestLibrary
from training.archive.rest_sources import build_rest
from training.archive.sdss import SPLIT, make_sdss_split, read_sdss
from training.archive.split import PARTS, read_split
from training.archive.subclasses import FAMILIES
from training.archive.types import object_name
from training.paths import ROOT, shared_data

app = typer.Typer(add_completion=False)
FOLDER = ROOT / "runs" / "survey"


def examined(data: Path) -> list[tuple[int, int, int]]:
    """(plate, mjd, fiberid) of the real spectra that no training may know of."""
    split = read_split(SPLIT)
    names = {
        name
        for part in ("validation", "test")
        for family in split["parts"][part].values()
        for name in family
    }
    columns = ["plate", "mjd", "fiberid", "thing_id"]
    table = pq.read_table(data / "archive" / "sdss_spectra.parquet", columns=columns)
    return [
        (row["plate"], row["mjd"], row["fiberid"])
        for row in table.to_pylist()
        if object_name(row) in names
    ]


def rest_hash(library: RestLibrary) -> str:
    """sha256 over the objects and fluxes of a library."""
    digest = hashlib.sha256("\n".join(library.object.tolist()).encode())
    digest.update(np.ascontiguousarray(library.flux).tobytes())
    return digest.hexdigest()


@app.command()
def main(
    output: Annotated[Path, typer.Option(help="Folder of the libraries.")] = FOLDER,
    seed: Annotated[int, typer.Option(help="Seed of a new split of the real spectra.")] = 20261121,
) -> None:
    """Build the rest-frame libraries of galaxies, quasars and stars from the public data.

    Example: python -m training.archive.build_rest
    """
    data = shared_data()
    output.mkdir(parents=True, exist_ok=True)
    if not SPLIT.is_file():
        made = make_sdss_split(read_sdss(data), seed)
        SPLIT.write_text(json.dumps(made, indent=1) + "\n")
    console = Console()
    table = Table("family", "subclass", *PARTS)
    for library in build_rest(data, examined(data)):
        library.save(output / f"{library.family}.npz")
        rows = {part: library.part(part) for part in PARTS}
        for index, name in enumerate(FAMILIES[library.family]):
            counts = [str((library.subclass[rows[part]] == index).sum()) for part in PARTS]
            table.add_row(library.family, name, *counts)
        console.print(f"{library.family}: {len(library)} rows, sha256 {rest_hash(library)[:16]}")
    console.print(table)


if __name__ == "__main__":
    app()
