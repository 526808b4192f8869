"""Pictures of spectra and results. Needs matplotlib, which is imported when it is used."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import SpecinferError
from specinfer.lines import lines_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from specinfer.networks.spectranet import SpectraNetAnswer
    from specinfer.result import Classification
    from specinfer.spectrum import Spectrum

FloatArray = NDArray[np.float64]

_FLUX, _BAND, _CONTINUUM, _BAR, _MARK = "#1f3b57", "#b9c9d8", "#d1782b", "#3f77a8", "#9a2a2a"
_N_BARS = 8
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


def save(result: Classification, path: str | os.PathLike[str]) -> None:
    """Write the picture of a result to a file; folders are made as needed.

    Parameters
    ----------
    result : Classification
        With status "ok".
    path : path
        Ends in .png, .pdf or .svg.

    Raises
    ------
    SpecinferError
        If matplotlib is missing or the result holds no answer.
    OSError
        If the file cannot be written.
    """
    figure = make_figure(result)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the final file and then moved: nobody sees half a picture.
    partial = target.with_name(f".{target.name}.tmp")
    try:
        figure.savefig(partial, format=target.suffix.lstrip(".").lower(), dpi=110)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def make_figure(result: Classification) -> Figure:
    """The whole picture of a result.

    The spectrum as read with its errors and the main lines at the estimated redshift,
    the spectrum as the network saw it, the class probabilities, and p(z).

    Parameters
    ----------
    result : Classification
        With status "ok".

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
    figure = Figure(figsize=(11.0, 7.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 2, height_ratios=(3.2, 2.0, 2.2))
    top = figure.add_subplot(grid[0, :])
    draw_classification(result, top)
    middle = figure.add_subplot(grid[1, :])
    _draw_input(answer, middle, _marked(result, answer))
    _draw_probabilities(answer, figure.add_subplot(grid[2, 0]))
    _draw_redshift(answer, figure.add_subplot(grid[2, 1]))
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
            color=_BAND,
            linewidth=0,
        )
    ax.step(wavelength, flux / scale, where="mid", color=_FLUX, linewidth=0.9)
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
    places = spread_labels([x for _, x in inside], (right - left) / 52.0, left, right)
    for (name, x), place in zip(inside, places, strict=True):
        ax.axvline(x, color=_MARK, linewidth=0.7, linestyle=(0, (4, 3)), alpha=0.6, ymax=0.68)
        ax.annotate(
            name,
            xy=(x, 0.68),
            xytext=(place, 0.725),
            xycoords=("data", "axes fraction"),
            textcoords=("data", "axes fraction"),
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=7,
            color=_MARK,
            arrowprops={"arrowstyle": "-", "color": _MARK, "linewidth": 0.6, "alpha": 0.6},
            annotation_clip=False,
        )
    ax.set_xlabel(f"vacuum wavelength (Å), lines of {answer.class_name} at z = {redshift:.4f}")
    return ax


def spread_labels(
    positions: Sequence[float], distance: float, left: float, right: float
) -> list[float]:
    """Places for labels near given positions, at least `distance` apart.

    Parameters
    ----------
    positions : sequence of float
        Increasing.
    distance : float
        Smallest distance between two labels.
    left, right : float
        Labels stay between these, if there is room.

    Returns
    -------
    list of float
        Groups of labels that are too close are spread evenly about their mean.
    """
    groups: list[tuple[float, int]] = []
    for position in positions:
        groups.append((position, 1))
        while len(groups) > 1:
            (before, n), (last, m) = groups[-2], groups[-1]
            if last - before >= 0.5 * (n + m) * distance:
                break
            groups[-2:] = [_inside((before * n + last * m) / (n + m), n + m, distance, left, right)]
    places = []
    for centre, n in groups:
        middle, _ = _inside(centre, n, distance, left, right)
        places += [middle + (i - 0.5 * (n - 1)) * distance for i in range(n)]
    return places


def _inside(centre: float, n: int, distance: float, left: float, right: float) -> tuple[float, int]:
    half = 0.5 * n * distance
    return min(max(centre, left + half), max(right - half, left + half)), n


def _contents(result: Classification) -> tuple[Spectrum, SpectraNetAnswer]:
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


