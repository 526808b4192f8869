"""Trials: spectra of objects the network has never seen, and what it answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError
from specinfer.spectrum import Spectrum
from training.archive.labels import CLASSES, IA_SUBTYPES

FloatArray = NDArray[np.float64]
T = TypeVar("T", bound="Targets")

_CHUNK = 64


class Predictor(Protocol):
    """Anything that answers like `specinfer.networks.spectranet.SpectraNet`."""

    def predict(self, spectra: Sequence[Spectrum]) -> Sequence[Any]:
        """One answer, or one ReadError, a spectrum."""
        ...


@dataclass(frozen=True)
class Targets:
    """Truth, one row a spectrum; arrays are (n,).

    Attributes
    ----------
    row : ndarray of int
        Library row.
    label : ndarray of int
    object : ndarray of str
    redshift, phase : ndarray
        True values; phase NaN where unknown.
    subtype : ndarray of int
        Index into `IA_SUBTYPES`; -1 for other classes and where it is not known.
    snr : ndarray
        Mean signal-to-noise ratio a pixel; NaN where it is not known.
    host : ndarray
        True share of host light: 1 for a galaxy, NaN where the question makes no sense.
    left_out : int
        Spectra besides that could not be tried.
    """

    row: NDArray[np.intp]
    label: NDArray[np.int64]
    object: NDArray[np.str_]
    redshift: FloatArray
    phase: FloatArray
    subtype: NDArray[np.int64]
    snr: FloatArray
    host: FloatArray
    left_out: int

    def __len__(self) -> int:
        return len(self.label)

    def take(self: T, rows: NDArray[np.generic]) -> T:
        """The same for some rows."""
        return type(self)(
            **{
                name: value[rows] if isinstance(value, np.ndarray) else value
                for name, value in vars(self).items()
            }
        )


@dataclass(frozen=True)
class Trials(Targets):
    """Truth and answers, one row a spectrum.

    What a network does not say (a card without subtypes, say) is NaN throughout.

    Attributes
    ----------
    probabilities : ndarray, shape (n, n_classes)
    in_set : ndarray of bool, shape (n, n_classes)
        The prediction set.
    in_class_set : ndarray, shape (n, n_classes)
        The prediction set with a threshold for each class: 1 inside, 0 outside.
    z, z_err : ndarray, shape (n,)
    z68, z95 : ndarray, shape (n, 2)
        Intervals of the redshift.
    days, days_err : ndarray, shape (n,)
        NaN where the answered class has no phase.
    days68, days95 : ndarray, shape (n, 2)
        Intervals of the phase.
    subtype_probabilities : ndarray, shape (n, n_subtypes)
        P(subtype | SN Ia).
    host_share : ndarray, shape (n,)
        Estimated share of host light.
    novel, hosted, auto : ndarray, shape (n,)
        1 where the spectrum was flagged as novel; as dominated by host light; decided
        without a human.
    """

    probabilities: FloatArray
    in_set: NDArray[np.bool_]
    in_class_set: FloatArray
    z: FloatArray
    z_err: FloatArray
    z68: FloatArray
    z95: FloatArray
    days: FloatArray
    days_err: FloatArray
    days68: FloatArray
    days95: FloatArray
    subtype_probabilities: FloatArray
    host_share: FloatArray
    novel: FloatArray
    hosted: FloatArray
    auto: FloatArray


def classify(predictor: Predictor, targets: Targets, spectra: Iterable[Spectrum]) -> Trials:
    """Answers to spectra; those that the predictor refuses are counted as left out.

    Parameters
    ----------
    predictor : Predictor
    targets : Targets
        The truth about the spectra.
    spectra : iterable of Spectrum
        One a row of `targets`, in order; consumed in chunks.
    """
    answers: list[Any] = []
    chunk: list[Spectrum] = []
    for spectrum in spectra:
        chunk.append(spectrum)
        if len(chunk) == _CHUNK:
            answers += predictor.predict(chunk)
            chunk = []
    if chunk:
        answers += predictor.predict(chunk)
    kept = np.array([not isinstance(answer, ReadError) for answer in answers], dtype=np.bool_)
    made = [answer for answer in answers if not isinstance(answer, ReadError)]
    truth = vars(targets.take(np.flatnonzero(kept)))
    truth["left_out"] = targets.left_out + len(answers) - len(made)
    return Trials(**truth, **_columns(made))


def _columns(answers: Sequence[Any]) -> dict[str, Any]:
    """Answers as arrays; what an answer does not have is NaN."""

    def numbers(value: Callable[[Any], float | None]) -> FloatArray:
        return np.array([np.nan if (x := value(a)) is None else x for a in answers], dtype=float)

    def interval(name: str, level: str) -> FloatArray:
        nothing = (np.nan, np.nan)
        found = [(getattr(a, name, None) or {}).get(level) or nothing for a in answers]
        return np.array(found, dtype=float).reshape(-1, 2)

    def subtypes(answer: Any) -> list[float]:
        given = getattr(answer, "subtype_probabilities", None)
        # Given for the answered class alone: where that is no SN Ia there are none of its.
        fits = given is not None and len(given) == len(IA_SUBTYPES)
        return list(given.values()) if fits else [np.nan] * len(IA_SUBTYPES)

    def members(answer: Any) -> list[float]:
        given = getattr(answer, "prediction_set_by_class", None)
        return [np.nan if given is None else float(name in given) for name in CLASSES]

    def flagged(answer: Any, score: str, flag: str) -> float | None:
        has_score = getattr(answer, score, None) is not None
        return float(flag in answer.flags) if has_score else None

    def auto(answer: Any) -> float | None:
        decision = getattr(answer, "decision", None)
        return None if decision is None else float(decision == "auto")

    n = len(CLASSES)
    return {
        "probabilities": np.array(
            [[a.probabilities[c] for c in CLASSES] for a in answers], dtype=float
        ).reshape(-1, n),
        "in_set": np.array(
            [[c in a.prediction_set for c in CLASSES] for a in answers], dtype=np.bool_
        ).reshape(-1, n),
        "in_class_set": np.array([members(a) for a in answers], dtype=float).reshape(-1, n),
        "z": numbers(lambda a: a.redshift),
        "z_err": numbers(lambda a: a.redshift_err),
        "z68": interval("redshift_interval", "68"),
        "z95": interval("redshift_interval", "95"),
        "days": numbers(lambda a: a.phase),
        "days_err": numbers(lambda a: a.phase_err),
        "days68": interval("phase_interval", "68"),
        "days95": interval("phase_interval", "95"),
        "subtype_probabilities": np.array([subtypes(a) for a in answers], dtype=float).reshape(
            -1, len(IA_SUBTYPES)
        ),
        "host_share": numbers(lambda a: getattr(a, "host_share", None)),
        "novel": numbers(lambda a: flagged(a, "novelty", "NOVEL")),
        "hosted": numbers(lambda a: flagged(a, "host_share", "HOST_DOMINATED")),
        "auto": numbers(auto),
    }
