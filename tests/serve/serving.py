"""A service in a thread of the test, at a real socket, and a portal that takes callbacks."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import uvicorn

from specinfer import Classifier
from specinfer.serve.app import create_app
from specinfer.serve.service import Service
from specinfer.serve.settings import Settings


@dataclass
class Served:
    """A service that runs, and a client of it."""

    url: str
    service: Service
    client: httpx.Client

    def error(self, answer: httpx.Response) -> tuple[int, str]:
        """Status and code of a failure, which must be nothing but that."""
        body = answer.json()
        assert set(body) == {"error"}
        assert set(body["error"]) == {"code", "message"}
        assert body["error"]["message"]
        assert "Traceback" not in answer.text
        return answer.status_code, body["error"]["code"]


@contextmanager
def serving(classifier: Classifier | None = None, **settings: Any) -> Iterator[Served]:
    """A service with these settings; it stops at the end."""
    wanted = Settings(**({"port": 0, "grace": 5.0} | settings))
    app = create_app(wanted, classifier or Classifier(wanted.model, "cpu", 1))
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(
        uvicorn.Config(app, http="h11", ws="none", log_config=None, lifespan="on")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started)
        with httpx.Client(base_url=url, timeout=30.0, trust_env=False) as client:
            yield Served(url, app.state.service, client)
    finally:
        server.should_exit = True
        thread.join(30.0)
        listener.close()
    assert not thread.is_alive()


def wait_until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something, but not for ever."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@dataclass
class Portal:
    """Takes callbacks, and answers with these statuses one after the other, then with 200."""

    statuses: list[int] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    location: str = ""
    port: int = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/api/webhook/obj_analysis/secret"


@contextmanager
def portal() -> Iterator[Portal]:
    """A portal at a free port."""
    state = Portal()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.paths.append(self.path)
            status = state.statuses.pop(0) if state.statuses else 200
            # The status is known before the test sees that something came.
            state.received.append(json.loads(body))
            self.send_response(status)
            if state.location:
                self.send_header("Location", state.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
