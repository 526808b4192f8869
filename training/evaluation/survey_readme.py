"""The model card for people of a survey model: README.md, made from card.json."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from training.archive.subclasses import FAMILIES
from training.card import read_card

COMMAND = (
    "python -m training.evaluate_survey exported_models/{name} --part {part} --count {count} "
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
    training = card["training"]
    yield f"# {card['name']} {card['version']}"
    yield ""
    yield f"{card['task'][0].upper()}{card['task'][1:]}. Licence: {card['licence']}."
    yield ""
    yield "## What is in it"
    yield ""
    yield "| family | eigen-spectra | redshifts | rows trained on |"
    yield "| --- | ---: | --- | ---: |"
    for name, block in card["scan"]["families"].items():
        yield (
            f"| {name} | {len(block['typical'])} | {block['redshift_min']} to "
            f"{block['redshift_max']} | {training['rows']['train'][name]} |"
        )
    yield ""
    yield (
        f"Trained in {training['seconds']} s by `{training['recipe']}`; the real spectra are "
        f"split by object in `{training['split']}` (sha256 {training['split_sha256'][:16]})."
    )
    for part, made in card.get("metrics", {}).items():
        yield from _part(card["name"], part, made)
    yield ""
    yield "## Data and citations"
    yield ""
    for citation in card["citations"]:
        yield f"- {citation}"


def _part(name: str, part: str, made: dict[str, Any]) -> Iterable[str]:
    yield ""
    yield f"## Figures on {part} objects"
    yield ""
    command = COMMAND.format(
        name=name, part=part, count=made["count"], noise=made["noise"]["n_spectra"]
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
    noise = made["noise"]
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
