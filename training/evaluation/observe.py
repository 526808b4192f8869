"""What is put before a network: the kinds of spectra of the acceptance figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError
from specinfer.spectrum import Spectrum
from training.archive.labels import CLASSES, PHASE_CLASSES
from training.archive.library import Library, grid_edges
from training.config import Recipe
from training.evaluation.trials import Targets
from training.simulate.draw import OTHER_CLASSES, host_rows, subtype_index
from training.simulate.instruments import Instrument, make_instrument, sedm
from training.simulate.transients import Conditions, Observed, Simulator
from training.stream import TEST, step_rng

FloatArray = NDArray[np.float64]

SNR = (4.0, 40.0)
# Largest redshift of the trials on the SEDM, a class: what a 1.5-m telescope sees.
TRIAL_Z_MAX = {"SLSN-I": 0.5, "TDE": 0.3, "AGN/QSO": 1.0, "Galaxy": 0.3, "Star": 0.0, "CV": 0.0}
_TRIAL_Z_MAX_OTHER = 0.2
# A galaxy template that ends inside the spectrum adds nothing: another one is tried.
_HOST_DRAWS = 8
_GALAXY = CLASSES.index("Galaxy")


@dataclass(frozen=True)
class Kind:
    """A kind of trials.

    Attributes
    ----------
    name, heading, words : str
        For the card; for a table's head; for people.
    stream : int
        Number of its random stream; kinds that share one differ in nothing else.
    host : float
        Share of the flux of every transient that is host light.
    instrument : {"sedm", "red"}
    wavelength : (float, float) or None
        What is seen, in Angstrom; None for the instrument's range, cut at random.
    by_spectrum : bool
        Every archive spectrum three times, not every object equally often.
    trimmed : bool
        2-15 % of what is seen is taken away at either end. The edges of an archive spectrum
        move with its redshift; none of them is left.
    """

    name: str
    heading: str
    words: str
    stream: int
    host: float = 0.0
    instrument: str = "sedm"
    wavelength: tuple[float, float] | None = None
    by_spectrum: bool = False
    trimmed: bool = False


_SEDM = "SEDM-like, SNR 4-40, blind redshift, no host light, every object equally often"
KINDS = (
    Kind("sedm", "SEDM-like", f"{_SEDM}; all usable spectra of the objects", 0),
    Kind("sedm_host_30", "30 % host", "as *sedm*, 30 % of every transient host light", 1, 0.3),
    Kind("sedm_host_60", "60 % host", "as *sedm*, 60 % of every transient host light", 2, 0.6),
    Kind(
        "sedm_4000_7500",
        "4000-7500 A",
        "as *sedm*, with only 4000-7500 A and that uncut",
        3,
        wavelength=(4000.0, 7500.0),
    ),
    Kind(
        "red_5800_10200",
        "5800-10200 A",
        "as *sedm*, with R = 1500 and only 5800-10200 A, uncut, like the red channels of NGPS",
        4,
        instrument="red",
        wavelength=(5800.0, 10200.0),
    ),
    Kind(
        "sedm_by_spectrum",
        "by spectrum",
        "SEDM-like, SNR 4-40, no host light, every archive spectrum three times",
        5,
        by_spectrum=True,
    ),
    Kind(
        "sedm_trimmed",
        "trimmed",
        "the spectra of *sedm* with 2-15 % of what is seen taken away at either end",
        0,
        trimmed=True,
    ),
)
# Share of the seen pixels that is taken away at either end.
_TRIM = (0.02, 0.15)
_TRIM_STREAM = 100
FILTERED = (
    "sedm_filtered",
    "filtered",
    "the spectra of *sedm* but for those in whose stated redshift is denied "
    "(`training/splits/contradicted-1.json`)",
)
AS_OBSERVED = (
    "as_observed",
    "as observed",
    "archive spectra as they were observed (own redshift, resolution and noise)",
)


class Observatory:
    """Simulates trials from some rows of a library.

    Parameters
    ----------
    library : Library
    rows : ndarray of int
        Rows whose objects are tried; their galaxies serve as hosts.
    recipe : Recipe
        Its conditions, without what only training adds, are those of the trials, but for
        SNR and host light.
    seed : int
    snr : (float, float)
    """

    def __init__(
        self,
        library: Library,
        rows: NDArray[np.intp],
        recipe: Recipe,
        seed: int,
        snr: tuple[float, float] = SNR,
    ) -> None:
        self.library, self.rows, self.seed = library, rows, seed
        self.simulator = Simulator(library, host_rows(library, rows))
        self.conditions = replace(recipe.conditions.as_seen(), snr=snr, host_share=0.0)

    def observe(self, kind: Kind, count: int) -> tuple[Targets, list[Spectrum]]:
        """Spectra of a kind.

        Parameters
        ----------
        kind : Kind
        count : int
            Number of spectra; those by spectrum are three a row of the library instead.

        Returns
        -------
        targets : Targets
        spectra : list of Spectrum
        """
        rng = step_rng(self.seed, TEST, kind.stream)
        if kind.by_spectrum:
            rows = np.repeat(self.rows, 3)
        else:
            rows = draw_by_object(self.library, self.rows, count, rng)
        redshift = trial_redshifts(self.library, rows, rng)
        conditions = replace(
            self.conditions,
            host_share=float(kind.host > 0),
            host_range=(kind.host, kind.host),
            cut_share=self.conditions.cut_share if kind.wavelength is None else 0.0,
        )
        instrument = _instrument(kind)
        observed = self._with_hosts(rows, redshift, instrument, conditions, kind.host, rng)
        seen = np.ones(observed.wavelength.size, dtype=np.bool_)
        if kind.wavelength is not None:
            low, high = kind.wavelength
            seen = (observed.wavelength >= low) & (observed.wavelength <= high)
        if kind.trimmed:
            # A stream of its own, so that the spectra are otherwise those of the other kind.
            _trim(observed.ivar, step_rng(self.seed, TEST, _TRIM_STREAM))
        mixed = (observed.host > 0) | (self.library.label[rows] >= len(PHASE_CLASSES))
        spectra: list[Spectrum] = []
        kept: list[int] = []
        for index in np.flatnonzero(mixed | (kind.host == 0)):
            try:
                spectra.append(
                    Spectrum(
                        observed.wavelength[seen],
                        observed.flux[index, seen],
                        ivar=observed.ivar[index, seen],
                    )
                )
                kept.append(int(index))
            except ReadError:
                # Moved so far that the runtime, too, would refuse it.
                continue
        use = np.array(kept, dtype=np.intp)
        made = truth(
            self.library,
            rows[use],
            observed.redshift[use],
            observed.snr[use],
            observed.host[use],
            rows.size - use.size,
        )
        return made, spectra

    def as_observed(self) -> tuple[Targets, Iterator[Spectrum]]:
        """Archive spectra as they were observed: at their own redshift, nothing added."""
        library = self.library
        rows = self.rows[np.isfinite(library.redshift[self.rows])]
        edges = grid_edges()
        centre = np.sqrt(edges[1:] * edges[:-1])
        unknown = np.full(rows.size, np.nan)

        def spectra() -> Iterator[Spectrum]:
            for row in rows:
                yield Spectrum(
                    centre * (1.0 + library.redshift[row]),
                    library.flux[row],
                    ivar=library.good[row].astype(np.float64),
                )

        targets = truth(library, rows, library.redshift[rows], unknown, unknown, 0)
        return targets, spectra()

    def _with_hosts(
        self,
        rows: NDArray[np.intp],
        redshift: FloatArray,
        instrument: Instrument,
        conditions: Conditions,
        host: float,
        rng: np.random.Generator,
    ) -> Observed:
        """Observe; transients that missed their host light are observed again."""
        observed = self.simulator.observe(rows, redshift, instrument, conditions, rng)
        if host == 0:
            return observed
        transient = self.library.label[rows] < len(PHASE_CLASSES)
        for _ in range(_HOST_DRAWS):
            again = np.flatnonzero(transient & (observed.host == 0))
            if not again.size:
                break
            other = self.simulator.observe(
                rows[again], redshift[again], instrument, conditions, rng
            )
            for name in ("flux", "ivar", "snr", "host"):
                getattr(observed, name)[again] = getattr(other, name)
        return observed


def _trim(ivar: FloatArray, rng: np.random.Generator) -> None:
    """Take away the ends of what is seen of each spectrum, in place."""
    count = ivar.shape[1]
    seen = ivar > 0
    first = seen.argmax(axis=1)
    last = count - seen[:, ::-1].argmax(axis=1)
    low, high = rng.uniform(*_TRIM, (2, len(ivar))) * (last - first)
    place = np.arange(count)
    ivar[(place < (first + low)[:, None]) | (place >= (last - high)[:, None])] = 0.0


def draw_by_object(
    library: Library, rows: NDArray[np.intp], count: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Every object equally often, then one of its spectra: what the next target is like."""
    _, inverse, counts = np.unique(library.object[rows], return_inverse=True, return_counts=True)
    weight = 1.0 / counts[inverse]
    return rows[rng.choice(rows.size, count, p=weight / weight.sum())]


