"""The model card for people: README.md of a model folder, made from card.json.

The project's own README shows a few of the figures, between two marks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.card import read_card

COMMAND = "python -m training.evaluate exported_models/{name} --part {part} --count {count} --write"
_KINDS = {
    "sedm": "SEDM-like, SNR 4-40, no host light, every object equally often",
    "sedm_host": "the same with 0-70 % host light in every transient",
    "sedm_unfiltered": "as *sedm*, with the spectra in whose stated redshift is denied",
    "sedm_by_spectrum": "SEDM-like, SNR 4-40, no host light, every archive spectrum three times",
    "as_observed": "archive spectra as they were observed (own redshift, resolution and noise)",
}
_FIGURES = {
    "three_way_accuracy": "three-way accuracy (Ia / Ib, Ic, Ic-BL, IIb, Ibn / II, IIn)",
    "three_way_balanced": "three-way accuracy, mean of the three groups",
    "accuracy": "accuracy, 14 classes",
    "balanced_accuracy": "balanced accuracy, 14 classes",
    "ia_recall": "Ia recall",
    "ia_false_positive_rate": "other supernovae called Ia",
    "redshift_rms": "redshift RMS of dz/(1+z), supernovae",
    "redshift_rms_ia": "redshift RMS, Ia",
    "redshift_nmad": "redshift NMAD",
    "redshift_outliers": "redshift outliers, over 0.02",
    "redshift_within_1_sigma": "redshifts within 1 sigma",
    "redshift_within_2_sigma": "redshifts within 2 sigma",
    "phase_rms_days": "phase RMS, days",
    "phase_within_1_sigma": "phases within 1 sigma",
    "set_coverage": "prediction sets that hold the true class",
    "set_size": "classes in a prediction set",
    "calibration_error": "expected calibration error",
}


_SUMMARY = (
    "three_way_accuracy",
    "ia_recall",
    "ia_false_positive_rate",
    "redshift_rms",
    "redshift_nmad",
    "set_coverage",
)
_MARKS = ("<!-- figures -->", "<!-- /figures -->")


def summary(card: dict[str, Any]) -> str:
    """A few figures of a card as Markdown, with the command that measured them."""
    metrics = card["metrics"]
    shown = ("sedm", "sedm_unfiltered", "sedm_by_spectrum", "sedm_host", "as_observed")
    blocks = [metrics[kind] for kind in shown]
    lines = [
        f"| {metrics['part']} objects, 95 % intervals over objects | SEDM-like | unfiltered "
        "| by spectrum | with host light | as observed |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| spectra / objects | {' | '.join(_counts(block) for block in blocks)} |",
    ]
    for key in _SUMMARY:
        cells = " | ".join(cell(block[key]) for block in blocks)
        lines.append(f"| {_FIGURES[key]} | {cells} |")
    base = metrics["baselines"]
    return "\n".join(
        [
            *lines,
            "",
            "SEDM-like: simulated from spectra of objects that took no part in training or "
            "calibration, every object equally often, SNR 4-40, redshift unknown and, for most "
            "supernovae, uniform in 0-0.2, close to what the last stage of training draws. "
            "Unfiltered: with the archive spectra in whose stated redshift their features deny. "
            "By spectrum: every archive spectrum three times. With host light: 0-70 % of it "
            "galaxy. As observed: the archive's own spectra. An answer that looks at no pixel has "
            "a three-way "
            f"accuracy of {base['three_way_constant']:.3f} and a redshift RMS of "
            f"{base['redshift_rms_constant']:.3f}. Measured by",
            "",
            "```bash",
            metrics["command"],
            "```",
        ]
    )


def write_summary(path: Path, card: dict[str, Any]) -> None:
    """Put the summary of a card between the marks of a README."""
    text = path.read_text()
    start, end = (text.index(mark) for mark in _MARKS)
    text = text[: start + len(_MARKS[0])] + "\n" + summary(card) + "\n" + text[end:]
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _counts(block: dict[str, Any]) -> str:
    return f"{block['n_spectra']:,} / {block['n_objects']}"


def write_readme(folder: Path) -> None:
    """Write README.md from the folder's card; every number in it is the card's."""
    card = read_card(folder)
    temporary = folder / "README.md.tmp"
    temporary.write_text("\n".join(_lines(card)) + "\n")
    temporary.replace(folder / "README.md")


def _lines(card: dict[str, Any]) -> list[str]:
    training, metrics = card["training"], card["metrics"]
    lines = [
        f"# {card['name']} {card['version']}",
        "",
        f"{card['task'].capitalize()}. Licence {card['licence']}.",
        "",
        f"Trained on two CPU cores: {_stages(training['stages'])}. Split by object in "
        f"`{training['split']}` (sha256 `{training['split_sha256'][:16]}`).",
        "",
        "## Objects behind each class",
        "",
        "| class | train | validation | test |",
        "| --- | --- | --- | --- |",
    ]
    for name in card["classes"]:
        counts = [str(training["objects"][part][name]) for part in ("train", "validation", "test")]
        lines.append(f"| {name} | {' | '.join(counts)} |")
    lines += ["", f"## Figures on {metrics['part']} objects", ""]
    lines += [
        f"Measured by `{metrics['command']}`; brackets are 95 % intervals over objects. Archive "
        "spectra whose stated redshift their own features deny are left out "
        "(`training/splits/contradicted-1.json`, see `training/README.md`).",
        "",
    ]
    kinds = [kind for kind in _KINDS if kind in metrics]
    lines += [f"- **{kind}**: {_KINDS[kind]}" for kind in kinds]
    lines += ["", "| | " + " | ".join(kinds) + " |", "| --- |" + " --- |" * len(kinds)]
    for key, words in _COUNTS:
        lines.append(f"| {words} | " + " | ".join(str(metrics[k][key]) for k in kinds) + " |")
    for key, words in _FIGURES.items():
        lines.append(f"| {words} | " + " | ".join(cell(metrics[k][key]) for k in kinds) + " |")
    base = metrics["baselines"]
    lines += [
        "",
        f"Without looking at the spectrum (on *sedm*): always Ia {base['three_way_constant']:.3f}; "
        f"always the median redshift, RMS {base['redshift_rms_constant']:.4f}; the median redshift "
        f"of the true class, RMS {base['redshift_rms_class_median']:.4f}.",
        "",
        "### By signal-to-noise ratio (*sedm*, supernovae)",
        "",
        "| SNR | spectra | three-way accuracy | redshift RMS | NMAD |",
        "| --- | --- | --- | --- | --- |",
    ]
    for snr, block in metrics["sedm_by_snr"].items():
        cells = (cell(block[k]) for k in ("three_way_accuracy", "redshift_rms", "redshift_nmad"))
        lines.append(f"| {snr} | {block['n_spectra']} | {' | '.join(cells)} |")
    lines += ["", "### By class (*sedm*)", "", "| class | objects | spectra | recall | precision |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for name, block in metrics["sedm_by_class"].items():
        lines.append(
            f"| {name} | {block['n_objects']} | {block['n_spectra']} | {cell(block['recall'])} | "
            f"{cell(block['precision'])} |"
        )
    return [*lines, "", "## Data and citations", "", *(f"- {item}" for item in card["citations"])]


_COUNTS = (
    ("n_spectra", "spectra"),
    ("n_objects", "objects"),
    ("left_out", "spectra besides that are refused: too little coverage"),
)


def _stages(stages: list[dict[str, Any]]) -> str:
    return ", then ".join(
        f"`{stage['recipe']}` (seed {stage['seed']}, {stage['steps']} steps, "
        f"{stage['seconds'] / 60:.0f} minutes)"
        for stage in stages
    )


def cell(value: Any) -> str:
    """A figure with its interval, a count, or a dash, for a table."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return f"{value[0]:.4g} [{value[1]:.4g}, {value[2]:.4g}]"
    return str(value)
