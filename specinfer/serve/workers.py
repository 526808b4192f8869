"""The workers: threads that read and classify, and the bounded queue before them.

onnxruntime and numpy let go of the interpreter's lock, so that threads share one loaded
network and one another's memory. A worker takes what waits, up to a batch, at a time:
spectra on one axis are prepared and classified together for a third of the cost, which is
what makes a burst short. A request that comes alone does not wait for others.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from specinfer import result
from specinfer.classifier import Classifier, route
from specinfer.errors import SpecinferError
from specinfer.result import Classification
from specinfer.serve.failures import busy
from specinfer.serve.metrics import Metrics
from specinfer.serve.spectra import Item

LOG = logging.getLogger("specinfer.serve")

Answers = list[Classification]


@dataclass(eq=False)
class Job:
    """A request in the queue.

    Parameters
    ----------
    read : callable
        Gives its spectra; called in a worker, for reading costs as much as classifying.
    classifier : Classifier
    future : asyncio.Future
        Gets the answers, in the order of the spectra, or the exception.
    """

    read: Callable[[], Sequence[Item]]
    classifier: Classifier
    future: asyncio.Future[Answers]
    since: float = field(default_factory=time.monotonic)

    def finish(self, answers: Answers) -> None:
        """Hand the answers to whoever waits for them."""
        self._call(partial(_set_result, self.future, answers))

    def fail(self, error: BaseException) -> None:
        """The same with an exception."""
        self._call(partial(_set_exception, self.future, error))

    def _call(self, setter: Callable[[], None]) -> None:
        loop = self.future.get_loop()
        # The loop of a service that was stopped by force is gone, and so is the client.
        if not loop.is_closed():
            loop.call_soon_threadsafe(setter)


class Workers:
    """Threads that answer jobs from one bounded queue.

    Parameters
    ----------
    count : int
        Threads.
    limit : int
        Jobs that may wait.
    batch : int
        Jobs that a thread takes at a time, at most.
    metrics : Metrics
    """

    def __init__(self, count: int, limit: int, batch: int, metrics: Metrics) -> None:
        self.limit = limit
        self.batch = batch
        self.metrics = metrics
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        # Seconds of a job, slowly following the last ones.
        self._typical = 0.02
        self._threads = [
            # They end with the process: a client that is gone need not be waited for.
            threading.Thread(target=self._loop, name=f"specinfer-{n}", daemon=True)
            for n in range(count)
        ]
        metrics.limit.set(limit)
        metrics.waiting.set(0)

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether all threads run."""
        return not self._closed and all(thread.is_alive() for thread in self._threads)

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return len(self._jobs)

    def check_room(self) -> None:
        """Refuse now what could not be queued anyway.

        Raises
        ------
        RequestFailure
            429 with Retry-After.
        """
        if len(self._jobs) >= self.limit:
            self.metrics.refused.add()
            raise busy(self._retry_after(), f"{self.limit} requests wait already")

    def submit(
        self, read: Callable[[], Sequence[Item]], classifier: Classifier
    ) -> asyncio.Future[Answers]:
        """Queue a job; to be called in the event loop.

        Raises
        ------
        RequestFailure
            429 with Retry-After if the queue is full.
        """
        job = Job(read, classifier, asyncio.get_running_loop().create_future())
        with self._changed:
            self.check_room()
            self._jobs.append(job)
            self.metrics.waiting.set(len(self._jobs))
            self._changed.notify()
        return job.future

    def close(self, timeout: float) -> None:
        """Answer what waits, then end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _retry_after(self) -> int:
        seconds = len(self._jobs) * self._typical / len(self._threads)
        return min(60, max(1, math.ceil(seconds)))

    def _loop(self) -> None:
        while jobs := self._take():
            started = time.monotonic()
            for job in jobs:
                self.metrics.waited.observe(started - job.since)
            try:
                answer_jobs(jobs, self.metrics)
            except BaseException as error:  # the worker lives on, whatever happens to a job
                LOG.exception("a worker failed")
                for job in jobs:
                    job.fail(error)
            share = (time.monotonic() - started) / len(jobs)
            self._typical += 0.05 * (share - self._typical)

    def _take(self) -> list[Job]:
        """The next jobs, as soon as there is one; none when it is time to end."""
        with self._changed:
            while True:
                jobs: list[Job] = []
                while self._jobs and len(jobs) < self.batch:
                    job = self._jobs.popleft()
                    # Whoever asked may have given up.
                    if not job.future.cancelled():
                        jobs.append(job)
                self.metrics.waiting.set(len(self._jobs))
                if jobs or self._closed:
                    return jobs
                self._changed.wait()


def answer_jobs(jobs: Sequence[Job], metrics: Metrics) -> None:
    """Read the spectra of jobs, classify them together, and hand out the answers.

    Spectra for the same network go through it together, the most jobs first; a job is
    answered as soon as all its spectra are. What fails in company is tried again alone, so
    that no spectrum can spoil the answer of another.

    Parameters
    ----------
    jobs : sequence of Job
    metrics : Metrics
    """
    metrics.batches.add()
    open_jobs: dict[Job, list[Classification | None]] = {}
    groups: dict[tuple[Classifier, str], list[tuple[Job, int, Item]]] = {}
    for job in jobs:
        try:
            items = job.read()
        except Exception as error:
            job.fail(error)
            continue
        open_jobs[job] = [item.failed for item in items]
        for place, item in enumerate(items):
            if item.spectrum is not None:
                routed = route(item.spectrum) if job.classifier.model == "auto" else ""
                groups.setdefault((job.classifier, routed), []).append((job, place, item))
    _hand_out(open_jobs, metrics)
    for (classifier, _), members in sorted(groups.items(), key=lambda g: -len(g[1])):
        for job, place, answer in _classified(classifier, members):
            if isinstance(answer, Exception):
                job.fail(answer)
                open_jobs.pop(job, None)
            elif job in open_jobs:
                open_jobs[job][place] = answer
        _hand_out(open_jobs, metrics)


def _classified(
    classifier: Classifier, members: list[tuple[Job, int, Item]]
) -> list[tuple[Job, int, Classification | Exception]]:
    spectra = [item.spectrum for _, _, item in members if item.spectrum is not None]
    try:
        answers = list(classifier.classify_many(spectra, [item.redshift for *_, item in members]))
    except Exception as error:
        if len(members) > 1:
            return [one for member in members for one in _classified(classifier, [member])]
        job, place, item = members[0]
        if isinstance(error, SpecinferError):
            return [(job, place, error)]
        LOG.exception("classification failed")
        wrapped = SpecinferError(
            "internal_error",
            f"classification failed ({type(error).__name__}); the log of the service says more",
        )
        return [(job, place, result.failed(wrapped, spectrum=item.spectrum))]
    return [(job, place, answer) for (job, place, _), answer in zip(members, answers, strict=True)]


def _hand_out(open_jobs: dict[Job, list[Classification | None]], metrics: Metrics) -> None:
    """Answer the jobs that are complete and forget them."""
    for job in list(open_jobs):
        answers = [answer for answer in open_jobs[job] if answer is not None]
        if len(answers) == len(open_jobs[job]):
            for answer in answers:
                metrics.spectra.add(status=answer.status, model=answer.model or "none")
            job.finish(answers)
            del open_jobs[job]


def _set_result(future: asyncio.Future[Answers], answers: Answers) -> None:
    if not future.done():
        future.set_result(answers)


def _set_exception(future: asyncio.Future[Answers], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
