"""A loop that reads and classifies, without ``specinfer batch``: what its rates are compared with.

``python -m benchmarks.batch_plain MODEL COUNT FILE...`` waits for a line on standard input when it
has loaded its model, then prints how many spectra a second it did. Two at once say what the
machine itself loses where cores share caches, memory or, as hyperthreads, everything.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.batch_runs import ROOT, environment

_BATCH = 64


def loop(model: str, count: int, paths: Sequence[str]) -> dict[str, float]:
    """Read and classify `count` spectra in this process, one thread; rates of both."""
    from specinfer import Classifier
    from specinfer.readers import iter_spectra
    from specinfer.spectrum import Spectrum

    def spectra() -> Iterator[Spectrum]:
        for path in paths:
            for one in iter_spectra(path):
                if isinstance(one, Spectrum):
                    yield one

    classifier = Classifier(threads=1, model=model)
    for _ in classifier.classify_many(list(islice(spectra(), 8))):
        pass
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    reading = 0.0
    done = 0
    source = islice(spectra(), count)
    while True:
        started = time.perf_counter()
        batch = list(islice(source, _BATCH))
        reading += time.perf_counter() - started
        if not batch:
            break
        for _ in classifier.classify_many(batch, batch_size=_BATCH):
            done += 1
    seconds = time.perf_counter() - began
    return {
        "rate": done / seconds,
        "read_ms": 1e3 * reading / max(done, 1),
        "classify_ms": 1e3 * (seconds - reading) / max(done, 1),
    }


def measure(model: str, count: int, paths: Sequence[Path], copies: int) -> list[dict[str, Any]]:
    """Run the loop in so many processes at once, a core each, on the same files."""
    from os import sched_getaffinity

    cpus = sorted(sched_getaffinity(0))
    command = [sys.executable, "-m", "benchmarks.batch_plain", model, str(count)]
    started = [
        subprocess.Popen(
            ["taskset", "-c", str(cpus[number % len(cpus)]), *command, *map(str, paths)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(),
        )
        for number in range(copies)
    ]  # fmt: skip
    for one in started:
        assert one.stdout is not None
        one.stdout.readline()
    for one in started:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    answers = []
    for one in started:
        said, _ = one.communicate()
        if one.returncode != 0:
            raise RuntimeError(f"the plain loop ended with {one.returncode}")
        answers.append(json.loads(said.strip().splitlines()[-1]))
    return answers


if __name__ == "__main__":
    print(json.dumps(loop(sys.argv[1], int(sys.argv[2]), sys.argv[3:])))
