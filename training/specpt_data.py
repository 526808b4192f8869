"""What SpecPT is shown, and what it should say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specinfer.noise_channel import with_noise
from specinfer.preprocess import Prepared, Preprocessing, prepare, resample
from specinfer.reconstruction import compressed, spread_of
from training.simulate.real import RealLight
from training.simulate.survey import WAVELENGTH, SurveyBatch, SurveySimulator
from training.train_survey import SurveyInput


@dataclass(frozen=True, eq=False)
class SpecPTInput(SurveyInput):
    """Prepared spectra; `input` (n, 4, n_pixels) has the channel of the noise.

    Attributes
    ----------
    target, variance : ndarray, shape (n, n_pixels)
        What a reconstruction should be, in units of the first channel, and the variance of
        the noise there; infinite where nobody knows.
    real : ndarray of bool, shape (n,)
        Real spectra: their target has their own noise, so that only patches that were hidden
        from the network may count.
    """

    target: NDArray[np.float32]
    variance: NDArray[np.float32]
    real: NDArray[np.bool_]

    def weight(self, floor: float) -> NDArray[np.float32]:
        """What each pixel counts for: however small the noise, not more than floor^-2.

        A line that is `clip` units high and more is known to `floor` / `clip` of its flux then.
        """
        return np.asarray(1.0 / (self.variance + np.float32(floor) ** 2))


def prepared_of(batch: SurveyBatch, grid: Preprocessing) -> Prepared:
    """Simulated or drawn spectra, prepared as the runtime prepares them."""
    return prepare(WAVELENGTH, batch.flux.astype(np.float64), batch.ivar.astype(np.float64), grid)


def specpt_input(
    batch: SurveyBatch,
    grid: Preprocessing,
    rng: np.random.Generator,
    no_noise_share: float = 0.0,
    real: bool = False,
) -> SpecPTInput:
    """Input and target of spectra.

    Parameters
    ----------
    batch : SurveyBatch
    grid : Preprocessing
    rng : numpy.random.Generator
    no_noise_share : float, optional
        Share of them whose noise is not said.
    real : bool, optional
        Whether they are real: the target is then what was observed.

    Returns
    -------
    SpecPTInput
    """
    made = prepared_of(batch, grid)
    if real:
        wanted = made.flux
    else:
        shape = batch.shape.astype(np.float64)
        wanted = resample(WAVELENGTH, shape, np.ones_like(shape), grid.edges).flux
    target = compressed(wanted, made, grid.clip)
    # The noise in units of the first channel, whose compression shrinks that of high peaks.
    unit = made.continuum * spread_of(made) * np.cosh(target / grid.clip)
    usable = made.valid & (made.ivar > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(usable, 1.0 / (made.ivar * unit**2), np.inf)
    known = rng.random(len(target)) >= no_noise_share
    return SpecPTInput(
        with_noise(made, known),
        batch.subclass,
        batch.family,
        batch.redshift,
        batch.snr,
        np.clip(target, -30.0, 30.0).astype(np.float32),
        variance.astype(np.float32),
        np.full(len(target), real),
    )


class SpecPTMaker:
    """Makes batches; `make` has the signature that `training.stream.stream` wants.

    Parameters
    ----------
    simulator : SurveySimulator
    grid : Preprocessing
    light : RealLight, optional
        Real spectra, which make up its share of every batch.
    galaxy_share : float, optional
        Share of the simulated ones that are drawn from the galaxies alone.
    no_noise_share : float, optional
    """

    def __init__(
        self,
        simulator: SurveySimulator,
        grid: Preprocessing,
        light: RealLight | None = None,
        galaxy_share: float = 0.0,
        no_noise_share: float = 0.0,
    ) -> None:
        self.simulator, self.grid, self.light = simulator, grid, light
        self.galaxy_share, self.no_noise_share = galaxy_share, no_noise_share

    def make(self, size: int, rng: np.random.Generator) -> SpecPTInput:
        """A batch of `size` spectra."""
        n_real = 0 if self.light is None else round(self.light.real.share * size)
        n_galaxies = round(self.galaxy_share * (size - n_real))
        parts = [self._simulated(size - n_real - n_galaxies, rng, None)]
        if n_galaxies:
            parts.append(self._simulated(n_galaxies, rng, "GALAXY"))
        if self.light is not None and n_real:
            drawn = self.light.draw(n_real, rng)
            parts.append(specpt_input(drawn, self.grid, rng, self.no_noise_share, real=True))
        return SpecPTInput.joined(parts)

    def _simulated(self, size: int, rng: np.random.Generator, family: str | None) -> SpecPTInput:
        drawn = self.simulator.draw(size, rng, family)
        return specpt_input(drawn, self.grid, rng, self.no_noise_share)
