"""Real spectra as a network is shown them: moved, made noisier, cut, never twice the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specinfer.zgrid import LN_STEP, STEP
from training.archive.sdss import SdssSpectrum
from training.archive.subclasses import FAMILIES, SUBCLASSES, star_subclass
from training.simulate.axis import COUNT, FIRST
from training.simulate.survey import REDSHIFTS, VELOCITY_SPREAD, SurveyBatch, SurveyConditions
from training.simulate.variety import extinction, mixed_ripple, tilts, windows

# The pipeline's words for galaxies and quasars, by ours, as in `training.archive.rest_sources`.
_NAMES = {
    "GALAXY": {
        "": "passive", "STARFORMING": "STARFORMING", "STARBURST": "STARBURST", "AGN": "AGN",
        "BROADLINE": "BROADLINE", "AGN BROADLINE": "BROADLINE",
        "STARFORMING BROADLINE": "BROADLINE",
    },
    "QSO": {
        "": "plain",
        **dict.fromkeys(
            ("BROADLINE", "STARBURST BROADLINE", "AGN BROADLINE", "STARFORMING BROADLINE"),
            "BROADLINE",
        ),
    },
}  # fmt: skip
# Fewer usable pixels are not enough to tell anything.
_FEWEST = 300


@dataclass(frozen=True)
class RealConditions:
    """How real spectra are shown to a network beside the simulated ones.

    Reddening, ripple, tilt and cuts are those of `SurveyConditions`.

    Parameters
    ----------
    share : float
        Of each batch; 0 for none.
    shift : (float, float)
        Range, even in its logarithm, of the largest extra redshift in ln(1+z) of galaxies
        and quasars. Stars are moved by other velocities.
    trim : float
        Mean of ln(wavelength) that is cut off at either end, beyond the largest extra
        redshift, so that the ends do not tell the redshift.
    noise_share : float
        Share of the spectra that are made noisier.
    faintest : float
        Least signal-to-noise ratio that those are brought to.
    """

    share: float = 0.0
    shift: tuple[float, float] = (0.002, 0.06)
    trim: float = 0.02
    noise_share: float = 0.6
    faintest: float = 0.8

    def __post_init__(self) -> None:
        if not 0.0 <= self.share < 1.0:
            raise ValueError(f"share {self.share} is not between 0 and 1")
        if not 0.0 < self.shift[0] <= self.shift[1]:
            raise ValueError(f"shift {self.shift} is no range of positive numbers")


def real_subclass(one: SdssSpectrum) -> int:
    """Index into `SUBCLASSES` of what the pipeline says, or -1."""
    if one.family == "STAR":
        name = star_subclass(one.subclass)
    else:
        name = _NAMES[one.family].get(one.subclass)
    return -1 if name is None else SUBCLASSES.index(f"{one.family} {name}")


def half_of(spectra: Sequence[SdssSpectrum], half: int) -> list[SdssSpectrum]:
    """One of two halves, by object, of every family; each network sees one, and answers the other.

    Parameters
    ----------
    spectra : sequence of SdssSpectrum
    half : {0, 1}
    """
    # Visits of an object may differ even in family: it goes where its first visit belongs.
    family_of: dict[str, str] = {}
    for one in spectra:
        if one.zwarning == 0:
            family_of.setdefault(one.object, one.family)
    mine: set[str] = set()
    for family in FAMILIES:
        names = [name for name, own in family_of.items() if own == family]
        ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        mine |= set(ordered[half::2])
    return [one for one in spectra if one.object in mine]


class RealLight:
    """Draws real spectra.

    Parameters
    ----------
    spectra : sequence of SdssSpectrum
        Those with a warning are left out, and objects that are of two families in two visits.
    seen : SurveyConditions
        Reddening, ripple, tilt and cuts.
    real : RealConditions

    Raises
    ------
    ValueError
        If none is left.
    """

    def __init__(
        self, spectra: Sequence[SdssSpectrum], seen: SurveyConditions, real: RealConditions
    ) -> None:
        families: dict[str, set[str]] = {}
        for one in spectra:
            if one.zwarning == 0:
                families.setdefault(one.object, set()).add(one.family)
        sure = [one for one in spectra if one.zwarning == 0 and len(families[one.object]) == 1]
        if not sure:
            raise ValueError("no real spectrum has a sure redshift")
        self.seen, self.real = seen, real
        self.flux = np.zeros((len(sure), COUNT))
        self.ivar = np.zeros((len(sure), COUNT))
        for row, one in enumerate(sure):
            pixel = np.rint(np.log10(one.wavelength) / STEP).astype(np.intp) - FIRST
            inside = (pixel >= 0) & (pixel < COUNT) & np.isfinite(one.flux)
            level = float(np.median(np.abs(one.flux[inside & (one.ivar > 0)])))
            self.flux[row, pixel[inside]] = one.flux[inside] / level
            self.ivar[row, pixel[inside]] = one.ivar[inside] * level**2
        self.family = np.array([list(FAMILIES).index(one.family) for one in sure])
        self.subclass = np.array([real_subclass(one) for one in sure])
        self.redshift = np.array([one.redshift for one in sure])
        self.snr = np.array([one.snr for one in sure])
        self.object = np.array([one.object for one in sure])
        # Neither every spectrum alike, which would show few stars, nor every family alike,
        # which would show the same few galaxies all the time.
        count = np.bincount(self.family, minlength=len(FAMILIES))
        weight = 1.0 / np.sqrt(count[self.family])
        self.weight = weight / weight.sum()

    def __len__(self) -> int:
        return len(self.object)

    def draw(self, size: int, rng: np.random.Generator) -> SurveyBatch:
        """Real spectra, each with a redshift, a noise and an extent of its own.

        Parameters
        ----------
        size : int
        rng : numpy.random.Generator

        Returns
        -------
        SurveyBatch
            `shape` is the flux itself: nobody knows it without noise. `subclass` is -1 for
            quasars that were made noisier, as a line that was seen would not be any more.
        """
        rows = rng.choice(len(self), size, p=self.weight)
        flux, ivar, z, inside = self._moved(rows, rng)
        family, subclass = self.family[rows], self.subclass[rows].copy()
        c = self.seen
        factor = extinction(rng.exponential(c.reddening, size))
        if c.tilt > 0:
            factor = factor * tilts(c.tilt, size, rng)
        factor = factor * mixed_ripple(c.ripple, c.wild_ripple, c.wild_ripple_share, size, rng)
        flux, ivar = flux * factor, ivar / factor**2
        snr = self.snr[rows].copy()
        fainter = rng.random(size) < self.real.noise_share
        lowest = np.minimum(self.real.faintest, snr)
        wanted = np.exp(rng.uniform(np.log(lowest), np.log(snr)))
        wanted = np.where(fainter, wanted, snr)
        # Noise adds in quadrature to what the spectrum has already.
        more = (snr / wanted)[:, None]
        with np.errstate(divide="ignore"):
            sigma = np.where(ivar > 0, 1.0 / np.sqrt(ivar), 0.0)
        flux = flux + sigma * np.sqrt(more**2 - 1.0) * rng.standard_normal(flux.shape)
        ivar = ivar / more**2
        subclass[(family == list(FAMILIES).index("QSO")) & (wanted < snr)] = -1
        good = (ivar > 0) & inside
        seen = good & windows(size, c.cut_share, c.cut_range, rng)
        # A window where the spectrum has next to nothing is not used.
        enough = seen.sum(axis=1) >= _FEWEST
        good = np.where(enough[:, None], seen, good)
        stated = np.exp(rng.normal(0.0, c.error_scale, (size, 1)))
        flux = np.where(good, flux, 0.0).astype(np.float32)
        ivar = np.where(good, ivar / stated**2, 0.0).astype(np.float32)
        return SurveyBatch(flux, ivar, subclass, family, z, wanted, flux, self.object[rows])

    def _moved(
        self, rows: NDArray[np.intp], rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Flux, ivar and redshift after a shift by whole pixels, and what may be seen of it.

        The ends that may be seen are those that are covered whatever the shift is.
        """
        size = len(rows)
        low, high = np.log(self.real.shift)
        largest = np.exp(rng.uniform(low, high, size))
        log1z = np.log1p(self.redshift[rows])
        move = rng.uniform(-largest, largest)
        for index, name in enumerate(FAMILIES):
            mine = self.family[rows] == index
            if name == "STAR":
                move[mine] = rng.normal(0.0, VELOCITY_SPREAD, int(mine.sum()))
                largest[mine] = np.maximum(4.0 * VELOCITY_SPREAD, np.abs(move[mine]))
            limits = np.log1p(REDSHIFTS[name])
            own = np.clip(log1z[mine], *limits)
            moved = np.clip(log1z[mine] + move[mine], *limits)
            # What lies beyond the range already stays.
            move[mine] = np.where(own == log1z[mine], moved - log1z[mine], 0.0)
        shift = np.rint(move / LN_STEP).astype(np.intp)
        place = np.arange(COUNT)[None] - shift[:, None]
        exists = (place >= 0) & (place < COUNT)
        place = np.clip(place, 0, COUNT - 1)
        flux = np.where(exists, np.take_along_axis(self.flux[rows], place, axis=1), 0.0)
        ivar = np.where(exists, np.take_along_axis(self.ivar[rows], place, axis=1), 0.0)
        usable = self.ivar[rows] > 0
        first = usable.argmax(axis=1)
        last = COUNT - 1 - usable[:, ::-1].argmax(axis=1)
        margin = largest + rng.exponential(self.real.trim, (2, size))
        pixels = np.ceil(margin / LN_STEP).astype(np.intp)
        axis = np.arange(COUNT)[None]
        inside = (axis >= (first + pixels[0])[:, None]) & (axis <= (last - pixels[1])[:, None])
        # (1 + z) grows by the factor of the pixels exactly.
        z = np.expm1(log1z + shift * LN_STEP)
        return flux, ivar, z, inside
