"""The model card for people of a survey model: README.md, made from card.json."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from training.archive.split import PARTS
from training.archive.subclasses import FAMILIES
from training.card import read_card
from training.evaluation.specpt_readme import curves_lines, specpt_lines, trial_lines

COMMAND = (
    "python -m training.{module} exported_models/{name} --part {part} --count {count} "
    "--noise-count {noise} --write"
)
_KINDS = {
    "real": "real SDSS/BOSS spectra",
    "real_4500_7500": "the same, 4500-7500 A alone",
    "simulated": "simulated survey spectra",
}


def write_survey_readme(folder: Path) -> None:
    """Write README.md beside the card."""
    card = read_card(folder)
    temporary = folder / "README.md.tmp"
    temporary.write_text("\n".join(lines(card)) + "\n")
    temporary.replace(folder / "README.md")


def lines(card: dict[str, Any]) -> Iterable[str]:
    """The README, line by line."""
    yield f"# {card['name']} {card['version']}"
    yield ""
    yield f"{card['task'][0].upper()}{card['task'][1:]}. Licence: {card['licence']}."
    yield ""
    yield "## What is in it"
    yield ""
    kinds = {"gasnet3": _scan, "gasnet2": _network, "specpt": _network, "survey": _combination}
    yield from kinds[card["family"]](card)
    for part, made in card.get("metrics", {}).items():
        yield from _part(card["name"], part, made)
    yield ""
    yield "## Data and citations"
    yield ""
    for citation in card["citations"]:
        yield f"- {citation}"


def _scan(card: dict[str, Any]) -> Iterable[str]:
    training = card["training"]
    yield "| family | eigen-spectra | redshifts | rows trained on | floor of the redshift error |"
    yield "| --- | ---: | --- | ---: | --- |"
    for name, block in card["scan"]["families"].items():
        yield (
            f"| {name} | {len(block['typical'])} | {block['redshift_min']} to "
            f"{block['redshift_max']} | {training['rows']['train'][name]} | "
            f"{_floors(block['error_floor'])} |"
        )
    yield ""
    yield _trained(training)


def _network(card: dict[str, Any]) -> Iterable[str]:
    training = card["training"]
    names = ", ".join(card["classes"])
    yield f"One network for {len(card['classes'])} classes ({names}) and p(z | family)."
    yield ""
    yield "| family | rows trained on | of validation | of test |"
    yield "| --- | ---: | ---: | ---: |"
    for name in FAMILIES:
        counts = " | ".join(str(training["rows"][part][name]) for part in PARTS)
        yield f"| {name} | {counts} |"
    yield ""
    yield _trained(training)
    if card["family"] == "specpt":
        yield from curves_lines(card)
        if "in_combination" in card:
            yield from trial_lines(card["in_combination"])


def _combination(card: dict[str, Any]) -> Iterable[str]:
    members = " and ".join(f"{one['name']} {one['version']}" for one in card["members"].values())
    block = card["combination"]
    fitted = card["training"]["fitted_on"]
    yield (
        f"{members}: the network proposes families and windows of redshift, the scan decides; a "
        f"conditional logit with {sum(len(x) for x in block['weights'].values())} weights says "
        "how likely class and redshift are both right (`reliability`)."
    )
    yield ""
    yield (
        f"Fitted by `python -m training.calibrate_auto` on {fitted['searches']} searches of "
        f"validation objects ({fitted['simulated']} simulated spectra, {fitted['noise']} of "
        "nothing, and the real ones of validation and of the noise donors, whole and with "
        f"4500-7500 A alone). Answers less likely than {block['least_reliability']} carry "
        "UNRELIABLE."
    )
    for note in card.get("notes", ()):
        yield ""
        yield note


def _floors(stated: float | list[list[float]]) -> str:
    """The floors of a family's redshift errors over 1 + z, in words."""
    if isinstance(stated, float):
        return f"{stated:.1e}"
    if len(stated) == 1:
        return f"{stated[0][1]:.1e}"
    return ", ".join(f"{floor:.1e} at z = {redshift:g}" for redshift, floor in stated)


