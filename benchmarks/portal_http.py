"""The HTTP of the stand-in portal: how an answer travels, or fails to."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from benchmarks.portal import Portal


class Refusal(Exception):
    """An answer in SkyPortal's error envelope."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def handler_of(portal: Portal) -> type[BaseHTTPRequestHandler]:
    """The request handler of one portal."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def do_GET(self) -> None:
            self._serve()

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = urlsplit(self.path).path
            portal.requests.append((time.monotonic(), self.command, path))
            fate = "drop" if portal.down else portal.fate(self.command)
            if fate == "drop":
                self._hang_up()
            elif fate == "error":
                self._reply(503, {"status": "error", "message": "the stand-in is out of sorts"})
            elif fate == "limit":
                self._reply(429, {"status": "error", "message": "too many requests"})
            else:
                self._obey(fate, path, body)

        def _obey(self, fate: str, path: str, body: bytes) -> None:
            if fate == "late_store":
                time.sleep(portal.faults.delay)
            status, envelope = self._answer(path, body)
            if fate == "late":
                time.sleep(portal.faults.delay)
            if fate == "drop_after":
                self._hang_up()
            elif fate == "error_after":
                self._reply(502, {"status": "error", "message": "bad gateway"})
            else:
                self._reply(status, envelope)

        def _answer(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
            try:
                if self.headers.get("Authorization") != f"token {portal.token}":
                    raise Refusal(401, "Credentials malformed or invalid")
                document = json.loads(body) if body else {}
                return 200, {
                    "status": "success",
                    "message": "",
                    "data": portal.answer(self.command, path, document),
                }
            except Refusal as refusal:
                return refusal.status, {"status": "error", "message": str(refusal), "data": {}}
            except (KeyError, TypeError, ValueError) as error:
                return 400, {"status": "error", "message": f"bad request: {error!r}", "data": {}}

        def _reply(self, status: int, envelope: dict[str, Any]) -> None:
            content = json.dumps(envelope).encode()
            # The client may have gone: that is its right, and often the point.
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def _hang_up(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def handle(self) -> None:
            with contextlib.suppress(OSError):
                super().handle()

        def log_message(self, *_: Any) -> None:
            """Nothing: the portal's owner reads `Portal.requests`."""

    return Handler
