"""Coadds and Parquet tables of a few rows, and runs of ``specinfer batch`` on them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fits_writers as write
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from specinfer import Spectrum
from specinfer.batch.manifest import Identity, Ledger
from specinfer.batch.plan import Plan, make_plan
from specinfer.batch.work import Job, fingerprints

COMMAND = [sys.executable, "-m", "specinfer", "batch"]
# Rows of a coadd that are on the sky, and that have no good pixel.
SKY, DEAD = 1, 2


def write_coadd(path: Path, rows: int, seed: int = 0, **options: Any) -> Path:
    """A coadd with a sky fibre in row 1 and a dead one in row 2."""
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.5, 3.0, rows)
    scales[DEAD] = np.nan
    types = ["SKY" if row == SKY else "TGT" for row in range(rows)]
    ids = [1000 * (seed + 1) + row for row in range(rows)]
    options = {"targetids": ids, "objtypes": types, "scales": scales} | options
    return write.desi(path, **options)


def spectra(rows: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a table: id, place, wavelength, flux and ivar of different lengths."""
    rng = np.random.default_rng(seed)
    made = []
    for row in range(rows):
        wavelength = 3700.0 + 2.0 * np.arange(2000 + 10 * row)
        flux = write.model(wavelength) + rng.normal(0.0, write.SIGMA, wavelength.size)
        made.append(
            {
                "object_id": 7000 + row,
                "ra": 10.0 + row,
                "dec": -5.5,
                "wavelength": wavelength,
                "flux": flux,
                "ivar": np.full(wavelength.size, write.SIGMA**-2.0),
            }
        )
    return made


def write_table(
    path: Path,
    made: list[dict[str, Any]],
    *,
    group: int = 4,
    nested: str | None = None,
    names: Mapping[str, str] | None = None,
) -> Path:
    """A Parquet table with so many rows a group; the arrays in a struct if `nested` says how."""
    columns: dict[str, Any] = {
        name: pa.array([one[name] for one in made]) for name in ("object_id", "ra", "dec")
    }
    names = names or {"wavelength": "wavelength", "flux": "flux", "ivar": "ivar"}
    if nested == "list of structs":
        columns["spectrum"] = pa.array(
            [
                [
                    dict(zip(names.values(), pixel, strict=True))
                    for pixel in zip(*(one[key] for key in names), strict=True)
                ]
                for one in made
            ]
        )
    else:
        lists = {name: pa.array([list(one[key]) for one in made]) for key, name in names.items()}
        if nested == "struct of lists":
            columns["spectrum"] = pa.StructArray.from_arrays(list(lists.values()), list(lists))
        else:
            columns |= lists
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


def run(*arguments: Any, timeout: float = 100.0) -> subprocess.CompletedProcess[str]:
    """``specinfer batch`` with the tiny network; no traceback whatever happens."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=timeout
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def summary(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The last line of what a run with --json printed."""
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def parts(folder: Path) -> dict[str, bytes]:
    """The parts of an output, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*.parquet"))}


def rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of an output, in order."""
    return [
        row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]


def prepare(paths: list[Path], output: Path, chunk: int = 5) -> tuple[Plan, Job, Ledger]:
    """A plan with all that a worker and the records need, without a cluster."""
    from specinfer import __version__

    plan = make_plan(map(str, paths), chunk)
    models = fingerprints("spectranet")
    identity = Identity(
        plan.sha256, len(plan.inputs), plan.rows, len(list(plan.chunks())), chunk,
        "spectranet", "cpu", models, {}, __version__,
    )  # fmt: skip
    output.mkdir(exist_ok=True)
    job = Job(str(output), identity.sha256, "spectranet", "cpu", models, __version__)
    return plan, job, Ledger(output, identity)


def same(one: Spectrum, other: Spectrum) -> bool:
    """Whether two spectra are the same in everything that is read."""
    arrays = all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("wavelength", "flux", "ivar")
    )
    names = ("object", "instrument", "mjd", "header", "flags", "row", "rows", "reader")
    return arrays and all(getattr(one, name) == getattr(other, name) for name in names)
