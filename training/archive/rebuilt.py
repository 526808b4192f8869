"""Spectra of real galaxies and quasars, rebuilt from their published coefficients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.progress import track

from specinfer.zgrid import LN_STEP, STEP
from training.archive.rest import SEEN, Rows

FloatArray = NDArray[np.float64]

# The polynomial that GaSNet-III took out.
_DEGREE = 5
# Its galaxy grid is off by half a pixel: with spEigenGal, whose redshifts are those of SDSS,
# donors come out 0.47 +- 0.05 pixels apart.
_OFFSET = 0.5
# Effective wavelengths of SDSS's g, r, i, z (Fukugita et al. 1996, AJ 111, 1748).
_BANDS = np.array([4686.0, 6166.0, 7480.0, 8932.0])


def rebuild(
    data: Path,
    rows: Rows,
    basis: tuple[FloatArray, FloatArray],
    names: dict[str, str],
    without: set[tuple[int, int, int]],
    most: int,
    seed: int,
) -> None:
    """Spectra from the published coefficients of real objects, with a continuum.

    The published eigen-spectra (Zhong et al. 2024, arXiv:2412.21130) give what is left of a
    spectrum after a polynomial was subtracted, in units of nothing. The eigen-spectra of
    the SDSS pipeline, fitted to it after the same subtraction, say which continuum belongs
    to such features, and continue it to wavelengths that were not seen; the object's
    photometry tilts it.
    """
    eigen = np.load(data / "archive" / "gasnet3_eigenspectra.npz")
    shapes = eigen[f"{rows.family}_eigenspectra"].astype(np.float64)
    # Its step is not quite that of the pixels.
    grid = eigen[f"{rows.family}_loglam_rest"] / STEP - _OFFSET
    full = np.stack([rows.rebin(*pair) for pair in ((basis[0], one) for one in basis[1])])
    table = pq.read_table(data / "archive" / "gasnet3_objects.parquet")
    column = {name: np.array(table[name].to_pylist()) for name in table.column_names}
    rng = np.random.default_rng(seed)
    x = np.linspace(-1.0, 1.0, SEEN[1])
    smooth = np.linalg.qr(np.polynomial.legendre.legvander(x, _DEGREE))[0].T
    key = [
        tuple(int(k) for k in one)
        for one in zip(column["plate"], column["mjd"], column["fiberid"], strict=True)
    ]
    chosen: list[int] = []
    for subclass in dict.fromkeys(names.values()):
        raw = [name for name, ours in names.items() if ours == subclass]
        own = np.flatnonzero(
            (column["cls"] == rows.family)
            & (column["family"] == rows.family)
            & np.isin(column["subclass"], raw)
            & (column["sn_median"] > 1.0)
        )
        # One row an object; a table may hold it twice.
        unique = {key[row]: int(row) for row in rng.permutation(own) if key[row] not in without}
        chosen += list(unique.values())[:most]
    for row in track(chosen, description=f"{rows.family.lower()} rows"):
        made = _rebuilt_row(
            column["coefficients"][row] @ shapes,
            grid,
            full,
            rows.first,
            float(column["z"][row]),
            np.asarray(column["spectroflux"][row], dtype=np.float64),
            smooth,
        )
        if made is not None:
            rows.add(
                made,
                names[str(column["subclass"][row])],
                "-".join(str(column[k][row]) for k in ("plate", "mjd", "fiberid")),
                float(column["z"][row]),
                float(column["sn_median"][row]),
            )


def _rebuilt_row(
    shape: FloatArray,
    grid: FloatArray,
    full: FloatArray,
    first: int,
    redshift: float,
    photometry: FloatArray,
    smooth: FloatArray,
) -> FloatArray | None:
    shift = round(float(np.log10(1.0 + redshift)) / STEP)
    low = SEEN[0] - shift
    window = slice(low - first, low - first + SEEN[1])
    if window.start < 0 or window.stop > full.shape[1] or (photometry[1:] <= 0).any():
        return None
    features = np.interp(np.arange(low, low + SEEN[1]), grid, shape)
    features = features - smooth.T @ (smooth @ features)
    pieces = full[:, window]
    rough = pieces - (pieces @ smooth.T) @ smooth
    normal = rough @ rough.T
    normal[np.diag_indices(len(normal))] += 1e-4 * np.trace(normal) / len(normal)
    weights = np.linalg.solve(normal, rough @ features)
    model = weights @ full
    level = float(np.mean(model[window]))
    contrast = float(features.std()) / level if level > 0 else 0.0
    if not 0.02 < contrast < 3.0:
        return None
    model = model / level
    model[window] += (features - weights @ rough) / level
    # The smooth part as the photometry has it: a parabola in ln(wavelength) of ln(flux).
    place = np.log10(_BANDS / (1.0 + redshift)) / STEP - first
    width = 600
    bands = np.array(
        [model[max(int(p) - width, 0) : int(p) + width].mean() if p > 0 else 0.0 for p in place]
    )
    if (bands <= 0).any():
        return None
    t = np.log(_BANDS / 6500.0)
    tilt = np.polyfit(t, np.log(photometry[1:] / _BANDS**2 / bands), 2)
    pixel = np.arange(first, first + full.shape[1])
    at = np.clip(np.exp((pixel + shift) * LN_STEP), 3600.0, 9200.0) / 6500.0
    factor = np.polyval(tilt, np.log(at))
    made = np.asarray(model * np.exp(factor - factor.mean()))
    typical = float(np.median(made[window]))
    # Where nothing was seen the eigen-spectra may go below zero.
    return np.maximum(made, 0.02 * typical) if typical > 0 else None
