"""``python -m benchmarks.accuracy``: a network beside other methods, on the same spectra.

The methods: cross-correlation with templates, the commonest class and the median redshift.
Ia against the rest is the question that Kim et al. (2024) put to three programs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.accuracy.templates import TemplateClassifier
from benchmarks.report import AsJson, Plot, Report, check_plot, deliver, run_program
from benchmarks.timing import require
from specinfer.errors import UsageError
from specinfer.models import load_card
from specinfer.networks import spectranet
from specinfer.spectrum import Spectrum
from training.archive.labels import CLASSES, PHASE_CLASSES
from training.archive.library import Library
from training.card import read_card, write_card
from training.config import read_recipe, resolve
from training.evaluation.model_readme import cell, write_readme
from training.evaluation.observe import KINDS, Observatory
from training.evaluation.report import IA, Sample, constant_errors, figures
from training.evaluation.trials import Predictor, Targets, Trials, classify
from training.paths import ROOT
from training.run import usable_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

app = typer.Typer(add_completion=False)

# Accuracy of Ia against the rest, on 4,646 SEDM spectra: Kim et al. 2024, arXiv:2410.10963.
PUBLISHED = {"NGSF": 0.876, "SNID": 0.793, "DASH": 0.762}
_COLUMNS = {
    "three_way_accuracy": "three-way",
    "accuracy": "accuracy",
    "balanced_accuracy_many": "balanced",
    "ia_against_rest": "Ia/rest",
    "ia_recall": "Ia recall",
    "ia_false_positive_rate": "SN called Ia",
    "redshift_rms": "z RMS",
    "redshift_rms_ia": "z RMS, Ia",
    "redshift_nmad": "z NMAD",
    "redshift_within_1_sigma": "z in 1 sigma",
}
# Those that are shares of right answers, for the picture.
_SHARES = ("three_way_accuracy", "accuracy", "balanced_accuracy_many", "ia_against_rest")


def compare(
    methods: dict[str, Predictor], targets: Targets, spectra: list[Spectrum], console: Console
) -> dict[str, Any]:
    """Figures of methods, and of constant answers, on the same spectra.

    Parameters
    ----------
    methods : dict of str to Predictor
    targets : Targets
    spectra : list of Spectrum
        One a target.
    console : Console
        For a progress bar.

    Returns
    -------
    dict
        ``n_spectra``, ``n_objects``, ``n_transient_spectra``, ``ia_share`` among those, and
        ``methods``: the figures of each, with the milliseconds that a spectrum takes.
    """
    answer: dict[str, Any] = {}
    trials: Trials | None = None
    for name, method in methods.items():
        # What is loaded or built at the first call is not part of a spectrum's cost.
        method.predict(spectra[:1])
        started = time.perf_counter()
        trials = classify(method, targets, track(spectra, name, console=console, transient=True))
        seconds = time.perf_counter() - started
        answer[name] = method_figures(trials) | {"milliseconds": 1e3 * seconds / len(spectra)}
    if trials is None:
        raise ValueError("there is no method to compare")
    answer["constant class and redshift"] = constant_figures(trials)
    answer["median redshift of the true class"] = class_median_figures(trials)
    transient = targets.label < len(PHASE_CLASSES)
    return {
        "n_spectra": len(targets),
        "n_objects": int(np.unique(targets.object).size),
        "n_transient_spectra": int(transient.sum()),
        "ia_share": float((targets.label[transient] == IA).mean()),
        "methods": answer,
        "published": PUBLISHED,
    }


def method_figures(trials: Trials) -> dict[str, Any]:
    """The figures that are compared, by the keys of a card.

    ``ia_against_rest`` is the accuracy of the answer "Ia" or "not Ia" over transients, in
    the mix of the trials: every object equally often.
    """
    every, sample = figures(trials), Sample(trials)
    right = (sample.guess == IA) == sample.ia
    transient = trials.label < len(PHASE_CLASSES)
    chosen = {key: every[key] for key in _COLUMNS if key in every}
    counts = {key: every[key] for key in ("n_spectra", "n_objects")}
    return counts | chosen | {"ia_against_rest": sample.draws.rate(right, transient)}


def constant_figures(trials: Trials) -> dict[str, Any]:
    """Always the commonest class, always the median redshift of the trials' supernovae."""
    constant, _ = constant_errors(trials)
    commonest = int(np.bincount(trials.label).argmax())
    return method_figures(_blind(trials, np.full(len(trials), commonest), constant))


def class_median_figures(trials: Trials) -> dict[str, Any]:
    """The median redshift of the true class, which nobody knows beforehand."""
    _, by_class = constant_errors(trials)
    block = method_figures(_blind(trials, trials.label, by_class))
    return {
        key: value for key, value in block.items() if key.startswith(("n_", "redshift_rms"))
    } | {"redshift_nmad": block["redshift_nmad"]}


