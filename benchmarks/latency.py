"""``python -m benchmarks latency``: how long an answer takes, cold, warm and by stage.

Nothing is left out: a cold start is a new process from its start to its exit, a warm answer
goes from arrays to a `Classification`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks import cold, machine
from benchmarks.report import AsJson, Check, Plot, Report, check_plot, deliver
from benchmarks.timing import require

# Seconds, and times the bare interpreter; milliseconds on one core; p99 over p50.
COLD_S, COLD_RATIO = 0.8, 1.6
WARM_MS = {"spectranet": 3.0, "survey": 8.0}
TAIL = 2.0

app = typer.Typer(add_completion=False)


@app.command()
def main(
    processes: Annotated[
        int, typer.Option(help="Cold starts of each kind; 0 leaves them out.")
    ] = 30,
    calls: Annotated[int, typer.Option(help="Warm calls of each kind.")] = 500,
    threads: Annotated[int, typer.Option(help="Threads of onnxruntime, and CPUs, when warm.")] = 1,
    as_json: AsJson = False,
    plot: Plot = None,
    check: Check = False,
) -> None:
    """Print cold and warm times of an answer, and whether they meet the targets.

    Cold: `specinfer classify` of an example of SEDM and of SDSS, `specinfer --help`, and a bare
    Python that imports numpy, astropy.io.fits and onnxruntime and opens the same file, turn by
    turn on all CPUs. Warm: every model on one CPU, in turns of five calls.

    Example: python -m benchmarks latency --plot latency.png
    """
    if processes:
        require(processes, "--processes")
    require(calls, "--calls")
    check_plot(plot)
    report = Report(
        "latency",
        {"processes": processes, "calls": calls, "threads_warm": threads, "device": "cpu"},
    )
    started = cold.measure(cold.commands(), processes) if processes else {}
    # Pinned before numpy is there: its libraries count the CPUs when they are loaded.
    report.notes += filter(None, [machine.threads_note()])
    with machine.pinned(threads) as cpus:
        report.settings["cpus_warm"] = "not pinned" if cpus is None else cpus
        _cold(report, started, processes)
        _warm(report, calls, threads)
        _stages(report, calls, threads)
    deliver(report, as_json=as_json, plot=plot, check=check)


def _cold(report: Report, taken: dict[str, list[float]], count: int) -> None:
    if not taken:
        report.notes.append("cold starts were left out (--processes 0)")
        return
    from benchmarks.figures import Target, milliseconds, ratio

    for name, seconds in taken.items():
        report.figures.append(milliseconds(name, seconds))
    times = ratio(f"{cold.SEDM} / {cold.BARE}", taken[cold.SEDM], taken[cold.BARE])
    report.figures.append(times)
    median = 1e-3 * next(one.median for one in report.figures if one.name == cold.SEDM)
    report.targets += [
        Target(f"cold, {cold.SEDM}", median, COLD_S, "s", count),
        Target("cold, over the bare Python", times.median, COLD_RATIO, "x", count),
    ]


def _warm(report: Report, calls: int, threads: int) -> None:
    from benchmarks import warm
    from benchmarks.examples import JITTER
    from benchmarks.figures import FOR_P99, Target, milliseconds

    made = warm.measure(calls, threads)
    figures = {name: milliseconds(name, seconds) for name, seconds in made.seconds.items()}
    report.figures += figures.values()
    report.settings["spectra_warm"] = warm.POOL
    report.notes += [
        f"{name}: {100.0 * share:.1f} % of {calls} answers needed the scan everywhere"
        for name, share in made.everywhere.items()
    ]
    report.notes.append(
        f"spectra are the examples with {JITTER:g} sigma more noise each, the faint ones with "
        f"{warm.FAINT_NOISE:g}"
    )
    for name, limit in (
        (warm.SPECTRANET, WARM_MS["spectranet"]),
        (warm.SURVEY, WARM_MS["survey"]),
    ):
        report.targets.append(Target(f"warm, {name}", figures[name].median, limit, "ms", calls))
    if calls < FOR_P99:
        report.notes.append(f"p99 needs {FOR_P99} calls: its targets were not judged")
        return
    for name in (warm.SPECTRANET, warm.SPECTRANET_ONE, warm.SURVEY, *made.one_survey):
        one = figures[name]
        if one.p99 is not None:
            report.targets.append(
                Target(f"p99 over p50, {name}", one.p99 / one.median, TAIL, "x", calls)
            )


def _stages(report: Report, calls: int, threads: int) -> None:
    from benchmarks import warm
    from benchmarks.figures import milliseconds

    taken, missing = warm.measure_stages(calls, threads)
    for name, seconds in taken.items():
        if len(seconds) == calls:
            report.figures.append(milliseconds(name, seconds))
        else:
            report.notes.append(f"{name}: some answers do without; its time is not shown")
    report.notes += [f"{name} is not there: its stage counts as interpret" for name in missing]
