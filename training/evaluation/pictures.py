"""Pictures of a set of trials, for the model card; matplotlib is imported where it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.archive.labels import CLASSES
from training.evaluation.breakdown import SNR_BINS
from training.evaluation.report import FALSE_POSITIVES, Sample
from training.evaluation.trials import Trials

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = "pictures"
PICTURES = {
    "confusion.png": "Confusion matrix, a row a true class",
    "redshift.png": "Redshift against the true one, and its error",
    "roc.png": "SN Ia against the rest, with the operating point",
    "reliability.png": "Probabilities against how often they are right",
    "snr.png": "Accuracy and redshift error against the signal-to-noise ratio",
}
# Groups that are told apart by colour: three that are also told apart without it.
_GROUPS = (
    ("SN Ia", ("SN Ia",), "#0072b2", "o"),
    ("stripped envelope", ("SN Ib", "SN Ic", "SN Ic-BL", "SN IIb", "SN Ibn"), "#d55e00", "s"),
    ("hydrogen-rich", ("SN II", "SN IIn"), "#009e73", "^"),
)
_GREY = "#888888"
# Errors of the redshift are drawn to here, shares of false positives down to here.
_REACH, _LOWEST = 0.03, 5e-4


def write_pictures(folder: Path, trials: Trials, metrics: dict[str, Any]) -> list[Path]:
    """Draw all pictures of the main trials.

    Parameters
    ----------
    folder : Path
        Where they go; made if need be.
    trials : Trials
    metrics : dict
        Of `training.evaluate`: figures, curves and parts of these trials.

    Returns
    -------
    list of Path
    """
    import matplotlib as mpl

    drawings: dict[str, Callable[[], Figure]] = {
        "confusion.png": lambda: _confusion(metrics),
        "redshift.png": lambda: _redshift(trials, metrics),
        "roc.png": lambda: _roc(metrics),
        "reliability.png": lambda: _reliability(metrics),
        "snr.png": lambda: _snr(metrics),
    }
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(
        {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110}
    ):
        for name, draw in drawings.items():
            figure = draw()
            figure.savefig(folder / name, metadata={"Software": None})
            written.append(folder / name)
    return written


def new_figure(width: float, height: float) -> Figure:
    # Not pyplot: no global state, no window.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _subject(metrics: dict[str, Any]) -> str:
    block = metrics["sedm"]
    spectra, objects = block["n_spectra"], block["n_objects"]
    return f"{spectra:,} SEDM-like spectra of {objects} {metrics['part']} objects"


def _confusion(metrics: dict[str, Any]) -> Figure:
    classes = metrics["sedm_by_class"]
    names = [
        f"{name} ({classes[name]['n_objects']})" if name in classes else f"{name} (0)"
        for name in CLASSES
    ]
    return confusion_figure(metrics["sedm_confusion"], CLASSES, names, _subject(metrics))


def confusion_figure(
    counts: Sequence[Sequence[int]], classes: Sequence[str], rows: Sequence[str], subject: str
) -> Figure:
    """A confusion matrix: a row a true class, with its counts.

    Parameters
    ----------
    counts : sequence of sequence of int
    classes, rows : sequence of str
        Names of the answered and of the true classes.
    subject : str
        Of what.
    """
    table = np.array(counts)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure = new_figure(8.2, 7.0)
    axes: Axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), rows)
    for i, row in enumerate(table):
        for j, count in enumerate(row):
            if count:
                colour = "white" if share[i, j] > 0.55 else "black"
                axes.text(j, i, f"{count}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xlabel("answered class")
    axes.set_ylabel("true class (objects)")
    axes.set_title(f"{subject}: counts, coloured by share of the row", fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    return figure


def _redshift(trials: Trials, metrics: dict[str, Any]) -> Figure:
    sample = Sample(trials)
    figure = new_figure(7.0, 6.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1.0))
    for name, members, colour, marker in _GROUPS:
        mine = np.isin(trials.label, [CLASSES.index(member) for member in members])
        style = {"s": 7, "color": colour, "marker": marker, "alpha": 0.35, "linewidths": 0}
        truth = trials.redshift[mine]
        top.scatter(truth, trials.z[mine], **style)
        bottom.scatter(truth, np.clip(sample.dz[mine], -_REACH, _REACH), **style)
        top.scatter([], [], s=20, color=colour, marker=marker, label=f"{name}, {mine.sum():,}")
    high = float(trials.redshift[sample.grouped].max()) if sample.grouped.any() else 0.2
    top.plot([0, high], [0, high], color="black", lw=0.8, zorder=0)
    top.set_ylim(-0.02, 1.35 * high)
    top.set_ylabel("redshift of the network")
    block = metrics["sedm"]
    if block["redshift_rms"] is not None:
        top.set_title(
            f"{_subject(metrics)}, supernovae: RMS {block['redshift_rms'][0]:.4f}, "
            f"NMAD {block['redshift_nmad'][0]:.4f}",
            fontsize=9,
        )
    top.legend(frameon=False, loc="upper left")
    bottom.axhline(0.0, color="black", lw=0.8, zorder=0)
    bottom.set_ylim(-1.06 * _REACH, 1.06 * _REACH)
    bottom.set_ylabel("dz / (1+z)")
    bottom.set_xlabel(f"true redshift (errors beyond {_REACH:g} are drawn at the edge)")
    return figure


def _roc(metrics: dict[str, Any]) -> Figure:
    figure = new_figure(6.0, 4.6)
    axes: Axes = figure.subplots()
    block = metrics["sedm"]
    lowest = 0.5
    for key, name, colour, dash, area in (
        ("roc", "everything else", "#0072b2", "-", "ia_auc"),
        ("roc_supernovae", "other supernovae", "#d55e00", "--", "ia_auc_supernovae"),
    ):
        curve = metrics["sedm_curves"][key]
        if curve is None:
            continue
        lowest = min(lowest, curve["recall"][0])
        # Rates of 0 stand at the left edge of the logarithmic axis.
        rate = np.maximum(curve["false_positive_rate"], _LOWEST)
        axes.plot(
            rate,
            curve["recall"],
            color=colour,
            ls=dash,
            drawstyle="steps-post",
            label=f"Ia against {name}, area {block[area][0]:.3f}",
        )
    axes.axvline(FALSE_POSITIVES, color=_GREY, lw=0.8, ls=":", label="0.6 % false positives")
    decided, wrong = block["ia_decision_recall"], block["ia_decision_false_positive_rate"]
    if decided is not None and wrong is not None:
        axes.errorbar(
            max(wrong[0], _LOWEST),
            decided[0],
            xerr=_bars([wrong], _LOWEST),
            yerr=_bars([decided]),
            fmt="o",
            color="black",
            capsize=2,
            label="the card's threshold, 95 % intervals",
        )
    axes.set_xscale("log")
    axes.set_xlim(_LOWEST, 1.0)
    axes.set_ylim(max(0.0, lowest - 0.1), 1.02)
    axes.set_xlabel("share of the others above the threshold")
    axes.set_ylabel("share of SN Ia above the threshold")
    axes.set_title(_subject(metrics), fontsize=9)
    axes.legend(frameon=False, loc="lower right")
    return figure


def _reliability(metrics: dict[str, Any]) -> Figure:
    figure = new_figure(5.6, 5.6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.0, 1.0))
    top.plot([0, 1], [0, 1], color=_GREY, lw=0.8, ls=":")
    block = metrics["sedm"]
    for key, name, colour, marker, error in (
        ("reliability", "answered class", "#0072b2", "o", "calibration_error"),
        ("reliability_ia", "P(SN Ia)", "#d55e00", "s", "calibration_error_ia"),
    ):
        bins = np.array(metrics["sedm_curves"][key])
        label = f"{name}, expected calibration error {block[error][0]:.3f}"
        top.plot(bins[:, 0], bins[:, 1], marker=marker, ms=4, color=colour, label=label)
        bottom.plot(bins[:, 0], bins[:, 2], marker=marker, ms=4, color=colour)
    top.set_ylabel("how often it is right")
    top.set_xlim(0, 1)
    top.set_ylim(0, 1.02)
    top.legend(frameon=False, loc="lower right")
    top.set_title(_subject(metrics), fontsize=9)
    bottom.set_yscale("log")
    bottom.set_ylabel("spectra")
    bottom.set_xlabel("stated probability")
    return figure


def _snr(metrics: dict[str, Any]) -> Figure:
    figure = new_figure(7.2, 3.4)
    left, right = figure.subplots(1, 2)
    parts = metrics["sedm_by_snr"]
    centre = np.array([np.sqrt(low * high) for low, high in SNR_BINS])
    shares = (("three_way_accuracy", "three-way accuracy"), ("ia_recall", "Ia recall"))
    errors = (("redshift_rms", "RMS"), ("redshift_rms_ia", "RMS, Ia"), ("redshift_nmad", "NMAD"))
    for axes, curves in ((left, shares), (right, errors)):
        for number, (key, name) in enumerate(curves):
            _, _, colour, marker = _GROUPS[number]
            figures = [block[key] for block in parts.values()]
            known = np.array([figure is not None for figure in figures])
            kept = [figure for figure in figures if figure is not None]
            if not kept:
                continue
            # A little beside each other, so that the bars do not hide one another.
            axes.errorbar(
                centre[known] * 1.04 ** (number - 1),
                [value for value, _, _ in kept],
                yerr=_bars(kept),
                marker=marker,
                ms=4,
                color=colour,
                capsize=2,
                label=name,
            )
        axes.set_xscale("log")
        axes.set_xlim(4, 40)
        axes.set_xticks([4, 8, 15, 40], ["4", "8", "15", "40"])
        axes.minorticks_off()
        axes.set_xlabel("signal-to-noise ratio a pixel")
        # Above the axes: the bars may be anywhere inside.
        axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    left.set_ylabel("share of supernovae")
    right.set_ylabel("error of the redshift, dz / (1+z)")
    right.set_ylim(bottom=0.0)
    figure.suptitle(f"{_subject(metrics)}, 95 % intervals over objects", fontsize=9)
    return figure


def _bars(figures: list[list[float]], lowest: float = -np.inf) -> NDArray[np.float64]:
    """Error bars from figures with intervals, shape (2, n)."""
    bars = [
        (0.0, 0.0)
        if low is None
        else (max(max(value, lowest) - max(low, lowest), 0.0), max(high - value, 0.0))
        for value, low, high in figures
    ]
    return np.array(bars).T
