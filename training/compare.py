"""``python -m training.compare RUN_OR_RECIPE...``: networks side by side, in one table.

All answer the same simulated spectra of validation objects, and all are exported and timed
in the same way. A recipe without a run has no answers: what it costs is measured all the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console

from specinfer.networks.spectranet import keep_possible, possible_redshifts
from specinfer.pdf import point_estimate, softmax
from specinfer.preprocess import Preprocessing, prepare
from specinfer.spectrum import Spectrum
from training.architectures import Network, architecture_name, build
from training.archive.labels import CLASSES
from training.archive.library import Library
from training.config import Recipe, read_recipe, resolve
from training.cost import Cost, measure_cost
from training.evaluation.intervals import Figure, Resampler
from training.evaluation.measure import GROUP_OF_CLASS, nmad, three_way
from training.evaluation.observe import KINDS, Observatory
from training.evaluation.report import baselines, f1_scores
from training.evaluation.trials import Targets
from training.paths import ROOT
from training.predict import Outputs
from training.run import facts_of, load_average, read_run, usable_rows
from training.simulate.draw import MIN_COVERAGE, redshift_limits

app = typer.Typer(add_completion=False)
FloatArray = NDArray[np.float64]

_CLASS_FIGURES = ("accuracy", "macro_f1", "three_way_accuracy")
_REDSHIFT_FIGURES = ("redshift_rms", "redshift_nmad")
_CHUNK = 64


@dataclass(frozen=True)
class Member:
    """A network of an entry; `seconds` of training is None where there is no run."""

    recipe: Recipe
    network: Network
    seconds: int | None


@dataclass(frozen=True)
class Entry:
    """A line of the table: one network, or several that answer together."""

    name: str
    members: tuple[Member, ...]


def load_entry(argument: str) -> Entry:
    """The networks that an argument names.

    Parameters
    ----------
    argument : str
        A run folder or a recipe; several that answer together (one the class, one the
        redshift) are joined by ``+``.

    Raises
    ------
    SystemExit
        If one is neither, or a run has no checkpoint.
    """
    members = tuple(_load_member(Path(part)) for part in argument.split("+"))
    return Entry(" + ".join(member.recipe.name for member in members), members)


def told_apart(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, those of one recipe named with their seeds."""
    names = [entry.name for entry in entries]
    return [
        replace(entry, name=f"{entry.name}, seed {entry.members[0].recipe.training.seed}")
        if names.count(entry.name) > 1
        else entry
        for entry in entries
    ]


def _load_member(path: Path) -> Member:
    if path.is_dir() and (path / "recipe.toml").is_file():
        recipe = read_run(path)
        network = load_average(path, recipe)
        return Member(recipe, network, facts_of(path)["seconds"])
    if path.is_file():
        recipe = read_recipe(path)
        torch.manual_seed(0)
        return Member(recipe, build(recipe.network).eval(), None)
    raise SystemExit(f"{path} is neither a run folder nor a recipe")


def common_library(members: Sequence[Member]) -> Library:
    """The library that all members were trained on.

    Raises
    ------
    SystemExit
        If the recipes differ in the data, or the library is missing.
    """
    recipe = members[0].recipe
    for name in ("library", "split", "contradicted"):
        if len({getattr(member.recipe.data, name) for member in members}) > 1:
            raise SystemExit(f"the recipes differ in [data] {name}: they cannot be compared")
    path = resolve(recipe.data.library)
    if not path.is_file():
        raise SystemExit(f"{path} is not there: run `python -m training.archive` first")
    return Library.load(path)


def observe(
    members: Sequence[Member], library: Library, count: int, seed: int
) -> tuple[Targets, dict[Preprocessing, NDArray[np.float32]]]:
    """SEDM-like spectra of validation objects, prepared for every grid that is needed.

    Spectra that see too little of one of the grids are left out for all. `library` is that
    of `common_library`.
    """
    recipe = members[0].recipe
    rows = usable_rows(recipe, library, "validation")
    targets, spectra = Observatory(library, rows, recipe, seed).observe(KINDS[0], count)
    prepared = {
        grid: _prepare(spectra, grid)
        for grid in {member.recipe.preprocessing for member in members}
    }
    seen = np.ones(len(targets), dtype=np.bool_)
    for inputs in prepared.values():
        seen &= inputs[:, 1].mean(axis=1) > MIN_COVERAGE
    keep = np.flatnonzero(seen)
    return targets.take(keep), {grid: inputs[keep] for grid, inputs in prepared.items()}


