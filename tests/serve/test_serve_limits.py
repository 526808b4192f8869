"""What is too much is refused, and the service goes on."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Served, serving, wait_until
from tiny_model import fake_spectrum

from specinfer import Classification, Classifier, Spectrum
from specinfer.serve.metrics import Metrics
from specinfer.serve.spectra import Item
from specinfer.serve.workers import Job, answer_jobs

BODY = {
    "wavelength": fake_spectrum().wavelength.tolist(),
    "flux": fake_spectrum().flux.tolist(),
}


class Slow(Classifier):
    """Waits for `gate` before it answers."""

    def __init__(self) -> None:
        super().__init__("auto", "cpu", 1)
        self.gate = threading.Event()
        self.begun = threading.Event()

    def classify_many(self, spectra: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        self.begun.set()
        assert self.gate.wait(30.0)
        return super().classify_many(spectra, *arguments, **options)


@pytest.fixture
def slow(tiny: Path) -> Iterator[Slow]:
    classifier = Slow()
    yield classifier
    classifier.gate.set()


def test_full_queue_gives_429_and_recovers(slow: Slow) -> None:
    with serving(slow, queue=3, batch=1) as served, ThreadPoolExecutor(8) as pool:
        ask = lambda: served.client.post("/classify", json=BODY)  # noqa: E731
        first = pool.submit(ask)
        assert slow.begun.wait(20.0)
        waiting = [pool.submit(ask) for _ in range(3)]
        wait_until(lambda: served.service.workers.waiting == 3)
        refused = ask()
        assert served.error(refused) == (429, "queue_full")
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        # Health and metrics are answered all the time.
        health = served.client.get("/health").json()
        assert (health["status"], health["queue"], health["queue_limit"]) == ("ok", 3, 3)
        assert "specinfer_refused_total 1\n" in served.client.get("/metrics").text
        slow.gate.set()
        answers = [task.result(30.0) for task in (first, *waiting)]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert ask().status_code == 200


def test_waiting_requests_are_answered_together(slow: Slow) -> None:
    with serving(slow, queue=20, batch=8) as served, ThreadPoolExecutor(10) as pool:
        first = pool.submit(served.client.post, "/classify", json=BODY)
        assert slow.begun.wait(20.0)
        bodies = [BODY | {"object": f"number {n}"} for n in range(8)]
        waiting = [pool.submit(served.client.post, "/classify", json=body) for body in bodies]
        wait_until(lambda: served.service.workers.waiting == 8)
        slow.gate.set()
        names = [task.result(30.0).json()["results"][0]["object"] for task in waiting]
        assert names == [f"number {n}" for n in range(8)]
        assert first.result().status_code == 200
        assert served.service.metrics.batches.value() == 2


def test_answer_that_takes_too_long(slow: Slow) -> None:
    with serving(slow, timeout=0.3, batch=1) as served:
        assert served.error(served.client.post("/classify", json=BODY)) == (503, "timeout")
        assert served.error(served.client.post("/classify", json=BODY)) == (503, "timeout")
        slow.gate.set()
        wait_until(lambda: served.service.workers.waiting == 0)
        # Nobody waits for the second any more, so it is not classified.
        assert served.client.post("/classify", json=BODY).status_code == 200
        assert served.service.metrics.batches.value() == 2


def test_stop_answers_what_is_in_hand(slow: Slow) -> None:
    with ThreadPoolExecutor(1) as pool:
        with serving(slow) as served:
            task = pool.submit(httpx.post, served.url + "/classify", json=BODY, trust_env=False)
            assert slow.begun.wait(20.0)
            threading.Timer(0.5, slow.gate.set).start()
        # The service has stopped since.
        assert task.result(5.0).status_code == 200


def test_declared_and_real_size(tiny: Path) -> None:
    with serving(max_body=50_000) as served:
        data = b"x" * 60_000
        sent = {"Content-Type": "application/octet-stream"}
        answer = served.client.post("/classify", content=data, headers=sent)
        assert served.error(answer) == (413, "too_large")
        # Without a length the limit is found while it arrives.
        parts = (data[n : n + 1000] for n in range(0, len(data), 1000))
        answer = served.client.post("/classify", content=parts, headers=sent)
        assert served.error(answer) == (413, "too_large")
        endless = (b"x" * 10_000 for _ in range(10_000))
        try:
            assert served.client.post("/classify", content=endless, headers=sent).status_code == 413
        except httpx.HTTPError:
            # The service has answered and closed the connection in the middle of it.
            assert served.service.receiving == 0
        assert served.client.post("/classify", json=BODY).status_code == 200


def test_bomb_is_not_unpacked(tiny: Path) -> None:
    bomb = gzip.compress(b"0" * 30_000_000)
    with serving(max_body=50_000) as served:
        answer = served.client.post("/classify", files={"file": ("x.fits.gz", bomb)})
        assert served.error(answer) == (413, "too_large")


def test_body_that_does_not_arrive(tiny: Path) -> None:
    with serving(timeout=0.4) as served:
        address = (served.client.base_url.host, served.client.base_url.port)
        with socket.create_connection(address, 10.0) as connection:
            connection.sendall(
                b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 1000\r\n\r\n{"
            )
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"too_slow" in answer
        assert served.service.receiving == 0


def test_client_that_goes_away(tiny: Path, served: Served) -> None:
    address = (served.client.base_url.host, served.client.base_url.port)
    with socket.create_connection(address, 10.0) as connection:
        connection.sendall(
            b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n{"
        )
        wait_until(lambda: served.service.receiving == 1)
    wait_until(lambda: served.service.receiving == 0)
    assert served.client.post("/classify", json=BODY).status_code == 200


def test_a_bug_is_a_500_without_a_traceback(
    tiny: Path, served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("the secret of line 7")

    monkeypatch.setattr(served.service, "health", broken)
    answer = served.client.get("/health")
    assert served.error(answer) == (500, "internal_error")
    assert "line 7" not in answer.text
    # The log has it, for whoever runs the service.
    assert any("ZeroDivisionError" in str(record.exc_text) for record in caplog.records) or any(
        record.exc_info for record in caplog.records
    )


class Fragile:
    """Cannot take the spectrum of "poison", nor any that comes with it."""

    model = "fragile"

    def classify_many(
        self, spectra: Sequence[Spectrum], redshifts: Sequence[float | None]
    ) -> Iterator[Classification]:
        if any(spectrum.object == "poison" for spectrum in spectra):
            raise ZeroDivisionError
        return iter([Classification(status="ok", object=s.object) for s in spectra])


def test_one_poison_spectrum_spoils_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> list[list[Classification]]:
        loop = asyncio.get_running_loop()
        jobs = []
        for name in ("good", "poison", "fine"):
            item = Item(fake_spectrum(object=name))
            read = lambda item=item: [item]  # noqa: E731
            jobs.append(Job(read, Fragile(), loop.create_future()))  # type: ignore[arg-type]
        fragile = jobs[0].classifier
        jobs = [Job(job.read, fragile, job.future) for job in jobs]
        await asyncio.to_thread(answer_jobs, jobs, Metrics())
        return [await job.future for job in jobs]

    with caplog.at_level(logging.CRITICAL):
        (good,), (poison,), (fine,) = asyncio.run(run())
    assert (good.status, good.object) == ("ok", "good")
    assert (fine.status, fine.object) == ("ok", "fine")
    assert poison.error is not None
    assert poison.error["code"] == "internal_error"


def test_burst_of_clients_gets_200_or_429(tiny: Path) -> None:
    with serving(queue=4, batch=2) as served:
        limits = httpx.Limits(max_connections=64)
        with (
            httpx.Client(base_url=served.url, limits=limits, trust_env=False, timeout=60) as client,
            ThreadPoolExecutor(32) as pool,
        ):
            content = json.dumps(BODY)
            headers = {"Content-Type": "application/json"}
            ask = lambda _: client.post("/classify", content=content, headers=headers)  # noqa: E731
            answers = list(pool.map(ask, range(200)))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) <= {200, 429}
        assert statuses.count(200) > 0
        started = time.monotonic()
        assert served.client.post("/classify", json=BODY).status_code == 200
        assert time.monotonic() - started < 10.0
