"""Observed spectra from rest-frame library rows: what the telescope would have seen.

Everything that depends on the redshift of the row itself (its own edges, its own
noise) is hidden by cuts and noise drawn independently of the redshift.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from specinfer.preprocess import log_edges
from training.archive.labels import CLASSES
from training.archive.library import GRID_MAX, GRID_MIN, GRID_PIXELS, Library
from training.simulate.instruments import SEDM_RESOLUTION, Instrument

FloatArray = NDArray[np.float64]

_X0 = np.log(GRID_MIN)
_STEP = np.log(GRID_MAX / GRID_MIN) / GRID_PIXELS
_CENTRES = np.sqrt(
    log_edges(GRID_MIN, GRID_MAX, GRID_PIXELS)[1:] * log_edges(GRID_MIN, GRID_MAX, GRID_PIXELS)[:-1]
)
# hc / k in Angstrom kelvin, for Planck's law.
_HC_OVER_K = 1.4387769e8


@dataclass(frozen=True)
class Conditions:
    """What is drawn for each simulated spectrum.

    Parameters
    ----------
    snr : (float, float)
        Range of the mean signal-to-noise ratio a pixel, log-uniform.
    host_share : float
        Share of the transients that get host light.
    host_range : (float, float)
        Range of the share of the flux that is host light, uniform.
    ripple : float
        Largest standard deviation of the flux-calibration ripple.
    cut_share : float
        Share of spectra whose coverage is cut at random.
    cut_max : float
        Largest part of the axis that is cut at one end.
    narrow_share : float
        Share of spectra of which only a window is seen.
    narrow_range : (float, float)
        Width of that window in ln(wavelength), uniform.
    blend_share : float
        Share of spectra that are a mean of two of their class at like phases.
    hidden_share : float
        Share of spectra of which up to three windows are hidden.
    hidden_range : (float, float)
        Width of such a window in ln(wavelength), uniform.
    sky_residual : float
        Largest amplitude of the sky-line residuals, in sigma.
    residue : float
        Standard deviation of the calibration residues.
    bad_pixels : float
        Largest share of bad pixels.
    flexure : float
        Standard deviation of the shift of the wavelength axis, Angstrom.
    reddening : float
        Mean visual extinction (exponential distribution), magnitudes.
    """

    snr: tuple[float, float] = (2.0, 50.0)
    host_share: float = 0.4
    host_range: tuple[float, float] = (0.0, 0.7)
    ripple: float = 0.06
    cut_share: float = 0.7
    cut_max: float = 0.25
    narrow_share: float = 0.0
    narrow_range: tuple[float, float] = (0.38, 0.7)
    blend_share: float = 0.0
    hidden_share: float = 0.0
    hidden_range: tuple[float, float] = (0.01, 0.06)
    sky_residual: float = 4.0
    residue: float = 0.03
    bad_pixels: float = 0.04
    flexure: float = 1.5
    reddening: float = 0.3

    def as_seen(self) -> Conditions:
        """Without what only training adds: blends, narrow windows, hidden windows."""
        return replace(self, narrow_share=0.0, blend_share=0.0, hidden_share=0.0)


# Nothing is drawn but the noise, and hardly any of that.
QUIET = Conditions(
    snr=(1e6, 1e6),
    host_share=0.0,
    ripple=0.0,
    cut_share=0.0,
    sky_residual=0.0,
    residue=0.0,
    bad_pixels=0.0,
    flexure=0.0,
    reddening=0.0,
)


@dataclass(frozen=True)
class Observed:
    """A simulated batch on one instrument's axis; arrays are (batch, n) or (batch,).

    `ivar` is 0 where there is no usable pixel.
    """

    wavelength: FloatArray
    flux: FloatArray
    ivar: FloatArray
    redshift: FloatArray
    snr: FloatArray
    host: FloatArray


class Simulator:
    """Draws observed spectra from rows of a library.

    Parameters
    ----------
    library : Library
    hosts : ndarray of int
        Rows that may serve as host galaxies: galaxies with their continuum.
    rows : ndarray of int, optional
        Rows that may be blended with each other; needed if the conditions ask for it.
    """

    def __init__(
        self, library: Library, hosts: NDArray[np.intp], rows: NDArray[np.intp] | None = None
    ) -> None:
        self.library = library
        self.hosts = hosts
        self.partners = Partners(library, hosts[:0] if rows is None else rows)
        self._sedm_flux = library.at_resolution(SEDM_RESOLUTION)

    def observe(
        self,
        rows: NDArray[np.intp],
        redshift: FloatArray,
        instrument: Instrument,
        conditions: Conditions,
        rng: np.random.Generator,
    ) -> Observed:
        """Simulate one observation of each row.

        Parameters
        ----------
        rows : ndarray of int, shape (batch,)
        redshift : ndarray, shape (batch,)
        instrument : Instrument
        conditions : Conditions
        rng : numpy.random.Generator

        Returns
        -------
        Observed
        """
        batch, n = rows.size, instrument.wavelength.size
        wavelength = instrument.wavelength
        shift = rng.normal(0.0, conditions.flexure, batch)
        flux, good = self._rebin(rows, redshift, shift, instrument)
        flux = flux * self._continuum(rows, redshift, wavelength, rng)
        flux = _unit_mean(flux, good)
        flux = self._blend(flux, good, rows, redshift, shift, instrument, conditions, rng)
        flux, host = self._add_host(flux, good, rows, redshift, instrument, conditions, rng)
        flux = flux * _extinction(wavelength, rng.exponential(conditions.reddening, batch))
        flux = flux * _ripple(wavelength, conditions.ripple, batch, rng)
        if instrument.residues.size:
            size = rng.normal(0.0, conditions.residue, (batch, instrument.residues.shape[0]))
            flux = flux * (1.0 + size @ instrument.residues)

        snr = np.exp(rng.uniform(*np.log(conditions.snr), batch))
        signal = np.abs(_masked_mean(flux, good))
        # Between background-limited (sigma follows the sky) and source-limited.
        mix = rng.uniform(0.0, 0.7, (batch, 1))
        relative = np.sqrt(np.clip(flux / np.maximum(signal, 1e-9)[:, None], 0.05, 20.0))
        sigma = instrument.noise_shape * ((1.0 - mix) + mix * relative)
        ratio = np.where(good, flux / sigma, 0.0)
        sigma = sigma * (np.abs(_masked_mean(ratio, good)) / snr)[:, None]
        sky = rng.normal(0.0, conditions.sky_residual / 2.0, (batch, 1)) * instrument.sky
        # Neighbouring SEDM pixels share noise: the extraction resamples.
        noise = rng.normal(size=(batch, n))
        if instrument.name == "sedm":
            noise = (noise + 0.4 * np.roll(noise, 1, axis=1)) / np.hypot(1.0, 0.4)
        flux = flux + sigma * (noise + sky)

        good = good & ~_bad_pixels(batch, n, conditions.bad_pixels, rng)
        good = good & ~_cuts(batch, n, conditions, rng)
        good = good & _windows(wavelength, batch, conditions, rng)
        good = good & ~_hidden(wavelength, batch, conditions, rng)
        with np.errstate(divide="ignore"):
            ivar = np.where(good, 1.0 / sigma**2, 0.0)
        return Observed(wavelength, np.where(good, flux, 0.0), ivar, redshift, snr, host)

    def _rebin(
        self,
        rows: NDArray[np.intp],
        redshift: FloatArray,
        shift: FloatArray,
        instrument: Instrument,
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Mean library flux inside each (shifted) instrument pixel."""
        source = self._sedm_flux if instrument.name == "sedm" else self.library.flux
        good = self.library.good[rows]
        content = _cumulative(np.where(good, source[rows], 0.0))
        cover = _cumulative(good)
        zero = np.log1p(redshift)[:, None] + _X0
        low = (np.log(instrument.lower + shift[:, None]) - zero) / _STEP
        high = (np.log(instrument.upper + shift[:, None]) - zero) / _STEP
        covered = _at(cover, high) - _at(cover, low)
        valid = covered > 0.6 * (high - low)
        flux = (_at(content, high) - _at(content, low)) / np.maximum(covered, 1e-9)
        return np.where(valid, flux, 0.0), valid

    def _continuum(
        self,
        rows: NDArray[np.intp],
        redshift: FloatArray,
        wavelength: FloatArray,
        rng: np.random.Generator,
    ) -> FloatArray:
        """A black body for rows whose continuum was divided out, 1 for the others."""
        flat = self.library.flattened[rows]
        temperature = np.exp(rng.uniform(np.log(4000.0), np.log(20000.0), rows.size))
        x = _HC_OVER_K * (1.0 + redshift)[:, None] / (wavelength * temperature[:, None])
        planck = (wavelength / 6000.0) ** -5.0 / np.expm1(x)
        planck = planck / planck.mean(axis=1, keepdims=True)
        return np.where(flat[:, None], planck, 1.0)

    def _blend(
        self,
        flux: FloatArray,
        good: NDArray[np.bool_],
        rows: NDArray[np.intp],
        redshift: FloatArray,
        shift: FloatArray,
        instrument: Instrument,
        conditions: Conditions,
        rng: np.random.Generator,
    ) -> FloatArray:
        """Mix in a second spectrum of the same class at a like phase: an object in between.

        Few objects stand behind the rare classes; means of two of them are plausible
        others. Only where the second covers all of the first.
        """
        if conditions.blend_share <= 0:
            return flux
        use = np.flatnonzero(rng.random(rows.size) < conditions.blend_share)
        partner = self.partners.draw(rows[use], rng)
        use, partner = use[partner >= 0], partner[partner >= 0]
        if not use.size:
            return flux
        other, seen = self._rebin(partner, redshift[use], shift[use], instrument)
        other = other * self._continuum(partner, redshift[use], instrument.wavelength, rng)
        other = _unit_mean(other, seen & good[use])
        share = rng.uniform(0.2, 0.8, use.size) * (seen | ~good[use]).all(axis=1)
        blended = flux.copy()
        blended[use] += share[:, None] * (np.where(seen, other, flux[use]) - flux[use])
        return blended

    def _add_host(
        self,
        flux: FloatArray,
        good: NDArray[np.bool_],
        rows: NDArray[np.intp],
        redshift: FloatArray,
        instrument: Instrument,
        conditions: Conditions,
        rng: np.random.Generator,
    ) -> tuple[FloatArray, FloatArray]:
        """Mix in a galaxy at the same redshift; returns the flux and the host's share."""
        batch = rows.size
        transient = self.library.label[rows] < _N_TRANSIENT
        share = rng.uniform(*conditions.host_range, batch)
        share *= transient & (rng.random(batch) < conditions.host_share)
        if not share.any() or self.hosts.size == 0:
            return flux, np.zeros(batch)
        chosen = rng.choice(self.hosts, batch)
        galaxy, seen = self._rebin(chosen, redshift, np.zeros(batch), instrument)
        galaxy = _unit_mean(galaxy, seen & good)
        # Where the galaxy template ends, there is no host light to add: leave those out.
        share = np.where((seen | ~good).mean(axis=1) > 0.95, share, 0.0)
        mixed = (1.0 - share[:, None]) * flux + share[:, None] * np.where(seen, galaxy, 0.0)
        return mixed, share