def _prepare(spectra: Sequence[Spectrum], grid: Preprocessing) -> NDArray[np.float32]:
    parts = [prepare(s.wavelength, s.flux, s.ivar, grid).input for s in spectra]
    return np.stack(parts)


def answers(
    entry: Entry, prepared: dict[Preprocessing, NDArray[np.float32]]
) -> tuple[FloatArray | None, FloatArray | None]:
    """Class probabilities (n, n_classes) and redshifts (n,) of the trained members.

    None for what no trained member says. p(z) is read as the runtime reads it, limited to
    what the likely classes can have, but without temperatures: nothing here is calibrated.
    """
    probabilities: FloatArray | None = None
    redshift: FloatArray | None = None
    for member in entry.members:
        if member.seconds is None:
            continue
        raw = _run(member.network, prepared[member.recipe.preprocessing])
        if "class_logits" in raw:
            probabilities = softmax(raw["class_logits"])
        if "redshift" in raw:
            redshift = raw["redshift"][:, 0].astype(np.float64)
        if "redshift_logits" in raw:
            bins = member.recipe.redshift_bins
            p_z = softmax(raw["redshift_logits"])
            if "class_logits" in raw:
                limits = redshift_limits(bins.step)
                possible = possible_redshifts(CLASSES, limits, bins.centres)
                p_z = keep_possible(p_z, softmax(raw["class_logits"]), possible)
            redshift = np.expm1(point_estimate(p_z, bins.centres)[0])
    return probabilities, redshift


def _run(network: Network, inputs: NDArray[np.float32]) -> Outputs:
    parts: list[list[NDArray[np.float32]]] = []
    with torch.no_grad():
        for start in range(0, len(inputs), _CHUNK):
            made = network(torch.from_numpy(inputs[start : start + _CHUNK]))
            parts.append([output.numpy() for output in made])
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return dict(zip(network.outputs, columns, strict=True))


def score(
    targets: Targets, probabilities: FloatArray | None, redshift: FloatArray | None
) -> dict[str, Figure]:
    """Figures of answers, as ``[value, low, high]``; None for what was not answered."""
    label, draws = targets.label, Resampler(targets.object)
    every = np.ones(label.size, dtype=np.bool_)
    supernova = GROUP_OF_CLASS[label] >= 0
    figures: dict[str, Figure] = dict.fromkeys((*_CLASS_FIGURES, *_REDSHIFT_FIGURES))
    if probabilities is not None:
        guess = probabilities.argmax(axis=1)
        right = np.zeros(label.size, dtype=np.bool_)
        right[supernova] = three_way(probabilities, label)
        cells = np.zeros((label.size, len(CLASSES), len(CLASSES)), dtype=np.float32)
        cells[np.arange(label.size), label, guess] = 1.0
        present = np.unique(label)
        figures |= {
            "accuracy": draws.rate(guess == label, every),
            # A class that a draw has lost does not count in it.
            "macro_f1": draws.of_sums(
                lambda sums: np.nanmean(f1_scores(sums)[:, present], axis=1), cells
            ),
            "three_way_accuracy": draws.rate(right, supernova),
        }
    if redshift is not None:
        dz = (redshift - targets.redshift) / (1.0 + targets.redshift)
        figures |= {
            "redshift_rms": draws.root_mean_square(dz, supernova),
            "redshift_nmad": draws.of_rows(lambda rows: nmad(dz[rows]), supernova),
        }
    return figures


def compare(
    entries: Sequence[Entry], count: int, seed: int, seconds: float, console: Console
) -> dict[str, Any]:
    """Everything that the table shows, ready for JSON.

    Parameters
    ----------
    entries : sequence of Entry
    count : int
        Simulated spectra.
    seed : int
    seconds : float
        For each latency.
    console : Console
    """
    trained = [m for entry in entries for m in entry.members if m.seconds is not None]
    block: dict[str, Any] = {"cpus": os.cpu_count(), "load": os.getloadavg()[0], "trials": None}
    targets = prepared = None
    if trained:
        with console.status("simulating"):
            targets, prepared = observe(trained, common_library(trained), count, seed)
        block["trials"] = {
            "kind": KINDS[0].words,
            "part": "validation",
            "seed": seed,
            "n_spectra": len(targets),
            "left_out": count - len(targets),
            "n_objects": int(np.unique(targets.object).size),
            "n_supernova_spectra": int((GROUP_OF_CLASS[targets.label] >= 0).sum()),
            "baselines": baselines(targets),
        }
    rows = []
    for entry in entries:
        with console.status(f"measuring {entry.name}"):
            costs = [measure_cost(member.network, seconds) for member in entry.members]
            figures = None
            if targets is not None and any(m.seconds is not None for m in entry.members):
                figures = score(targets, *answers(entry, prepared or {}))
        rows.append(
            {
                "name": entry.name,
                "networks": [_facts(m, c) for m, c in zip(entry.members, costs, strict=True)],
                "figures": figures,
            }
        )
    return block | {"entries": rows}


