"""Pictures of spectra and results. Needs matplotlib, which is imported when it is used."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import SpecinferError
from specinfer.lines import lines_of
from specinfer.networks.spectranet_answer import SpectraNetAnswer
from specinfer.plot_labels import draw_labels
from specinfer.plot_labels import spread_labels as spread_labels
from specinfer.plot_panels import (
    BAND,
    FLUX,
    MARK,
    draw_input,
    draw_probabilities,
    draw_redshift,
    draw_relevance,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from specinfer.answers import Answer
    from specinfer.relevance import Relevance
    from specinfer.result import Classification
    from specinfer.spectrum import Spectrum

FloatArray = NDArray[np.float64]

# Percentiles that set the limits of the flux axis.
_ROBUST = (0.5, 99.5)


class _PlotError(SpecinferError):
    """An optional package is missing."""

    exit_code = 3


def require_matplotlib() -> None:
    """Check that pictures can be drawn.

    Raises
    ------
    SpecinferError
        If matplotlib is not installed (code ``no_matplotlib``).
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise _PlotError("no_matplotlib", "pictures need matplotlib: pip install 'specinfer[plot]'")


def save(
    result: Classification, path: str | os.PathLike[str], relevance: Relevance | None = None
) -> None:
    """Write the picture of a result to a file; folders are made as needed.

    Parameters
    ----------
    result : Classification
        With status "ok".
    path : path
        Ends in .png, .pdf or .svg.
    relevance : Relevance, optional
        See `make_figure`.

    Raises
    ------
    SpecinferError
        If matplotlib is missing or the result holds no answer.
    OSError
        If the file cannot be written.
    """
    figure = make_figure(result, relevance)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the final file and then moved: nobody sees half a picture.
    partial = target.with_name(f".{target.name}.tmp")
    try:
        figure.savefig(partial, format=target.suffix.lstrip(".").lower(), dpi=110)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def make_figure(result: Classification, relevance: Relevance | None = None) -> Figure:
    """The whole picture of a result.

    Of a transient: the spectrum as read with its errors and the main lines at the estimated
    redshift, what of it made the answer, the spectrum as the network saw it, the class
    probabilities, and p(z). Of a redshift scan: the spectrum with its best fit and lines,
    the residual, and chi2(z). The panels over wavelength are aligned.

    Parameters
    ----------
    result : Classification
        With status "ok".
    relevance : Relevance, optional
        Of `specinfer.Classifier.explain`; without it that panel is left out.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    SpecinferError
        ``no_matplotlib``, or ``nothing_to_plot`` for a failed result.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    spectrum, answer = _contents(result)
    if not isinstance(answer, SpectraNetAnswer):
        from specinfer.plot_survey import fill_figure

        figure = Figure(figsize=(11.0, 8.2), layout="constrained")
        FigureCanvasAgg(figure)
        fill_figure(figure, result)
        figure.suptitle(_title(result, spectrum), fontsize=12, x=0.01, ha="left")
        return figure
    heights = [3.2, 2.0, 2.2] if relevance is None else [3.2, 1.9, 1.7, 2.2]
    figure = Figure(figsize=(11.0, 1.03 * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    top = figure.add_subplot(grid[0, :])
    draw_classification(result, top)
    left, right = top.get_xlim()
    if relevance is not None:
        strip = figure.add_subplot(grid[1, :])
        strip.set_xlim(left, right)
        draw_relevance(relevance, strip)
    middle = figure.add_subplot(grid[-2, :])
    # The network's grid is at rest if z was given; pixels stay below one another.
    rest = 1.0 + answer.redshift if "Z_GIVEN" in answer.flags else 1.0
    middle.set_xlim(left / rest, right / rest)
    draw_input(answer, middle, _marked(result, answer))
    draw_probabilities(answer, figure.add_subplot(grid[-1, 0]))
    draw_redshift(answer, figure.add_subplot(grid[-1, 1]))
    figure.suptitle(_title(result, spectrum), fontsize=12, x=0.01, ha="left")
    return figure


def draw_spectrum(spectrum: Spectrum, ax: Axes | None = None) -> Axes:
    """Draw a spectrum with its errors as a band.

    Parameters
    ----------
    spectrum : Spectrum
    ax : matplotlib.axes.Axes, optional
        A new figure's by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    SpecinferError
        If matplotlib is missing (code ``no_matplotlib``).
    """
    require_matplotlib()
    ax = ax if ax is not None else _new_axes()
    good = spectrum.good
    wavelength = spectrum.wavelength
    flux = np.where(good, spectrum.flux, np.nan)
    scale = 10.0 ** np.floor(np.log10(max(float(np.nanmax(np.abs(flux))), 1e-300)))
    # Fluxes of order one need no power of ten in the label.
    scale = 1.0 if 0.1 <= scale <= 1e3 else float(scale)
    if spectrum.has_noise:
        sigma = spectrum.sigma_array / scale
        ax.fill_between(
            wavelength,
            flux / scale - sigma,
            flux / scale + sigma,
            step="mid",
            color=BAND,
            linewidth=0,
        )
    ax.step(wavelength, flux / scale, where="mid", color=FLUX, linewidth=0.9)
    ax.set_xlim(float(wavelength[good][0]), float(wavelength[good][-1]))
    ax.set_ylim(*_limits(flux[good] / scale))
    power = "" if scale == 1.0 else f" / $10^{{{round(np.log10(scale))}}}$"
    ax.set_xlabel("vacuum wavelength (Å)")
    ax.set_ylabel(f"flux{power}" + (" (band: 1σ)" if spectrum.has_noise else ""))
    return ax


def draw_classification(result: Classification, ax: Axes | None = None) -> Axes:
    """Draw the spectrum of a result with the lines of its class at its redshift.

    Parameters
    ----------
    result : Classification
        With status "ok".
    ax : matplotlib.axes.Axes, optional
        A new figure's by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    SpecinferError
        ``no_matplotlib``, or ``nothing_to_plot`` for a failed result.
    """
    spectrum, answer = _contents(result)
    ax = draw_spectrum(spectrum, ax)
    low, high = ax.get_ylim()
    # Room for the names above the spectrum.
    ax.set_ylim(low, high + 0.44 * (high - low))
    # Where the lines are to be expected; the mean of an ambiguous p(z) is no such place.
    redshift = answer.candidates[0].redshift
    lines = [
        (line.name, line.wavelength * (1.0 + redshift)) for line in lines_of(answer.class_name)
    ]
    left, right = ax.get_xlim()
    inside = [(name, x) for name, x in lines if left < x < right]
    for _, x in inside:
        ax.axvline(x, color=MARK, linewidth=0.7, linestyle=(0, (4, 3)), alpha=0.6, ymax=0.68)
    draw_labels(
        ax, inside, distance=1.0 / 52.0, foot=0.68, head=0.725, color=MARK, rotation=90, fontsize=7
    )
    ax.set_xlabel(f"vacuum wavelength (Å), lines of {answer.class_name} at z = {redshift:.4f}")
    return ax


def _contents(result: Classification) -> tuple[Spectrum, Answer]:
    if result.spectrum is None or result.answer is None:
        message = (result.error or {}).get("message", "there is no spectrum in it")
        raise SpecinferError("nothing_to_plot", f"a failed result has no picture: {message}")
    return result.spectrum, result.answer


def _new_axes() -> Axes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _limits(values: FloatArray) -> tuple[float, float]:
    """Limits that a few wild pixels cannot stretch."""
    low, high = (float(x) for x in np.percentile(values, _ROBUST))
    margin = 0.12 * max(high - low, 1e-6 * max(abs(high), abs(low)), 1e-12)
    return low - margin, high + margin


def _marked(result: Classification, answer: SpectraNetAnswer) -> list[float]:
    """Where the lines fall on the network's grid, which is at rest if z was given."""
    factor = 1.0 if "Z_GIVEN" in answer.flags else 1.0 + answer.candidates[0].redshift
    return [line.wavelength * factor for line in lines_of(answer.class_name)]


def _title(result: Classification, spectrum: Spectrum) -> str:
    name = spectrum.object or (Path(spectrum.file).name if spectrum.file else "spectrum")
    parts = [name, f"{result.class_label} (P = {result.probability:.2f})"]
    if result.phase is not None:
        parts.append(f"phase {result.phase:+.0f} ± {result.phase_err or 0.0:.0f} d")
    if result.snr is not None:
        parts.append(f"S/N {result.snr:.1f}")
    parts.append(str(result.model))
    if result.decision is not None:
        parts.append(result.decision)
    # Dollar signs would start a formula.
    text = "   ".join(parts).replace("$", r"\$")
    return text + ("\n" + " ".join(result.flags) if result.flags else "")