_N_TRANSIENT = CLASSES.index("AGN/QSO")
# Phases within these many days are alike.
_LIKE_PHASE = 4.0


class Partners:
    """For each row another object's row of the same class and kind, at a like phase.

    Parameters
    ----------
    library : Library
    rows : ndarray of int
        Rows that may be drawn.
    """

    def __init__(self, library: Library, rows: NDArray[np.intp]) -> None:
        self._group = np.full(len(library), -1)
        self._phase = library.phase
        self._object = library.object
        usable = rows[(library.label[rows] < _N_TRANSIENT) & np.isfinite(library.phase[rows])]
        # Like with like: a class, and for SN Ia the subtype; raw and flattened apart.
        keys = np.array(
            [f"{library.subtype[r]}/{library.label[r]}/{library.flattened[r]}" for r in usable]
        )
        names, inverse = np.unique(keys, return_inverse=True)
        self._group[usable] = inverse
        self._sorted: list[NDArray[np.intp]] = []
        for index in range(names.size):
            mine = usable[inverse == index]
            self._sorted.append(mine[np.argsort(library.phase[mine], kind="stable")])
        self._phases = [library.phase[mine] for mine in self._sorted]

    def draw(self, rows: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
        """A partner of each row; -1 where there is none."""
        partner = np.full(rows.size, -1, dtype=np.intp)
        chance = rng.random(rows.size)
        for i, row in enumerate(rows):
            group = self._group[row]
            if group < 0:
                continue
            phases = self._phases[group]
            low = np.searchsorted(phases, self._phase[row] - _LIKE_PHASE)
            high = np.searchsorted(phases, self._phase[row] + _LIKE_PHASE)
            found = self._sorted[group][low + int(chance[i] * (high - low))]
            if self._object[found] != self._object[row]:
                partner[i] = found
        return partner


def _cumulative(values: NDArray[np.generic]) -> FloatArray:
    out = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=out[:, 1:])
    return out


