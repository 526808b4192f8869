"""The parts of the picture below the spectrum: relevance, network input, P(class), p(z)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from specinfer.plot_labels import draw_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from specinfer.networks.gasnet2_answer import SubclassAnswer
    from specinfer.networks.spectranet_answer import SpectraNetAnswer
    from specinfer.relevance import Relevance

FloatArray = NDArray[np.float64]

FLUX, BAND, CONTINUUM, BAR, MARK = "#1f3b57", "#b9c9d8", "#d1782b", "#3f77a8", "#9a2a2a"
_FOR, _AGAINST, _NAMES = "#2a8a78", "#c9a27c", "#1c5f53"
_N_BARS = 8


def draw_relevance(relevance: Relevance, ax: Axes) -> None:
    """Draw what speaks for the class as a filled curve, with its features named.

    Parameters
    ----------
    relevance : Relevance
    ax : matplotlib.axes.Axes
        Its limits in x are kept.
    """
    left, right = ax.get_xlim()
    x, y = relevance.wavelength, relevance.of_class
    for part, colour in ((np.maximum(y, 0.0), _FOR), (np.minimum(y, 0.0), _AGAINST)):
        ax.fill_between(x, part, step="mid", color=colour, linewidth=0, alpha=0.85)
    ax.axhline(0.0, color=FLUX, linewidth=0.6)
    low, high = (float(f(np.append(y[np.isfinite(y)], 0.0))) for f in (np.min, np.max))
    span = max(high - low, 1e-3)
    # Room for the names above the curve.
    ax.set_ylim(low - 0.06 * span, high + 0.42 * span)
    shown = sorted(
        ((p.name, p.wavelength) for p in relevance.peaks if left < p.wavelength < right),
        key=lambda item: item[1],
    )
    for _, place in shown:
        ax.axvline(place, color=_NAMES, linewidth=0.7, linestyle=(0, (4, 3)), alpha=0.6, ymax=0.74)
    # Names get the room of the longest: inches a character, of the width of the axes.
    longest = max((len(name) for name, _ in shown), default=0)
    width = ax.get_window_extent().width / ax.figure.dpi
    distance = (0.15 + 0.062 * longest) / width
    draw_labels(
        ax,
        shown,
        distance=distance,
        foot=0.74,
        head=0.83,
        color=_NAMES,
        fontsize=8,
        fontweight="bold",
    )
    ax.set_ylabel(f"relevance for\n{relevance.class_name} (Δ ln odds)")


def draw_input(answer: SpectraNetAnswer | SubclassAnswer, ax: Axes, lines: Sequence[float]) -> None:
    """Draw the spectrum as the network sees it, with lines on its grid marked."""
    values = np.where(answer.prepared.valid, answer.prepared.input[0], np.nan)
    ax.axhline(0.0, color=CONTINUUM, linewidth=0.8)
    ax.step(answer.wavelength, values, where="mid", color=FLUX, linewidth=0.9)
    low, high = ax.get_xlim()
    for x in lines:
        if low < x < high:
            ax.axvline(x, color=MARK, linewidth=0.6, linestyle=(0, (4, 3)), alpha=0.45)
    frame = "rest-frame wavelength" if "Z_GIVEN" in answer.flags else "vacuum wavelength"
    ax.set_xlabel(f"{frame} (Å)")
    ax.set_ylabel("as the\nnetwork sees it")


def draw_probabilities(answer: SpectraNetAnswer | SubclassAnswer, ax: Axes) -> None:
    """Draw the best classes as bars, dark if they are in the prediction set."""
    best = sorted(answer.probabilities.items(), key=lambda item: -item[1])[:_N_BARS]
    names = [name for name, _ in best]
    values = [value for _, value in best]
    rows = np.arange(len(best))
    inside = set(answer.prediction_set)
    colours = [BAR if name in inside else BAND for name in names]
    ax.barh(rows, values, color=colours, height=0.72)
    for row, (name, value) in enumerate(best):
        label = f"{value:.3f}"
        if name == answer.class_name and answer.subtype_probabilities and answer.subtype:
            label += f" ({answer.subtype} {answer.subtype_probabilities[answer.subtype]:.2f})"
        # Inside the bar where there is no room beside it.
        crowded = value > (0.75 if "(" in label else 1.0)
        ax.text(
            value - 0.015 if crowded else min(value + 0.015, 1.0),
            float(row),
            label,
            va="center",
            ha="right" if crowded else "left",
            color="white" if crowded else "black",
            fontsize=7,
        )
    ax.set_yticks(rows, names, fontsize=8)
    ax.invert_yaxis()
    ax.set_xlim(0.0, 1.12)
    ax.set_xticks([0.0, 0.25, 0.5, 0.75, 1.0])
    ax.set_xlabel("probability (dark: in the prediction set)")


def draw_redshift(answer: SpectraNetAnswer, ax: Axes) -> None:
    """Draw p(z) of the spectrum as observed, its 68 % interval, and a given redshift."""
    given = "Z_GIVEN" in answer.flags
    ax.set_xlabel("redshift")
    ax.set_ylabel("p(z)")
    if not answer.redshift_pdf_is_blind:
        ax.axvline(answer.redshift, color=MARK)
        ax.set_xlim(answer.redshift - 0.05, answer.redshift + 0.05)
        ax.set_yticks([])
        ax.set_title(f"z = {answer.redshift:.4f} was given", fontsize=9)
        return
    redshift: FloatArray = np.expm1(answer.ln1z)
    # Probability a bin of ln(1+z) to density in z: dz = (1+z) dln(1+z).
    density = answer.redshift_pdf / (answer.ln1z[1] - answer.ln1z[0]) / (1.0 + redshift)
    ax.fill_between(redshift, density, color=BAND, linewidth=0, alpha=0.6)
    start, end = answer.shown_interval
    inside = np.unique(
        np.concatenate([[start, end], redshift[(redshift > start) & (redshift < end)]])
    )
    ax.fill_between(inside, np.interp(inside, redshift, density), color=BAR, linewidth=0, alpha=0.5)
    ax.plot(redshift, density, color=FLUX, linewidth=0.9)
    ax.axvline(
        answer.redshift,
        color=MARK,
        linewidth=1.0,
        linestyle=(0, (5, 2)) if given else "solid",
    )
    # What holds all but a hundredth of the probability, and the estimate.
    total = np.cumsum(answer.redshift_pdf)
    low, high = (float(np.interp(q, total, redshift)) for q in (0.005, 0.995))
    low, high = min(low, start, answer.redshift), max(high, end, answer.redshift)
    pad = max(0.15 * (high - low), 0.005)
    ax.set_xlim(max(low - pad, float(redshift[0])), high + pad)
    ax.set_ylim(bottom=0.0)
    if given:
        verdict = ", excluded by p(z)" if "Z_CONFLICT" in answer.flags else ""
        ax.set_title(
            f"z = {answer.redshift:.4f} was given{verdict}; measured: {start:.4f} to {end:.4f}",
            fontsize=9,
            color=MARK if verdict else "black",
        )
    else:
        error = answer.redshift_err or 0.0
        ax.set_title(f"z = {answer.redshift:.4f} ± {error:.4f} (dark: 68 %)", fontsize=9)
