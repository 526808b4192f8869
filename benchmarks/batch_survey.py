"""``python -m benchmarks.batch_survey``: ``specinfer batch`` on simulated spectra of a survey.

Rate with one and two workers, turn by turn; what the same machine does without it; memory of
every worker, sampled from outside; kills with SIGKILL, and whether what a resumed run leaves
equals an undisturbed one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import batch_plain
from benchmarks.batch_figures import LEAST_RUNS, about, in_words, machine, summarised
from benchmarks.batch_kills import killed, undisturbed
from benchmarks.batch_outputs import part_rows, steady
from benchmarks.batch_runs import Run, work_folder
from benchmarks.batch_spectra import Recipe, make, truth_of

# What the issue asks for: spectra a second on two workers, share of twice the rate of one, MB.
RATES = {"spectranet": 300.0, "auto": 120.0}
EFFICIENCY = 0.85
MEMORY = 1500.0
WORKERS = (1, 2)

app = typer.Typer(add_completion=False)
said = Console(stderr=True)


def rates(
    folder: Path,
    inputs: Sequence[str],
    model: str,
    repetitions: int,
    options: Sequence[str],
    numbers: Sequence[int] = WORKERS,
) -> tuple[dict[str, Any], list[Run]]:
    """Runs with one and two workers, or those that are asked for, turn by turn.

    Returns
    -------
    report : dict
        By number of workers the rates of whole processes and of their steady part, and the
        efficiency of each pair of runs.
    runs : list of Run
    """
    taken: dict[int, list[Run]] = {number: [] for number in numbers}
    inner: dict[int, list[dict[str, Any]]] = {number: [] for number in numbers}
    for turn in range(repetitions):
        for number in numbers if turn % 2 == 0 else numbers[::-1]:
            output = folder / f"out-{model}-{number}"
            arguments = ["--model", model, "--workers", str(number), *options]
            run = undisturbed(inputs, output, arguments)
            taken[number].append(run)
            inner[number].append(steady(output, part_rows(output), number))
            stolen = "" if run.stolen is None else f", {run.stolen:.1f} s of CPU taken by the host"
            said.print(
                f"{model}, {number} workers, turn {turn + 1}: {run.rate:.1f} spectra/s, "
                f"{run.seconds:.1f} s{stolen}"
            )
    report: dict[str, Any] = {"workers": {}}
    for number in numbers:
        even = [one["rate"] for one in inner[number] if one["rate"]]
        # Time that has no part: start, plan, the first chunk and the last, the end.
        outside = [
            run.seconds - run.summary["rows"] / one["rate"]
            for run, one in zip(taken[number], inner[number], strict=True)
            if one["rate"]
        ]
        report["workers"][str(number)] = {
            "whole": summarised([run.rate for run in taken[number]]),
            "steady": summarised(even),
            "pieces": [round(piece, 2) for one in inner[number] for piece in one["pieces"]],
            "seconds_beside": summarised(outside),
            "chunks": inner[number][0]["chunks"],
            "read_kb_a_spectrum": summarised(
                [1e3 * run.read_mb / run.summary["rows"] for run in taken[number]]
            ),
            "stolen_s": summarised([run.stolen for run in taken[number] if run.stolen is not None]),
            "own_rates": [run.summary.get("spectra_per_s") for run in taken[number]],
        }
    report["efficiency"] = {}
    for kind in ("whole", "steady"):
        one, two = (
            report["workers"][str(number)][kind]["values"] if number in numbers else []
            for number in WORKERS
        )
        report["efficiency"][kind] = summarised(
            [both / (2.0 * single) for single, both in zip(one, two, strict=False)]
        )
    return report, [run for number in numbers for run in taken[number]]


def plain(paths: Sequence[Path], model: str, count: int, repetitions: int) -> dict[str, Any]:
    """The same work without ``specinfer batch``: one process, and two at once."""
    single: list[float] = []
    both: list[float] = []
    reading: list[float] = []
    for _ in range(repetitions):
        alone = batch_plain.measure(model, count, paths, 1)
        together = batch_plain.measure(model, count, paths, 2)
        single.append(alone[0]["rate"])
        reading.append(alone[0]["read_ms"])
        both.append(sum(one["rate"] for one in together))
    said.print(f"{model}, a plain loop: {single} alone, {both} two at once")
    return {
        "one": summarised(single),
        "two": summarised(both),
        "read_ms": summarised(reading),
        "efficiency": summarised([b / (2.0 * a) for a, b in zip(single, both, strict=True)]),
    }


def memory_of(runs: Sequence[Run]) -> dict[str, Any]:
    """Largest peaks of all workers of all runs, and of the process that was started; MB."""
    workers = [one for run in runs for one in run.workers]
    clients = [one for run in runs for one in run.memory.values() if one.name == "client"]
    return {
        "worker_resident_mb": max((one.resident for one in workers), default=0.0),
        "each_worker_mb": sorted(round(one.resident, 1) for one in workers),
        "worker_own_mb": max((one.own for one in workers), default=0.0),
        "client_resident_mb": max((one.resident for one in clients), default=0.0),
        "stated_mb": max((run.summary.get("worker_peak_mb") or 0.0 for run in runs), default=0.0),
    }


def targets(models: dict[str, Any]) -> list[dict[str, Any]]:
    """Each target with what was measured; met is None where that is too little to say."""
    rows: list[dict[str, Any]] = []

    def add(what: str, limit: float, value: float | None, *, most: bool = False) -> None:
        met = None if value is None else (value < limit if most else value >= limit)
        rows.append({"what": what, "target": limit, "measured": value, "met": met})

    for name, one in models.items():
        two = one["workers"].get("2", {}).get("whole", {}).get("median")
        add(f"{name}: spectra a second, 2 workers, whole process", RATES.get(name, 0.0), two)
        add(f"{name}: efficiency from 1 to 2", EFFICIENCY, one["efficiency"]["whole"]["median"])
        peak = one["memory"]["worker_resident_mb"] or None
        add(f"{name}: MB a worker", MEMORY, peak, most=True)
    return rows


@app.command()
def main(
    spectra: Annotated[int, typer.Option(min=1, help="Simulated targets.")] = 20_000,
    model: Annotated[list[str] | None, typer.Option(help="Models (default: both).")] = None,
    repetitions: Annotated[int, typer.Option(min=0, help="Runs of each kind.")] = LEAST_RUNS,
    workers: Annotated[
        list[int] | None, typer.Option(min=1, max=2, help="1, 2 (default: both).")
    ] = None,
    kill: Annotated[int, typer.Option(min=0, help="SIGKILLs before the run that may end.")] = 0,
    control: Annotated[int, typer.Option(help="Spectra of the plain loop; 0: leave out.")] = 1000,
    chunk: Annotated[int | None, typer.Option(min=1, help="Spectra a chunk.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of spectra and of kills.")] = 1,
    folder: Annotated[Path | None, typer.Option(help="Keeps spectra and outputs here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 if a target is missed.")
    ] = False,
) -> None:
    """Measure ``specinfer batch`` on simulated survey spectra; exit code 1 if answers are wrong.

    Example: python -m benchmarks.batch_survey --spectra 20000 --repetitions 3 --kill 3
    """  # fmt: skip
    if len(os.sched_getaffinity(0)) < max(WORKERS):
        said.print("one core only: two workers share it, the efficiency says nothing")
    options = [] if chunk is None else ["--chunk", str(chunk)]
    report: dict[str, Any] = {"machine": machine(), "spectra": spectra, "models": {}, "kills": {}}
    problems: list[str] = []
    with work_folder(folder) as work:
        try:
            paths = make(Recipe(spectra=spectra, seed=seed), work / f"spectra-{spectra}-{seed}")
            inputs = [str(path) for path in paths]
            for name in model or list(RATES):
                if repetitions:
                    report["models"][name] = one = {}
                    made, runs = rates(work, inputs, name, repetitions, options, workers or WORKERS)
                    one |= made | {"memory": memory_of(runs), "first_summary": runs[0].summary}
                    problems += _wrong_counts(name, runs, paths, spectra)
                    if control:
                        one["plain"] = plain(paths, name, control, repetitions)
                if kill:
                    report["kills"][name] = ended = _kills(work, inputs, name, options, kill, seed)
                    problems += [f"{name}, kills: {said}" for said in ended["problems"]]
        except (OSError, RuntimeError) as error:
            typer.echo(f"batch_survey: {error}", err=True)
            raise typer.Exit(2) from None
    report["targets"] = targets(report["models"])
    report["problems"] = problems
    print(json.dumps(report) if as_json else _words(report))
    missed = check and any(row["met"] is False for row in report["targets"])
    raise typer.Exit(1 if problems or missed else 0)


def _kills(
    work: Path, inputs: Sequence[str], model: str, options: Sequence[str], kills: int, seed: int
) -> dict[str, Any]:
    reference, output = work / f"out-{model}-whole", work / f"out-{model}-killed"
    arguments = ["--model", model, "--workers", "2", *options]
    whole = undisturbed(inputs, reference, arguments)
    ended = killed(
        inputs, output, arguments, kills=kills, seed=seed, whole=whole, reference=reference
    )
    said.print(f"{model}, {kills} kills: {ended['problems'] or 'equal'}")
    return ended


def _wrong_counts(
    model: str, runs: Sequence[Run], paths: Sequence[Path], spectra: int
) -> list[str]:
    """Every target has a row, and those fail that have no usable pixel."""
    dead = sum(line["dead"] for path in paths for line in truth_of(path).values())
    found = {(run.summary.get("rows"), run.summary.get("failed")) for run in runs}
    return [
        f"{model}: {rows} rows, {failed} failed, instead of {spectra} and {dead}"
        for rows, failed in sorted(found, key=str)
        if (rows, failed) != (spectra, dead)
    ]


def _words(report: dict[str, Any]) -> str:
    lines = [about(report["machine"]), f"{report['spectra']} spectra"]
    for name, one in report["models"].items():
        for number, two in one["workers"].items():
            pieces = two["pieces"]
            spread = f"; pieces {min(pieces):.1f}-{max(pieces):.1f}" if pieces else ""
            lines.append(
                f"{name}, {number} workers: {in_words(two['whole'])} spectra/s in all, "
                f"{in_words(two['steady'])} steady{spread}"
            )
        for kind, value in one["efficiency"].items():
            lines.append(f"{name}, efficiency from 1 to 2 ({kind}): {in_words(value, 3)}")
        if "plain" in one:
            lines.append(
                f"{name}, a plain loop: {in_words(one['plain']['one'])} spectra/s, two at once "
                f"{in_words(one['plain']['two'])}: efficiency of the machine "
                f"{in_words(one['plain']['efficiency'], 3)}; reading "
                f"{in_words(one['plain']['read_ms'], 2)} ms a spectrum"
            )
            lines.append(
                f"{name}, {number} workers, read from disk: "
                f"{in_words(two['read_kb_a_spectrum'])} kB a spectrum"
            )
        peaks = one["memory"]
        lines.append(
            f"{name}, largest worker: {peaks['worker_resident_mb']:.0f} MB resident, "
            f"{peaks['worker_own_mb']:.0f} MB its own; client {peaks['client_resident_mb']:.0f} MB"
        )
    for name, ended in report["kills"].items():
        moments = ", ".join(f"{one['after_s']} s ({one['parts']} parts)" for one in ended["kills"])
        lines.append(f"{name}, killed after {moments}: {ended['rows']} rows in the end")
    for row in report["targets"]:
        met = {True: "met", False: "MISSED", None: "too few runs to say"}[row["met"]]
        value = "" if row["measured"] is None else f"{row['measured']:.3g}, "
        lines.append(f"target {row['what']} {row['target']:g}: {value}{met}")
    problems = report["problems"]
    lines.append("all rows as they should be" if not problems else "PROBLEMS:")
    return "\n".join(lines + [f"  {problem}" for problem in problems])


if __name__ == "__main__":
    app()