def _at(cumulative: FloatArray, position: FloatArray) -> FloatArray:
    """Linear interpolation of cumulative sums at fractional pixel positions."""
    position = np.clip(position, 0.0, cumulative.shape[1] - 1.0)
    index = np.minimum(position.astype(np.intp), cumulative.shape[1] - 2)
    part = position - index
    flat = cumulative.ravel()
    offset = index + (np.arange(cumulative.shape[0]) * cumulative.shape[1])[:, None]
    return flat[offset] * (1.0 - part) + flat[offset + 1] * part


def _masked_mean(values: FloatArray, good: NDArray[np.bool_]) -> FloatArray:
    return np.where(good, values, 0.0).sum(axis=1) / np.maximum(good.sum(axis=1), 1)


def _unit_mean(flux: FloatArray, good: NDArray[np.bool_]) -> FloatArray:
    mean = np.abs(_masked_mean(flux, good))
    return flux / np.where(mean > 1e-6, mean, 1.0)[:, None]


def _extinction(wavelength: FloatArray, a_v: FloatArray) -> FloatArray:
    """Power-law extinction, A ~ lambda^-1.3 (close to R_V = 3.1 in the optical)."""
    return np.asarray(10.0 ** (-0.4 * a_v[:, None] * (wavelength / 5500.0) ** -1.3))


