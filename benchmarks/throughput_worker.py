"""One process of `benchmarks.throughput`: a model on so many CPUs, asked in turns.

It speaks JSON lines: first the memory of each batch size, then, for every line it reads, the
seconds of one turn over all sizes. It ends with its standard input.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from itertools import cycle, islice

from benchmarks import machine
from benchmarks.report import run_program

# Different spectra; larger batches go round them, so that memory is the work's alone.
POOL = 64


def work(model: str, threads: int, sizes: list[int]) -> int:
    """Answer turns until standard input ends; the exit code."""
    with machine.pinned(threads):
        from benchmarks.examples import examples, noisy
        from specinfer import Classifier

        kind = "sedm" if model == "spectranet" else "survey"
        spectra = noisy(examples(kind), POOL)
        classifier = Classifier(model, "cpu", threads)

        def batch(size: int) -> None:
            answers = classifier.classify_many(islice(cycle(spectra), size), batch_size=size)
            # Nothing is kept: what a batch needs is what it holds itself.
            deque(answers, maxlen=0)

        batch(1)
        idle = machine.resident_mb()
        peaks = []
        # From small to large: the most so far is that of the largest so far.
        for size in sorted(sizes):
            batch(size)
            peaks.append(machine.peak_mb())
        _say({"idle_mb": idle, "peak_mb": peaks})
        for _ in sys.stdin:
            taken = []
            # The first after a wait finds the caches empty.
            batch(1)
            for size in sorted(sizes):
                began = time.perf_counter_ns()
                batch(size)
                taken.append(1e-9 * (time.perf_counter_ns() - began))
            _say({"seconds": taken})
    return 0


def _say(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    name, cpus, batches = sys.argv[1:]
    run_program(lambda: work(name, int(cpus), [int(x) for x in batches.split(",")]))
