"""`Service`: what the routes share, from the loaded models to the analyses in hand."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence

from specinfer import __version__
from specinfer.classifier import Classifier
from specinfer.errors import SpecinferError
from specinfer.models import find_models
from specinfer.result import Classification
from specinfer.serve import analysis
from specinfer.serve.callbacks import Sender
from specinfer.serve.drawing import MAX_PICTURES, Drawer
from specinfer.serve.failures import RequestFailure, busy, from_error
from specinfer.serve.metrics import Metrics
from specinfer.serve.settings import Settings
from specinfer.serve.spectra import Item
from specinfer.serve.workers import Workers

LOG = logging.getLogger("specinfer.serve")

# SkyPortal notes "pending" only after our answer to its request: a result that came before
# would be overwritten by that.
SETTLE_S = 1.0
# Analyses wait for a slow portal too; each holds its spectra in memory.
MAX_ANALYSES = 64


class Service:
    """State of the service.

    Parameters
    ----------
    settings : Settings
    classifier : Classifier
        The one for requests that name no model.
    """

    def __init__(self, settings: Settings, classifier: Classifier) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.workers = Workers(settings.workers, settings.queue, settings.batch, self.metrics)
        self.drawer = Drawer(max(4, settings.queue // 4), self.metrics)
        self.sender = Sender(settings)
        self.settle = SETTLE_S
        self.stopping = False
        self.receiving = 0
        # Whether the first picture, too, is to be quick.
        self.draw_ahead = False
        # Called when requests are taken.
        self.on_start: Callable[[], None] | None = None
        self._classifiers = {settings.model: classifier}
        self._lock = threading.Lock()
        self._analyses: set[asyncio.Task[None]] = set()
        self._started = time.time()
        self.label = _label(classifier)
        self.metrics.info.set(1, version=__version__, model=self.label)
        self.metrics.started.set(self._started)

    def start(self) -> None:
        """Start the workers."""
        self.workers.start()
        if self.draw_ahead:
            self.drawer.start()
        if self.on_start is not None:
            self.on_start()

    async def stop(self) -> None:
        """Finish what is in hand, as far as the grace period goes."""
        self.stopping = True
        end = time.monotonic() + self.settings.grace
        if self._analyses:
            LOG.warning("finishing %d analyses", len(self._analyses))
            _, late = await asyncio.wait(self._analyses, timeout=self.settings.grace)
            for task in late:
                task.cancel()
            if late:
                LOG.error("%d analyses could not be sent back in time; they are lost", len(late))
        await asyncio.to_thread(self.workers.close, max(1.0, end - time.monotonic()))
        await asyncio.to_thread(self.drawer.close)
        await self.sender.close()

    def health(self) -> dict[str, object]:
        """How the service does; "status" is "ok" if it answers requests."""
        status = "ok" if self.workers.alive else "failing"
        return {
            "status": "stopping" if self.stopping else status,
            "specinfer": __version__,
            "model": self.label,
            "models": sorted(find_models()),
            "queue": self.workers.waiting,
            "queue_limit": self.workers.limit,
            "analyses": len(self._analyses),
            "uptime_s": round(time.time() - self._started, 1),
            "token_needed": self.settings.token is not None,
            "max_body": self.settings.max_body,
        }

    async def classifier(self, name: str | None) -> Classifier:
        """The classifier of an installed model; that of the service without a name.

        Raises
        ------
        RequestFailure
            400, code ``unknown_model``.
        """
        name = name or self.settings.model
        if name in self._classifiers:
            return self._classifiers[name]
        # Names of installed models only: a path would let clients read the disk.
        known = ("auto", *sorted(find_models()))
        if name not in known:
            raise RequestFailure(
                400, "unknown_model", f"no model {name[:60]!r}; there are {', '.join(known)}"
            )
        return await asyncio.to_thread(self._load, name)

    def _load(self, name: str) -> Classifier:
        with self._lock:
            if name not in self._classifiers:
                settings = self.settings
                self._classifiers[name] = Classifier(name, settings.device, settings.threads)
            return self._classifiers[name]

    def check_room(self) -> None:
        """Refuse a request whose body need not be read.

        Raises
        ------
        RequestFailure
            429, or 503 while the service stops.
        """
        if self.stopping:
            raise RequestFailure(
                503, "stopping", "the service stops; try again later", {"Retry-After": "10"}
            )
        self.workers.check_room()
        # Bodies that arrive slowly are held in memory, too.
        if self.receiving >= self.settings.queue:
            self.metrics.refused.add()
            raise busy(2, f"{self.receiving} requests arrive already")

    async def classify(
        self, read: Callable[[], Sequence[Item]], model: str | None
    ) -> list[Classification]:
        """Classify in a worker.

        Raises
        ------
        RequestFailure
            429 if the queue is full, 503 if the answer takes too long.
        SpecinferError
            If the spectra cannot be read or the model does not work.
        """
        classifier = await self.classifier(model)
        try:
            async with asyncio.timeout(self.settings.timeout):
                return await self.workers.submit(read, classifier)
        except TimeoutError:
            raise RequestFailure(
                503,
                "timeout",
                f"there was no answer within {self.settings.timeout:g} s; try again later",
                {"Retry-After": "10"},
            ) from None

    async def draw(
        self, answers: Sequence[Classification], model: str | None, format: str
    ) -> list[bytes | None]:
        """Pictures of the first good answers; None for others.

        Raises
        ------
        RequestFailure
            429 if too many wait, 503 if they take too long.
        SpecinferError
            ``no_matplotlib``, ``no_picture``.
        """
        classifier = await self.classifier(model)
        places = drawn_places(answers)
        self.drawer.check_room(len(places))
        pictures: list[bytes | None] = [None] * len(answers)
        try:
            async with asyncio.timeout(self.settings.timeout):
                for place in places:
                    pictures[place] = await self.drawer.draw(answers[place], classifier, format)
        except TimeoutError:
            raise RequestFailure(
                503,
                "timeout",
                f"no picture within {self.settings.timeout:g} s; try again without plot",
                {"Retry-After": "10"},
            ) from None
        return pictures

    async def accept(self, request: analysis.AnalysisRequest) -> None:
        """Take an analysis; its answer goes to the portal later.

        Raises
        ------
        RequestFailure
            429 if too many are in hand, 400 for a model that there is not.
        """
        if len(self._analyses) >= MAX_ANALYSES:
            self.metrics.refused.add()
            raise busy(30, f"{MAX_ANALYSES} analyses are in hand already")
        await self.classifier(request.model)
        task = asyncio.create_task(self._analyse(request))
        self._analyses.add(task)
        self.metrics.analyses.set(len(self._analyses))
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._analyses.discard(task)
        self.metrics.analyses.set(len(self._analyses))
        if not task.cancelled() and task.exception() is not None:
            LOG.error("an analysis was lost", exc_info=task.exception())

    async def _analyse(self, request: analysis.AnalysisRequest) -> None:
        """Answer all spectra of an object and send that back once."""
        earliest = time.monotonic() + self.settle
        document = await self._document(request)
        await asyncio.sleep(max(0.0, earliest - time.monotonic()))
        outcome = await self.sender.send(request.target, document, request.until)
        self.metrics.callbacks.add(outcome=outcome)
        LOG.info("analysis of %s: %s (%s)", request.object, document["status"], outcome)

    async def _document(self, request: analysis.AnalysisRequest) -> dict[str, object]:
        try:
            answers = await self.classify(lambda: analysis.items(request), request.model)
            pictures = await self._pictures(answers, request.model)
            return analysis.success(request, answers, pictures)
        except Exception as error:
            failure = from_error(error)
            if failure.status == 500:
                LOG.exception("the analysis of %s failed", request.object)
            return analysis.failure(failure.message)

    async def _pictures(
        self, answers: Sequence[Classification], model: str | None
    ) -> list[bytes | None]:
        """Pictures of the latest answers; without them the answer is still worth sending."""
        pictures: list[bytes | None] = [None] * len(answers)
        try:
            classifier = await self.classifier(model)
            # Nobody waits for them, so they may take their time.
            for place in drawn_places(answers[::-1]):
                self.drawer.check_room()
                answer = answers[-1 - place]
                pictures[-1 - place] = await self.drawer.draw(answer, classifier)
        except (RequestFailure, SpecinferError) as error:
            LOG.warning("an analysis goes without some pictures: %s", error)
        return pictures


def drawn_places(answers: Sequence[Classification]) -> list[int]:
    """Which answers get a picture: the first good ones."""
    return [place for place, answer in enumerate(answers) if answer.ok][:MAX_PICTURES]


def _label(classifier: Classifier) -> str:
    from specinfer.classifier import DEFAULT_MODEL

    name = DEFAULT_MODEL if classifier.model == "auto" else classifier.model
    label = classifier.network(name).card.label
    return f"auto ({label})" if classifier.model == "auto" else label
