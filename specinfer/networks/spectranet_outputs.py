"""What a SpectraNet's outputs mean: from logits and a card to an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specinfer import pdf
from specinfer.card_blocks import LEVELS
from specinfer.models import SpectraNetCard
from specinfer.networks.spectranet_answer import (
    Candidate,
    FloatArray,
    Intervals,
    SpectraNetAnswer,
)
from specinfer.preprocess import Prepared
from specinfer.spectrum import Spectrum

N_CANDIDATES = 3
# Whatever the probability, an answer with one of these is for a human to look at.
DOUBTS = frozenset({"LOW_SNR", "LITTLE_COVERAGE", "NOVEL", "HOST_DOMINATED", "Z_CONFLICT"})
# Share of a Gaussian within one sigma: the interval of a card without levels of its own.
_ONE_SIGMA = 0.6827


@dataclass(frozen=True, eq=False)
class Numbers:
    """The outputs for one spectrum, made into numbers."""

    p_class: FloatArray
    p_z: FloatArray
    ln1z: float
    ln1z_sigma: float
    ln1z_intervals: Intervals
    is_clear: bool
    mode_centre: FloatArray
    mode_mass: FloatArray
    phase: float
    phase_err: float
    phase_intervals: Intervals
    p_subtype: dict[str, FloatArray]
    host_share: float | None
    novelty: float | None
    embedding: NDArray[np.float32]


class Interpreter:
    """Reads the outputs of a network as its card says.

    Parameters
    ----------
    card : SpectraNetCard
    """

    def __init__(self, card: SpectraNetCard) -> None:
        self.card = card
        self.ln1z = card.redshift_bins.centres
        self.days = card.phase_bins.centres
        self._has_phase = np.isin(card.classes, card.phase_classes)
        self._possible = possible_redshifts(card.classes, card.redshift_limits, self.ln1z)

    def distributions(
        self, raw: Mapping[str, NDArray[np.float32]]
    ) -> tuple[FloatArray, FloatArray]:
        """Calibrated p(class), shape (n, n_classes), and p(z) in the bins, shape (n, NZ)."""
        calibration = self.card.calibration
        p_class = pdf.softmax(raw["class_logits"], calibration.class_temperature)
        p_z = pdf.softmax(raw["redshift_logits"], calibration.redshift_temperature)
        return p_class, keep_possible(p_z, p_class, self._possible)

    def numbers(self, raw: Mapping[str, NDArray[np.float32]]) -> list[Numbers]:
        """Outputs of a batch, shape (n, size) each, to probabilities and moments by row."""
        calibration = self.card.calibration
        p_class, p_z = self.distributions(raw)
        p_phase = pdf.softmax(raw["phase_logits"], calibration.phase_temperature)
        modes = pdf.modes(p_z, self.ln1z, count=N_CANDIDATES)
        centre, sigma = pdf.point_estimate(p_z, self.ln1z)
        clear = pdf.is_clear(modes)
        phase, phase_err = pdf.mean_and_sigma(p_phase, self.days)
        plain = {"68": _ONE_SIGMA}
        ln1z_intervals = _intervals(p_z, self.ln1z, calibration.redshift_levels or plain)
        phase_intervals = _intervals(p_phase, self.days, calibration.phase_levels or {})
        subtypes = self._subtypes(raw)
        host, novelty = raw.get("host_logit"), raw.get("novelty")
        return [
            Numbers(
                p_class=p_class[i],
                p_z=p_z[i],
                ln1z=float(centre[i]),
                ln1z_sigma=float(sigma[i]),
                ln1z_intervals=ln1z_intervals[i],
                is_clear=bool(clear[i]),
                mode_centre=modes.centre[i],
                mode_mass=modes.mass[i],
                phase=float(phase[i]),
                phase_err=float(phase_err[i]),
                phase_intervals=phase_intervals[i],
                p_subtype={name: p[i] for name, p in subtypes.items()},
                host_share=None if host is None else float(pdf.logistic(host[i, 0])),
                novelty=None if novelty is None else float(novelty[i, 0]),
                embedding=raw["embedding"][i],
            )
            for i in range(len(p_class))
        ]

    def answer(
        self,
        numbers: Numbers,
        prepared: Prepared,
        spectrum: Spectrum,
        known: float | None,
        blind: Numbers | None,
        wavelength: FloatArray,
    ) -> SpectraNetAnswer:
        """One answer.

        Parameters
        ----------
        numbers : Numbers
            Of the spectrum as it is to be classified: in the rest frame if `known` is given.
        prepared : Prepared
            What gave `numbers`.
        spectrum : Spectrum
        known : float or None
            The given redshift.
        blind : Numbers or None
            Of the spectrum as observed, to check a given redshift; None without a check.
        wavelength : ndarray, shape (P,)
            The network's grid.
        """
        card = self.card
        p = numbers.p_class
        order = np.argsort(-p, kind="stable")
        best = card.classes[order[0]]
        ranked = [(card.classes[i], float(p[i])) for i in order]
        levels, own = card.calibration.set_threshold, card.calibration.set_thresholds
        has_phase = bool(self._has_phase[order[0]])
        redshift, error, modes = _redshift(numbers, known)
        shown = blind or numbers
        intervals = {
            key: (float(np.expm1(low)), float(np.expm1(high)))
            for key, (low, high) in shown.ln1z_intervals.items()
        }
        levelled = known is None and card.calibration.redshift_levels is not None
        if levelled:
            error = _half(intervals["68"])
        phase_interval = numbers.phase_intervals if has_phase and numbers.phase_intervals else None
        phase_err = _half(phase_interval["68"]) if phase_interval else numbers.phase_err
        coverage = float(prepared.coverage)
        flags = {
            "LOW_SNR": not spectrum.snr >= card.low_snr,
            "LITTLE_COVERAGE": coverage < card.min_coverage,
            "Z_AMBIGUOUS": known is None and not numbers.is_clear,
            "Z_GIVEN": known is not None,
            **self._trust_flags(numbers, has_phase, known, blind),
        }
        raised = tuple(name for name, is_set in flags.items() if is_set)
        subtypes = card.subtypes.get(best)
        p_subtype = None
        if subtypes is not None:
            p_subtype = dict(zip(subtypes, numbers.p_subtype[best].tolist(), strict=True))
        return SpectraNetAnswer(
            probabilities={name: float(x) for name, x in zip(card.classes, p, strict=True)},
            subtype=max(p_subtype, key=p_subtype.__getitem__) if p_subtype else None,
            subtype_probabilities=p_subtype,
            prediction_set=tuple(name for name, x in ranked if x >= levels) or (best,),
            prediction_set_by_class=(
                None if own is None else tuple(name for name, x in ranked if x >= own[name])
            ),
            redshift=redshift,
            redshift_err=error,
            redshift_interval=intervals if levelled else None,
            phase=numbers.phase if has_phase else None,
            phase_err=phase_err if has_phase else None,
            phase_interval=phase_interval,
            host_share=numbers.host_share,
            novelty=numbers.novelty,
            decision=self._decision(best, ranked[0][1], raised),
            candidates=_candidates(ranked, modes),
            flags=raised,
            coverage=coverage,
            embedding=numbers.embedding,
            ln1z=self.ln1z,
            redshift_pdf=shown.p_z,
            redshift_pdf_is_blind=known is None or blind is not None,
            shown_interval=intervals["68"],
            wavelength=wavelength,
            prepared=prepared,
        )

    def _subtypes(self, raw: Mapping[str, NDArray[np.float32]]) -> dict[str, FloatArray]:
        """P(subtype | class) of a batch, by class."""
        found: dict[str, FloatArray] = {}
        start = 0
        for name, parts in self.card.subtypes.items():
            logits = raw["subtype_logits"][:, start : start + len(parts)]
            found[name] = pdf.softmax(logits, self.card.calibration.subtype_temperature)
            start += len(parts)
        return found

    def _trust_flags(
        self, numbers: Numbers, is_transient: bool, known: float | None, blind: Numbers | None
    ) -> dict[str, bool]:
        trust = self.card.trust
        conflict = novel = dominated = False
        if trust.conflict_level is not None and known is not None and blind is not None:
            mass = pdf.highest_density_mass(blind.p_z, self.ln1z, np.log1p(known))
            conflict = bool(mass > trust.conflict_level)
        if trust.novelty is not None and numbers.novelty is not None:
            novel = numbers.novelty > trust.novelty.threshold
        if trust.host_dominated is not None and numbers.host_share is not None:
            dominated = is_transient and numbers.host_share > trust.host_dominated
        return {"Z_CONFLICT": conflict, "NOVEL": novel, "HOST_DOMINATED": dominated}

    def _decision(self, class_name: str, probability: float, flags: Sequence[str]) -> str | None:
        points = self.card.trust.operating_points
        if not points:
            return None
        sure = any(
            point.class_name == class_name and probability >= point.threshold for point in points
        )
        return "auto" if sure and DOUBTS.isdisjoint(flags) else "review"


def possible_redshifts(
    classes: Sequence[str], limits: Mapping[str, float], ln1z: FloatArray
) -> FloatArray:
    """Which redshifts each class can have: a supernova at z = 1 is not seen by anyone.

    Parameters
    ----------
    classes : sequence of str
    limits : mapping
        Largest redshift of a class; classes without one have none.
    ln1z : ndarray, shape (NZ,)
        Bin centres in ln(1+z).

    Returns
    -------
    ndarray, shape (n_classes, NZ)
        1 where possible, else 0.
    """
    limit = np.array([limits.get(name, np.inf) for name in classes])
    return (np.expm1(ln1z) <= limit[:, None]).astype(np.float64)


def keep_possible(p_z: FloatArray, p_class: FloatArray, possible: FloatArray) -> FloatArray:
    """Take from p(z) what no likely class can have: p(z) = sum of p(class) p(z | class).

    Parameters
    ----------
    p_z : ndarray, shape (..., NZ)
    p_class : ndarray, shape (..., n_classes)
    possible : ndarray, shape (n_classes, NZ)
        Of `possible_redshifts`.

    Returns
    -------
    ndarray, shape (..., NZ)
        Sums to 1.
    """
    # The floor keeps p(z) a distribution.
    p_z = p_z * np.maximum(p_class @ possible, 1e-6)
    return np.asarray(p_z / p_z.sum(axis=-1, keepdims=True))


def _redshift(
    numbers: Numbers, known: float | None
) -> tuple[float, float | None, list[tuple[float, float]]]:
    """The redshift, its error, and its modes with their masses."""
    if known is not None:
        return float(known), None, [(float(known), 1.0)]
    redshift = float(np.expm1(numbers.ln1z))
    modes = [
        (float(np.expm1(x)), float(mass))
        for x, mass in zip(numbers.mode_centre, numbers.mode_mass, strict=True)
        if mass > 0
    ]
    return redshift, (1.0 + redshift) * numbers.ln1z_sigma, modes


def _intervals(p: FloatArray, grid: FloatArray, levels: Mapping[str, float]) -> list[Intervals]:
    """The central intervals of every row, by their names in `levels`."""
    names = [key for key in LEVELS if key in levels]
    ends = pdf.central_intervals(p, grid, [levels[key] for key in names])
    return [dict(zip(names, map(tuple, row), strict=True)) for row in ends.tolist()]


def _half(interval: tuple[float, float]) -> float:
    return 0.5 * (interval[1] - interval[0])


def _candidates(
    classes: Sequence[tuple[str, float]], modes: Sequence[tuple[float, float]]
) -> tuple[Candidate, ...]:
    """The best pairs of class and redshift."""
    pairs = [
        Candidate(name, redshift, probability * mass)
        for name, probability in classes[:N_CANDIDATES]
        for redshift, mass in modes[:N_CANDIDATES]
    ]
    return tuple(sorted(pairs, key=lambda pair: -pair.score)[:N_CANDIDATES])
