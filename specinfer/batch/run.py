"""The run: chunks go to workers, a bounded number at a time, and what is finished is recorded."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from specinfer.batch.manifest import Ledger
from specinfer.batch.plan import Chunk
from specinfer.batch.progress import Meter
from specinfer.batch.work import ChunkError, Done, Job, do_chunk, write_lost
from specinfer.errors import ReadError, SpecinferError

# Chunks a thread of a worker has: one in work, and the next ones, so that it never waits.
AHEAD = 3
_TICK_S = 1.0
# How often is looked for workers that came or went, and how soon a lack of them is said.
_LOOK_S = 5.0
_PATIENCE_S = 30.0

_DIED = ReadError(
    "worker_died",
    "the workers that read this died, each time (out of memory, or a fault in a library); "
    "classify its files alone with specinfer classify",
)


class WorkersError(SpecinferError):
    """The workers cannot do the work, whatever the input."""

    exit_code = 3


@dataclass
class Tally:
    """What this run did.

    Parameters
    ----------
    chunks, rows : int
        Made in this run.
    peak_mb : float
        Largest memory of any worker.
    most_in_flight : int
        Chunks that were with the workers at once.
    lost : int
        Chunks that no worker survived, or that met a bug.
    """

    chunks: int = 0
    rows: int = 0
    peak_mb: float = 0.0
    most_in_flight: int = 0
    lost: int = 0


class Run:
    """The state of a run.

    Parameters
    ----------
    client : distributed.Client
    job : Job
    ledger : Ledger
    meter : Meter
    work : callable, optional
        What a worker does with a chunk.
    """

    def __init__(
        self,
        client: Any,
        job: Job,
        ledger: Ledger,
        meter: Meter,
        work: Callable[[Job, Chunk], Done] = do_chunk,
    ) -> None:
        self.client = client
        self.job = job
        self.ledger = ledger
        self.meter = meter
        self.work = work
        self.tally = Tally()
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._flying: dict[str, tuple[Any, Chunk]] = {}
        self._suspects: deque[Chunk] = deque()
        self._threads = 0
        self._looked = self._idle_since = time.monotonic()
        self._said = False
        self._number = 0

    def all(self, chunks: Iterator[Chunk]) -> Tally:
        """Do all chunks.

        Raises
        ------
        SpecinferError
            If nothing can be done any more: models that cannot be used, a full disk, a
            scheduler that is gone. What is finished is recorded.
        """
        self._look()
        try:
            self._fly(chunks, lambda: max(AHEAD * self._threads, AHEAD))
            # A worker that dies takes the blame for all chunks that it had. Those that were
            # blamed too often go one at a time, so that only the guilty is recorded as lost.
            while self._suspects:
                self._alone(self._suspects.popleft())
        finally:
            for future, _ in self._flying.values():
                future.release()
        return self.tally

    def _fly(self, chunks: Iterator[Chunk], most: Callable[[], int]) -> None:
        for chunk in chunks:
            self._submit(chunk)
            while len(self._flying) >= most():
                self._wait()
        while self._flying:
            self._wait()

    def _alone(self, chunk: Chunk) -> None:
        self._fly(iter([chunk]), lambda: 1)
        if self._suspects and self._suspects[-1] is chunk:
            self._suspects.pop()
            self._lost(chunk, _DIED)

    def _lost(self, chunk: Chunk, error: SpecinferError) -> None:
        """All rows of a chunk fail, and the rest goes on."""
        self.tally.lost += 1
        self._finished(chunk, write_lost(self.job, chunk, error))

    def _submit(self, chunk: Chunk) -> None:
        self._number += 1
        key = f"specinfer-{self.job.plan[:8]}-{time.time_ns()}-{self._number}"
        future = self.client.submit(self.work, self.job, chunk, key=key, pure=False)
        self._flying[key] = (future, chunk)
        self.tally.most_in_flight = max(self.tally.most_in_flight, len(self._flying))
        future.add_done_callback(self._ended.put)

    def _wait(self) -> None:
        """Until a chunk ends, or a second is over."""
        try:
            ended = self._ended.get(timeout=_TICK_S)
        except queue.Empty:
            self.meter.draw()
            self._look()
            return
        future, chunk = self._flying.pop(ended.key, (None, None))
        if future is None or chunk is None:
            return
        try:
            done = self._outcome(future)
        finally:
            future.release()
        if done is None:
            self._suspects.append(chunk)
        elif isinstance(done, SpecinferError):
            self._lost(chunk, done)
        else:
            self._finished(chunk, done)
        if time.monotonic() - self._looked > _LOOK_S:
            self._look()

    def _outcome(self, future: Any) -> Done | SpecinferError | None:
        """What came of a chunk: its part, a bug that it met, or None if its workers died."""
        from distributed import KilledWorker

        try:
            done: Done = future.result()
        except KilledWorker:
            return None
        except ChunkError as error:
            return error
        except SpecinferError:
            raise
        except CancelledError:
            raise self._gone() from None
        except (ImportError, AttributeError, TypeError) as error:
            raise WorkersError(
                "other_version",
                f"a worker cannot do the work ({type(error).__name__}: {error}); install "
                "the same specinfer with its extra batch everywhere",
            ) from None
        return done

    def _finished(self, chunk: Chunk, done: Done) -> None:
        self.ledger.record(done)
        self.tally.chunks += 1
        self.tally.rows += done.rows
        self.tally.peak_mb = max(self.tally.peak_mb, done.peak_mb)
        self.meter.add(chunk.rows, done.rows, done.failed)

    def _look(self) -> None:
        """How many threads there are to feed."""
        self._looked = time.monotonic()
        try:
            self._threads = sum(self.client.nthreads().values())
        except (OSError, TimeoutError, CancelledError, RuntimeError):
            raise self._gone() from None
        if self._threads:
            self._idle_since, self._said = self._looked, False
        elif self._looked - self._idle_since > _PATIENCE_S and not self._said:
            self._said = True
            self.meter.line("specinfer: the scheduler has no workers; waiting for some to come")

    def _gone(self) -> SpecinferError:
        return WorkersError(
            "scheduler_gone",
            "the scheduler does not answer any more; what is finished is kept: start it again, "
            "and repeat the command with --resume",
        )