def _trained(training: dict[str, Any]) -> str:
    made = (
        f"Trained in {training['seconds']} s by `{training['recipe']}`; the real spectra are "
        f"split by object in `{training['split']}` (sha256 {training['split_sha256'][:16]})."
    )
    if "start" in training:
        made += (
            f" Training went on from `{training['start']}` (checkpoint sha256 "
            f"{training['start_sha256'][:16]})."
        )
    if "real" in training:
        share = training["real"]["share"]
        made += (
            f" Of every batch {100 * share:.0f} % are real spectra of part "
            f"{training['real']['part']!r}, the noise donors, moved in redshift, made noisier and "
            "cut; the others are simulated."
        )
    return made


def _part(name: str, part: str, made: dict[str, Any]) -> Iterable[str]:
    yield ""
    yield f"## Figures on {part} objects"
    yield ""
    module = "evaluate_specpt" if "specpt" in made else "evaluate_survey"
    noise = made["noise"]
    command = COMMAND.format(
        module=module, name=name, part=part, count=made["count"], noise=noise["n_spectra"]
    )
    yield f"Measured by `{command}`; brackets: 95 % intervals from resampling objects."
    yield ""
    yield (
        "| spectra | family | n (objects) | class | good redshift | median dz | robust pull | "
        "without a warning | of these off by > 0.01 |"
    )
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for key, what in _KINDS.items():
        for family in FAMILIES:
            if family in made[key]:
                yield _row(what, family, made[key][family])
        yield _row(what, "all", made[key])
    yield ""
    yield (
        "Good redshift: |dz|/(1+z) below 0.003 for galaxies, 0.01 for quasars and for all, 0.001 "
        "for stars. Robust pull: 1.4826 times the median of |dz| over its stated error."
    )
    if "specpt" in made:
        yield from specpt_lines(made["specpt"])
    if "subclasses" in made:
        yield from _subclasses(made["subclasses"], part)
    yield ""
    yield (
        f"Of {noise['n_spectra']} spectra without a source, {_percent(noise['unflagged'])} pass "
        "without a warning."
    )
    yield ""
    yield "Simulated spectra, by signal-to-noise ratio and redshift:"
    yield ""
    yield "| family | by | from | to | n | class | good redshift | without a warning |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for line in made["simulated"]["breakdown"]:
        to = "" if line["to"] > 1e6 else f"{line['to']:g}"
        yield (
            f"| {line['family']} | {line['by']} | {line['from']:g} | {to} | {line['n_spectra']} | "
            f"{_cell(line['class_accuracy'])} | {_cell(line['good_redshift'])} | "
            f"{_cell(line['unflagged'])} |"
        )


def _subclasses(block: dict[str, Any], part: str) -> Iterable[str]:
    value, low, high = block["average_accuracy"]
    yield ""
    yield (
        f"The thirteen classes of GaSNet-II (arXiv:2311.04146) on {block['n_spectra']} simulated "
        f"spectra of {block['n_objects']} objects at their own redshift and signal-to-noise "
        f"ratio: average recall {value:.3f} ({low:.3f}-{high:.3f}); of all classes that are ours "
        f"{_cell(block['all_classes'])} are right."
    )
    yield ""
    yield f"![confusion matrix](pictures/{part}-confusion.png)"
    yield ""
    yield "| class | recall |"
    yield "| --- | ---: |"
    for name, figure in block["recall"].items():
        yield f"| {name} | {_cell(figure)} |"


def _row(what: str, family: str, block: dict[str, Any]) -> str:
    good = next(value for key, value in block.items() if key.startswith("good_redshift"))
    median, pull = block.get("median_dz"), block.get("robust_pull")
    cells = [
        what, family, f"{block['n_spectra']} ({block['n_objects']})",
        _cell(block["class_accuracy"]), _cell(good),
        "" if median is None else f"{median[0]:.1e}", _cell(pull, 2),
        _cell(block["unflagged"]), _cell(block["outliers_unflagged"]),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _cell(figure: list[float | None] | None, digits: int = 3) -> str:
    if figure is None:
        return ""
    value, low, high = figure
    text = f"{value:.{digits}f}"
    return text if low is None else f"{text} ({low:.{digits}f}-{high:.{digits}f})"


def _percent(figure: list[float]) -> str:
    value, low, high = (100.0 * x for x in figure)
    return f"{value:.2f} % ({low:.2f}-{high:.2f})"
