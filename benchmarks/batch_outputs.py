"""What runs of ``specinfer batch`` leave: parts, their rates, and whether two are equal."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.batch_runs import ROOT, environment

# Pieces that a run is cut into to see how even its rate is.
PIECES = 8
# Columns that may differ between two runs of the same work.
NOT_COMPARED = frozenset({"latency_ms"})


def steady(output: Path, rows_of: Mapping[str, int], workers: int) -> dict[str, Any]:
    """Rate between the first chunks and one of the last, and how even it is.

    Parameters
    ----------
    output : Path
        Of a run that was not resumed: when its parts were written is when chunks ended.
    rows_of : mapping of str to int
        Rows of each part.
    workers : int
        They end their chunks in step at first: the clock starts when each has ended one, and
        stops after as many chunks of each.

    Returns
    -------
    dict
        ``rate`` (spectra a second; None with fewer than four chunks a worker), ``chunks``, and
        ``pieces``: the rates of so many equal pieces of the run.
    """
    ends = sorted((path.stat().st_mtime, rows_of[path.name]) for path in parts(output))
    if len(ends) < 4 * workers:
        return {"rate": None, "chunks": len(ends), "pieces": []}
    # The workers fall idle one by one at the end, which is not the steady state.
    rounds = (len(ends) - max(1, len(ends) // 20)) // workers - 1
    count = min(PIECES, max(rounds // 3, 1))
    marks = [workers - 1 + workers * round(i * rounds / count) for i in range(count + 1)]
    pieces = [_between(ends, low, high) for low, high in pairwise(marks)]
    return {"rate": _between(ends, marks[0], marks[-1]), "chunks": len(ends), "pieces": pieces}


def _between(ends: Sequence[tuple[float, int]], low: int, high: int) -> float:
    """Rows a second from the end of one chunk to that of another."""
    seconds = ends[high][0] - ends[low][0]
    return sum(rows for _, rows in ends[low + 1 : high + 1]) / max(seconds, 1e-6)


def parts(output: Path) -> list[Path]:
    """The finished parts of an output."""
    return sorted(output.glob("part-*.parquet"))


def part_rows(output: Path) -> dict[str, int]:
    """Rows of each part, by name."""
    import pyarrow.parquet as pq

    return {path.name: pq.read_metadata(path).num_rows for path in parts(output)}


def differences(one: Path, other: Path) -> list[str]:
    """Where two outputs differ in content, a line each; nothing if they are equal.

    All columns of all parts count, except `NOT_COMPARED`; NaN is equal to NaN.
    """
    import pyarrow.parquet as pq

    names = [[path.name for path in parts(folder)] for folder in (one, other)]
    found = [f"{name} is in one output only" for name in sorted(set(names[0]) ^ set(names[1]))]
    if not any(names):
        found.append("neither output has any part")
    for name in sorted(set(names[0]) & set(names[1])):
        if digest(one / name) == digest(other / name):
            continue
        left, right = (pq.read_table(folder / name) for folder in (one, other))
        if left.schema.names != right.schema.names:
            found.append(f"{name}: the columns differ")
        elif left.num_rows != right.num_rows:
            found.append(f"{name}: {left.num_rows} and {right.num_rows} rows")
        else:
            for column in left.schema.names:
                if column in NOT_COMPARED or left[column].equals(right[column]):
                    continue
                # As text NaN is NaN, also within lists and structs.
                pairs = zip(left[column].to_pylist(), right[column].to_pylist(), strict=True)
                rows = [row for row, (a, b) in enumerate(pairs) if repr(a) != repr(b)]
                if rows:
                    found.append(f"{name}: column {column} differs in rows {rows[:5]}")
    return found


def digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def verify(output: Path) -> str | None:
    """What ``specinfer batch --verify`` has against an output, or None."""
    answer = subprocess.run(
        [sys.executable, "-m", "specinfer", "batch", "--verify", str(output)],
        capture_output=True, text=True, cwd=ROOT, env=environment(),
    )  # fmt: skip
    said = (answer.stderr or answer.stdout).strip()
    return None if answer.returncode == 0 else said or f"exit code {answer.returncode}"
