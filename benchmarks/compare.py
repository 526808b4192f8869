"""``python -m benchmarks compare``: the same question put to other programs, in one run.

Networks: what ships, in onnxruntime and in PyTorch eager mode with the same weights; those of
published size, with random weights, in both. Answers: SpectraNet's and that of a
cross-correlation with templates, from arrays on. One spectrum at a time, turn by turn.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from benchmarks import machine
from benchmarks.report import AsJson, Check, Plot, Report, check_plot, deliver, number
from benchmarks.timing import interleave, require
from specinfer.errors import UsageError

# How many times faster than the published size in the faster of its two ways.
RATIO = 20.0
NETWORKS = ("spectranet", "gasnet2")
ANSWER, TEMPLATES = "spectranet, arrays to answer", "templates, arrays to answer"
# Shifts of templates that are looked at, as a share of the grid: to a redshift of about 1.
_SHIFTS = 0.5
_POOL = 16

Work = Callable[[int], Any]
app = typer.Typer(add_completion=False)


@app.command()
def main(
    count: Annotated[int, typer.Option(help="Repetitions of each.")] = 60,
    threads: Annotated[int, typer.Option(help="Threads, and CPUs.")] = 1,
    templates: Annotated[int, typer.Option(help="Templates of the cross-correlation.")] = 1500,
    published: Annotated[
        bool, typer.Option(help="The networks of published size, too: 25 million parameters.")
    ] = True,
    as_json: AsJson = False,
    plot: Plot = None,
    check: Check = False,
) -> None:
    """Print times and ratios; which of them is right more often is in the model cards.

    Without PyTorch (extra 'train') its rows are left out.

    Example: python -m benchmarks compare --count 60
    """
    require(count, "--count")
    if templates < 1 or threads < 1:
        raise UsageError("bad_option", "--templates and --threads must be at least 1")
    check_plot(plot)
    report = Report("compare", {"repetitions": count, "threads": threads, "templates": templates})
    report.notes += filter(None, [machine.threads_note()])
    # The pools of BLAS, PyTorch and onnxruntime count the CPUs when they are loaded.
    with machine.pinned(threads) as cpus:
        report.settings["cpus_used"] = cpus or "not pinned"
        _measure(report, count, threads, templates, published)
    deliver(report, as_json=as_json, plot=plot, check=check)


def _measure(report: Report, count: int, threads: int, templates: int, published: bool) -> None:
    from benchmarks.figures import Target, milliseconds, ratio

    actions, pairs = _actions(report, threads, templates, published)
    seconds = interleave(actions, count, title="compare")
    report.figures += [milliseconds(name, values) for name, values in seconds.items()]
    ratios = {pair: ratio(" / ".join(pair), *(seconds[name] for name in pair)) for pair in pairs}
    report.figures += ratios.values()
    ways = [one for pair, one in ratios.items() if pair in _published_pairs("spectranet")]
    if ways:
        # The faster of its two ways is the fairer one.
        least = min(ways, key=lambda one: one.median)
        report.targets.append(Target(least.name, least.median, RATIO, "x", least.n, at_least=True))
        report.notes.append(
            "one published network answers with the class or the redshift alone, ours with both; "
            "how right they are: exported_models/spectranet/README.md, and docs/spectranet.md for "
            "the published architecture"
        )


def _actions(
    report: Report, threads: int, templates: int, published: bool
) -> tuple[dict[str, Work], list[tuple[str, str]]]:
    """What is timed, and of which two ratios are made."""
    import numpy as np

    from benchmarks.correlation import Templates
    from benchmarks.examples import examples, noisy, rebuilt
    from specinfer import Classifier, Spectrum
    from specinfer.preprocess import Prepared, Preprocessing, prepare

    def prepared(one: Spectrum, config: Preprocessing) -> Prepared:
        return prepare(one.wavelength, one.flux, one.ivar, config)

    pools = {"spectranet": noisy(examples("sedm"), _POOL)}
    pools["gasnet2"] = noisy(examples("survey"), _POOL)
    classifiers = {name: Classifier(name, "cpu", threads) for name in NETWORKS}
    actions: dict[str, Work] = {}
    pairs: list[tuple[str, str]] = []
    inputs = {}
    for name, classifier in classifiers.items():
        card, session = classifier.network(name).card, classifier.network(name).checked_session
        config = Preprocessing.from_dict(card.preprocessing)
        inputs[name] = np.stack([prepared(one, config).input for one in pools[name]])
        parts = [{card.input_name: inputs[name][i : i + 1]} for i in range(_POOL)]
        actions[f"{name}, ONNX"] = partial(_by_turns, session.run, parts)
    grid = Preprocessing.from_dict(
        classifiers["spectranet"].network("spectranet").card.preprocessing
    )
    bank = Templates(templates, grid.n_pixels, round(_SHIFTS * grid.n_pixels))
    transients = pools["spectranet"]
    actions[ANSWER] = partial(
        _by_turns, lambda one: classifiers["spectranet"].classify(rebuilt(one)), transients
    )
    actions[TEMPLATES] = partial(
        _by_turns, lambda one: bank.best(prepared(rebuilt(one), grid)), transients
    )
    pairs.append((TEMPLATES, ANSWER))
    missing = [name for name in ("torch", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        report.notes.append(
            f"{' and '.join(missing)} not installed: the rows of PyTorch and of the published "
            "sizes are left out (pip install '.[train]')"
        )
        return actions, pairs
    from benchmarks import torch_networks

    torch_networks.use_threads(threads)
    for name in NETWORKS:
        actions[f"{name}, PyTorch"] = torch_networks.shipped(name, inputs[name])
        pairs.append((f"{name}, PyTorch", f"{name}, ONNX"))
        if not published:
            continue
        ways, parameters, pixels = torch_networks.published(name, threads)
        for pair in _published_pairs(name):
            actions[pair[0]] = ways[pair[0].rpartition(" ")[2]]
            pairs.append(pair)
        report.notes.append(
            f"{name} of published size: {number(parameters / 1e6)} million parameters, {pixels} "
            "pixels, random weights"
        )
    if published:
        report.notes.append(
            "GaSNet-II as published asks further networks for the redshift; only the one of the "
            "classes is timed, ours answers with both"
        )
    return actions, pairs


def _published_pairs(name: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (f"{name} of published size, {way}", f"{name}, ONNX") for way in ("PyTorch", "ONNX")
    )


def _by_turns(work: Callable[[Any], Any], pool: Any, index: int) -> Any:
    return work(pool[index % len(pool)])
