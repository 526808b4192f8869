"""Kill ``specinfer batch`` with SIGKILL at random moments, resume it, compare what it leaves."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.batch_outputs import differences, part_rows, parts, verify
from benchmarks.batch_runs import Batch, Run, forget

# A run is killed when it has lasted between these shares of the time that its rest should take.
_WHEN = (0.1, 0.6)
# Exit codes of a run that got to its end: 1 if rows failed.
FINISHED = (0, 1)
PATIENCE = 6 * 3600.0


def undisturbed(inputs: Sequence[str], output: Path, options: Sequence[str]) -> Run:
    """A run from start to end on a new output, its inputs on disk and not in memory.

    Parameters
    ----------
    inputs : sequence of str
        Files.
    output : Path
        Removed if it is there.
    options : sequence of str

    Raises
    ------
    RuntimeError
        If it does not get to its end.
    """
    shutil.rmtree(output, ignore_errors=True)
    forget([Path(path) for path in inputs])
    run = Batch(inputs, output, options).finish(PATIENCE)
    if run.code not in FINISHED or not run.summary:
        raise RuntimeError(f"specinfer batch ended with {run.code}: {run.complaints.strip()}")
    return run


def killed(
    inputs: Sequence[str],
    output: Path,
    options: Sequence[str],
    *,
    kills: int,
    seed: int,
    whole: Run,
    reference: Path,
) -> dict[str, Any]:
    """Run, kill, resume and so on; then compare with an undisturbed run.

    Parameters
    ----------
    inputs, output, options
        Of the command line.
    kills : int
    seed : int
        Of the moments.
    whole : Run
        The undisturbed run.
    reference : Path
        Its output.

    Returns
    -------
    dict
        ``kills`` (what was there at each, and how much of it was made again), ``summary`` of the
        last run, ``problems``.
    """
    shutil.rmtree(output, ignore_errors=True)
    chance = random.Random(seed)
    problems: list[str] = []
    told: list[dict[str, Any]] = []
    expected = max(len(parts(reference)), 1)
    workers = max(len(whole.workers), 1)
    kept: dict[str, int] = {}
    for number in range(kills):
        rest = whole.seconds * (1.0 - len(parts(output)) / expected)
        delay = chance.uniform(*_WHEN) * rest
        batch = Batch(inputs, output, [*options, *(["--resume"] if number else [])])
        time.sleep(delay)
        if batch.process.poll() is not None:
            run = batch.finish()
            if run.code not in FINISHED:
                problems.append(f"run {number + 1} ended with {run.code}: {run.complaints.strip()}")
            problems.append(f"run {number + 1} ended before it was to be killed")
            break
        survivors = batch.kill()
        if survivors:
            problems.append(f"{len(survivors)} processes lived on after kill {number + 1}")
        now = _marks(output)
        again = [name for name, mark in kept.items() if now.get(name) != mark]
        # A part may be whole before the journal says so: at most one a worker.
        if len(again) > workers:
            problems.append(f"{len(again)} finished chunks were made again after kill {number}")
        told.append({"after_s": round(delay, 2), "parts": len(now), "made_again": len(again)})
        kept = now
    last = Batch(inputs, output, [*options, "--resume"]).finish(PATIENCE)
    if last.code not in FINISHED:
        problems.append(f"the last run ended with {last.code}: {last.complaints.strip()}")
    again = [name for name, mark in kept.items() if _marks(output).get(name) != mark]
    if len(again) > workers:
        problems.append(f"{len(again)} finished chunks were made again by the last run")
    problems += differences(reference, output)
    problems += [f"--verify {folder.name}: {said}" for folder in (reference, output)
                 if (said := verify(folder))]  # fmt: skip
    leftover = [path.name for path in output.rglob("*") if path.name.endswith(".tmp")]
    if leftover:
        problems.append(f"half-written files are left: {leftover[:3]}")
    return {
        "kills": told,
        "made_again_by_the_last": len(again),
        "parts": len(parts(output)),
        "rows": sum(part_rows(output).values()),
        "summary": last.summary,
        "problems": problems,
    }


def _marks(output: Path) -> dict[str, int]:
    """When each part was written."""
    return {path.name: path.stat().st_mtime_ns for path in parts(output)}