def _draw_input(answer: SpectraNetAnswer, ax: Axes, lines: Sequence[float]) -> None:
    valid = answer.prepared.valid
    values = np.where(valid, answer.prepared.input[0], np.nan)
    wavelength = answer.wavelength
    ax.axhline(0.0, color=_CONTINUUM, linewidth=0.8)
    ax.step(wavelength, values, where="mid", color=_FLUX, linewidth=0.9)
    low, high = float(wavelength[valid][0]), float(wavelength[valid][-1])
    ax.set_xlim(low, high)
    for x in lines:
        if low < x < high:
            ax.axvline(x, color=_MARK, linewidth=0.6, linestyle=(0, (4, 3)), alpha=0.45)
    frame = "rest-frame wavelength" if "Z_GIVEN" in answer.flags else "vacuum wavelength"
    ax.set_xlabel(f"{frame} (Å)")
    ax.set_ylabel("as the network sees it")


def _draw_probabilities(answer: SpectraNetAnswer, ax: Axes) -> None:
    best = sorted(answer.probabilities.items(), key=lambda item: -item[1])[:_N_BARS]
    names = [name for name, _ in best]
    values = [value for _, value in best]
    rows = np.arange(len(best))
    inside = set(answer.prediction_set)
    colours = [_BAR if name in inside else _BAND for name in names]
    ax.barh(rows, values, color=colours, height=0.72)
    for row, value in zip(rows, values, strict=True):
        ax.text(min(value + 0.015, 1.0), float(row), f"{value:.3f}", va="center", fontsize=7)
    ax.set_yticks(rows, names, fontsize=8)
    ax.invert_yaxis()
    ax.set_xlim(0.0, 1.12)
    ax.set_xticks([0.0, 0.25, 0.5, 0.75, 1.0])
    ax.set_xlabel("probability (dark: in the prediction set)")


def _draw_redshift(answer: SpectraNetAnswer, ax: Axes) -> None:
    ax.set_xlabel("redshift")
    ax.set_ylabel("p(z)")
    if "Z_GIVEN" in answer.flags:
        ax.axvline(answer.redshift, color=_MARK)
        ax.set_xlim(answer.redshift - 0.05, answer.redshift + 0.05)
        ax.set_yticks([])
        ax.set_title(f"z = {answer.redshift:.4f} was given", fontsize=9)
        return
    redshift: FloatArray = np.expm1(answer.ln1z)
    # Probability a bin of ln(1+z) to density in z: dz = (1+z) dln(1+z).
    density = answer.redshift_pdf / (answer.ln1z[1] - answer.ln1z[0]) / (1.0 + redshift)
    ax.fill_between(redshift, density, color=_BAND, linewidth=0)
    ax.plot(redshift, density, color=_FLUX, linewidth=0.9)
    ax.axvline(answer.redshift, color=_MARK, linewidth=1.0)
    error = answer.redshift_err or 0.0
    ax.axvspan(answer.redshift - error, answer.redshift + error, color=_MARK, alpha=0.12)
    # What holds all but a hundredth of the probability, and the estimate.
    total = np.cumsum(answer.redshift_pdf)
    low, high = (float(np.interp(q, total, redshift)) for q in (0.005, 0.995))
    pad = max(0.15 * (high - low), 0.005)
    ax.set_xlim(
        max(min(low, answer.redshift) - pad, float(redshift[0])),
        min(max(high, answer.redshift) + pad, float(redshift[-1])),
    )
    ax.set_ylim(bottom=0.0)
    ax.set_title(f"z = {answer.redshift:.4f} ± {error:.4f}", fontsize=9)


def _title(result: Classification, spectrum: Spectrum) -> str:
    name = spectrum.object or (Path(spectrum.file).name if spectrum.file else "spectrum")
    parts = [name, f"{result.class_name} (P = {result.probability:.2f})"]
    if result.phase is not None:
        parts.append(f"phase {result.phase:+.0f} ± {result.phase_err or 0.0:.0f} d")
    if result.snr is not None:
        parts.append(f"S/N {result.snr:.1f}")
    parts.append(str(result.model))
    # Dollar signs would start a formula.
    text = "   ".join(parts).replace("$", r"\$")
    return text + ("\n" + " ".join(result.flags) if result.flags else "")
