"""SpectraNet: class, redshift and phase of a transient from one spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer import pdf
from specinfer.engine import MAX_BATCH, Session
from specinfer.errors import ModelError, ReadError
from specinfer.models import ModelCard, check_metadata, read_model
from specinfer.preprocess import Prepared, Preprocessing, prepare
from specinfer.spectrum import Spectrum

FloatArray = NDArray[np.float64]

N_CANDIDATES = 3
_OUTPUTS = ("class_logits", "redshift_logits", "phase_logits", "embedding")


@dataclass(frozen=True)
class Candidate:
    """One hypothesis: `score` is P(class) times the share of p(z) in the mode at `redshift`."""

    class_name: str
    redshift: float
    score: float


@dataclass(frozen=True, eq=False)
class SpectraNetAnswer:
    """What SpectraNet says about one spectrum.

    Attributes
    ----------
    probabilities : dict of str to float
        Calibrated, over all classes, in the order of the card.
    prediction_set : tuple of str
        Classes that together hold the true one with the card's coverage, by falling
        probability; at least one.
    redshift : float
        Mean of p(z), of its main mode alone where that is clear; or the redshift that
        was given.
    redshift_err : float or None
        1-sigma error; None if the redshift was given.
    phase, phase_err : float or None
        Rest-frame days from maximum light; None for classes without a phase.
    candidates : tuple of Candidate
        The best three pairs of class and redshift.
    flags : tuple of str
        LOW_SNR, LITTLE_COVERAGE, Z_AMBIGUOUS, Z_GIVEN.
    coverage : float
        Share of the network's wavelength grid with usable pixels.
    embedding : ndarray, shape (E,)
    ln1z : ndarray, shape (NZ,)
        Bin centres of `redshift_pdf` in ln(1+z).
    redshift_pdf : ndarray, shape (NZ,)
        Probability a bin; sums to 1. Of the spectrum as the network saw it: with a
        given redshift that is the rest-frame spectrum.
    wavelength : ndarray, shape (P,)
        The network's grid in Angstrom.
    prepared : Prepared
        One spectrum on that grid.
    """

    probabilities: dict[str, float]
    prediction_set: tuple[str, ...]
    redshift: float
    redshift_err: float | None
    phase: float | None
    phase_err: float | None
    candidates: tuple[Candidate, ...]
    flags: tuple[str, ...]
    coverage: float
    embedding: NDArray[np.float32]
    ln1z: FloatArray
    redshift_pdf: FloatArray
    wavelength: FloatArray
    prepared: Prepared

    @property
    def class_name(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        """Probability of `class_name`."""
        return self.probabilities[self.class_name]

    def to_dict(self, version: str) -> dict[str, Any]:
        """The answer for the ``models`` block of a result."""
        return {
            "version": version,
            "class": self.class_name,
            "probability": self.probability,
            "probabilities": self.probabilities,
            "prediction_set": list(self.prediction_set),
            "redshift": self.redshift,
            "redshift_err": self.redshift_err,
            "phase": self.phase,
            "phase_err": self.phase_err,
            "candidates": [
                {"class": c.class_name, "redshift": c.redshift, "score": c.score}
                for c in self.candidates
            ],
            "coverage": self.coverage,
            "flags": sorted(self.flags),
        }


class SpectraNet:
    """A loaded SpectraNet; one may be used from many threads.

    Parameters
    ----------
    session : Session
        Of the card's ``model.onnx``.
    card : ModelCard
    """

    def __init__(self, session: Session, card: ModelCard) -> None:
        self.session = session
        self.card = card
        self.config = Preprocessing.from_dict(card.preprocessing)
        self.ln1z = card.redshift_bins.centres
        self.days = card.phase_bins.centres
        self._has_phase = np.isin(card.classes, card.phase_classes)
        self._possible = possible_redshifts(card.classes, card.redshift_limits, self.ln1z)

    @cached_property
    def checked_session(self) -> Session:
        """The session, once it is known to be the one that the card describes.

        Raises
        ------
        ModelError
            ``card_altered``, or ``bad_model`` if inputs or outputs are not those of a
            SpectraNet.
        """
        check_metadata(self.card, self.session.metadata)
        shape = self.session.input_shapes.get(self.card.input_name)
        missing = set(_OUTPUTS) - set(self.session.output_names)
        if shape is None or shape[1:] != (2, self.config.n_pixels) or missing:
            raise ModelError(
                "bad_model",
                f"{self.card.model_path} does not have the inputs and outputs of a SpectraNet; "
                "export it again or reinstall specinfer",
            )
        return self.session

    def prepare(self, spectrum: Spectrum, redshift: float | None = None) -> Prepared:
        """A spectrum on the network's grid, in the rest frame if a redshift is given.

        Raises
        ------
        ReadError
            ``out_of_range`` if nothing of it falls on the grid; ``bad_redshift``.
        """
        if redshift is not None:
            spectrum = spectrum.to_rest_frame(redshift)
        prepared = prepare(spectrum.wavelength, spectrum.flux, spectrum.ivar, self.config)
        if not prepared.valid.any():
            raise ReadError(
                "out_of_range",
                f"no usable pixel of {spectrum.wavelength[0]:.0f}-{spectrum.wavelength[-1]:.0f} A "
                f"falls on the grid of {self.card.label} "
                f"({self.config.wavelength_min:.0f}-{self.config.wavelength_max:.0f} A)",
            )
        return prepared

    def predict(
        self,
        spectra: Sequence[Spectrum],
        redshifts: Sequence[float | None] | None = None,
    ) -> list[SpectraNetAnswer | ReadError]:
        """Classify spectra.

        Parameters
        ----------
        spectra : sequence of Spectrum
        redshifts : sequence of (float or None), optional
            Known redshifts, one a spectrum; None where it is to be estimated.

        Returns
        -------
        list of (SpectraNetAnswer or ReadError)
            In the order of `spectra`. A spectrum that cannot be prepared has an error in
            its place. An answer does not depend on what else is in the list.

        Raises
        ------
        ModelError, DeviceError
            If the network itself cannot be used.
        """
        known = list(redshifts) if redshifts is not None else [None] * len(spectra)
        answers: list[SpectraNetAnswer | ReadError] = []
        for start in range(0, len(spectra), MAX_BATCH):
            part = slice(start, start + MAX_BATCH)
            answers += self._predict_batch(spectra[part], known[part])
        return answers

    def _predict_batch(
        self, spectra: Sequence[Spectrum], redshifts: Sequence[float | None]
    ) -> list[SpectraNetAnswer | ReadError]:
        outcomes: list[Prepared | ReadError] = []
        for spectrum, redshift in zip(spectra, redshifts, strict=True):
            try:
                outcomes.append(self.prepare(spectrum, redshift))
            except ReadError as error:
                outcomes.append(error)
        ready = [item for item in outcomes if not isinstance(item, ReadError)]
        session = self.checked_session
        if not ready:
            return [item for item in outcomes if isinstance(item, ReadError)]
        batch = np.stack([item.input for item in ready])
        raw = session.run({self.card.input_name: batch})
        numbers = iter(self._interpret(raw))
        answers: list[SpectraNetAnswer | ReadError] = []
        for outcome, spectrum, redshift in zip(outcomes, spectra, redshifts, strict=True):
            if isinstance(outcome, ReadError):
                answers.append(outcome)
            else:
                answers.append(self._answer(next(numbers), outcome, spectrum, redshift))
        return answers

    def _interpret(self, raw: dict[str, NDArray[np.float32]]) -> list[_Numbers]:
        """Logits of a batch to probabilities and moments, row by row."""
        calibration = self.card.calibration
        p_class = pdf.softmax(raw["class_logits"], calibration.class_temperature)
        p_z = pdf.softmax(raw["redshift_logits"], calibration.redshift_temperature)
        p_z = keep_possible(p_z, p_class, self._possible)
        p_phase = pdf.softmax(raw["phase_logits"], calibration.phase_temperature)
        modes = pdf.modes(p_z, self.ln1z, count=N_CANDIDATES)
        centre, sigma = pdf.point_estimate(p_z, self.ln1z, modes)
        clear = pdf.is_clear(modes)
        phase, phase_err = pdf.mean_and_sigma(p_phase, self.days)
        return [
            _Numbers(
                p_class[i],
                p_z[i],
                float(centre[i]),
                float(sigma[i]),
                bool(clear[i]),
                modes.centre[i],
                modes.mass[i],
                float(phase[i]),
                float(phase_err[i]),
                raw["embedding"][i],
            )
            for i in range(len(p_class))
        ]

    def _answer(
        self, numbers: _Numbers, prepared: Prepared, spectrum: Spectrum, known: float | None
    ) -> SpectraNetAnswer:
        card = self.card
        p = numbers.p_class
        order = np.argsort(-p, kind="stable")
        inside = [i for i in order if p[i] >= card.calibration.set_threshold] or [order[0]]
        error: float | None
        if known is None:
            redshift = float(np.expm1(numbers.ln1z))
            error = (1.0 + redshift) * numbers.ln1z_sigma
            modes = [
                (float(np.expm1(x)), float(mass))
                for x, mass in zip(numbers.mode_centre, numbers.mode_mass, strict=True)
                if mass > 0
            ]
        else:
            redshift, error, modes = float(known), None, [(float(known), 1.0)]
        has_phase = bool(self._has_phase[order[0]])
        coverage = float(prepared.coverage)
        flags = {
            "LOW_SNR": not spectrum.snr >= card.low_snr,
            "LITTLE_COVERAGE": coverage < card.min_coverage,
            "Z_AMBIGUOUS": known is None and not numbers.is_clear,
            "Z_GIVEN": known is not None,
        }
        return SpectraNetAnswer(
            probabilities={name: float(x) for name, x in zip(card.classes, p, strict=True)},
            prediction_set=tuple(card.classes[i] for i in inside),
            redshift=redshift,
            redshift_err=error,
            phase=numbers.phase if has_phase else None,
            phase_err=numbers.phase_err if has_phase else None,
            candidates=_candidates([(card.classes[i], float(p[i])) for i in order], modes),
            flags=tuple(name for name, is_set in flags.items() if is_set),
            coverage=coverage,
            embedding=numbers.embedding,
            ln1z=self.ln1z,
            redshift_pdf=numbers.p_z,
            wavelength=self.config.wavelength,
            prepared=prepared,
        )


@dataclass(frozen=True, eq=False)
class _Numbers:
    """One row of a batch, made into numbers."""

    p_class: FloatArray
    p_z: FloatArray
    ln1z: float
    ln1z_sigma: float
    is_clear: bool
    mode_centre: FloatArray
    mode_mass: FloatArray
    phase: float
    phase_err: float
    embedding: NDArray[np.float32]


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


def load(card: ModelCard, *, device: str = "auto", threads: int | None = None) -> SpectraNet:
    """Load a SpectraNet whose files are those that were published.

    Parameters
    ----------
    card : ModelCard
    device, threads
        See `specinfer.engine.Session`.

    Returns
    -------
    SpectraNet

    Raises
    ------
    ModelError
        If the model or its card was altered, or is of another kind.
    """
    n_pixels = Preprocessing.from_dict(card.preprocessing).n_pixels
    session = Session(
        read_model(card),
        name=card.label,
        device=device,
        threads=threads,
        shapes={card.input_name: (2, n_pixels)},
    )
    return SpectraNet(session, card)


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
