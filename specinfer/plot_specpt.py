"""The picture of SpecPT: data and denoised spectrum with its lines, residual, P(class), p(z)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from specinfer.networks.specpt_answer import SpecPTAnswer
from specinfer.plot_labels import draw_labels
from specinfer.plot_panels import BAND, CONTINUUM, FLUX, MARK, draw_probabilities

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from specinfer.result import Classification

# Lines with less are not named.
_LEAST_SNR = 3.0
# Beyond so many sigma a residual is drawn at the edge.
_MOST_SIGMA = 6.0


def fill_specpt(figure: Figure, result: Classification, answer: SpecPTAnswer) -> None:
    """Draw the panels into an empty figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    result : Classification
    answer : SpecPTAnswer
        Of the result.
    """
    from specinfer.plot_survey import draw_family_pdfs

    grid = figure.add_gridspec(3, 2, height_ratios=[3.4, 1.3, 2.2])
    top = figure.add_subplot(grid[0, :])
    draw_denoised(result, answer, top)
    draw_denoised_residual(answer, figure.add_subplot(grid[1, :], sharex=top))
    draw_probabilities(answer, figure.add_subplot(grid[2, 0]))
    draw_family_pdfs(answer, figure.add_subplot(grid[2, 1]))


def draw_denoised(result: Classification, answer: SpecPTAnswer, ax: Axes) -> None:
    """Draw the spectrum as read, what SpecPT makes of it, and its lines at the redshift."""
    spectrum = result.spectrum
    assert spectrum is not None
    denoised = answer.denoised
    scale = float(np.median(np.abs(denoised.flux))) or 1.0
    good = spectrum.good
    flux = np.where(good, spectrum.flux, np.nan) / scale
    if spectrum.has_noise:
        with np.errstate(divide="ignore"):
            sigma = (
                np.where(good, 1.0 / np.sqrt(np.where(good, spectrum.ivar, 1.0)), np.nan) / scale
            )
        ax.fill_between(
            spectrum.wavelength, flux - sigma, flux + sigma, color=BAND, linewidth=0, step="mid"
        )
        noise = float(np.nanmedian(sigma))
    else:
        noise = float(np.nanstd(np.diff(flux))) / np.sqrt(2.0)
    ax.step(spectrum.wavelength, flux, where="mid", color=FLUX, linewidth=0.5, alpha=0.75)
    # A gap of the spectrum is a gap of the line.
    model = np.where(answer.prepared.valid, answer.reconstructed, np.nan) / scale
    ax.plot(answer.wavelength, model, color=MARK, linewidth=1.1, label="denoised")
    low, high = float(np.nanmin(model)), float(np.nanmax(model))
    span = max(high - low, 4.0 * noise, 1e-6)
    low, high = low - 0.1 * span - 2.0 * noise, high + 0.1 * span + 2.0 * noise
    # Room for the names above the spectrum.
    ax.set_ylim(low, high + 0.42 * (high - low))
    ax.set_xlim(float(denoised.wavelength[0]), float(denoised.wavelength[-1]))
    labels = []
    for line in _lines(result):
        place = line["wavelength"]
        ax.axvline(place, color=MARK, linewidth=0.6, linestyle=(0, (4, 3)), alpha=0.5, ymax=0.7)
        labels.append((f"{line['name']} {abs(line['snr']):.0f}σ", place))
    draw_labels(
        ax, labels, distance=1.0 / 55.0, foot=0.7, head=0.735, color=MARK, rotation=90, fontsize=7
    )
    ax.legend(loc="lower right", fontsize=8, framealpha=0.8)
    ax.set_ylabel("flux over its median" + (" (band: 1σ)" if spectrum.has_noise else ""))
    ax.tick_params(labelbottom=False)


def _lines(result: Classification) -> list[Mapping[str, Any]]:
    """Lines that are there; measured now, unless they were before."""
    if result.spectrum is None or not result.spectrum.has_noise:
        return []
    measured = result if result.lines is not None else result.with_lines()
    return [line for line in measured.lines or () if abs(line["snr"]) >= _LEAST_SNR]


def draw_denoised_residual(answer: SpecPTAnswer, ax: Axes) -> None:
    """Draw data less denoised spectrum in units of sigma, on the network's grid."""
    prepared = answer.prepared
    good = prepared.valid & (prepared.ivar > 0)
    pull = np.where(good, (prepared.flux - answer.reconstructed) * np.sqrt(prepared.ivar), np.nan)
    ax.axhspan(-1.0, 1.0, color=BAND, linewidth=0, alpha=0.6)
    shown = np.clip(pull, -_MOST_SIGMA, _MOST_SIGMA)
    ax.plot(answer.wavelength, shown, ".", markersize=1.6, color=FLUX)
    ax.axhline(0.0, color=CONTINUUM, linewidth=0.8)
    ax.set_ylim(-_MOST_SIGMA - 0.5, _MOST_SIGMA + 0.5)
    ax.set_ylabel("residual (σ)")
    said = "no errors stated" if answer.misfit is None else f"misfit {answer.misfit:.2f}"
    ax.set_xlabel(f"vacuum wavelength (Å)      {said}, anomaly {answer.anomaly:.2f}")
