"""``python -m benchmarks throughput``: spectra a second by batch size and threads, and memory.

Every number of threads is a process of its own on as many CPUs; the processes take turns.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks import machine
from benchmarks.report import AsJson, Check, Plot, Report, check_plot, deliver
from benchmarks.timing import interleave, require
from specinfer.errors import UsageError
from specinfer.models import load_card

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZES = "1,4,16,64,256,1024"

app = typer.Typer(add_completion=False)


class Worker:
    """A process that measures one model with one number of threads; use as a context."""

    def __init__(self, model: str, threads: int, sizes: Sequence[int]) -> None:
        self.model, self.threads = model, threads
        joined = ",".join(map(str, sizes))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.throughput_worker", model, str(threads), joined],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=machine.ROOT,
        )
        # The seconds of every turn, by size.
        self.turns: list[list[float]] = []
        self.memory: dict[str, Any] = {}

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def ready(self) -> None:
        """Wait until it is warm and has measured its memory."""
        self.memory = self._hear()

    def turn(self, _: int) -> None:
        """One turn over all sizes."""
        assert self._process.stdin is not None
        self._process.stdin.write("turn\n")
        self._process.stdin.flush()
        self.turns.append(self._hear()["seconds"])

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise UsageError(
                "failed_process",
                f"the process of {self.model} with {self.threads} threads ended; what it says "
                "is above, or try `specinfer doctor`",
            )
        return dict(json.loads(line))


@app.command()
def main(
    models: Annotated[str, typer.Option(help="Names, with commas.")] = "spectranet,survey",
    sizes: Annotated[str, typer.Option(help="Batch sizes, with commas.")] = SIZES,
    threads: Annotated[
        str | None, typer.Option(help="Threads, with commas (default: 1, 2, 4... all CPUs).")
    ] = None,
    count: Annotated[int, typer.Option(help="Repetitions of each.")] = 20,
    as_json: AsJson = False,
    plot: Plot = None,
    check: Check = False,
) -> None:
    """Print spectra a second, and a second and core, from arrays to answers, and the memory.

    Example: python -m benchmarks throughput --sizes 1,64,1024 --plot throughput.png
    """
    require(count, "--count")
    check_plot(plot)
    wanted = sorted(set(_numbers(sizes, "--sizes")))
    usable = len(machine.usable_cpus())
    used = doubling(usable) if threads is None else sorted(set(_numbers(threads, "--threads")))
    if used[-1] > usable:
        raise UsageError("bad_option", f"--threads {used[-1]}: only {usable} CPUs are usable")
    report = Report(
        "throughput",
        {"models": models, "sizes": wanted, "threads": used, "repetitions": count, "device": "cpu"},
    )
    names = [name.strip() for name in models.split(",")]
    for name in names:
        # A name that is wrong is said at once, and here.
        load_card(name)
    for name in names:
        _measure(report, name, used, wanted, count)
    report.notes += [
        "every number of threads in a process of its own on as many CPUs, turn by turn",
        "peak MB: the most that the process held up to this batch size, Python, libraries and "
        "networks included",
    ]
    deliver(report, as_json=as_json, plot=plot, check=check, draw=_draw)


def doubling(most: int) -> list[int]:
    """1, 2, 4... and `most`."""
    return sorted({most, *(1 << power for power in range(most.bit_length()) if 1 << power < most)})


def _measure(
    report: Report, model: str, threads: Sequence[int], sizes: Sequence[int], count: int
) -> None:
    from contextlib import ExitStack

    from benchmarks.figures import figure

    with ExitStack() as stack:
        workers = []
        for number in threads:
            workers.append(stack.enter_context(Worker(model, number, sizes)))
            # One after the other: none warms up beside another.
            workers[-1].ready()
        interleave({str(one.threads): one.turn for one in workers}, count, warmups=0, title=model)
    for one in workers:
        for place, size in enumerate(sizes):
            rates = [size / turn[place] for turn in one.turns]
            made = figure(f"{model}, {one.threads} threads, batch {size}", rates, "/s")
            more = {"per_core": made.median / one.threads, "peak_MB": one.memory["peak_mb"][place]}
            made.more.update(more)
            report.figures.append(made)
            report.series.setdefault(f"{model}, {one.threads} threads", []).append(
                {"batch": size, "per_second": made.median, **more}
            )


def _numbers(text: str, option: str) -> list[int]:
    try:
        made = [int(part) for part in text.split(",")]
    except ValueError:
        made = []
    if not made or min(made) < 1:
        raise UsageError("bad_option", f"{option} {text}: give numbers from 1 on, like 1,64")
    return made


def _draw(axes: Sequence[Axes], report: Report) -> None:
    """Spectra a second over batch size."""
    for name, rows in report.series.items():
        axes[0].plot([r["batch"] for r in rows], [r["per_second"] for r in rows], "o-", label=name)
    axes[0].set_xscale("log", base=2)
    axes[0].set_yscale("log")
    axes[0].set_xlabel("batch size")
    axes[0].set_ylabel("spectra a second")
    axes[0].grid(visible=True, alpha=0.3)
    axes[0].legend()
