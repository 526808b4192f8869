"""Galaxies as DESI would see them: the bright sample, and emission-line galaxies beyond 0.6."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from specinfer.line_fluxes import Denoised, measure_fluxes
from specinfer.spectrum import Spectrum
from training.archive.rest import RestLibrary
from training.archive.subclasses import SUBCLASSES
from training.simulate.donors import Donors
from training.simulate.survey import WAVELENGTH, SurveyBatch, SurveyConditions, SurveySimulator

# What DESI sees, Angstrom; so much of it must be there.
COVERAGE = (3600.0, 9824.0)
_COVERED = 0.93
_CHUNK = 128
_FORMING = tuple(SUBCLASSES.index(f"GALAXY {name}") for name in ("STARFORMING", "STARBURST"))


@dataclass(frozen=True)
class Sample:
    """A kind of target.

    Parameters
    ----------
    name : str
    redshift : (float, float)
        Range; flat in ln(1+z), or that of the objects themselves (`natural`).
    natural : bool
    snr : (float, float)
        Range of the median ratio over pixels, flat in its logarithm.
    forming : bool
        Whether only star-forming galaxies and starbursts belong to it.
    oxygen_snr : float
        Least signal-to-noise ratio of the flux of [O II] 3727; 0 for any.
    """

    name: str
    redshift: tuple[float, float]
    natural: bool
    snr: tuple[float, float]
    forming: bool
    oxygen_snr: float


# DESI calls the redshift of an emission-line galaxy good where [O II] is seen (Raichoor et al.
# 2023, AJ 165, 126).
BGS = Sample("BGS-like", (0.01, 0.6), True, (2.0, 20.0), False, 0.0)
ELG = Sample("ELG-like", (0.6, 1.6), False, (0.7, 6.0), True, 8.0)
SAMPLES = (BGS, ELG)


class DesiLike:
    """Draws spectra of a sample.

    Parameters
    ----------
    library : RestLibrary
        Of galaxies.
    donors : Donors
    part : str
    sample : Sample
    """

    def __init__(self, library: RestLibrary, donors: Donors, part: str, sample: Sample) -> None:
        conditions = replace(SurveyConditions(), cut_share=0.0, snr=sample.snr, no_signal_share=0.0)
        self.sample = sample
        self.simulator = SurveySimulator({"GALAXY": library}, donors, part, conditions)
        own = library.redshift[library.part(part)]
        low, high = sample.redshift
        self.own = own[(own >= low) & (own <= high)]

    def draw(self, count: int, rng: np.random.Generator) -> SurveyBatch:
        """`count` spectra of the sample, those that belong to it of what is drawn."""
        kept: list[SurveyBatch] = []
        total = 0
        while total < count:
            batch = self.simulator.draw(_CHUNK, rng, "GALAXY", self._redshifts(rng))
            mine = _rows(batch, np.flatnonzero(self._belongs(batch)))
            kept.append(mine)
            total += len(mine.flux)
        return _rows(_joined(kept), np.arange(count))

    def _redshifts(self, rng: np.random.Generator) -> NDArray[np.float64]:
        if self.sample.natural:
            return np.asarray(rng.choice(self.own, _CHUNK))
        low, high = np.log1p(self.sample.redshift)
        return np.expm1(rng.uniform(low, high, _CHUNK))

    def _belongs(self, batch: SurveyBatch) -> NDArray[np.bool_]:
        inside = (COVERAGE[0] < WAVELENGTH) & (COVERAGE[1] > WAVELENGTH)
        good = (batch.ivar[:, inside] > 0).mean(axis=1) > _COVERED
        if self.sample.forming:
            good &= np.isin(batch.subclass, _FORMING)
        if self.sample.oxygen_snr > 0:
            for row in np.flatnonzero(good):
                good[row] = self._oxygen(batch, int(row)) >= self.sample.oxygen_snr
        return good

    def _oxygen(self, batch: SurveyBatch, row: int) -> float:
        """Flux of [O II] without noise over its error."""
        clean = batch.shape[row].astype(np.float64)
        one = Spectrum(WAVELENGTH, clean, ivar=batch.ivar[row].astype(np.float64))
        found = measure_fluxes(one, Denoised(WAVELENGTH, clean), float(batch.redshift[row]))
        return max((line.snr for line in found if line.name == "[O II]"), default=0.0)


def _rows(batch: SurveyBatch, rows: NDArray[np.intp]) -> SurveyBatch:
    return SurveyBatch(*(column[rows] for column in _columns(batch)))


def _joined(parts: list[SurveyBatch]) -> SurveyBatch:
    return SurveyBatch(
        *(np.concatenate(columns) for columns in zip(*map(_columns, parts), strict=True))
    )


def _columns(batch: SurveyBatch) -> Iterator[NDArray[np.generic]]:
    return (getattr(batch, name) for name in batch.__dataclass_fields__)
