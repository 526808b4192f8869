"""Searches of spectra of which the truth is known, for fitting how network and scan count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from specinfer.errors import ReadError
from specinfer.models import load_card
from specinfer.networks import gasnet2
from specinfer.networks.gasnet3 import GasNet3
from specinfer.networks.survey import SurveyCombination, opinion_of
from specinfer.spectrum import Spectrum
from specinfer.survey_card import CombinationCard
from specinfer.zfind import Found
from specinfer.zgrid import Gridded
from specinfer.zweigh import Opinion, clues, hopeless
from training.archive.sdss import part_of, read_sdss
from training.archive.subclasses import FAMILIES
from training.evaluate_survey import GOOD, NARROW, Truth, real_spectra, simulated_spectra
from training.simulate.real import half_of
from training.simulate.survey import SurveySimulator
from training.stream import CALIBRATION, step_rng

FloatArray = NDArray[np.float64]
# Real spectra are few, and are what it is for: each counts as many simulated ones.
REAL_WEIGHT = 8.0


class Case(NamedTuple):
    """One search with what speaks for its fits, and which of them are right."""

    fits: FloatArray
    none: FloatArray
    family: NDArray[np.intp]
    right: NDArray[np.bool_]
    dz: FloatArray
    truth: str
    weight: float
    everywhere: bool


def case_of(
    made: tuple[Gridded, Found],
    opinion: Opinion,
    snr: float,
    truth: Truth,
    weight: float,
    everywhere: bool,
) -> Case:
    """The clues of a search."""
    data, found = made
    fits, none = clues(found, data, opinion, snr)
    right, dz = judged(found, truth)
    family = np.array([list(FAMILIES).index(one.family) for one in found.fits])
    use = ~hopeless(fits)
    return Case(fits[use], none, family[use], right[use], dz[use], truth[1], weight, everywhere)


def judged(found: Found, truth: Truth) -> tuple[NDArray[np.bool_], FloatArray]:
    """Which fits have the right class and redshift, and how far off they are."""
    _, family, redshift, _ = truth
    if family not in FAMILIES:
        return np.zeros(len(found.fits), dtype=np.bool_), np.full(len(found.fits), np.inf)
    dz = np.array([(one.redshift - redshift) / (1.0 + redshift) for one in found.fits])
    same = np.array([one.family == family for one in found.fits])
    return same & (np.abs(dz) < GOOD[family]), dz


def cases_of(
    combination: SurveyCombination,
    spectra: Sequence[Spectrum],
    truths: Sequence[Truth],
    weight: float,
    words: str,
) -> list[Case]:
    """Both searches of every spectrum: everywhere, and in the network's windows."""
    proposals = combination.network.predict(spectra)
    made = []
    for spectrum, truth, proposal in track(
        list(zip(spectra, truths, proposals, strict=True)), description=words
    ):
        if isinstance(proposal, ReadError):
            continue
        first = combination.in_windows(spectrum, proposal)
        whole = combination.everywhere(spectrum, first)
        for found, everywhere in ((first, False), (whole, True)):
            if found is not None and not isinstance(found, ReadError):
                opinion = opinion_of(proposal)
                made.append(case_of(found, opinion, spectrum.snr, truth, weight, everywhere))
    return made


def simulated_cases(
    combination: SurveyCombination,
    simulator: SurveySimulator,
    count: int,
    noise_count: int,
    seed: int,
) -> list[Case]:
    """Simulated spectra of every family, and noise."""
    cases: list[Case] = []
    for index, family in enumerate(FAMILIES):
        batch = simulator.draw(count // len(FAMILIES), step_rng(seed, CALIBRATION, index), family)
        words = f"{family.lower()} spectra"
        cases += cases_of(combination, *simulated_spectra(batch), 1.0, words)
    batch = simulator.draw_noise(noise_count, step_rng(seed, CALIBRATION, 99))
    return cases + cases_of(combination, *simulated_spectra(batch), 1.0, "noise")


def real_cases(
    combination: SurveyCombination, apart: Sequence[SurveyCombination], data: Path
) -> list[Case]:
    """The real spectra of validation and of the donors, whole and cut to a narrow range.

    Parameters
    ----------
    combination : SurveyCombination
    apart : sequence of SurveyCombination
        With a network that was shown no light of the donors, which is asked about them; or
        with two that were not shown one half each, and are asked about that. Empty if
        that of `combination` was shown none.
    data : Path
    """
    spectra = part_of(read_sdss(data), "train")
    asked: list[tuple[SurveyCombination, str, set[str] | None]]
    asked = [(combination, "validation", None)]
    if len(apart) == 2:
        for half, one in enumerate(apart):
            names = {spectrum.object for spectrum in half_of(spectra, half)}
            asked.append((one, "train", names))
    else:
        asked.append((apart[0] if apart else combination, "train", None))
    cases: list[Case] = []
    for one, part, names in asked:
        for window in (None, NARROW):
            pairs = zip(*real_spectra(part, data, window), strict=True)
            kept = [pair for pair in pairs if names is None or pair[1][0] in names]
            pair = ([spectrum for spectrum, _ in kept], [truth for _, truth in kept])
            cases += cases_of(one, *pair, REAL_WEIGHT, "real spectra")
    return cases


def combinations_apart(
    draft: CombinationCard, scan: GasNet3, apart: Sequence[Path]
) -> list[SurveyCombination]:
    """Combinations with networks that were shown no real spectra, or one half of them each.

    Raises
    ------
    SystemExit
        If the network that is to ship was shown real spectra and there are no such networks.
    """
    shown = "real" in draft.network.raw["training"]
    if not shown and not apart:
        return []
    if not shown:
        raise SystemExit(f"{draft.network.folder} was shown no light of the donors: no --apart")
    if len(apart) not in (1, 2):
        raise SystemExit(
            f"{draft.network.folder} was shown the light of the donors: give by --apart a model "
            "that was not, or twice, those of train_survey --without-half 0 and 1"
        )
    made = []
    for half, folder in enumerate(apart):
        card = load_card(f"{folder}/")
        real = card.raw["training"].get("real")
        if len(apart) == 1 and real is not None:
            raise SystemExit(f"{folder} was shown light of the donors")
        if len(apart) == 2 and (real is None or real.get("left_out_half") != half):
            raise SystemExit(f"{folder} was not trained with --without-half {half}")
        made.append(SurveyCombination(gasnet2.load(card, device="cpu"), scan, draft))
    return made
