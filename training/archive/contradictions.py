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

from training.archive.labels import CLASSES
from training.archive.library import (
    GRID_MAX,
    GRID_MIN,
    GRID_PIXELS,
    Library,
    library_hash,
    smooth_library,
)
from training.archive.split import PARTS, read_split, rows_of
from training.paths import ROOT

FloatArray = NDArray[np.float64]

app = typer.Typer(add_completion=False)

# The library's pixels are far finer than a supernova's features.
_REBIN = 4
_STEP = np.log(GRID_MAX / GRID_MIN) / GRID_PIXELS * _REBIN
_SIZE = GRID_PIXELS // _REBIN
_LENGTH = 2048
_RESOLUTION = 150.0
# Width, in ln(lambda), of the continuum that is divided out.
_CONTINUUM = 0.08
# Templates of each class: flattened training spectra within these phases.
TEMPLATES = {
    "SN Ia": 90,
    "SN Ib": 20,
    "SN Ic": 20,
    "SN Ic-BL": 15,
    "SN IIb": 15,
    "SN II": 40,
    "SN IIn": 15,
}
_PHASES = (-25.0, 55.0)
# The rule, in ln(lambda): shifts that are tried, overlap they need, and what counts as
# no shift.
MAX_SHIFT, MIN_OVERLAP, AT_REST = 0.22, 0.4, 0.015
# The redshift is denied if the third best template correlates this well somewhere beyond
# a shift of MIN_SHIFT, and by MIN_GAIN less well at the stated redshift.
MIN_CORRELATION, MIN_GAIN, MIN_SHIFT = 0.6, 0.25, 0.02


def flatten(library: Library, rows: NDArray[np.intp]) -> FloatArray:
    """Rest-frame spectra over their continuum, minus one; 0 where unknown.

    Returns
    -------
    ndarray, shape (n_rows, n_pixels)
        On a logarithmic grid; tapered towards the ends of the coverage.
    """
    good = library.good[rows]
    smooth = smooth_library(library.flux[rows], good, _RESOLUTION)
    part = slice(0, _SIZE * _REBIN)
    shape = (rows.size, _SIZE, _REBIN)
    count = good[:, part].reshape(shape).sum(axis=2)
    flux = np.where(good, smooth, 0.0)[:, part].reshape(shape).sum(axis=2) / np.maximum(count, 1)
    known = (count >= _REBIN // 2).astype(np.float64)
    sigma = _CONTINUUM / _STEP
    half = int(4.0 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    length = _SIZE + 2 * half
    transform = np.fft.rfft(kernel / kernel.sum(), length)

    def smoothed(values: FloatArray) -> FloatArray:
        full = np.fft.irfft(np.fft.rfft(values, length) * transform, length)
        return np.asarray(full[:, half : half + _SIZE])

    weight = smoothed(known)
    continuum = smoothed(flux * known) / np.maximum(weight, 1e-3)
    floor = 0.05 * np.median(np.abs(continuum), axis=1, keepdims=True)
    contrast = flux / np.maximum(continuum, np.maximum(floor, 1e-9)) - 1.0
    taper = np.clip((weight - 0.3) / 0.5, 0.0, 1.0)
    return np.asarray(np.clip(contrast, -2.0, 2.0) * known * taper)


def correlate(spectra: FloatArray, templates: FloatArray) -> FloatArray:
    """Normalised correlation of one spectrum with templates at every shift.

    Parameters
    ----------
    spectra : ndarray, shape (n_pixels,)
        Of `flatten`.
    templates : ndarray, shape (n_templates, n_pixels)

    Returns
    -------
    ndarray, shape (n_templates, 2 m + 1)
        At shifts of -m to m pixels, m = MAX_SHIFT in pixels; -1 where less than
        MIN_OVERLAP of ln(lambda) is in common.
    """

    def cross(a: FloatArray, b: FloatArray) -> FloatArray:
        transform = np.fft.rfft(a, _LENGTH) * np.conj(np.fft.rfft(b, _LENGTH))
        full = np.fft.irfft(transform, _LENGTH)
        reach = int(MAX_SHIFT / _STEP)
        return np.concatenate([full[:, -reach:], full[:, : reach + 1]], axis=1)

    seen, known = (spectra != 0).astype(np.float64), (templates != 0).astype(np.float64)
    power = cross(spectra**2, known) * cross(seen, templates**2)
    value = cross(spectra, templates) / np.sqrt(np.maximum(power, 1e-9))
    return np.where(cross(seen, known) * _STEP < MIN_OVERLAP, -1.0, value)


def choose_templates(library: Library, rows: NDArray[np.intp], seed: int = 0) -> NDArray[np.intp]:
    """Rows of `rows` that serve as templates: flattened, one an object where that suffices."""
    rng = np.random.default_rng(seed)
    chosen = []
    for name, count in TEMPLATES.items():
        mine = rows[(library.label[rows] == CLASSES.index(name)) & library.flattened[rows]]
        phase = library.phase[mine]
        mine = mine[(phase > _PHASES[0]) & (phase < _PHASES[1])]
        _, first = np.unique(library.object[mine], return_index=True)
        pool = mine[first] if first.size >= count else mine
        chosen.append(rng.choice(pool, min(count, pool.size), replace=False))
    return np.concatenate(chosen)


def find_contradictions(
    library: Library, templates: NDArray[np.intp], rows: NDArray[np.intp]
) -> list[dict[str, Any]]:
    """The rows whose redshift is denied, with the correlations that deny it."""
    patterns = flatten(library, templates)
    owners = library.object[templates]
    shifts = np.arange(-int(MAX_SHIFT / _STEP), int(MAX_SHIFT / _STEP) + 1) * _STEP
    found = []
    for start in track(range(0, rows.size, 64), "correlating", console=Console(stderr=True)):
        part = rows[start : start + 64]
        for row, spectrum in zip(part, flatten(library, part), strict=True):
            # Not with itself; the third best, so that no single template decides.
            others = patterns[owners != library.object[row]]
            best = np.sort(correlate(spectrum, others), axis=0)[-3]
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
