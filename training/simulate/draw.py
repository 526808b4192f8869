"""What is drawn: which rows, at which redshifts; and batches ready for a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specinfer.preprocess import Preprocessing, prepare
from training.archive.labels import CLASSES, IA_SUBTYPES, PHASE_CLASSES
from training.archive.library import Library
from training.simulate.instruments import Instrument, sedm, slit
from training.simulate.transients import Conditions, Observed, Simulator

FloatArray = NDArray[np.float64]

# Largest redshift drawn, a class: where a 1.5-m (SEDM) to 10-m telescope sees it.
Z_MAX = {
    "SN Ia": 0.5,
    "SLSN-I": 1.2,
    "TDE": 0.6,
    "SN IIn": 0.4,
    "SN Ibn": 0.4,
    "SN Ic-BL": 0.4,
    "Galaxy": 0.8,
    "AGN/QSO": 3.9,
}
_Z_MAX_OTHER = 0.3
# The same for the SEDM alone. Its limit is near magnitude 20, and these are generous: an
# SN Ia of M = -19.5 has magnitude 21.5 at z = 0.3.
SEDM_Z_MAX = {
    "SN Ia": 0.3,
    "SLSN-I": 0.7,
    "TDE": 0.4,
    "SN IIn": 0.35,
    "SN Ibn": 0.3,
    "SN Ic-BL": 0.3,
    "Galaxy": 0.4,
    "AGN/QSO": 3.9,
}
_SEDM_Z_MAX_OTHER = 0.25
# Stars and CVs move with Galactic velocities.
_GALACTIC = ("Star", "CV")
_GALACTIC_Z = 0.002
# Classes that are no extragalactic transients.
OTHER_CLASSES = tuple(CLASSES.index(name) for name in ("AGN/QSO", "CV", "Galaxy", "Star"))
# Rows need this much valid grid after the shift, or they are drawn again.
MIN_COVERAGE = 0.22
_MAX_DRAWS = 100


@dataclass(frozen=True)
class Batch:
    """A batch for a network.

    Attributes
    ----------
    input : ndarray, shape (batch, 3, n_pixels), float32
    label : ndarray of int, shape (batch,)
    log1z : ndarray, shape (batch,)
        ln(1 + redshift).
    phase : ndarray, shape (batch,)
        Days from maximum, NaN where unknown or meaningless.
    row : ndarray of int, shape (batch,)
        Library row.
    snr, host : ndarray, shape (batch,)
        Mean signal-to-noise ratio a pixel; share of the flux that is host light, 1 for a
        galaxy and NaN for what is neither galaxy nor transient.
    subtype : ndarray of int, shape (batch,)
        Index into `IA_SUBTYPES`; -1 for other classes and where it is not known.
    """

    input: NDArray[np.float32]
    label: NDArray[np.int64]
    log1z: FloatArray
    phase: FloatArray
    row: NDArray[np.intp]
    snr: FloatArray
    host: FloatArray
    subtype: NDArray[np.int64]


def largest_redshift(name: str) -> float:
    """Largest redshift that is drawn for a class."""
    return _GALACTIC_Z if name in _GALACTIC else Z_MAX.get(name, _Z_MAX_OTHER)


def redshift_limits(step: float) -> dict[str, float]:
    """Largest redshift of each class in training, two bins of `step` in ln(1+z) added.

    The margin leaves room for the width of p(z).
    """
    return {
        name: round(float(np.expm1(np.log1p(largest_redshift(name)) + 2.0 * step)), 5)
        for name in CLASSES
    }


class RowSampler:
    """Draws library rows: class, then object, then spectrum.

    A class is drawn in proportion to (number of objects) ** `power`; within it every
    object in proportion to the square root of its number of spectra.

    Parameters
    ----------
    library : Library
    rows : ndarray of int
        Rows that may be drawn.
    power : float
        0 balances the classes, 1 keeps the natural frequencies of objects.
    other_share : float
        If above 0, `OTHER_CLASSES` have this share of the draws.
    """

    def __init__(
        self,
        library: Library,
        rows: NDArray[np.intp],
        power: float = 0.5,
        other_share: float = 0.0,
    ) -> None:
        weight = np.zeros(rows.size)
        self.rows = rows
        self.class_share = np.zeros(len(CLASSES))
        for index in range(len(CLASSES)):
            mine = np.flatnonzero(library.label[rows] == index)
            if mine.size == 0:
                continue
            _, inverse, counts = np.unique(
                library.object[rows[mine]], return_inverse=True, return_counts=True
            )
            share = counts.size**power
            self.class_share[index] = share
            each = counts[inverse] ** -0.5
            weight[mine] = share * each / each.sum()
        if other_share > 0:
            other = np.isin(np.arange(len(CLASSES)), OTHER_CLASSES)
            for group, total in ((other, other_share), (~other, 1.0 - other_share)):
                factor = total / self.class_share[group].sum()
                self.class_share[group] *= factor
                weight[group[library.label[rows]]] *= factor
        self.cumulative = np.cumsum(weight / weight.sum())
        self.class_share /= self.class_share.sum()

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """`count` library rows."""
        return self.rows[
            np.minimum(np.searchsorted(self.cumulative, rng.random(count)), self.rows.size - 1)
        ]


def draw_redshifts(
    library: Library,
    rows: NDArray[np.intp],
    far_quasars: float,
    rng: np.random.Generator,
    *,
    sedm_depth: bool = False,
) -> FloatArray:
    """Redshifts for training: broad, and not what the class would give away.

    Extragalactic rows: a tenth at rest (for ``--redshift``), two thirds uniform in 0-0.2,
    the rest uniform in ln(1+z) up to the class's limit. AGN/QSO: uniform in 0-1, but
    `far_quasars` of them uniform in ln(1+z) up to the limit. Stars and CVs: Galactic
    velocities. With `sedm_depth` the limits are those of the SEDM.
    """
    names = np.array(CLASSES)[library.label[rows]]
    limits, other = (SEDM_Z_MAX, _SEDM_Z_MAX_OTHER) if sedm_depth else (Z_MAX, _Z_MAX_OTHER)
    z_max = np.array([limits.get(name, other) for name in names])
    quasar = names == "AGN/QSO"
    kind = rng.random(rows.size)
    near = rng.uniform(0.0, np.where(quasar, 1.0, 0.2))
    far = np.expm1(rng.uniform(0.0, np.log1p(z_max)))
    redshift = np.where(kind < np.where(quasar, 1.0 - far_quasars, 0.68), near, far)
    redshift = np.where((kind > 0.9) & ~quasar, rng.normal(0.0, 0.002, rows.size), redshift)
    galactic = np.isin(names, _GALACTIC)
    return np.where(galactic, rng.normal(0.0, 0.0004, rows.size), redshift)


class BatchMaker:
    """Batches of simulated, preprocessed spectra.

    Parameters
    ----------
    library : Library
    rows : ndarray of int
        Rows that may be drawn.
    hosts : ndarray of int
        Rows that may serve as host galaxies.
    preprocessing : Preprocessing
    conditions : Conditions
    power : float
        See `RowSampler`.
    slit_share : float
        Share of each batch that is seen by a slit spectrograph, not the SEDM.
    far_quasars : float
    sedm_depth : bool
        See `draw_redshifts`; the depth is for SEDM spectra alone.
    other_share : float
        See `RowSampler`.
    """

    def __init__(
        self,
        library: Library,
        rows: NDArray[np.intp],
        hosts: NDArray[np.intp],
        preprocessing: Preprocessing,
        conditions: Conditions,
        power: float,
        slit_share: float,
        far_quasars: float,
        sedm_depth: bool = False,
        other_share: float = 0.0,
    ) -> None:
        self.library = library
        self.simulator = Simulator(library, hosts, rows)
        self.sampler = RowSampler(library, rows, power, other_share)
        self.preprocessing = preprocessing
        self.conditions = conditions
        self.slit_share = slit_share
        self.far_quasars = far_quasars
        self.sedm_depth = sedm_depth
        self.sedm = sedm()

    def make(self, size: int, rng: np.random.Generator) -> Batch:
        """One batch of `size` spectra."""
        n_slit = round(self.slit_share * size)
        parts = [self._part(size - n_slit, self.sedm, rng)]
        if n_slit:
            parts.append(self._part(n_slit, slit(rng), rng))
        return _concatenate(parts)

    def _part(self, size: int, instrument: Instrument, rng: np.random.Generator) -> Batch:
        # A few more than needed: rows that leave the instrument's range are dropped.
        made: list[Batch] = []
        count = 0
        for _ in range(_MAX_DRAWS):
            if count >= size:
                return _take(_concatenate(made), size)
            extra = int((size - count) * 1.15) + 4
            rows = self.sampler.draw(extra, rng)
            redshift = draw_redshifts(
                self.library,
                rows,
                self.far_quasars,
                rng,
                sedm_depth=self.sedm_depth and instrument is self.sedm,
            )
            observed = self.simulator.observe(rows, redshift, instrument, self.conditions, rng)
            part = to_batch(self.library, rows, observed, self.preprocessing)
            made.append(part)
            count += part.label.size
        raise RuntimeError(f"{instrument.name} sees too few of the rows: {count} of {size} made")


def to_batch(
    library: Library, rows: NDArray[np.intp], observed: Observed, preprocessing: Preprocessing
) -> Batch:
    """Preprocess observed spectra; those with too little coverage are left out."""
    prepared = prepare(observed.wavelength, observed.flux, observed.ivar, preprocessing)
    keep = prepared.coverage > MIN_COVERAGE
    rows = rows[keep]
    phase = np.where(library.label[rows] < len(PHASE_CLASSES), library.phase[rows], np.nan)
    return Batch(
        input=prepared.input[keep],
        label=library.label[rows],
        log1z=np.log1p(observed.redshift[keep]),
        phase=phase,
        row=rows,
        snr=observed.snr[keep],
        host=_host_share(library.label[rows], observed.host[keep]),
        subtype=subtype_index(library.subtype[rows]),
    )


def _host_share(label: NDArray[np.int64], mixed: FloatArray) -> FloatArray:
    """The share of host light that is asked of a network."""
    share = np.where(np.isin(label, OTHER_CLASSES), np.nan, mixed)
    return np.where(label == CLASSES.index("Galaxy"), 1.0, share)


def subtype_index(labels: NDArray[np.str_]) -> NDArray[np.int64]:
    """Index into `IA_SUBTYPES` of archive labels; -1 for all others."""
    index = np.full(labels.shape, -1, dtype=np.int64)
    for i, name in enumerate(IA_SUBTYPES):
        index[labels == name] = i
    return index


def host_rows(library: Library, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows that can serve as hosts: galaxy templates that still have their continuum."""
    galaxy = library.label[rows] == CLASSES.index("Galaxy")
    broad = np.isin(library.source[rows], ("KC96", "desisim-LRG"))
    return rows[galaxy & broad]


def _concatenate(parts: list[Batch]) -> Batch:
    return Batch(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in Batch.__dataclass_fields__
        }
    )


def _take(batch: Batch, size: int) -> Batch:
    return Batch(**{name: getattr(batch, name)[:size] for name in Batch.__dataclass_fields__})
