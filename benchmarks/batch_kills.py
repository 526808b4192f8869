"""Kill ``specinfer batch`` with SIGKILL at random moments, resume it, compare what it leaves."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.batch_outputs import differences, part_rows, parts, verify
from benchmarks.batch_runs import Batch, Run, forget

# Of what is left to do and the kills that are left, so much is done before the next one; and then
# up to so many chunks' time passes, so that it comes in the middle of anything.
_SHARE = (0.0, 0.6)
_CHUNKS = 2.0
# Seconds between looks at how far a run is.
_STATUS = 0.5
# Exit codes of a run that got to its end: 1 if rows failed.
FINISHED = (0, 1)


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
    with Batch(inputs, output, options) as batch, Console(stderr=True).status("") as status:
        while True:
            try:
                run = batch.finish(_STATUS)
                break
            except subprocess.TimeoutExpired:
                status.update(f"{' '.join(options)}: {len(parts(output))} chunks done")
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
    kept: dict[str, int] = {}
    for number in range(kills):
        left = (expected - len(parts(output))) / (kills - number)
        wanted = len(parts(output)) + round(left * chance.uniform(*_SHARE))
        delay = whole.seconds / expected * chance.uniform(0.0, _CHUNKS)
        began = time.monotonic()
        with Batch(inputs, output, [*options, *(["--resume"] if number else [])]) as batch:
            while len(parts(output)) < wanted and batch.process.poll() is None:
                time.sleep(0.01)
            time.sleep(delay)
            if batch.process.poll() is not None:
                run = batch.finish()
                problems.append(
                    f"run {number + 1} ended with {run.code} before it was to be killed: "
                    f"{run.complaints.strip()}"
                )
                break
            after = round(time.monotonic() - began, 2)
            survivors = batch.kill()
        if survivors:
            problems.append(f"{len(survivors)} processes lived on after kill {number + 1}")
        now = _marks(output)
        again = [name for name, mark in kept.items() if now.get(name) != mark]
        # Also one that was whole a moment before the kill, which the journal does not know.
        if again:
            problems.append(f"{len(again)} finished chunks were made again after kill {number}")
        told.append({"after_s": after, "parts": len(now), "made_again": len(again)})
        kept = now
    with Batch(inputs, output, [*options, "--resume"]) as batch:
        last = batch.finish()
    if last.code not in FINISHED:
        problems.append(f"the last run ended with {last.code}: {last.complaints.strip()}")
    again = [name for name, mark in kept.items() if _marks(output).get(name) != mark]
    if again:
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
