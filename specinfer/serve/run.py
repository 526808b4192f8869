"""Running the service: the socket, the log, and how it ends."""

from __future__ import annotations

import contextlib
import io
import logging
import queue
import signal
import socket
from logging.handlers import QueueHandler, QueueListener

from specinfer.classifier import Classifier
from specinfer.cli_report import say
from specinfer.errors import SpecinferError
from specinfer.readers import ReadOptions
from specinfer.serve.app import create_app
from specinfer.serve.service import Service
from specinfer.serve.settings import Settings
from specinfer.serve.spectra import items_of_file

# Seconds that an idle connection is kept: longer than the pauses of a client that polls.
_KEEP_ALIVE_S = 15
_BACKLOG = 256
_LOG_LINES = 10_000
# A request's head (path and headers) in bytes.
_MAX_HEAD = 32 * 1024


class _Dropping(QueueHandler):
    """Leaves out the records for which there is no room."""

    def enqueue(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(record)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        # Its message is made here, before arguments change; tracebacks are kept for `_Lines`.
        record.msg, record.args = record.getMessage(), None
        return record


class _Lines(logging.Handler):
    """Log records as the other commands write: one line each on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        words = " ".join(record.getMessage().split())
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        say(f"specinfer: {level}{words}")
        if record.exc_info and record.exc_info[0] is not None:
            # For whoever runs the service; a client never sees it.
            formatter = self.formatter or logging.Formatter()
            say(formatter.formatException(record.exc_info))


def run(settings: Settings, *, quiet: bool, debug: bool) -> int:
    """Serve until SIGTERM or Ctrl-C.

    Parameters
    ----------
    settings : Settings
    quiet : bool
        Log warnings and errors only, no requests.
    debug : bool
        Log what uvicorn says, too.

    Returns
    -------
    int
        0: what was in hand is finished.

    Raises
    ------
    SpecinferError
        ``cannot_listen``, and what `Classifier` raises.
    """
    import uvicorn

    listener = _listen(settings)
    log = _log(quiet=quiet, debug=debug)
    try:
        # By default one thread a network: the workers are the parallel ones.
        classifier = Classifier(settings.model, settings.device, settings.threads or 1)
        classifier.warm_up()
        _practise(classifier)
        app = create_app(settings, classifier)
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            h11_max_incomplete_event_size=_MAX_HEAD,
            # Requests that wait for their answer; analyses have their own grace period.
            timeout_graceful_shutdown=max(1, round(settings.grace)),
        )
        # uvicorn raises the signal that ended it once more, for the handlers of before.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _nothing)
        server = uvicorn.Server(config)
        service: Service = app.state.service
        service.draw_ahead = True
        # Shown once requests are taken, for whoever starts a client after this line.
        service.on_start = lambda: _announce(settings, listener, service.label)
        server.run(sockets=[listener])
    finally:
        listener.close()
        # Full if nobody reads it; its thread ends with the process.
        with contextlib.suppress(queue.Full):
            log.stop()
    if not server.started:
        raise SpecinferError("cannot_serve", "the service could not start; see the lines above")
    if not quiet:
        say("specinfer: stopped; everything in hand was answered")
    return 0


def _practise(classifier: Classifier) -> None:
    """Read and classify a made-up file, so that the first request need not import astropy."""
    import numpy as np
    from astropy.io import fits

    flux = 1.0 + 0.1 * np.sin(np.arange(214) / 3.0)
    hdu = fits.PrimaryHDU(flux)
    hdu.header.update(INSTRUME="SEDM-P60", CRVAL1=3776.71, CDELT1=25.571)
    buffer = io.BytesIO()
    fits.HDUList([hdu, fits.ImageHDU(0.01 * flux, name="VARIANCE")]).writeto(buffer)
    data = buffer.getvalue()
    (item,) = items_of_file(data, "practice.fits", ReadOptions(), max_unpacked=len(data))
    if item.spectrum is not None:
        classifier.classify(item.spectrum)


def _announce(settings: Settings, listener: socket.socket, label: str) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    say(f"specinfer: serving {label} at http://{shown}:{port}")
    if not settings.is_local and settings.token is None:
        say(
            f"specinfer: warning: anybody who reaches {host} can use this service; give it a "
            "token with --token-file"
        )


def _listen(settings: Settings) -> socket.socket:
    """The socket, opened before the model is loaded: a port that is taken is said at once."""
    host = settings.host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SpecinferError(
            "cannot_listen", f"{settings.host} is no address of this machine: {error}"
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Clients that come while the model is loaded wait for it.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise SpecinferError(
            "cannot_listen",
            f"cannot listen at {settings.host}:{settings.port}: {error.strerror}; "
            "choose another with --port",
        ) from None
    return listener


def _log(*, quiet: bool, debug: bool) -> QueueListener:
    # Written by a thread of its own: whoever reads the log may be slow, and must not hold up
    # the answers. What does not fit is dropped.
    lines: queue.Queue[logging.LogRecord] = queue.Queue(_LOG_LINES)
    listener = QueueListener(lines, _Lines())
    listener.start()
    handler = _Dropping(lines)
    for name in ("specinfer.serve", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(logging.WARNING)
    if debug:
        logging.getLogger("uvicorn").setLevel(logging.INFO)
    if not quiet:
        logging.getLogger("specinfer.serve").setLevel(logging.INFO)
    return listener


def _nothing(*_: object) -> None:
    """A signal that has done its work already."""
