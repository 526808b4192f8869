"""Learning curves of a run as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

from training.evaluation.pictures import new_figure

# Columns of the log by panel, with what they are called.
_PANELS = {
    "misfit of the reconstruction": {
        "reconstruction_loss": "training", "hidden": "hidden patches", "shown": "what is shown",
        "untouched": "the spectra as they are",
    },
    "loss": {"class_loss": "class", "redshift_loss": "redshift"},
    "redshift, validation": {
        "nmad_galaxy": "NMAD, galaxies", "nmad_qso": "NMAD, quasars",
        "outliers_galaxy": "outliers (> 0.15), galaxies", "outliers_qso": "outliers, quasars",
    },
}  # fmt: skip


def draw_curves(log: Path, picture: Path, pretrain_steps: int) -> None:
    """Draw the columns of a log against the step.

    Parameters
    ----------
    log : Path
        As `training.train_specpt` writes it.
    picture : Path
        PNG; replaced.
    pretrain_steps : int
        Where the heads come in.
    """
    with log.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    figure = new_figure(10.5, 3.3)
    for place, (title, columns) in enumerate(_PANELS.items(), start=1):
        axes = figure.add_subplot(1, len(_PANELS), place)
        for column, label in columns.items():
            points = [(int(row["step"]), float(row[column])) for row in rows if row[column]]
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(x, y, label=label, lw=1.1)
        axes.axvline(pretrain_steps, color="0.7", ls=":", lw=1)
        axes.set(title=title, xlabel="step")
        if axes.lines[:-1]:
            axes.set_yscale("log")
            axes.legend(fontsize=7)
    temporary = picture.with_suffix(".tmp.png")
    figure.savefig(temporary, dpi=110)
    temporary.replace(picture)