def _facts(member: Member, cost: Cost) -> dict[str, Any]:
    return {
        "recipe": member.recipe.name,
        "architecture": architecture_name(member.recipe.network),
        "training_seconds": member.seconds,
        **asdict(cost),
    }


def _cell(figure: Figure, digits: int) -> str:
    if figure is None:
        return "-"
    value, low, high = figure
    text = f"{value:.{digits}f}"
    return text if low is None else f"{text} ({low:.{digits}f}-{high:.{digits}f})"


def to_markdown(block: dict[str, Any]) -> str:
    """The table of what `compare` gives, and what stands behind it in words."""
    heads = (
        "network", "accuracy", "macro-F1", "three-way", "redshift RMS", "NMAD",
        "parameters", "MFLOP", "ONNX, MB", "one spectrum, 1 core, ms",
        "spectra/s, batch 64, 2 cores", "training, s",
    )  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "| --- " + "| ---: " * (len(heads) - 1) + "|"]
    for entry in block["entries"]:
        figures, networks = entry["figures"] or {}, entry["networks"]
        many = sum(n["many"]["median"] / n["many"]["batch"] for n in networks)
        seconds = [n["training_seconds"] for n in networks]
        cells = [
            entry["name"],
            *(_cell(figures.get(name), 3) for name in _CLASS_FIGURES),
            *(_cell(figures.get(name), 4) for name in _REDSHIFT_FIGURES),
            f"{sum(n['parameters'] for n in networks):,}",
            f"{sum(n['flops'] for n in networks) / 1e6:,.1f}",
            f"{sum(n['onnx_bytes'] for n in networks) / 1e6:.1f}",
            f"{sum(n['one']['median'] for n in networks):.2f}",
            f"{1e3 / many:,.0f}",
            "-" if None in seconds else f"{sum(seconds):,}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    trials = block["trials"]
    if trials is not None:
        blind = trials["baselines"]
        lines += [
            "",
            f"{trials['n_spectra']} simulated spectra of {trials['n_objects']} {trials['part']} "
            f"objects ({trials['kind']}; {trials['left_out']} more see too little); redshift "
            "figures and three-way accuracy are over the "
            f"{trials['n_supernova_spectra']} of supernovae. Brackets: 95 % intervals from "
            "resampling objects. Redshift RMS without looking at a spectrum: "
            f"{blind['redshift_rms_constant']:.4f} (always the median), "
            f"{blind['redshift_rms_class_median']:.4f} (the median of the true class).",
        ]
    lines += [
        "",
        "MFLOP: two for each multiply-add of convolutions and matrix products of the exported "
        "graph, for one spectrum. Times: medians of warm calls of the network alone, in "
        f"onnxruntime on {block['cpus']} CPUs at a load average of {block['load']:.1f}. Networks "
        "joined by + answer together; their costs are added.",
    ]
    return "\n".join(lines) + "\n"


@app.command()
def main(
    networks: Annotated[
        list[str],
        typer.Argument(help="Run folders or recipes; those that answer together joined by +."),
    ],
    output: Annotated[Path, typer.Option(help="Where the table goes, as .md and .json.")] = ROOT
    / "runs"
    / "compare",
    count: Annotated[int, typer.Option(help="Simulated spectra.")] = 4000,
    seed: Annotated[int, typer.Option(help="Seed of the simulated spectra.")] = 5,
    seconds: Annotated[float, typer.Option(help="Seconds for each latency.")] = 5.0,
    threads: Annotated[int, typer.Option(help="CPU threads of PyTorch.")] = 2,
) -> None:
    """Put runs and recipes side by side: figures, size, operations, latency, training time.

    Example: python -m training.compare runs/spectranet runs/published-small-class+\
runs/published-small-redshift training/configs/published-class.toml
    """
    torch.set_num_threads(threads)
    console = Console(stderr=True)
    entries = told_apart([load_entry(name) for name in networks])
    block = compare(entries, count, seed, seconds, console)
    text = to_markdown(block)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".json").write_text(json.dumps(block, indent=1, allow_nan=False) + "\n")
    output.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    app()
