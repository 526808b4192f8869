"""Which parts of a spectrum made the answer: occlusion, without gradients.

Windows of the prepared input are hidden one after the other, as if they had not been
observed, and the network is asked again (Zeiler & Fergus 2014, ECCV, arXiv:1311.2901).
How much the log-odds of the answer fall is the relevance of what was hidden, in nats:
+1 means that without it the odds would be e times lower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer import pdf
from specinfer.features import Feature, features_of

if TYPE_CHECKING:
    from specinfer.networks.spectranet_answer import SpectraNetAnswer
    from specinfer.networks.spectranet_outputs import Interpreter

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Run = Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.float32]]]

# Width of a window in ln(wavelength): 6000 km/s, about a supernova's absorption trough.
WINDOW = 0.02
# A feature is named for peaks this near to its range, in ln(wavelength): half a step.
_TOLERANCE = 0.005
# Peaks lower than this part of the highest are not worth a name.
_LEAST_PEAK = 0.1
MAX_NAMES = 6


class Peak(NamedTuple):
    """A peak of the relevance that coincides with a classical feature of the class.

    `wavelength` is where it was observed, vacuum Angstrom; `relevance` its height.
    """

    name: str
    wavelength: float
    relevance: float


@dataclass(frozen=True, eq=False)
class Relevance:
    """What each part of a spectrum did for the answer.

    Attributes
    ----------
    class_name : str
        The answered class.
    wavelength : ndarray, shape (P,)
        Vacuum Angstrom as observed, also where the spectrum was classified at rest.
    of_class : ndarray, shape (P,)
        Fall of the log-odds of the class when the pixel is hidden, mean over the windows
        that cover it; negative where the pixel speaks against the class, NaN where
        nothing was observed.
    of_redshift : ndarray, shape (P,), or None
        The same for the main mode of p(z); None if the redshift was given.
    peaks : tuple of Peak
        The strongest peaks of `of_class` that have a name, strongest first.
    """

    class_name: str
    wavelength: FloatArray
    of_class: FloatArray
    of_redshift: FloatArray | None
    peaks: tuple[Peak, ...]


def explain(
    answer: SpectraNetAnswer, interpreter: Interpreter, run: Run, pixel: float
) -> Relevance:
    """The relevance of every pixel for an answer.

    Parameters
    ----------
    answer : SpectraNetAnswer
    interpreter : Interpreter
        Of the network that gave the answer.
    run : callable
        Inputs, shape (n, 3, P), to raw outputs; called once.
    pixel : float
        Width of a pixel of the network's grid in ln(wavelength).

    Returns
    -------
    Relevance
    """
    inputs, covers = occlude(answer.prepared.input, answer.prepared.valid, pixel)
    raw = run(np.concatenate([answer.prepared.input[None], inputs]))
    chosen = interpreter.card.classes.index(answer.class_name)
    odds = pdf.log_odds(raw["class_logits"], chosen, interpreter.card.calibration.class_temperature)
    by_window = odds[0] - odds[1:]
    given = "Z_GIVEN" in answer.flags
    of_redshift = None
    if not given:
        mode_odds = _mode_log_odds(interpreter.distributions(raw)[1], answer.ln1z)
        of_redshift = spread(mode_odds[0] - mode_odds[1:], covers, answer.prepared.valid)
    # The grid is at rest where the redshift was given; an ambiguous mean is no redshift.
    redshift = answer.candidates[0].redshift
    stretch = 1.0 + redshift if given else 1.0
    centres, values = _blocks(answer, by_window, covers, pixel)
    named = name_peaks(
        centres * (stretch / (1.0 + redshift)),
        values,
        features_of(answer.class_name, answer.phase),
    )
    peaks = [Peak(name, float(centres[i]) * stretch, float(values[i])) for name, i in named]
    return Relevance(
        class_name=answer.class_name,
        wavelength=answer.wavelength * stretch,
        of_class=spread(by_window, covers, answer.prepared.valid),
        of_redshift=of_redshift,
        peaks=tuple(peaks),
    )


def occlude(
    prepared: NDArray[np.float32], valid: BoolArray, pixel: float, width: float = WINDOW
) -> tuple[NDArray[np.float32], BoolArray]:
    """Copies of an input with one window each hidden.

    Parameters
    ----------
    prepared : ndarray, shape (3, P), float32
        As `specinfer.preprocess.Prepared.input`.
    valid : ndarray of bool, shape (P,)
    pixel, width : float
        Widths of a pixel and of a window in ln(wavelength).

    Returns
    -------
    inputs : ndarray, shape (n, 3, P), float32
        All channels 0 inside the window: as if it had not been observed.
    covers : ndarray of bool, shape (n, P)
        The windows, half a width apart, so that every pixel is in two; those without
        any valid pixel are left out.
    """
    n_pixels = prepared.shape[-1]
    step = _step(pixel, width)
    starts = np.arange(-step, n_pixels, step)
    index = np.arange(n_pixels)
    covers = (index >= starts[:, None]) & (index < starts[:, None] + 2 * step)
    covers = covers[(covers & valid).any(axis=1)]
    return np.where(covers[:, None, :], np.float32(0.0), prepared), covers


def spread(by_window: FloatArray, covers: BoolArray, valid: BoolArray) -> FloatArray:
    """Relevance of windows to pixels: the mean over those that cover it; NaN if not valid.

    Parameters
    ----------
    by_window : ndarray, shape (n,)
    covers : ndarray of bool, shape (n, P)
    valid : ndarray of bool, shape (P,)

    Returns
    -------
    ndarray, shape (P,)
    """
    total = by_window @ covers
    return np.where(valid, total / np.maximum(covers.sum(axis=0), 1), np.nan)


def name_peaks(
    wavelength: FloatArray, values: FloatArray, features: Sequence[Feature]
) -> list[tuple[str, int]]:
    """Names for the strongest peaks.

    Parameters
    ----------
    wavelength : ndarray, shape (n,)
        Rest wavelengths, increasing.
    values : ndarray, shape (n,)
        The relevance there; -inf where nothing was observed.
    features : sequence of Feature
        Each is used for one peak at most.

    Returns
    -------
    list of (str, int)
        Names and indices of the peaks, strongest first, at most `MAX_NAMES`.
    """
    padded = np.concatenate([[-np.inf], values, [-np.inf]])
    is_peak = (values > padded[:-2]) & (values >= padded[2:]) & (values > 0)
    peaks = np.flatnonzero(is_peak)
    peaks = peaks[np.argsort(-values[peaks], kind="stable")]
    left = list(features)
    named: list[tuple[str, int]] = []
    for i in peaks:
        if values[i] < _LEAST_PEAK * values[peaks[0]] or len(named) == MAX_NAMES:
            break
        low, high = wavelength[i] * (1.0 - _TOLERANCE), wavelength[i] * (1.0 + _TOLERANCE)
        near = [feature for feature in left if feature.low < high and feature.high > low]
        if near:
            # Where ranges overlap, the one whose middle is nearest.
            best = min(near, key=lambda feature: abs(feature.centre - wavelength[i]))
            left.remove(best)
            named.append((best.name, int(i)))
    return named


def _step(pixel: float, width: float = WINDOW) -> int:
    """Pixels from one window to the next: half a window."""
    return max(round(0.5 * width / pixel), 1)


def _blocks(
    answer: SpectraNetAnswer, by_window: FloatArray, covers: BoolArray, pixel: float
) -> tuple[FloatArray, FloatArray]:
    """The runs of pixels that share their windows: centre on the grid, and relevance."""
    starts = np.arange(0, answer.wavelength.size, _step(pixel))
    seen = np.logical_or.reduceat(answer.prepared.valid, starts)
    sizes = np.diff(np.append(starts, answer.wavelength.size))
    centres = np.exp(np.add.reduceat(np.log(answer.wavelength), starts) / sizes)
    values = spread(by_window, covers[:, starts], seen)
    return centres, np.where(seen, values, -np.inf)


def _mode_log_odds(p_z: FloatArray, ln1z: FloatArray) -> FloatArray:
    """Log-odds of the main mode of the first row, in every row."""
    centre = pdf.modes(p_z[0], ln1z, count=1).centre[0]
    inside = np.abs(ln1z - centre) <= pdf.MODE_HALF_WIDTH
    share = np.clip(p_z @ inside, 1e-9, 1.0 - 1e-9)
    return np.asarray(np.log(share) - np.log1p(-share))