def trial_redshifts(
    library: Library, rows: NDArray[np.intp], rng: np.random.Generator
) -> FloatArray:
    """Uniform between 0 and what the SEDM sees of the class."""
    top = [TRIAL_Z_MAX.get(CLASSES[label], _TRIAL_Z_MAX_OTHER) for label in library.label[rows]]
    return rng.uniform(0.0, 1.0, rows.size) * np.array(top)


def truth(
    library: Library,
    rows: NDArray[np.intp],
    redshift: FloatArray,
    snr: FloatArray,
    host: FloatArray,
    left_out: int,
) -> Targets:
    """What is known about spectra of library rows.

    Parameters
    ----------
    host : ndarray, shape (n,)
        Share of host light that was mixed in.
    """
    label = library.label[rows]
    share = np.where(np.isin(label, OTHER_CLASSES), np.nan, host)
    phased = label < len(PHASE_CLASSES)
    return Targets(
        row=rows,
        label=label,
        object=library.object[rows],
        redshift=redshift,
        phase=np.where(phased, library.phase[rows], np.nan),
        subtype=subtype_index(library.subtype[rows]),
        snr=snr,
        host=np.where((label == _GALAXY) & np.isfinite(host), 1.0, share),
        left_out=left_out,
    )


def _instrument(kind: Kind) -> Instrument:
    if kind.instrument == "sedm":
        return sedm()
    assert kind.wavelength is not None
    # Pixels of 4 Angstrom: the library holds no finer ones.
    return make_instrument(kind.instrument, np.arange(*kind.wavelength, 4.0), 1500.0)
