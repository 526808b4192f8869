"""The library: every usable rest-frame spectrum on one fine logarithmic grid.

Built once from the public archive and kept as a file, because the simulator
draws from it hundreds of times.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.progress import track

from specinfer.preprocess import log_edges, resample
from training.archive.labels import CLASSES, class_of, resolve_objects
from training.archive.survey import sdss_entries, template_entries
from training.archive.types import Entry

# Rest-frame grid: 900-11000 A, half the width of a pixel of the networks' grid.
GRID_MIN, GRID_MAX, GRID_PIXELS = 900.0, 11000.0, 3948
# A spectrum with less than this many Angstrom in its longest stretch is left out.
MIN_SPAN = 1200.0


@dataclass
class Library:
    """Rest-frame spectra and what is known about them; all arrays have n_rows rows.

    Attributes
    ----------
    flux : ndarray, shape (n_rows, GRID_PIXELS), float32
        Over the median absolute flux; 0 where not good.
    good : ndarray of bool, shape (n_rows, GRID_PIXELS)
    label : ndarray of int, shape (n_rows,)
        Index into `CLASSES`.
    object : ndarray of str, shape (n_rows,)
    redshift : ndarray, shape (n_rows,)
        Natural redshift; NaN where the source gives a rest-frame template.
    phase : ndarray, shape (n_rows,)
        Rest-frame days from maximum; NaN where unknown.
    flattened : ndarray of bool, shape (n_rows,)
        The source divided the continuum out.
    subtype, source : ndarray of str, shape (n_rows,)
    """

    flux: NDArray[np.float32]
    good: NDArray[np.bool_]
    label: NDArray[np.int64]
    object: NDArray[np.str_]
    redshift: NDArray[np.float64]
    phase: NDArray[np.float64]
    flattened: NDArray[np.bool_]
    subtype: NDArray[np.str_]
    source: NDArray[np.str_]
    _smooth: dict[float, NDArray[np.float32]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def at_resolution(self, resolution: float) -> NDArray[np.float32]:
        """The fluxes as an instrument of a resolving power sees them; made once, then kept."""
        if resolution not in self._smooth:
            self._smooth[resolution] = smooth_library(self.flux, self.good, resolution)
        return self._smooth[resolution]

    def __len__(self) -> int:
        return len(self.label)

    def save(self, path: Path) -> None:
        """Write as npz (uncompressed, it is read often)."""
        temporary = path.with_suffix(".tmp.npz")
        np.savez(temporary, **{f.name: getattr(self, f.name) for f in fields(self) if f.init})
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Library:
        """Read what `save` wrote."""
        with np.load(path) as data:
            return cls(**{f.name: data[f.name] for f in fields(cls) if f.init})


def grid_edges() -> NDArray[np.float64]:
    """Edges of the library's pixels, Angstrom."""
    return log_edges(GRID_MIN, GRID_MAX, GRID_PIXELS)


def transient_entries(data: Path) -> tuple[list[Entry], dict[str, str]]:
    """Usable rows of ``transients.parquet`` moved to the rest frame.

    Returns
    -------
    entries : list of Entry
    dropped : dict
        Objects left out, with the reason.
    """
    table = pq.read_table(data / "archive" / "transients.parquet")
    columns = {name: table[name].to_pylist() for name in ("object", "label", "z", "phase", "frame")}
    classes, dropped = resolve_objects(columns["object"], columns["label"])
    flattened = table["flattened"].to_pylist()
    source = table["source"].to_pylist()
    entries = []
    for row in track(range(table.num_rows), description="reading the archive"):
        name, label = columns["object"][row], columns["label"][row]
        if name not in classes or class_of(label) != classes[name]:
            continue
        redshift, rest = columns["z"][row], columns["frame"][row] == "rest"
        if redshift is None and not rest:
            continue
        wavelength = table["wavelength"][row].values.to_numpy().astype(np.float64)
        phase = columns["phase"][row]
        entries.append(
            Entry(
                object=name,
                label=classes[name],
                wavelength=wavelength if rest else wavelength / (1.0 + redshift),
                flux=table["flux"][row].values.to_numpy().astype(np.float64),
                redshift=np.nan if rest else redshift,
                phase=np.nan if phase is None else phase,
                flattened=flattened[row],
                subtype=label,
                source=source[row],
            )
        )
    return entries, dropped


