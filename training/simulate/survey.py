"""Survey spectra of galaxies, quasars and stars as SDSS, BOSS or DESI would see them.

Everything is made on the grid of the redshift scan (0.0001 in log10(wavelength), the pixels
of SDSS). Noise has the shape of that of real spectra, the donors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specinfer.zgrid import LN_STEP
from training.archive.rest import RestLibrary
from training.archive.subclasses import FAMILIES, GALAXY, NO_SIGNAL, QSO, SUBCLASSES
from training.simulate.axis import COUNT, FIRST, WAVELENGTH
from training.simulate.donors import Donors
from training.simulate.variety import (
    add_hosts,
    extinction,
    mixed_ripple,
    tilts,
    vary_lines,
    windows,
)

FloatArray = NDArray[np.float32]

REDSHIFTS = {"GALAXY": (0.0, 1.7), "QSO": (0.02, 5.0), "STAR": (-0.004, 0.004)}
# Radial velocities of stars, over c: 130 km/s.
VELOCITY_SPREAD = 130.0 / 299792.458
# Telluric bands: Angstrom.
_TELLURIC = (
    (6860.0, 6940.0),
    (7160.0, 7330.0),
    (7590.0, 7700.0),
    (8120.0, 8350.0),
    (8950.0, 9800.0),
)
# Rows whose own ln(1+z) is this close stand in for a redshift: what they show was seen.
_NEAR = 0.06
# Quasars nearer than this have hosts that can be seen; those are of these subclasses.
_HOSTED = 1.0
_HOSTS = tuple(GALAXY.index(name) for name in ("passive", "STARFORMING"))
# These differ by whether a broad line was detected, which depends on its strength.
_WIDTH_LABELS = tuple(SUBCLASSES.index(f"QSO {name}") for name in QSO[:2])


@dataclass(frozen=True)
class SurveyConditions:
    """What is drawn for each simulated spectrum.

    Parameters
    ----------
    natural_share : float
        Share of the spectra at the object's own redshift and signal-to-noise ratio; the
        others have redshifts flat in ln(1+z) and ratios flat in their logarithm.
    snr : (float, float)
        Range of those, median over pixels.
    borrowed_snr : bool
        Whether templates, which have no ratio of their own, take that of a random real object
        of their family (stars: of a donor); if not they have one of that range.
    no_signal_share : float
        Share of spectra without a source.
    cut_share : float
        Share of spectra of which only a window is seen.
    cut_range : (float, float)
        Width of that window in ln(wavelength).
    ripple : float
        Largest standard deviation of the flux-calibration ripple.
    wild_ripple, wild_ripple_share : float
        The same for a share of the spectra.
    reddening : float
        Mean visual extinction, magnitudes.
    tilt : float
        Standard deviation of the index of a power law in wavelength that all light is
        multiplied by.
    line_spread, line_share : float
        Standard deviation of ln of the factor of the equivalent widths of emission lines, and
        the share of quasars that have other ones than their row; whether those are broad is
        not known.
    host, host_share : float
        Largest share of a galaxy in the light of a quasar at a redshift below 1, and the share
        of those that have one.
    sky : float
        Standard deviation of the sky-line residuals, in sigma of the noise there.
    telluric : float
        Standard deviation of the depth of uncorrected telluric bands.
    spikes : float
        Mean number of cosmic rays that nobody flagged.
    error_scale : float
        Standard deviation of ln of the factor that the stated errors are off by.
    """

    natural_share: float = 0.5
    snr: tuple[float, float] = (0.7, 40.0)
    borrowed_snr: bool = False
    no_signal_share: float = 0.03
    cut_share: float = 0.15
    cut_range: tuple[float, float] = (0.35, 0.8)
    ripple: float = 0.04
    wild_ripple: float = 0.04
    wild_ripple_share: float = 0.0
    reddening: float = 0.15
    tilt: float = 0.0
    line_spread: float = 0.0
    line_share: float = 0.0
    host: float = 0.0
    host_share: float = 0.0
    sky: float = 0.5
    telluric: float = 0.04
    spikes: float = 0.5
    error_scale: float = 0.12


@dataclass(frozen=True, eq=False)
class SurveyBatch:
    """Simulated spectra; arrays are (batch, COUNT) or (batch,).

    Attributes
    ----------
    flux, ivar : ndarray
        Any unit; ivar is 0 where there is no usable pixel.
    subclass : ndarray of int
        Index into `SUBCLASSES`; -1 where the family alone is known.
    family : ndarray of int
        Index into `FAMILIES`; 3 for no signal.
    redshift, snr : ndarray
        redshift is NaN without a signal.
    shape : ndarray
        The noiseless flux.
    object : ndarray of str
        What it was made from; those without a source have a name each.
    """

    flux: FloatArray
    ivar: FloatArray
    subclass: NDArray[np.int64]
    family: NDArray[np.int64]
    redshift: NDArray[np.float64]
    snr: NDArray[np.float64]
    shape: FloatArray
    object: NDArray[np.str_]


class SurveySimulator:
    """Draws survey spectra.

    Parameters
    ----------
    libraries : mapping of str to RestLibrary
        By family.
    donors : Donors
    part : {"train", "validation", "test"}
        The objects that are drawn from.
    conditions : SurveyConditions
    """

    def __init__(
        self,
        libraries: Mapping[str, RestLibrary],
        donors: Donors,
        part: str = "train",
        conditions: SurveyConditions | None = None,
    ) -> None:
        self.libraries = libraries
        self.donors = donors
        self.conditions = conditions or SurveyConditions()
        self.rows = {name: library.part(part) for name, library in libraries.items()}
        # What templates borrow: ratios of real objects of their family.
        self.ratios = {
            name: one.snr[self.rows[name]][np.isfinite(one.snr[self.rows[name]])]
            for name, one in libraries.items()
        } | {"STAR": donors.star_snr}

    def draw(
        self,
        size: int,
        rng: np.random.Generator,
        family: str | None = None,
        redshift: NDArray[np.float64] | None = None,
    ) -> SurveyBatch:
        """Simulate spectra.

        Parameters
        ----------
        size : int
        rng : numpy.random.Generator
        family : str, optional
            Of all of them, half of them of every subclass alike; by default all subclasses
            of all families are drawn alike, with NO_SIGNAL.
        redshift : ndarray, shape (size,), optional
            Of all of them, with `family`.

        Returns
        -------
        SurveyBatch
        """
        c = self.conditions
        wanted = self._subclasses(size, rng, family)
        flux = np.zeros((size, COUNT), dtype=np.float32)
        valid = np.ones((size, COUNT), dtype=bool)
        z = np.full(size, np.nan)
        snr = np.exp(rng.uniform(*np.log(c.snr), size))
        name_of = np.array([f"none-{i}" for i in range(size)], dtype="<U48")
        subclass = np.full(size, SUBCLASSES.index(NO_SIGNAL))
        kind = np.full(size, len(FAMILIES))
        for index, name in enumerate(FAMILIES):
            mine = np.flatnonzero(wanted[:, 0] == index)
            if not mine.size:
                continue
            rows, own = self._rows(name, wanted[mine, 1], rng)
            library = self.libraries[name]
            z[mine] = self._redshifts(name, rows, own, rng)
            if redshift is not None:
                z[mine], own = redshift[mine], np.zeros(mine.size, dtype=bool)
            elif name != "STAR":
                moved = ~own
                rows[moved] = self._stand_ins(name, rows[moved], z[mine[moved]], rng)
            kind[mine] = index
            name_of[mine] = library.object[rows]
            first = SUBCLASSES.index(f"{name} {FAMILIES[name][0]}")
            label = library.subclass[rows]
            # Broad and plain quasars differ by what could be seen at their own redshift.
            known = (label >= 0) & (own | ~((name == "QSO") & (label < 2)))
            subclass[mine] = np.where(known, first + label, -1)
            ratio = library.snr[rows]
            if c.borrowed_snr:
                borrowed = rng.choice(self.ratios[name], rows.size)
                ratio = np.where(np.isfinite(ratio), ratio, borrowed)
            use = own & np.isfinite(ratio)
            snr[mine[use]] = np.maximum(ratio[use], 0.3) * np.exp(
                rng.normal(0.0, 0.1, int(use.sum()))
            )
            flux[mine], valid[mine] = shift_rows(library, rows, z[mine])
            if name == "QSO":
                self._vary_quasars(flux, subclass, z, mine, rng)
        flux *= extinction(rng.exponential(c.reddening, size))
        if c.tilt > 0:
            flux *= tilts(c.tilt, size, rng)
        flux *= mixed_ripple(c.ripple, c.wild_ripple, c.wild_ripple_share, size, rng)
        return self._observe(flux, valid, subclass, kind, z, snr, name_of, rng)

    def draw_noise(self, size: int, rng: np.random.Generator) -> SurveyBatch:
        """Spectra without a source: noise, sky, spikes and gaps alone.

        Parameters
        ----------
        size : int
        rng : numpy.random.Generator

        Returns
        -------
        SurveyBatch
        """
        empty = np.zeros((size, COUNT), dtype=np.float32)
        nothing = np.full(size, np.nan)
        label = np.full(size, SUBCLASSES.index(NO_SIGNAL))
        kind = np.full(size, len(FAMILIES))
        valid = np.ones((size, COUNT), dtype=bool)
        names = np.array([f"none-{i}" for i in range(size)])
        return self._observe(empty, valid, label, kind, nothing, np.ones(size), names, rng)

    def _observe(
        self,
        shape: FloatArray,
        valid: NDArray[np.bool_],
        subclass: NDArray[np.int64],
        kind: NDArray[np.int64],
        z: NDArray[np.float64],
        snr: NDArray[np.float64],
        names: NDArray[np.str_],
        rng: np.random.Generator,
    ) -> SurveyBatch:
        """Noise, sky, telluric bands, spikes, gaps and the range of an instrument."""
        c = self.conditions
        size = len(shape)
        donor = rng.integers(0, len(self.donors), size)
        sigma = self.donors.filled[donor]
        signal = np.median(shape, axis=1)
        empty = kind == len(FAMILIES)
        # The ratio is the median over pixels, as SDSS states it; brighter parts of bright
        # objects have more noise of their own.
        ratio = np.median(shape / sigma, axis=1)
        scale = np.where(empty, 1.0, ratio / snr)
        sigma = sigma * np.where(scale > 0, scale, 1.0)[:, None].astype(np.float32)
        own = np.clip(shape / np.where(signal > 0, signal, 1.0)[:, None], 0.2, 30.0)
        mix = (snr / (snr + 8.0) * ~empty).astype(np.float32)[:, None]
        sigma = sigma * np.sqrt((1.0 - mix) + mix * own)
        depth = np.zeros((size, COUNT), dtype=np.float32)
        for low, high in _TELLURIC:
            band = (low < WAVELENGTH) & (high > WAVELENGTH)
            depth[:, band] = rng.normal(0.0, c.telluric, (size, 1))
        noise = rng.standard_normal((size, COUNT), dtype=np.float32)
        sky = rng.normal(0.0, c.sky, (size, 1)).astype(np.float32) * self.donors.sky[donor]
        flux = shape * (1.0 + depth) + sigma * (noise + sky)
        hits = rng.poisson(c.spikes, size)
        for row in np.flatnonzero(hits):
            pixel = rng.integers(0, COUNT - 1, hits[row])
            flux[row, pixel] += sigma[row, pixel] * rng.uniform(6.0, 40.0, hits[row])
        good = valid & ((self.donors.sigma[donor] > 0) | (rng.random((size, 1)) < 0.5))
        good &= windows(size, c.cut_share, c.cut_range, rng)
        stated = np.exp(rng.normal(0.0, c.error_scale, (size, 1))).astype(np.float32)
        with np.errstate(divide="ignore"):
            ivar = np.where(good, 1.0 / (sigma * stated) ** 2, 0.0).astype(np.float32)
        return SurveyBatch(
            np.where(good, flux, 0.0).astype(np.float32), ivar, subclass, kind, z, snr, shape, names
        )

    def _vary_quasars(
        self,
        flux: FloatArray,
        subclass: NDArray[np.int64],
        z: NDArray[np.float64],
        mine: NDArray[np.intp],
        rng: np.random.Generator,
    ) -> None:
        """Other strengths of lines, and light of hosts, in place for the quasars of a batch."""
        c = self.conditions
        if c.line_share > 0:
            other = mine[rng.random(mine.size) < c.line_share]
            flux[other] = vary_lines(flux[other], c.line_spread, rng)
            label = subclass[other]
            subclass[other] = np.where(np.isin(label, _WIDTH_LABELS), -1, label)
        if c.host_share > 0:
            hosted = mine[(rng.random(mine.size) < c.host_share) & (z[mine] < _HOSTED)]
            galaxies, pool = self.libraries["GALAXY"], self.rows["GALAXY"]
            pool = pool[np.isin(galaxies.subclass[pool], _HOSTS)]
            rows = rng.choice(pool, hosted.size)
            light, _ = shift_rows(galaxies, rows, z[hosted])
            flux[hosted] = add_hosts(flux[hosted], light, rng.uniform(0.0, c.host, hosted.size))

    def _subclasses(
        self, size: int, rng: np.random.Generator, family: str | None
    ) -> NDArray[np.int64]:
        """Family and subclass of each (-1: any row of the family); family -1 has no signal."""
        if family is not None:
            index = list(FAMILIES).index(family)
            subclass = rng.integers(0, len(FAMILIES[family]), size)
            # Half of them as the library has them, half of every subclass alike.
            subclass[rng.random(size) < 0.5] = -1
            return np.stack([np.full(size, index), subclass], axis=1)
        pairs = [
            (index, sub)
            for index, names in enumerate(FAMILIES.values())
            for sub in range(len(names))
        ]
        chosen = np.array(pairs)[rng.integers(0, len(pairs), size)]
        chosen[rng.random(size) < self.conditions.no_signal_share] = (-1, -1)
        return chosen

    def _rows(
        self, name: str, subclass: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """A row of each subclass (any for -1), and whether it stays as it is."""
        library, mine = self.libraries[name], self.rows[name]
        rows = rng.choice(mine, subclass.size)
        for index in np.unique(subclass[subclass >= 0]):
            pool = mine[library.subclass[mine] == index]
            use = subclass == index
            if pool.size:
                rows[use] = rng.choice(pool, int(use.sum()))
        own = rng.random(subclass.size) < self.conditions.natural_share
        if name != "STAR":
            own &= np.isfinite(library.redshift[rows])
        return rows, own

    def _redshifts(
        self,
        name: str,
        rows: NDArray[np.intp],
        own: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        if name == "STAR":
            return rng.normal(0.0, VELOCITY_SPREAD, rows.size).clip(*REDSHIFTS[name])
        low, high = np.log1p(REDSHIFTS[name])
        flat = np.expm1(rng.uniform(low, high, rows.size))
        # A little apart from its own, so that a network cannot know it by heart.
        natural = self.libraries[name].redshift[rows]
        natural = (1.0 + natural) * np.exp(rng.normal(0.0, 0.003, rows.size)) - 1.0
        return np.where(own, natural, flat)

    def _stand_ins(
        self,
        name: str,
        rows: NDArray[np.intp],
        redshift: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> NDArray[np.intp]:
        """Rows of the same subclass that were seen at about that redshift, where there are any."""
        library, mine = self.libraries[name], self.rows[name]
        natural = np.log1p(library.redshift[mine])
        out = rows.copy()
        for i, (row, z) in enumerate(zip(rows, redshift, strict=True)):
            if not np.isfinite(library.redshift[row]):
                continue
            near = np.abs(natural - np.log1p(z)) < _NEAR
            pool = mine[near & (library.subclass[mine] == library.subclass[row])]
            if pool.size >= 3:
                out[i] = rng.choice(pool)
        return out


def shift_rows(
    library: RestLibrary, rows: NDArray[np.intp], redshift: NDArray[np.float64]
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Rest-frame rows on the observed axis, and where they reach.

    Cubic interpolation between the pixels (Lagrange, four points).
    """
    position = FIRST + np.arange(COUNT)[None] - np.log1p(redshift)[:, None] / LN_STEP
    position = position - library.first
    n = library.flux.shape[1]
    whole = np.floor(position).astype(np.intp)
    t = (position - whole).astype(np.float32)
    valid = (whole >= 1) & (whole < n - 2)
    base = np.clip(whole, 1, n - 3) + (rows * n)[:, None]
    flat = library.flux.ravel()
    flux = -t * (t - 1) * (t - 2) / 6 * flat[base - 1]
    flux += (t + 1) * (t - 1) * (t - 2) / 2 * flat[base]
    flux -= (t + 1) * t * (t - 2) / 2 * flat[base + 1]
    flux += (t + 1) * t * (t - 1) / 6 * flat[base + 2]
    return flux, valid