def _ripple(
    wavelength: FloatArray, largest: float, batch: int, rng: np.random.Generator
) -> FloatArray:
    """A smooth multiplicative error: four cosines in ln(lambda) with random phases."""
    x = np.log(wavelength / 3000.0)
    period = np.exp(rng.uniform(np.log(0.12), np.log(1.2), (batch, 4, 1)))
    phase = rng.uniform(0.0, 2 * np.pi, (batch, 4, 1))
    size = rng.uniform(0.0, largest, (batch, 1, 1)) * rng.normal(size=(batch, 4, 1))
    return 1.0 + (size * np.cos(2 * np.pi * x / period + phase)).sum(axis=1) / np.sqrt(2.0)


def _hidden(
    wavelength: FloatArray, batch: int, conditions: Conditions, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Up to three windows that are not seen, anywhere on the axis."""
    hidden = np.zeros((batch, wavelength.size), dtype=np.bool_)
    if conditions.hidden_share <= 0:
        return hidden
    some = rng.random((batch, 1)) < conditions.hidden_share
    for chance in (1.0, 0.5, 0.5):
        window = _window(wavelength, conditions.hidden_range, batch, rng)
        hidden |= some & (rng.random((batch, 1)) < chance) & window
    return hidden


def _bad_pixels(batch: int, n: int, largest: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    return rng.random((batch, n)) < rng.uniform(0.0, largest, (batch, 1)) * (
        rng.random((batch, 1)) < 0.5
    )


def _cuts(
    batch: int, n: int, conditions: Conditions, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Coverage cut at both ends, independently of the redshift."""
    x = (np.arange(n) + 0.5) / n
    cut = rng.random((batch, 1)) < conditions.cut_share
    low = rng.uniform(0.0, conditions.cut_max, (batch, 1)) * cut
    high = 1.0 - rng.uniform(0.0, conditions.cut_max, (batch, 1)) * cut
    return (x < low) | (x > high)


def _windows(
    wavelength: FloatArray, batch: int, conditions: Conditions, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """What is seen if only a window of the axis is, independently of the redshift."""
    if conditions.narrow_share <= 0:
        return np.ones((batch, wavelength.size), dtype=np.bool_)
    window = _window(wavelength, conditions.narrow_range, batch, rng)
    every = rng.random((batch, 1)) >= conditions.narrow_share
    return every | window


def _window(
    wavelength: FloatArray, widths: tuple[float, float], batch: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """A window anywhere on the axis, its width in ln(wavelength) uniform in `widths`."""
    x = np.log(wavelength / wavelength[0])
    width = np.minimum(rng.uniform(*widths, (batch, 1)), x[-1])
    start = rng.random((batch, 1)) * (x[-1] - width)
    return np.asarray((x >= start) & (x <= start + width))