def build_library(data: Path) -> tuple[Library, dict[str, str]]:
    """The library from the public data.

    Parameters
    ----------
    data : Path
        The folder with ``archive/`` and ``templates/``.

    Returns
    -------
    library : Library
    dropped : dict
        Objects left out because their labels disagree, with the reason.
    """
    entries, dropped = transient_entries(data)
    entries += sdss_entries(data) + template_entries(data)
    edges = grid_edges()
    kept: list[Entry] = []
    rows: list[tuple[NDArray[np.float32], NDArray[np.bool_]]] = []
    for entry in track(entries, description="rebinning"):
        row = _rebin(entry, edges)
        if row is not None:
            kept.append(entry)
            rows.append(row)
    library = Library(
        flux=np.stack([flux for flux, _ in rows]),
        good=np.stack([good for _, good in rows]),
        label=np.array([CLASSES.index(e.label) for e in kept]),
        object=np.array([e.object for e in kept]),
        redshift=np.array([e.redshift for e in kept]),
        phase=np.array([e.phase for e in kept]),
        flattened=np.array([e.flattened for e in kept]),
        subtype=np.array([e.subtype for e in kept]),
        source=np.array([e.source for e in kept]),
    )
    return library, dropped


def smooth_library(
    flux: NDArray[np.float32], good: NDArray[np.bool_], resolution: float
) -> NDArray[np.float32]:
    """Convolve library rows to a resolving power, leaving bad pixels out.

    Constant lambda/FWHM is a constant width in ln(lambda): one Gaussian for all.
    """
    step = np.log(GRID_MAX / GRID_MIN) / GRID_PIXELS
    sigma = 1.0 / resolution / 2.3548 / step
    half = int(np.ceil(4.0 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    length = flux.shape[1] + 2 * half
    transform = np.fft.rfft(kernel, length)
    smoothed = np.empty_like(flux)
    for start in range(0, flux.shape[0], 512):
        block = slice(start, start + 512)
        mask = good[block].astype(np.float64)
        top = np.fft.irfft(np.fft.rfft(flux[block] * mask, length) * transform, length)
        bottom = np.fft.irfft(np.fft.rfft(mask, length) * transform, length)
        part = slice(half, half + flux.shape[1])
        smoothed[block] = np.where(
            good[block], top[:, part] / np.maximum(bottom[:, part], 1e-6), 0.0
        )
    return smoothed


def _rebin(
    entry: Entry, edges: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
    wavelength, flux = entry.wavelength, entry.flux
    good = np.isfinite(flux) & np.isfinite(wavelength) & (wavelength > 0)
    # Zeros at the ends are padding.
    nonzero = np.flatnonzero(good & (flux != 0))
    if nonzero.size < 50:
        return None
    good[: nonzero[0]] = False
    good[nonzero[-1] + 1 :] = False
    wavelength, flux = wavelength[good], flux[good]
    order = np.argsort(wavelength, kind="stable")
    wavelength, first = np.unique(wavelength[order], return_index=True)
    flux = flux[order][first]
    if wavelength.size < 50 or np.ptp(wavelength) < MIN_SPAN:
        return None
    result = resample(wavelength, flux, np.ones_like(flux), edges, 0.3)
    scale = np.median(np.abs(result.flux[result.valid])) if result.valid.any() else 0.0
    if not scale > 0 or result.valid.sum() < 200:
        return None
    # The clip tames single broken pixels; real lines stay far below.
    flux_row = np.clip(result.flux / scale, -50.0, 200.0).astype(np.float32)
    return flux_row, result.valid


def library_hash(library: Library) -> str:
    """sha256 over objects, labels and fluxes: two builds from the same data agree."""
    digest = hashlib.sha256()
    for part in (library.object.astype("U40"), library.label, library.flux, library.good):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
