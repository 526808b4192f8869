"""Trials: spectra of objects the network has never seen, and what it answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError
from specinfer.networks.spectranet import SpectraNet, SpectraNetAnswer
from specinfer.spectrum import Spectrum
from training.archive.labels import CLASSES, PHASE_CLASSES
from training.archive.library import Library, grid_edges
from training.config import Recipe
from training.simulate.draw import host_rows
from training.simulate.instruments import sedm
from training.simulate.transients import Conditions, Observed, Simulator

FloatArray = NDArray[np.float64]

# Largest redshift of the trials on the SEDM, a class: what a 1.5-m telescope sees.
TRIAL_Z_MAX = {"SLSN-I": 0.5, "TDE": 0.3, "AGN/QSO": 1.0, "Galaxy": 0.3, "Star": 0.0, "CV": 0.0}
_TRIAL_Z_MAX_OTHER = 0.2


@dataclass(frozen=True)
class Trials:
    """Truth and answers, one row a spectrum; arrays are (n,) unless said.

    Attributes
    ----------
    label : ndarray of int
    redshift, phase : ndarray
        True values; phase NaN where unknown.
    object : ndarray of str
    snr, host : ndarray
    probabilities : ndarray, shape (n, n_classes)
    in_set : ndarray of bool, shape (n, n_classes)
        The prediction set.
    z, z_err, days, days_err : ndarray
        The answers; days NaN where the network gave no phase.
    left_out : int
        Spectra that see too little of the grid to be prepared.
    """

    label: NDArray[np.int64]
    redshift: FloatArray
    phase: FloatArray
    object: NDArray[np.str_]
    snr: FloatArray
    host: FloatArray
    probabilities: FloatArray
    in_set: NDArray[np.bool_]
    z: FloatArray
    z_err: FloatArray
    days: FloatArray
    days_err: FloatArray
    left_out: int

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: NDArray[np.generic]) -> Trials:
        """The same for some rows."""
        return Trials(
            **{
                name: value[rows] if isinstance(value, np.ndarray) else value
                for name, value in vars(self).items()
            }
        )


def draw_by_object(
    library: Library, rows: NDArray[np.intp], count: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Every object equally often, then one of its spectra: what the next target is like."""
    _, inverse, counts = np.unique(library.object[rows], return_inverse=True, return_counts=True)
    weight = 1.0 / counts[inverse]
    return rows[rng.choice(rows.size, count, p=weight / weight.sum())]


def sedm_redshifts(
    library: Library, rows: NDArray[np.intp], rng: np.random.Generator
) -> FloatArray:
    """Uniform between 0 and what the SEDM sees of the class."""
    top = [TRIAL_Z_MAX.get(CLASSES[label], _TRIAL_Z_MAX_OTHER) for label in library.label[rows]]
    return rng.uniform(0.0, 1.0, rows.size) * np.array(top)


def observe_sedm(
    library: Library,
    rows: NDArray[np.intp],
    recipe: Recipe,
    host_share: float,
    snr: tuple[float, float],
    rng: np.random.Generator,
) -> Observed:
    """Simulate one SEDM spectrum of each library row."""
    conditions: Conditions = replace(recipe.conditions, snr=snr, host_share=host_share)
    simulator = Simulator(library, host_rows(library, rows))
    return simulator.observe(rows, sedm_redshifts(library, rows, rng), sedm(), conditions, rng)


def sedm_trials(
    network: SpectraNet,
    library: Library,
    rows: NDArray[np.intp],
    recipe: Recipe,
    *,
    host_share: float,
    snr: tuple[float, float],
    rng: np.random.Generator,
) -> Trials:
    """SEDM-like observations of library rows, classified by the runtime itself.

    Parameters
    ----------
    network : SpectraNet
        The shipped network, loaded as the command line loads it.
    library : Library
    rows : ndarray of int
        One observation each.
    recipe : Recipe
    host_share : float
        Share of the transients that get host light.
    snr : (float, float)
    rng : numpy.random.Generator
    """
    observed = observe_sedm(library, rows, recipe, host_share, snr, rng)
    spectra, kept = [], []
    for index in range(rows.size):
        try:
            spectra.append(
                Spectrum(observed.wavelength, observed.flux[index], ivar=observed.ivar[index])
            )
            kept.append(index)
        except ReadError:
            # Moved so far that the runtime, too, would refuse it.
            continue
    use = np.array(kept, dtype=np.intp)
    return _collect(
        network,
        library,
        rows[use],
        spectra,
        observed.redshift[use],
        observed.snr[use],
        observed.host[use],
        rows.size - use.size,
    )


def natural_trials(network: SpectraNet, library: Library, rows: NDArray[np.intp]) -> Trials:
    """Archive spectra as they were observed: at their own redshift, nothing added."""
    rows = rows[np.isfinite(library.redshift[rows])]
    edges = grid_edges()
    centre = np.sqrt(edges[1:] * edges[:-1])

    def spectra() -> Iterable[Spectrum]:
        for row in rows:
            yield Spectrum(
                centre * (1.0 + library.redshift[row]),
                library.flux[row],
                ivar=library.good[row].astype(np.float64),
            )

    unknown = np.full(rows.size, np.nan)
    return _collect(network, library, rows, spectra(), library.redshift[rows], unknown, unknown, 0)


def _collect(
    network: SpectraNet,
    library: Library,
    rows: NDArray[np.intp],
    spectra: Iterable[Spectrum],
    redshift: FloatArray,
    snr: FloatArray,
    host: FloatArray,
    left_out: int,
) -> Trials:
    answers: list[SpectraNetAnswer] = []
    kept: list[int] = []
    chunk: list[Spectrum] = []

    def flush() -> None:
        for answer in network.predict(chunk):
            index = len(kept) + failures[0]
            if isinstance(answer, SpectraNetAnswer):
                answers.append(answer)
                kept.append(index)
            else:
                failures[0] += 1
        chunk.clear()

    failures = [0]
    for spectrum in spectra:
        chunk.append(spectrum)
        if len(chunk) == 64:
            flush()
    if chunk:
        flush()
    use = np.array(kept, dtype=np.intp)
    rows = rows[use]
    phased = library.label[rows] < len(PHASE_CLASSES)
    return Trials(
        label=library.label[rows],
        redshift=redshift[use],
        phase=np.where(phased, library.phase[rows], np.nan),
        object=library.object[rows],
        snr=snr[use],
        host=host[use],
        probabilities=np.array([[a.probabilities[c] for c in CLASSES] for a in answers]),
        in_set=np.array([[c in a.prediction_set for c in CLASSES] for a in answers]),
        z=np.array([a.redshift for a in answers]),
        z_err=np.array([np.nan if a.redshift_err is None else a.redshift_err for a in answers]),
        days=np.array([np.nan if a.phase is None else a.phase for a in answers]),
        days_err=np.array([np.nan if a.phase_err is None else a.phase_err for a in answers]),
        left_out=left_out + failures[0],
    )
