"""The model card for people: README.md of a model folder, made from card.json.

The project's own README shows a few of the figures, between two marks.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from training.card import read_card
from training.evaluation.pictures import FOLDER, PICTURES

COMMAND = "python -m training.evaluate exported_models/{name} --part {part} --count {count} --write"
_FIGURES = {
    "three_way_accuracy": "three-way accuracy (Ia / Ib, Ic, Ic-BL, IIb, Ibn / II, IIn)",
    "three_way_balanced": "three-way accuracy, mean of the three groups",
    "accuracy": "accuracy, 14 classes",
    "balanced_accuracy": "balanced accuracy, 14 classes",
    "balanced_accuracy_many": "balanced accuracy, classes with at least 5 objects",
    "macro_f1": "macro-F1, 14 classes",
    "macro_f1_many": "macro-F1, classes with at least 5 objects",
    "ia_recall": "Ia recall, most probable class",
    "ia_false_positive_rate": "stripped and hydrogen-rich supernovae called Ia",
    "ia_false_positive_rate_rest": "everything but Ia called Ia",
    "ia_auc": "area under the ROC curve, Ia against the rest",
    "ia_auc_supernovae": "area under the ROC curve, Ia against other supernovae",
    "ia_decision_recall": "Ia recall at the card's threshold",
    "ia_decision_false_positive_rate": "everything but Ia above the card's threshold",
    "ia_decision_false_positive_rate_supernovae": "other supernovae above the card's threshold",
    "ia_roc_recall": "Ia recall where these spectra's ROC has 0.6 % of the rest",
    "ia_roc_recall_supernovae": "Ia recall where it has 0.6 % of the other supernovae",
    "auto_share": "decided without a human (*auto*)",
    "auto_ia_recall": "Ia decided *auto*",
    "auto_false_positive_rate": "everything but Ia decided *auto*",
    "auto_purity": "Ia among those decided *auto*",
    "redshift_rms": "redshift RMS of dz/(1+z), supernovae",
    "redshift_rms_constant": "the same of the median redshift for all",
    "redshift_rms_class_median": "the same of the median redshift of the true class",
    "redshift_rms_ia": "redshift RMS, Ia",
    "redshift_rms_class_median_ia": "the same of the median redshift of Ia",
    "redshift_nmad": "redshift NMAD, supernovae",
    "redshift_nmad_ia": "redshift NMAD, Ia",
    "redshift_outliers": "redshift outliers, over 0.02, supernovae",
    "redshift_outliers_ia": "redshift outliers, over 0.02, Ia",
    "redshift_within_68": "redshifts inside their 68 % interval",
    "redshift_within_95": "redshifts inside their 95 % interval",
    "redshift_within_1_sigma": "redshifts within 1 sigma",
    "redshift_within_2_sigma": "redshifts within 2 sigma",
    "phase_rms_days": "phase RMS, days",
    "phase_rms_constant": "the same of the median phase for all",
    "phase_nmad_days": "phase NMAD, days",
    "phase_within_68": "phases inside their 68 % interval",
    "phase_within_95": "phases inside their 95 % interval",
    "phase_rms_days_ia": "phase RMS, Ia, days",
    "phase_rms_constant_ia": "the same of the median phase of Ia",
    "phase_nmad_days_ia": "phase NMAD of Ia, days",
    "phase_within_68_ia": "phases of Ia inside their 68 % interval",
    "phase_within_95_ia": "phases of Ia inside their 95 % interval",
    "phase_rms_days_cc": "phase RMS, core collapse, days",
    "phase_rms_constant_cc": "the same of the median phase of core collapse",
    "phase_nmad_days_cc": "phase NMAD of core collapse, days",
    "phase_within_68_cc": "phases of core collapse inside their 68 % interval",
    "phase_within_95_cc": "phases of core collapse inside their 95 % interval",
    "phase_within_1_sigma": "phases within 1 sigma",
    "set_coverage": "prediction sets that hold the true class",
    "set_size": "classes in a prediction set",
    "class_set_coverage": "prediction sets by class that hold the true class",
    "class_set_size": "classes in a prediction set by class",
    "calibration_error": "expected calibration error",
    "calibration_error_ia": "expected calibration error of P(SN Ia)",
    "subtype_accuracy": "subtype of Ia, accuracy",
    "subtype_balanced_accuracy": "subtype of Ia, balanced accuracy",
    "host_share_rms": "share of host light, RMS error",
    "host_share_bias": "share of host light, mean error",
    "host_flagged": "transients flagged HOST_DOMINATED",
    "novel_false_alarms": "spectra of known classes flagged NOVEL",
}
_COUNTS = (
    ("n_spectra", "spectra"),
    ("n_objects", "objects"),
    ("left_out", "spectra besides that are refused: too little coverage, or no host to add"),
)
_SUMMARY_KINDS = (
    "sedm",
    "sedm_host_30",
    "sedm_host_60",
    "sedm_4000_7500",
    "sedm_by_spectrum",
    "as_observed",
)
_SUMMARY = (
    "three_way_accuracy",
    "balanced_accuracy_many",
    "ia_recall",
    "ia_false_positive_rate",
    "ia_decision_recall",
    "ia_decision_false_positive_rate",
    "redshift_rms",
    "redshift_rms_ia",
    "redshift_nmad",
    "redshift_within_68",
    "set_coverage",
)
_PARTS = (
    ("three_way_accuracy", "three-way accuracy"),
    ("ia_recall", "Ia recall"),
    ("redshift_rms", "redshift RMS"),
    ("redshift_rms_ia", "redshift RMS, Ia"),
    ("redshift_nmad", "NMAD"),
    ("redshift_within_68", "in 68 % interval"),
    ("phase_rms_days", "phase RMS, days"),
)
_CLASS = (
    ("recall", "recall"),
    ("precision", "precision"),
    ("f1", "F1"),
    ("set_coverage", "in prediction set"),
    ("set_size", "set size"),
    ("class_set_coverage", "in set by class"),
    ("class_set_size", "its size"),
)
_COMPARED = (
    ("three_way_accuracy", "three-way accuracy"),
    ("accuracy", "accuracy"),
    ("balanced_accuracy_many", "balanced accuracy"),
    ("ia_against_rest", "Ia against the rest"),
    ("ia_recall", "Ia recall"),
    ("redshift_rms", "redshift RMS"),
    ("redshift_rms_ia", "redshift RMS, Ia"),
    ("redshift_nmad", "NMAD"),
)
_MARKS = ("<!-- figures -->", "<!-- /figures -->")


def summary(card: dict[str, Any]) -> str:
    """A few figures of a card as Markdown, with the command that measured them."""
    metrics = card["metrics"]
    kinds = metrics["kinds"]
    shown = [kind for kind in _SUMMARY_KINDS if kind in kinds]
    blocks = [metrics[kind] for kind in shown]
    words = "; ".join(_said(*kinds[kind]) for kind in shown)
    return "\n".join(
        [
            *_head(
                f"{metrics['part']} objects, 95 % intervals over objects",
                [kinds[kind][0] for kind in shown],
            ),
            f"| spectra / objects | {' | '.join(_counts(block) for block in blocks)} |",
            *_rows({key: _FIGURES[key] for key in _SUMMARY}, blocks),
            "",
            "Simulated, but for those as observed, from spectra of objects that took no part in "
            "training or calibration, at an unknown redshift that is uniform in 0-0.2 for most "
            f"supernovae. {words}. {_blind(metrics)} Measured by",
            "",
            "```bash",
            metrics["command"],
            "```",
        ]
    )


def _said(heading: str, words: str) -> str:
    """What a column shows; a heading that the words begin with is not said twice."""
    words = words.replace("*", "")
    return words if words.startswith(heading) else f"{heading}: {words}"


def write_summary(path: Path, card: dict[str, Any]) -> None:
    """Put the summary of a card between the marks of a README."""
    text = path.read_text()
    start, end = (text.index(mark) for mark in _MARKS)
    text = text[: start + len(_MARKS[0])] + "\n" + summary(card) + "\n" + text[end:]
    _replace(path, text)


def write_readme(folder: Path) -> None:
    """Write README.md from the folder's card; every number in it is the card's."""
    pictures = [name for name in PICTURES if (folder / FOLDER / name).is_file()]
    _replace(folder / "README.md", "\n".join(_lines(read_card(folder), pictures)) + "\n")


def cell(value: Any) -> str:
    """A figure with its interval, a count, or a dash, for a table."""
    if value is None:
        return "-"
    if isinstance(value, list):
        if value[1] is None:
            # One object alone has no interval.
            return f"{value[0]:.4g} [?]"
        return f"{value[0]:.4g} [{value[1]:.4g}, {value[2]:.4g}]"
    return str(value)


def _lines(card: dict[str, Any], pictures: list[str]) -> list[str]:
    training, metrics = card["training"], card["metrics"]
    lines = [
        f"# {card['name']} {card['version']}",
        "",
        f"{card['task'].capitalize()}. Licence {card['licence']}.",
        "",
        f"Trained on two CPU cores: {_members(training['members'])}. Split by object in "
        f"`{training['split']}` (sha256 `{training['split_sha256'][:16]}`).",
        "",
        "## Objects behind each class",
        "",
        *_head("class", ["train", "validation", "test"]),
    ]
    for name in card["classes"]:
        counts = [str(training["objects"][part][name]) for part in ("train", "validation", "test")]
        lines.append(f"| {name} | {' | '.join(counts)} |")
    kinds = metrics["kinds"]
    blocks = [metrics[kind] for kind in kinds]
    lines += [
        "",
        f"## Figures on {metrics['part']} objects",
        "",
        f"Measured by `{metrics['command']}`; brackets are 95 % intervals over objects, [?] where "
        f"there is one object alone. {_blind(metrics)}",
        "",
        *(f"- **{kind}**: {words}" for kind, (_, words) in kinds.items()),
        "",
        *_head("", list(kinds)),
    ]
    for key, words in _COUNTS:
        lines.append(f"| {words} | " + " | ".join(str(block[key]) for block in blocks) + " |")
    lines += _rows(_FIGURES, blocks)
    lines += _decision(card)
    lines += _pictures(pictures)
    for key, title, head in (
        ("sedm_by_snr", "By signal-to-noise ratio (*sedm*, supernovae)", "SNR"),
        ("sedm_by_phase", "By phase (*sedm*, supernovae)", "days from maximum"),
    ):
        lines += _table(title, head, metrics.get(key), _PARTS)
    lines += _table("By class (*sedm*)", "class", metrics.get("sedm_by_class"), _CLASS)
    subtypes = (metrics.get("sedm_subtypes") or {}).get("by_subtype")
    lines += _table("Subtypes of SN Ia, given that it is one (*sedm*)", "subtype", subtypes, _CLASS)
    lines += _comparison(metrics.get("comparison"))
    return [*lines, "", "## Data and citations", "", *(f"- {item}" for item in card["citations"])]


def _head(first: str, others: Iterable[str]) -> list[str]:
    cells = [first, *others]
    return ["| " + " | ".join(cells) + " |", "| --- " * len(cells) + "|"]


def _rows(figures: dict[str, str], blocks: list[dict[str, Any]]) -> list[str]:
    """A row a figure that any of the blocks has."""
    return [
        f"| {words} | " + " | ".join(cell(block.get(key)) for block in blocks) + " |"
        for key, words in figures.items()
        if any(block.get(key) is not None for block in blocks)
    ]


def _table(
    title: str, head: str, parts: dict[str, Any] | None, columns: tuple[tuple[str, str], ...]
) -> list[str]:
    """A section with a row a part, and the columns that any part has."""
    if not parts:
        return []
    used = [
        (key, words)
        for key, words in columns
        if any(block.get(key) is not None for block in parts.values())
    ]
    lines = ["", f"### {title}", ""]
    lines += _head(head, ["objects", "spectra", *(words for _, words in used)])
    for name, block in parts.items():
        counts = f"{cell(block.get('n_objects'))} | {block['n_spectra']}"
        lines.append(f"| {name} | {counts} | " + _cells(block, used) + " |")
    return lines


def _cells(block: dict[str, Any], columns: Iterable[tuple[str, str]]) -> str:
    return " | ".join(cell(block.get(key)) for key, _ in columns)


def _blind(metrics: dict[str, Any]) -> str:
    """What answers that look at no pixel score."""
    base = metrics["baselines"]
    return (
        "An answer that looks at no pixel has a three-way accuracy of "
        f"{base['three_way_constant']:.3f} (always Ia) and a redshift RMS of "
        f"{base['redshift_rms_constant']:.4f} (always the median), "
        f"{base['redshift_rms_class_median']:.4f} with the median of the true class."
    )


def _decision(card: dict[str, Any]) -> list[str]:
    lines = []
    for decision in card.get("decisions") or []:
        lines += [
            "",
            f"*auto*: P({decision['class']}) of at least {decision['threshold']:.4g}, which "
            f"{100 * decision['false_positive_rate']:.2g} % of the other validation spectra "
            "reach, and no flag against it.",
        ]
    return lines


def _pictures(names: list[str]) -> list[str]:
    if not names:
        return []
    lines = ["", "### Pictures (*sedm*)"]
    for name in names:
        lines += ["", f"![{PICTURES[name]}]({FOLDER}/{name})"]
    return lines


def _comparison(block: dict[str, Any] | None) -> list[str]:
    """The baselines of ``python -m benchmarks.accuracy``, where it wrote them down."""
    if not block:
        return []
    lines = [
        "",
        "### Beside other methods, on the same spectra",
        "",
        f"Measured by `{block['command']}` on {block['n_spectra']} spectra of "
        f"{block['n_objects']} {block['part']} objects (*sedm*).",
        "",
        *_head("method", [*(words for _, words in _COMPARED), "ms a spectrum"]),
    ]
    for name, method in block["methods"].items():
        cost = method.get("milliseconds")
        lines.append(
            f"| {name} | {_cells(method, _COMPARED)} | {'-' if cost is None else f'{cost:.2g}'} |"
        )
    published = ", ".join(f"{name} {value:.3f}" for name, value in block["published"].items())
    return [
        *lines,
        "",
        f"*Ia against the rest* is over {block['n_transient_spectra']} spectra of transients, of "
        f"which {100 * block['ia_share']:.0f} % are Ia. Published for 4,646 observed SEDM spectra "
        f"(Kim et al. 2024, arXiv:2410.10963), which are not ours: {published}.",
    ]


def _counts(block: dict[str, Any]) -> str:
    return f"{block['n_spectra']:,} / {block['n_objects']}"


def _members(members: list[dict[str, Any]]) -> str:
    return " and ".join(
        f"`{member['recipe']}` (seed {member['seed']}, {member['steps']} steps, "
        f"{member['seconds'] / 60:.0f} minutes)"
        for member in members
    )


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)
