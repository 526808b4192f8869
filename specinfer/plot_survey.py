"""The pictures of the survey models.

Of a redshift scan: data and best fit, residual, chi2(z), the runner-up. Of a network alone:
the spectrum, what the network sees, P(class), p(z | family).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from specinfer.lines import lines_of
from specinfer.networks.gasnet2_answer import SubclassAnswer
from specinfer.networks.specpt_answer import SpecPTAnswer
from specinfer.networks.survey_answer import SurveyAnswer
from specinfer.plot_labels import draw_labels
from specinfer.plot_panels import (
    BAND,
    BAR,
    CONTINUUM,
    FLUX,
    MARK,
    draw_input,
    draw_probabilities,
)
from specinfer.zfind import Found
from specinfer.zlines import measure_lines
from specinfer.zscan import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from specinfer.result import Classification

FloatArray = NDArray[np.float64]

_COLOURS = {"GALAXY": "#3f77a8", "QSO": "#7a4b9a", "STAR": "#b5651d"}
_SECOND = "#2a8a78"
# The runner-up is shown where chi2 hardly tells the two apart.
_CLOSE = 0.02
# Lines with less are not named.
_LEAST_SNR = 3.0
# Beyond so many sigma a residual is drawn at the edge.
_MOST_SIGMA = 6.0


def fill_figure(figure: Figure, result: Classification) -> None:
    """Draw the panels of a survey model's answer into an empty figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    result : Classification
        Of GaSNet-II, GaSNet-III or both.
    """
    answer = result.answer
    if isinstance(answer, SpecPTAnswer):
        from specinfer.plot_specpt import fill_specpt

        fill_specpt(figure, result, answer)
        return
    if isinstance(answer, SubclassAnswer):
        _fill_subclass(figure, result, answer)
        return
    assert isinstance(answer, SurveyAnswer)
    grid = figure.add_gridspec(3, 2, height_ratios=[3.4, 1.3, 2.2])
    top = figure.add_subplot(grid[0, :])
    draw_fit(answer, top)
    residual = figure.add_subplot(grid[1, :], sharex=top)
    draw_residual(answer, residual)
    curves = answer.curves()
    draw_curves(answer.found, curves, figure.add_subplot(grid[2, 0]))
    draw_minimum(answer.found, curves, figure.add_subplot(grid[2, 1]))


def _fill_subclass(figure: Figure, result: Classification, answer: SubclassAnswer) -> None:
    from specinfer.plot import draw_classification

    grid = figure.add_gridspec(3, 2, height_ratios=[3.0, 1.8, 2.2])
    top = figure.add_subplot(grid[0, :])
    draw_classification(result, top)
    middle = figure.add_subplot(grid[1, :])
    middle.set_xlim(top.get_xlim())
    place = 1.0 + answer.candidates[0].redshift
    draw_input(answer, middle, [line.wavelength * place for line in lines_of(answer.class_name)])
    draw_probabilities(answer, figure.add_subplot(grid[2, 0]))
    draw_family_pdfs(answer, figure.add_subplot(grid[2, 1]))


def draw_family_pdfs(answer: SubclassAnswer, ax: Axes) -> None:
    """Draw p(z | family) of every family, as strong as the family is probable."""
    redshift = np.expm1(answer.ln1z)
    step = answer.ln1z[1] - answer.ln1z[0]
    for name, p in answer.family_pdfs.items():
        density = p / step / (1.0 + redshift)
        probability = answer.probabilities[name]
        label = f"{name} (P = {probability:.2f})"
        ax.plot(
            redshift, density / density.max(), color=_COLOURS.get(name, BAR), linewidth=1.0,
            alpha=max(0.2, probability), label=label,
        )  # fmt: skip
    if answer.redshift is not None:
        ax.axvline(answer.redshift, color=MARK, linewidth=1.0, linestyle=(0, (5, 2)))
        ax.set_title(f"z = {answer.redshift:.4f} ± {answer.redshift_err or 0.0:.4f}", fontsize=9)
    ax.set_xlabel("redshift")
    ax.set_ylabel("p(z | family), maximum 1")
    ax.legend(fontsize=7)


def draw_fit(answer: SurveyAnswer, ax: Axes) -> None:
    """Draw the spectrum, the best fit with its lines, and a runner-up that is close."""
    data, found = answer.data, answer.found
    best = found.fits[0]
    wavelength = 10.0**data.centres
    good = data.weight > 0
    flux = np.where(good, data.flux, np.nan)
    with np.errstate(divide="ignore"):
        sigma = np.where(good, 1.0 / np.sqrt(np.where(good, data.weight, 1.0)), np.nan)
    ax.fill_between(wavelength, flux - sigma, flux + sigma, color=BAND, linewidth=0, step="mid")
    ax.step(wavelength, flux, where="mid", color=FLUX, linewidth=0.5, alpha=0.75)
    ax.plot(
        wavelength, best.model, color=MARK, linewidth=1.1,
        label=f"{best.family} at z = {best.redshift:.5f}",
    )  # fmt: skip
    second = found.fits[1] if len(found.fits) > 1 else None
    if second is not None and found.degeneracy < _CLOSE:
        ax.plot(
            wavelength, second.model, color=_SECOND, linewidth=0.9, linestyle=(0, (4, 2)),
            label=f"next: {second.family} at z = {second.redshift:.5f}",
        )  # fmt: skip
    model = best.model[good]
    low, high = (float(f(model)) for f in (np.min, np.max))
    noise = float(np.nanmedian(sigma))
    span = max(high - low, 4.0 * noise, 1e-6)
    low, high = low - 0.1 * span - 2.0 * noise, high + 0.1 * span + 2.0 * noise
    # Room for the names above the spectrum.
    ax.set_ylim(low, high + 0.42 * (high - low))
    ax.set_xlim(float(wavelength[good][0]), float(wavelength[good][-1]))
    lines = measure_lines(data, best.family, best.redshift)
    named = [(line, abs(line.snr) >= _LEAST_SNR) for line in lines]
    for line, sure in named:
        ax.axvline(
            line.wavelength, color=MARK, linewidth=0.6, linestyle=(0, (4, 3)),
            alpha=0.5 if sure else 0.15, ymax=0.7,
        )  # fmt: skip
    labels = [(f"{line.name} {line.snr:.0f}σ", line.wavelength) for line, sure in named if sure]
    draw_labels(
        ax, labels, distance=1.0 / 55.0, foot=0.7, head=0.735, color=MARK, rotation=90, fontsize=7
    )
    ax.legend(loc="lower right", fontsize=8, framealpha=0.8)
    ax.set_ylabel("flux over its median (band: 1σ)")
    ax.tick_params(labelbottom=False)


def draw_residual(answer: SurveyAnswer, ax: Axes) -> None:
    """Draw data less best fit in units of sigma."""
    data, best = answer.data, answer.found.fits[0]
    good = data.weight > 0
    pull = np.where(good, (data.flux - best.model) * np.sqrt(data.weight), np.nan)
    wavelength = 10.0**data.centres
    ax.axhspan(-1.0, 1.0, color=BAND, linewidth=0, alpha=0.6)
    ax.plot(wavelength, np.clip(pull, -_MOST_SIGMA, _MOST_SIGMA), ".", markersize=1.6, color=FLUX)
    ax.axhline(0.0, color=CONTINUUM, linewidth=0.8)
    ax.set_ylim(-_MOST_SIGMA - 0.5, _MOST_SIGMA + 0.5)
    ax.set_ylabel("residual (σ)")
    ax.set_xlabel(
        f"vacuum wavelength (Å)      reduced χ² {answer.reduced_chi2:.2f} of {best.n_pixels} pixels"
    )


def draw_curves(found: Found, curves: Mapping[str, Curve], ax: Axes) -> None:
    """Draw chi2(z) of every family, with the best fits marked."""
    lowest = found.fits[0].chi2
    for name, curve in curves.items():
        colour = _COLOURS.get(name, BAR)
        if np.ptp(np.log1p(curve.redshift)) < 0.05:
            # A star has hardly any redshift: a point says all.
            i = int(np.nanargmin(curve.chi2))
            ax.plot(curve.redshift[i], curve.chi2[i] - lowest, "*", color=colour, label=name)
        else:
            ax.plot(curve.redshift, curve.chi2 - lowest, color=colour, linewidth=0.6, label=name)
    for rank, one in enumerate(found.fits[:3]):
        ax.plot(
            one.redshift, one.chi2 - lowest, "o", color=MARK, markersize=6 - rank, fillstyle="none"
        )
    # Small differences and large ones in one picture.
    ax.set_yscale("symlog", linthresh=30.0)
    ax.set_ylim(
        bottom=min(-3.0, *(float(np.nanmin(c.chi2)) - lowest for c in found.curves.values()))
    )
    ax.set_xlabel("redshift")
    ax.set_ylabel("χ² above the best fit")
    ax.legend(fontsize=7, loc="lower right")


def draw_minimum(found: Found, curves: Mapping[str, Curve], ax: Axes) -> None:
    """Draw chi2(z) around the best fit, with its error, and list the best fits."""
    best = found.fits[0]
    curve = curves[best.family]
    step = float(np.median(np.diff(np.log1p(curve.redshift))))
    near = np.abs(np.log1p(curve.redshift) - np.log1p(best.redshift)) < 40.0 * step
    ax.plot(curve.redshift[near], curve.chi2[near] - best.chi2, ".-", color=BAR, markersize=3)
    ax.axvline(best.redshift, color=MARK, linewidth=1.0)
    ax.axvspan(
        best.redshift - best.redshift_err, best.redshift + best.redshift_err, color=MARK, alpha=0.15
    )
    ax.set_ylim(top=1.45 * ax.get_ylim()[1])
    rows = [
        f"{one.family}  z = {one.redshift:.5f}  Δχ² = {one.chi2 - best.chi2:.1f}"
        for one in found.fits[:3]
    ]
    ax.text(
        0.03, 0.97, "\n".join(rows), transform=ax.transAxes, va="top", fontsize=7,
        bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0},
    )  # fmt: skip
    ax.set_xlabel(f"redshift around the best ({best.family})")
    ax.set_ylabel("χ² above the best fit")
