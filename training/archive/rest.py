"""Rest-frame spectra of galaxies, quasars and stars on the grid of the redshift scan.

What the survey simulator draws from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from specinfer.preprocess import resample
from specinfer.zgrid import LN_STEP, STEP
from specinfer.zscan import convolve
from training.archive.subclasses import FAMILIES

FloatArray = NDArray[np.float64]

# First and last rest wavelength of a family, Angstrom.
RANGES = {"GALAXY": (1200.0, 11000.0), "QSO": (600.0, 11000.0), "STAR": (3000.0, 11000.0)}
# lambda / FWHM of SDSS, which all rows are brought to (Smee et al. 2013, AJ 146, 32).
RESOLUTION = 2000.0
# What an object's own spectrum showed, as GaSNet-III saw it: the first observed pixel (3600
# Angstrom) and the number of pixels.
SEEN = (35563, 4076)


@dataclass
class RestLibrary:
    """Rest-frame spectra of one family, one a row.

    Attributes
    ----------
    family : str
    first : int
        Number of the first pixel (see `specinfer.zscan.STEP`).
    flux : ndarray, shape (n_rows, n), float32
        Median absolute value 1.
    subclass : ndarray of int, shape (n_rows,)
        Index into the family's subclasses; -1 where there is none.
    redshift, snr : ndarray, shape (n_rows,)
        Of the object itself; NaN for templates.
    object : ndarray of str, shape (n_rows,)
    """

    family: str
    first: int
    flux: NDArray[np.float32]
    subclass: NDArray[np.int64]
    redshift: FloatArray
    snr: FloatArray
    object: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.object)

    def save(self, path: Path) -> None:
        """Write as npz, atomically."""
        temporary = path.with_suffix(".tmp.npz")
        np.savez(temporary, **{f.name: getattr(self, f.name) for f in fields(self)})
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> RestLibrary:
        """Read what `save` wrote."""
        with np.load(path) as data:
            made = {f.name: data[f.name] for f in fields(cls)}
        return cls(**{**made, "family": str(made["family"]), "first": int(made["first"])})

    def part(self, name: str) -> NDArray[np.intp]:
        """Rows of "train", "validation" or "test": 80/10/10, by a hash of the object."""
        low, high = {"train": (0, 80), "validation": (80, 90), "test": (90, 100)}[name]
        bucket = np.array(
            [int(hashlib.sha256(str(o).encode()).hexdigest()[:8], 16) % 100 for o in self.object]
        )
        return np.flatnonzero((bucket >= low) & (bucket < high))


class Rows:
    """Collects the rows of a family's library."""

    def __init__(self, family: str) -> None:
        low, high = RANGES[family]
        self.family = family
        self.first = int(np.ceil(np.log10(low) / STEP))
        self.count = int(np.floor(np.log10(high) / STEP)) - self.first + 1
        self.rows: list[tuple[NDArray[np.float32], int, float, float, str]] = []

    @property
    def edges(self) -> FloatArray:
        """Edges of the pixels, Angstrom."""
        return 10.0 ** ((np.arange(self.first, self.first + self.count + 1) - 0.5) * STEP)

    def add(
        self,
        flux: FloatArray,
        subclass: str | None,
        name: str,
        redshift: float = np.nan,
        snr: float = np.nan,
    ) -> None:
        """Take a row, over its median; what is not finite is left out."""
        scale = float(np.median(np.abs(flux)))
        if not (scale > 0 and np.isfinite(flux).all()):
            return
        names = FAMILIES[self.family]
        index = names.index(subclass) if subclass in names else -1
        self.rows.append(((flux / scale).astype(np.float32), index, redshift, snr, name))

    def rebin(self, wavelength: FloatArray, flux: FloatArray, sharp: bool = False) -> FloatArray:
        """On the grid; beyond its ends a spectrum goes on as it ends."""
        good = np.isfinite(flux)
        wavelength, flux = wavelength[good], flux[good]
        made = resample(wavelength, flux, np.ones_like(flux), self.edges, 0.2)
        pixel = np.arange(self.count)
        on = np.interp(pixel, pixel[made.valid], made.flux[made.valid])
        if sharp:
            # From a finer spectrum: what the pixel does not smooth, a Gaussian does.
            sigma = np.sqrt((1.0 / RESOLUTION / 2.3548 / LN_STEP) ** 2 - 1.0 / 12.0)
            on = convolve(on[None], sigma)[0]
        return on

    def library(self) -> RestLibrary:
        """The library of the rows."""
        return RestLibrary(
            self.family,
            self.first,
            np.stack([row[0] for row in self.rows]),
            np.array([row[1] for row in self.rows]),
            np.array([row[2] for row in self.rows]),
            np.array([row[3] for row in self.rows]),
            np.array([row[4] for row in self.rows]),
        )
