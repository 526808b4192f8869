"""``python benchmarks/engine.py``: what the engine's choices save on this machine.

``threads`` compares ways to use several cores, ``loading`` what a session costs with and
without the optimised network in the cache, ``warm`` what one spectrum costs. All ways take
turns in one process, so that what else the machine does falls on all of them.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import typer
from rich.console import Console
from rich.table import Table

from specinfer import Classifier, read
from specinfer.caches import CACHE_VARIABLE, OFF
from specinfer.engine import MAX_BATCH, Session, available_cpus
from specinfer.models import load_card, read_model

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("spectranet", "gasnet2", "gasnet3", "specpt")
Way = Callable[[], object]
# Threads that spin do so for tens of milliseconds after a run: nobody is measured meanwhile.
SPIN_S = 0.05

app = typer.Typer(add_completion=False, no_args_is_help=True)


Times = dict[str, list[tuple[float, float]]]


def in_turns(ways: dict[str, Way], count: int, pause: float = 0.0) -> Times:
    """Milliseconds of each way and of all CPUs in it, `count` times.

    Two turns before are not counted. Each turn begins with another way.
    """
    found: Times = {name: [] for name in ways}
    names = list(ways)
    for turn in range(count + 2):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            time.sleep(pause)
            started, busy = time.perf_counter(), time.process_time()
            ways[name]()
            if turn >= 2:
                elapsed, used = time.perf_counter() - started, time.process_time() - busy
                found[name].append((elapsed * 1e3, used * 1e3))
    return found


def add_rows(table: Table, first: Sequence[str], found: Times) -> None:
    """A row a way; the ratio is to the first way, the median over turns."""
    base = np.asarray(next(iter(found.values())))[:, 0]
    for name, pairs in found.items():
        times, used = np.asarray(pairs).T
        low, middle, high, highest = np.percentile(times, [5, 50, 95, 99])
        table.add_row(
            *first, name, str(len(times)), f"{times.min():.2f}", f"{middle:.2f}",
            f"{low:.2f}-{high:.2f}", f"{highest / middle:.2f}", f"{np.median(times / base):.2f}",
            f"{np.median(used):.2f}",
        )  # fmt: skip


def new_table(title: str, *first: str) -> Table:
    """The header for `add_rows`."""
    names = ("Way", "n", "Least ms", "Median", "5-95 %", "p99/p50", "Ratio", "CPU ms")
    return Table(*first, *names, title=title)


def plain(model: bytes, threads: int, *, spin: bool) -> Any:
    """A session of onnxruntime with threads within its operators."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def say_machine(load: float) -> None:
    """Under what the figures were measured."""
    cpus, model = available_cpus(), onnxruntime.__version__
    Console().print(f"{cpus} usable CPUs, load average {load:.2f} before, onnxruntime {model}")


@app.command()
def threads(
    models: Annotated[list[str] | None, typer.Argument(help="Models (default: all).")] = None,
    singles: Annotated[int, typer.Option(help="Runs of one spectrum.")] = 200,
    batches: Annotated[int, typer.Option(help="Runs of 64 spectra.")] = 30,
    count: Annotated[int | None, typer.Option(help="Threads (default: usable CPUs).")] = None,
) -> None:
    """Compare threads within operators with threads that share a batch.

    Example: python benchmarks/engine.py threads spectranet --batches 50
    """
    load, many = os.getloadavg()[0], count or available_cpus()
    table = new_table(f"{many} threads", "Model", "Batch")
    for name in models or NAMES:
        card = load_card(name)
        model = read_model(card)
        sessions = {
            "one thread": Session(model, name=name, device="cpu", threads=1).session,
            "within operators, sleeping": plain(model, many, spin=False),
            "within operators, spinning": plain(model, many, spin=True),
        }
        shared = Session(model, name=name, device="cpu", threads=many)
        shape = shared.input_shapes[card.input_name][1:]
        for batch, turns in ((1, singles), (MAX_BATCH, batches)):
            rng = np.random.default_rng(0)
            feed = {card.input_name: rng.normal(size=(batch, *shape)).astype(np.float32)}
            ways: dict[str, Way] = {
                way: lambda feed=feed, one=one: one.run(None, feed) for way, one in sessions.items()
            }
            ways["batch shared"] = lambda feed=feed, one=shared: one.run(feed)
            add_rows(table, (card.label, str(batch)), in_turns(ways, turns, SPIN_S))
    Console(width=140).print(table)
    say_machine(load)


@app.command()
def loading(
    models: Annotated[list[str] | None, typer.Argument(help="Models (default: all).")] = None,
    count: Annotated[int, typer.Option(help="Sessions of each kind.")] = 40,
) -> None:
    """Compare sessions from the ONNX file with those from the cached optimised network.

    Each session reads and checks the ONNX file, as `specinfer` does. The last two ways do
    without (all of) onnxruntime's optimisations; what they save is lost in the first run.

    Example: python benchmarks/engine.py loading --count 40
    """
    load = os.getloadavg()[0]
    table = new_table("sessions", "Model")
    run = new_table("one spectrum on such a session", "Model")
    levels = onnxruntime.GraphOptimizationLevel
    with tempfile.TemporaryDirectory() as folder:
        for name in models or NAMES:
            card = load_card(name)

            def ours(cache: str, name: str = name) -> Any:
                os.environ[CACHE_VARIABLE] = cache
                one = load_card(name)
                session = Session(
                    read_model(one), name=name, device="cpu", threads=1, sha256=one.sha256
                )
                return session.session

            def at(level: Any, card: Any = card) -> Any:
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = 1
                options.graph_optimization_level = level
                return onnxruntime.InferenceSession(
                    read_model(card), options, providers=["CPUExecutionProvider"]
                )

            ways: dict[str, Callable[[], Any]] = {
                "from the ONNX file": lambda ours=ours: ours(OFF),
                "from the cache": lambda ours=ours: ours(folder),
                "ONNX file, basic optimisation": lambda at=at: at(levels.ORT_ENABLE_BASIC),
                "ONNX file, no optimisation": lambda at=at: at(levels.ORT_DISABLE_ALL),
            }
            add_rows(table, (card.label,), in_turns(ways, count))
            sessions = {way: make() for way, make in ways.items()}
            sizes = sessions["from the cache"].get_inputs()[0].shape[1:]
            feed = {card.input_name: np.zeros((1, *sizes), np.float32)}
            single: dict[str, Way] = {
                way: lambda one=one, feed=feed: one.run(None, feed) for way, one in sessions.items()
            }
            add_rows(run, (card.label,), in_turns(single, count))
    Console(width=140).print(table, run)
    say_machine(load)


@app.command()
def warm(
    count: Annotated[int, typer.Option(help="Spectra.")] = 1000,
    pause: Annotated[float, typer.Option(help="Seconds before each: caches grow cold.")] = 0.0,
) -> None:
    """Time one spectrum after another through a warm classifier.

    Example: taskset -c 0 python benchmarks/engine.py warm --count 1000
    """
    load = os.getloadavg()[0]
    spectrum = read(next(ROOT.glob("examples/spec_auto_*SIM01.fits")))[0]
    ways: dict[str, Way] = {}
    for name, number in (("one thread", 1), ("threads as by default", None)):
        classifier = Classifier(device="cpu", threads=number)
        classifier.warm_up()
        ways[name] = lambda one=classifier: one.classify(spectrum)
    found = in_turns(ways, count, pause)
    table = new_table("Classifier.classify")
    add_rows(table, (), found)
    Console(width=140).print(table)
    say_machine(load)


if __name__ == "__main__":
    app()
