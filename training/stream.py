"""Training batches from a worker process, reproducible step by step."""

from __future__ import annotations

import multiprocessing as mp
from collections.abc import Iterator
from multiprocessing.queues import Queue

import numpy as np

from training.simulate.draw import Batch, BatchMaker

# Batches of different purposes draw from different random streams.
TRAIN, VALIDATION, CALIBRATION, TEST = range(4)


def step_rng(seed: int, purpose: int, step: int) -> np.random.Generator:
    """The random stream of one step: the same whether training was resumed or not."""
    return np.random.default_rng([seed, purpose, step])


def _work(
    maker: BatchMaker, size: int, seed: int, first: int, last: int, out: Queue[Batch]
) -> None:
    for step in range(first, last):
        out.put(maker.make(size, step_rng(seed, TRAIN, step)))


def stream(maker: BatchMaker, size: int, seed: int, first: int, last: int) -> Iterator[Batch]:
    """Batches of steps `first` to `last`, simulated by one forked process ahead of their use."""
    context = mp.get_context("fork")
    queue: Queue[Batch] = context.Queue(maxsize=8)
    worker = context.Process(
        target=_work, args=(maker, size, seed, first, last, queue), daemon=True
    )
    worker.start()
    try:
        for _ in range(first, last):
            while True:
                try:
                    yield queue.get(timeout=60)
                    break
                except mp.queues.Empty:  # type: ignore[attr-defined]
                    if not worker.is_alive():
                        raise RuntimeError("the simulating process died") from None
    finally:
        worker.terminate()
        worker.join()
