"""``python -m benchmarks.batch_scaling``: weak scaling, and a Dask cluster that loses a worker.

Weak scaling: as many spectra a worker on one worker as on two, turn by turn. Then the same work
on a cluster of separate processes, one worker of which is killed with SIGKILL on the way, replaced
or not: the run must end, and what it leaves must equal that of local processes.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.batch_cluster import Cluster, peak
from benchmarks.batch_figures import LEAST_RUNS, about, in_words, machine, summarised
from benchmarks.batch_kills import FINISHED, undisturbed
from benchmarks.batch_outputs import differences, part_rows, parts, steady, verify
from benchmarks.batch_runs import Batch, work_folder
from benchmarks.batch_spectra import Recipe, make

# A worker is killed when this share of the chunks is done.
_WHEN = 0.3
_REPLACED_AFTER = 2.0
# Of a run that has lost all its speed: so many times what local processes took.
_SLOWEST = 20.0

app = typer.Typer(add_completion=False)
said = Console(stderr=True)


def weak(
    folder: Path, paths: Sequence[Path], model: str, repetitions: int, options: Sequence[str]
) -> dict[str, Any]:
    """Half of the files with one worker, all of them with two, turn by turn.

    Parameters
    ----------
    folder : Path
    paths : sequence of Path
        An even number, all of the same size.
    model : str
    repetitions : int
    options : sequence of str

    Returns
    -------
    dict
        Seconds of both, whole and in the steady part a spectrum of a worker, and efficiencies:
        the time of one over that of two.
    """
    share = {1: paths[: len(paths) // 2], 2: paths}
    seconds: dict[int, list[float]] = {1: [], 2: []}
    inner: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(repetitions):
        for number in (1, 2) if turn % 2 == 0 else (2, 1):
            output = folder / f"out-weak-{number}"
            arguments = ["--model", model, "--workers", str(number), *options]
            run = undisturbed([str(path) for path in share[number]], output, arguments)
            seconds[number].append(run.seconds)
            rate = steady(output, part_rows(output), number)["rate"]
            if rate:
                inner[number].append(rate / number)
            said.print(f"{model}, {number} workers, turn {turn + 1}: {run.seconds:.1f} s")
    whole = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    even = [two / one for one, two in zip(inner[1], inner[2], strict=False)]
    return {
        "files_a_worker": len(share[1]),
        "seconds": {str(number): summarised(values) for number, values in seconds.items()},
        "efficiency": {"whole": summarised(whole), "steady": summarised(even)},
    }


def cluster(
    folder: Path, paths: Sequence[Path], model: str, options: Sequence[str]
) -> dict[str, Any]:
    """The same work by local processes, by a cluster, and by clusters that lose a worker."""
    inputs = [str(path) for path in paths]
    reference = folder / "out-local"
    whole = undisturbed(inputs, reference, ["--model", model, "--workers", "2", *options])
    report: dict[str, Any] = {"local": {"seconds": whole.seconds, "rate": whole.rate}}
    for name, kill, replace in (
        ("cluster", False, False),
        ("worker_killed", True, False),
        ("worker_killed_and_replaced", True, True),
    ):
        output = folder / f"out-{name}"
        arguments = ["--model", model, *options]
        report[name] = one = _on_cluster(
            folder, inputs, output, arguments,
            kill=kill, replace=replace, expected=len(parts(reference)),
            patience=max(_SLOWEST * whole.seconds, 120.0),
        )  # fmt: skip
        one["problems"] += differences(reference, output)
        if wrong := verify(output):
            one["problems"].append(f"--verify: {wrong}")
        said.print(f"{model}, {name}: {one['seconds']:.1f} s, {one['problems'] or 'equal'}")
    return report


def _on_cluster(
    folder: Path,
    inputs: Sequence[str],
    output: Path,
    options: Sequence[str],
    *,
    kill: bool,
    replace: bool,
    expected: int,
    patience: float,
) -> dict[str, Any]:
    """One run on a new cluster of two workers."""
    shutil.rmtree(output, ignore_errors=True)
    problems: list[str] = []
    killed_at = None
    with (
        Cluster(folder / "cluster", 2) as workers,
        Batch(inputs, output, [*options, "--scheduler", workers.address]) as batch,
    ):
        deadline = time.monotonic() + patience
        while batch.process.poll() is None and time.monotonic() < deadline:
            done = len(parts(output))
            if kill and killed_at is None and done >= _WHEN * expected:
                workers.kill_worker()
                killed_at = done
                if replace:
                    time.sleep(_REPLACED_AFTER)
                    workers.add_worker()
            workers.sample()
            time.sleep(0.1)
        if batch.process.poll() is None:
            batch.kill()
            problems.append(f"it did not end within {patience:.0f} s")
            run = batch.run
        else:
            run = batch.finish()
        memory = peak(workers.memory)
    if not problems and run.code not in FINISHED:
        problems.append(f"it ended with {run.code}: {run.complaints.strip()}")
    if kill and killed_at is None:
        problems.append("it ended before a worker could be killed")
    return {
        "seconds": run.seconds,
        "rate": run.rate,
        "killed_at_part": killed_at,
        "parts": expected,
        "memory": memory,
        "problems": problems,
    }


@app.command()
def main(
    spectra: Annotated[int, typer.Option(min=2, help="Simulated targets a worker.")] = 4_800,
    model: Annotated[str, typer.Option(help="auto, spectranet, ...")] = "auto",
    repetitions: Annotated[int, typer.Option(min=0, help="Runs of each kind.")] = LEAST_RUNS,
    chunk: Annotated[int | None, typer.Option(min=1, help="Spectra a chunk.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 2,
    with_cluster: Annotated[bool, typer.Option("--cluster/--no-cluster")] = True,
    folder: Annotated[Path | None, typer.Option(help="Keeps spectra and outputs here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Measure weak scaling, and lose a worker of a cluster; exit code 1 if answers are wrong.

    Example: python -m benchmarks.batch_scaling --spectra 4800 --model auto
    """
    options = [] if chunk is None else ["--chunk", str(chunk)]
    # Equal files, so that both workers of the pair have as much to do as the one alone.
    files = 2 * max(1, round(spectra / Recipe().targets_a_file))
    fibres = Recipe().fibres
    if spectra < Recipe().targets_a_file:
        fibres = round(spectra / (1.0 - Recipe().sky_share))
    recipe = Recipe(spectra=1, seed=seed, fibres=fibres)
    recipe = Recipe(spectra=files * recipe.targets_a_file, seed=seed, fibres=fibres)
    report: dict[str, Any] = {
        "machine": machine(), "model": model, "spectra_a_worker": recipe.spectra // 2,
    }  # fmt: skip
    with work_folder(folder) as work:
        try:
            paths = make(recipe, work / f"spectra-{recipe.spectra}-{seed}")
            if repetitions:
                report["weak"] = weak(work, paths, model, repetitions, options)
            if with_cluster:
                report["cluster"] = cluster(work, paths, model, options)
        except (OSError, RuntimeError) as error:
            typer.echo(f"batch_scaling: {error}", err=True)
            raise typer.Exit(2) from None
    problems = [
        f"{name}: {problem}"
        for name, one in report.get("cluster", {}).items()
        for problem in one.get("problems", ())
    ]
    report["problems"] = problems
    print(json.dumps(report) if as_json else _words(report))
    raise typer.Exit(1 if problems else 0)


def _words(report: dict[str, Any]) -> str:
    lines = [about(report["machine"]), f"{report['model']}, {report['spectra_a_worker']} a worker"]
    if "weak" in report:
        for number, seconds in report["weak"]["seconds"].items():
            lines.append(f"{number} workers: {in_words(seconds, 2)} s")
        for kind, value in report["weak"]["efficiency"].items():
            lines.append(f"weak scaling from 1 to 2 ({kind}): {in_words(value, 3)}")
    for name, one in report.get("cluster", {}).items():
        killed = one.get("killed_at_part")
        note = "" if killed is None else f", killed after {killed} of {one['parts']} parts"
        lines.append(f"{name}: {one['seconds']:.1f} s, {one['rate']:.1f} spectra/s{note}")
    lines.append("all outputs equal" if not report["problems"] else "PROBLEMS:")
    return "\n".join(lines + [f"  {problem}" for problem in report["problems"]])


if __name__ == "__main__":
    app()
