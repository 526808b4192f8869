"""Pictures, drawn in a process of their own.

matplotlib holds the interpreter's lock for half a second a picture: in this process every
classification would wait for it. The child reads requests from its standard input and ends
when that closes, so it never outlives the service, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import io
import logging
import os
import pickle
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from specinfer.classifier import Classifier
from specinfer.errors import SpecinferError
from specinfer.networks.spectranet_answer import SpectraNetAnswer
from specinfer.plot import make_figure, require_matplotlib
from specinfer.relevance import Relevance
from specinfer.result import Classification
from specinfer.serve.failures import busy
from specinfer.serve.metrics import Metrics

LOG = logging.getLogger("specinfer.serve")

FORMATS = {"png": "image/png", "svg": "image/svg+xml"}
# Pictures of one request; a file of many spectra would keep everybody else waiting.
MAX_PICTURES = 5
_DPI = 110
_LENGTH = struct.Struct(">Q")
# Longer than any picture takes, also on a busy machine.
_PATIENCE_S = 60.0


class Drawer:
    """Draws pictures one after the other.

    Parameters
    ----------
    limit : int
        Pictures that may wait.
    metrics : Metrics
    """

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self.limit = limit
        self.metrics = metrics
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="specinfer-draw")
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the child, so that it has loaded matplotlib before the first picture."""
        if importlib.util.find_spec("matplotlib") is not None:
            self._child = _start_child()

    def check_room(self, count: int = 1) -> None:
        """Refuse pictures that could not be queued.

        Raises
        ------
        RequestFailure
            429 with Retry-After.
        SpecinferError
            ``no_matplotlib``.
        """
        require_matplotlib()
        if self._waiting + count > self.limit:
            self.metrics.refused.add()
            raise busy(min(60, self._waiting + 1), f"{self._waiting} pictures wait already")

    async def draw(
        self, answer: Classification, classifier: Classifier, format: str = "png"
    ) -> bytes:
        """The picture of a result.

        Parameters
        ----------
        answer : Classification
            With status "ok".
        classifier : Classifier
            The one that made it, which explains it.
        format : {"png", "svg"}

        Returns
        -------
        bytes

        Raises
        ------
        SpecinferError
            ``no_picture`` if it cannot be drawn.
        """
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            picture = await loop.run_in_executor(
                self._thread, self._draw, answer, classifier, format
            )
        except Exception:
            self.metrics.pictures.add(outcome="failed")
            raise
        finally:
            self._waiting -= 1
        self.metrics.pictures.add(outcome="drawn")
        return picture

    def close(self) -> None:
        """End the child."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._stop()

    def _draw(self, answer: Classification, classifier: Classifier, format: str) -> bytes:
        explained = isinstance(answer.answer, SpectraNetAnswer)
        relevance = classifier.explain(answer) if explained else None
        try:
            request = pickle.dumps((answer, relevance, format))
        except (TypeError, AttributeError, pickle.PicklingError):
            # Answers of the survey models hold their network, which cannot be sent to the
            # child: these pictures are drawn here, in the one thread that draws.
            return render(answer, relevance, format)
        # Once more with a new child: the last one may have been killed for its memory.
        for last in (False, True):
            try:
                return self._ask(request)
            except (OSError, EOFError) as error:
                self._stop()
                if last:
                    LOG.error("a picture could not be drawn (%s)", type(error).__name__)
        raise SpecinferError("no_picture", "the picture could not be drawn; try without plot")

    def _ask(self, request: bytes) -> bytes:
        if self._child is not None and self._child.poll() is not None:
            self._stop()
        if self._child is None:
            self._child = _start_child()
        child = self._child
        assert child.stdin is not None
        assert child.stdout is not None
        # A child that hangs is ended; its closed pipe is an EOFError here.
        watchdog = threading.Timer(_PATIENCE_S, child.kill)
        watchdog.start()
        try:
            write_frame(child.stdin, request)
            # Bytes only: what the child says is never unpickled.
            status, content = read_frame(child.stdout)[:1], read_frame(child.stdout)
        finally:
            watchdog.cancel()
        if status != b"+":
            raise SpecinferError("no_picture", content.decode("utf-8", "replace"))
        return content

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    LOG.debug("the drawing process had gone")
        try:
            child.wait(2.0)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def render(answer: Classification, relevance: Relevance | None, format: str) -> bytes:
    """The picture of a result, in memory."""
    buffer = io.BytesIO()
    make_figure(answer, relevance).savefig(buffer, format=format, dpi=_DPI)
    return buffer.getvalue()


def write_frame(stream: IO[bytes], content: bytes) -> None:
    """Write bytes with their length before them."""
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes:
    """The bytes of the next frame.

    Raises
    ------
    EOFError
        If the stream ends.
    """
    length = _LENGTH.unpack(_exactly(stream, _LENGTH.size))[0]
    return _exactly(stream, length)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise EOFError
    return content


def _start_child() -> subprocess.Popen[bytes]:
    # The same folders of modules as here, whatever the child's own would be.
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; from specinfer.serve.drawing import main; main()"
    )
    # A session of its own: Ctrl-C in the terminal is for the service.
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def main() -> None:
    """The child: answer requests from standard input until it closes."""
    import signal
    import warnings

    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What a library prints must not end up between the pictures.
    os.dup2(2, 1)
    with contextlib.suppress(Exception):
        # What takes long; a matplotlib that is broken is reported with the first picture.
        import matplotlib.backends.backend_agg
        import matplotlib.figure  # noqa: F401
    while True:
        try:
            request: tuple[Any, ...] = pickle.loads(read_frame(requests))
        except EOFError:
            return
        try:
            status, content = b"+", render(*request)
        except Exception as error:  # the service says it to the client
            status, content = b"-", f"drawing failed ({type(error).__name__}: {error})".encode()
        try:
            write_frame(answers, status)
            write_frame(answers, content)
        except OSError:
            return