def _blind(trials: Trials, guess: np.ndarray, dz: np.ndarray) -> Trials:
    """The same trials, answered with certain classes and redshifts."""
    p = np.eye(len(CLASSES))[guess]
    return replace(
        trials,
        probabilities=p,
        in_set=p > 0,
        z=trials.redshift + dz * (1.0 + trials.redshift),
        z_err=np.full(len(trials), np.nan),
    )


def print_table(block: dict[str, Any], console: Console) -> None:
    """One table for people."""
    methods = block["methods"]
    # A column a method: there are fewer of them than figures.
    table = Table(
        "",
        *methods,
        title=f"{block['n_spectra']} SEDM-like spectra of {block['n_objects']} {block['part']} "
        "objects, 95 % intervals over objects",
    )
    for key, words in _COLUMNS.items():
        table.add_row(words, *(cell(method.get(key)) for method in methods.values()))
    costs = [method.get("milliseconds") for method in methods.values()]
    table.add_row("ms a spectrum", *("-" if cost is None else f"{cost:.2g}" for cost in costs))
    console.print(table)
    published = ", ".join(f"{name} {value:.3f}" for name, value in block["published"].items())
    console.print(
        f"Ia/rest: over {block['n_transient_spectra']} spectra of transients, "
        f"{100 * block['ia_share']:.0f} % of them Ia. Published for 4,646 observed SEDM spectra "
        f"(Kim et al. 2024), which are not these: {published}."
    )


def _draw(axes: Sequence[Axes], report: Report) -> None:
    """Shares of every method that are right, with their intervals."""
    methods = report.series["methods"]
    for offset, (name, block) in enumerate(methods.items()):
        known = [key for key in _SHARES if isinstance(block.get(key), list)]
        if not known:
            continue
        middle = [block[key][0] for key in known]
        ends = [(block[key][1], block[key][2]) for key in known]
        # One object alone has no interval.
        spread = [(m - a, b - m) if a is not None else (0.0, 0.0)
                  for m, (a, b) in zip(middle, ends, strict=True)]  # fmt: skip
        places = [_SHARES.index(key) + 0.12 * offset for key in known]
        below, above = zip(*spread, strict=True)
        axes[0].errorbar(middle, places, xerr=(below, above), fmt="o", capsize=3, label=name)
    axes[0].set_yticks(range(len(_SHARES)), [_COLUMNS[key] for key in _SHARES])
    axes[0].set_xlim(0.0, 1.0)
    axes[0].set_xlabel("share that is right, 95 % intervals over objects")
    axes[0].legend()


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="The model folder.")] = ROOT
    / "exported_models"
    / "spectranet",
    part: Annotated[str, typer.Option(help="test, or validation while things change.")] = "test",
    count: Annotated[int, typer.Option(help="Simulated spectra.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the trials.")] = 1,
    as_json: AsJson = False,
    plot: Plot = None,
    write: Annotated[
        bool, typer.Option(help="Write the comparison into the model's card and README.")
    ] = False,
) -> None:
    """Compare a network with template cross-correlation and constants on the same spectra.

    The spectra are the main trials of training.evaluate: SEDM-like, SNR 4-40, no host light,
    at an unknown redshift, of objects of one part of the split. The templates are spectra of
    training objects.

    Example: python -m benchmarks.accuracy --part validation --count 1000
    """
    if part not in ("test", "validation"):
        raise typer.BadParameter("--part is test or validation")
    require(count, "--count")
    check_plot(plot)
    report = Report("accuracy", {"part": part, "spectra": count, "seed": seed, "device": "cpu"})
    console = Console(stderr=True)
    card = read_card(folder)
    recipe = read_recipe(ROOT / card["training"]["recipe"])
    archive = resolve(recipe.data.library)
    if not archive.is_file():
        raise UsageError(
            "no_library",
            f"{archive} is not there: build it from the public archive with `python -m "
            "training.archive` (training/README.md)",
        )
    library = Library.load(archive)
    every = replace(recipe, data=replace(recipe.data, contradicted=""))
    with console.status("simulating"):
        observatory = Observatory(library, usable_rows(every, library, part), recipe, seed)
        targets, spectra = observatory.observe(KINDS[0], count)
    with console.status("preparing templates"):
        templates = TemplateClassifier(library, usable_rows(recipe, library, "train"))
    methods: dict[str, Predictor] = {
        f"{card['name']} {card['version']}": spectranet.load(load_card(str(folder)), device="cpu"),
        f"cross-correlation, {templates.rows.size} templates": templates,
    }
    block = {
        "command": f"python -m benchmarks.accuracy --part {part} --count {count} --write",
        "part": part,
        "seed": seed,
        **compare(methods, targets, spectra, console),
    }
    report.series = block
    if not as_json:
        print_table(block, Console())
    deliver(report, as_json=as_json, plot=plot, check=False, draw=_draw)
    if write:
        card["metrics"]["comparison"] = block
        write_card(folder, card)
        write_readme(folder)
        console.print(f"written to {folder / 'card.json'} and README.md")


if __name__ == "__main__":
    run_program(lambda: app() or 0)
