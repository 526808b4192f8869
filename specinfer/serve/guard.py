"""What every request passes: who may ask, how it is counted, and what failures look like."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from specinfer.serve.failures import RequestFailure, busy, from_error
from specinfer.serve.metrics import Metrics
from specinfer.serve.settings import Settings

LOG = logging.getLogger("specinfer.serve")
ACCESS = logging.getLogger("specinfer.serve.access")

# What anybody may see: none of it says anything of spectra or of the machine.
OPEN_PATHS = ("/", "/page.css", "/page.js", "/health", "/openapi.json")
_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware around the whole application.

    Parameters
    ----------
    app : ASGI application
    settings : Settings
    metrics : Metrics
    paths : tuple of str
        The routes there are; others are counted together.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, metrics: Metrics, paths: tuple[str, ...]
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.paths = paths
        # Beyond what receives and waits, nobody can be answered soon: refusing must be cheap.
        self.limit = 4 * settings.queue + 64
        self.in_hand = 0
        self._token = None if settings.token is None else _digest(settings.token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.monotonic()
        status = 0
        self.in_hand += 1

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, receive, send_safely)
        except Exception as error:
            failure = from_error(error)
            if failure.status == 500:
                LOG.exception("%s %s failed", scope["method"], scope["path"])
            # Half an answer cannot be taken back.
            if status == 0:
                await failure.response()(scope, receive, send_safely)
        finally:
            self.in_hand -= 1
            seconds = time.monotonic() - started
            route = scope["path"] if scope["path"] in self.paths else "other"
            self.metrics.requests.add(route=route, status=str(status))
            self.metrics.seconds.observe(seconds, route=route)
            client = scope.get("client") or ("?", 0)
            ACCESS.info(
                "%s %s %s %d %.0f ms", client[0], scope["method"], route, status, 1e3 * seconds
            )

    def _check(self, scope: Scope) -> None:
        if self.in_hand > self.limit and scope["path"] not in OPEN_PATHS:
            self.metrics.refused.add()
            raise busy(2, f"{self.limit} requests are in hand already")
        headers = Headers(scope=scope)
        _check_origin(headers)
        if self._token is None or scope["path"] in OPEN_PATHS:
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        # Hashes have one length, and comparing them takes one time, whatever was sent.
        right = hmac.compare_digest(_digest(given.strip()), self._token)
        if kind.lower() != "bearer" or not right:
            raise RequestFailure(
                401,
                "unauthorized",
                "this service needs its token: send the header Authorization: Bearer TOKEN",
                {"WWW-Authenticate": 'Bearer realm="specinfer"'},
            )


def _check_origin(headers: Headers) -> None:
    """Refuse what a page of another site sends through the browser of a user of this one.

    Raises
    ------
    RequestFailure
        403, code ``foreign_origin``.
    """
    origin = headers.get("origin")
    foreign = headers.get("sec-fetch-site") == "cross-site"
    if origin is not None and not foreign:
        foreign = urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    # A link from elsewhere that opens the page does no harm.
    if foreign and headers.get("sec-fetch-mode") != "navigate":
        raise RequestFailure(
            403, "foreign_origin", "pages of other sites cannot use this service; open its own page"
        )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
