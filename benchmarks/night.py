"""``python -m benchmarks.night``: a night with kills and a portal that fails.

Spectra appear in the layout of SEDM, some of them slow, truncated, empty or twice; the
watch service is killed and started again and again; the portal drops, delays and errors.
In the morning everything is reconciled: every good spectrum answered once, annotated once,
posted once; every bad one reported; nothing lost.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.night_checks import Morning
from benchmarks.night_spectra import NIGHTS, ROOT, Item, Maker
from benchmarks.portal import Faults, Portal
from specinfer.sidecar import sidecar_path
from specinfer.watch.status import look

# Seconds from the file that was written last until all must be done.
PATIENCE = 240.0
# Every so many kills one is a polite one, which must end with 0.
_POLITE = 4
_EARLY = 3
_SLOW_PIECES, _SLOW_PAUSE = 4, 0.35
_REPAIR_AFTER = 3.0

CONFIGURATION = """
[watch]
annotate = true
skyportal = true
attempts = 3
retry_first = 0.5
retry_most = 2.0
jobs = {jobs}
log_format = "json"

[skyportal]
url = "{url}"
timeout = 1.0
rate = 1000.0
retry_first = 0.2
retry_most = 2.0
"""

app = typer.Typer(add_completion=False)


@dataclass
class Written:
    """How far the writer is; may be used by threads.

    Parameters
    ----------
    closed : dict of str to float
        When which file was complete, by stem.
    count : int
        Items begun.
    allowed : int
        The item at which the writer waits for the service, which is killed before.
    """

    closed: dict[str, float] = field(default_factory=dict)
    count: int = 0
    allowed: int = 0


class Service:
    """The watch service as a process, its log in a file.

    Parameters
    ----------
    directory, configuration, log : Path
    token : str
    """

    def __init__(self, directory: Path, configuration: Path, log: Path, token: str) -> None:
        self._command = [
            sys.executable, "-m", "specinfer", "watch", str(directory),
            "--config", str(configuration),
        ]  # fmt: skip
        self._env = os.environ | {"SPECINFER_SKYPORTAL_TOKEN": token}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.kills: list[float] = []
        self.bad_ends: list[str] = []

    def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stderr=log, cwd=ROOT, env=self._env)

    def wait_until_up(self) -> None:
        """Wait until it has loaded its model and looks at the directory."""
        assert self._process is not None
        deadline = time.monotonic() + 60.0
        pid = self._process.pid
        while not any(e["event"] == "started" and e["pid"] == pid for e in self.events()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                return
            time.sleep(0.05)

    def end(self, *, politely: bool) -> None:
        """End it with SIGTERM or SIGKILL, and see that it ends as it should."""
        assert self._process is not None
        process, self._process = self._process, None
        if process.poll() is not None:
            self.bad_ends.append(f"the service ended by itself with {process.returncode}")
            return
        self.kills.append(time.time())
        process.send_signal(signal.SIGTERM if politely else signal.SIGKILL)
        code = process.wait(60)
        # Who is still loading Python when asked to end just ends.
        if politely and code not in (0, 130, -signal.SIGTERM):
            self.bad_ends.append(f"SIGTERM ended the service with {code}")

    def events(self) -> list[dict[str, Any]]:
        """What it logged."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def complaints(self) -> list[str]:
        """Lines that are no log lines: warnings, tracebacks."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("{")]


def write_night(
    directory: Path, items: Sequence[Item], rate: float, portal: Portal, written: Written, seed: int
) -> None:
    """Write the files at a mean rate (a second), and upload them to the portal."""
    chance = random.Random(seed)
    others: list[threading.Thread] = []
    for number, item in enumerate(items):
        while number >= written.allowed:
            time.sleep(0.02)
        time.sleep(chance.expovariate(rate))
        written.count = number
        folder = directory / item.night
        folder.mkdir(exist_ok=True)
        if item.kind in ("slow", "repaired"):
            # They are slow, not those after them.
            thread = threading.Thread(target=_write, args=(folder, item, portal, written))
            thread.start()
            others.append(thread)
        else:
            _write(folder, item, portal, written)
    for thread in others:
        thread.join()


def _write(folder: Path, item: Item, portal: Portal, written: Written) -> None:
    path = folder / f"{item.stem}.fits"
    if item.kind == "repaired":
        path.write_bytes(item.fits[: len(item.fits) // 3])
        time.sleep(_REPAIR_AFTER)
    pieces = _SLOW_PIECES if item.kind == "slow" else 1
    size = len(item.fits) // pieces + 1
    with path.open("wb") as file:
        for number in range(pieces):
            if number:
                time.sleep(_SLOW_PAUSE)
            file.write(item.fits[number * size : (number + 1) * size])
            file.flush()
    if item.text:
        path.with_suffix(".txt").write_bytes(item.text)
    if item.kind not in ("rewritten", "redone"):
        written.closed[item.stem] = time.time()
        if item.good:
            portal.add_spectrum(item.obj, f"{item.stem}.txt")


def is_settled(directory: Path, items: Sequence[Item]) -> bool:
    """Whether there is nothing left to do."""
    stems = {item.stem: item for item in items}
    paths = (directory / i.night / f"{i.stem}.fits" for i in stems.values())
    if not all(sidecar_path(path).exists() for path in paths):
        return False
    status = look(directory, directory / ".specinfer")
    files = status["files"]
    posts = (status["outbox"] or {"posts": {}})["posts"]
    done = files.get("done", 0) + files.get("aside", 0)
    return done == len(stems) and not posts.get("pending")


def latencies(
    directory: Path, items: Sequence[Item], written: Written, service: Service
) -> dict[str, list[float]]:
    """Seconds from closed to answered: of all, and of those that no kill came between."""
    starts = [_seconds(event) for event in service.events() if event["event"] == "started"]
    redone = {item.stem for item in items if item.kind == "redone"}
    every, undisturbed = [], []
    for item in items:
        # Of what was written twice only the second answer is there to be timed.
        if item.kind not in ("good", "slow", "contsep") or item.stem in redone:
            continue
        path = directory / item.night / f"{item.stem}.fits"
        closed = written.closed[item.stem]
        if not sidecar_path(path).exists():
            continue  # reported elsewhere
        answered = sidecar_path(path).stat().st_mtime
        every.append(answered - closed)
        up = any(start <= closed for start in starts)
        since = max((start for start in starts if start <= closed), default=0.0)
        if up and not any(since <= kill <= answered for kill in service.kills):
            undisturbed.append(answered - closed)
    return {"all": every, "without a kill between": undisturbed}


def _seconds(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def spread(seconds: Sequence[float]) -> dict[str, float | int]:
    """n, median, 95th percentile and maximum."""
    if not seconds:
        return {"n": 0}
    low, high = np.percentile(seconds, [50, 95])
    return {"n": len(seconds), "p50": float(low), "p95": float(high), "max": max(seconds)}


def run_night(
    folder: Path, *, spectra: int, restarts: int, rate: float, seed: int, fault: float, jobs: int
) -> dict[str, Any]:
    """A night from dusk to morning.

    Parameters
    ----------
    folder : Path
        Empty; for everything that is written.
    spectra, restarts : int
        Files, and kills.
    rate : float
        Files a second, on average.
    seed : int
    fault : float
        Share of each of the portal's seven faults.
    jobs : int

    Returns
    -------
    dict
        Plain JSON values; ``problems`` is empty if all is well.
    """
    directory, configuration = folder / "redux", folder / "specinfer.toml"
    directory.mkdir()
    items = Maker(seed).night(spectra)
    chance = random.Random(seed)
    faults = Faults(**dict.fromkeys(Faults.NAMES, fault), delay=0.3)
    began = time.monotonic()
    with Portal(faults=faults, seed=seed) as portal:
        configuration.write_text(CONFIGURATION.format(url=portal.url, jobs=jobs))
        service = Service(directory, configuration, folder / "log.jsonl", portal.token)
        # The first folder of a night is there before its first spectrum.
        (directory / NIGHTS[0]).mkdir()
        service.start()
        service.wait_until_up()
        written = Written()
        writer = threading.Thread(
            target=write_night, args=(directory, items, rate, portal, written, seed)
        )
        writer.start()
        kills = sorted(chance.sample(range(1, spectra), restarts))
        for number, (kill, following) in enumerate(pairwise([*kills, spectra])):
            written.allowed = following
            while written.count < kill:
                time.sleep(0.01)
            time.sleep(chance.uniform(0.0, 3.0 / rate))
            service.end(politely=number % _POLITE == _POLITE - 1)
            service.start()
            if number % _EARLY != _EARLY - 1:
                # The others may be killed while they load their model.
                service.wait_until_up()
        written.allowed = spectra
        writer.join()
        deadline = time.monotonic() + PATIENCE
        while not is_settled(directory, items) and time.monotonic() < deadline:
            time.sleep(0.2)
        settled = time.monotonic() < deadline
        service.end(politely=True)
        morning = Morning(directory, items, portal)
        morning.reconcile()
        met = dict(portal.faults_met)
        requests = len(portal.requests)
    problems = [*morning.problems, *service.bad_ends, *service.complaints()]
    if not settled:
        problems.insert(0, f"not all was done {PATIENCE:g} s after the last file")
    events = service.events()
    answers = Counter(e["sha256"] for e in events if e["event"] == "answered")
    return {
        "spectra": len(items),
        "files": len({item.stem for item in items}),
        "kinds": dict(Counter(item.kind for item in items)),
        "kills": len(service.kills) - 1,
        "seconds": round(time.monotonic() - began, 1),
        "counts": dict(morning.counts),
        "classified_again_after_a_kill": sum(count - 1 for count in answers.values()),
        "events": dict(Counter(event["event"] for event in events)),
        "portal": {"requests": requests, "faults": met},
        "latency": {
            name: spread(seconds)
            for name, seconds in latencies(directory, items, written, service).items()
        },
        "problems": problems,
    }


@app.command()
def main(
    spectra: Annotated[int, typer.Option(help="Files of the night.")] = 500,
    restarts: Annotated[int, typer.Option(help="Kills of the service.")] = 20,
    rate: Annotated[float, typer.Option(help="Files a second.")] = 3.0,
    seed: Annotated[int, typer.Option()] = 1,
    fault: Annotated[float, typer.Option(help="Share of each of the portal's faults.")] = 0.03,
    jobs: Annotated[int, typer.Option(help="Spectra at a time.")] = 1,
    short: Annotated[bool, typer.Option("--short", help="40 files and 4 kills.")] = False,
    keep: Annotated[Path | None, typer.Option(help="Empty folder for all that is written.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Simulate a night and reconcile it; the exit code is 1 if something is wrong.

    Example: python -m benchmarks.night --spectra 500 --restarts 20
    """
    if short:
        spectra, restarts, rate = 40, 4, 4.0
    with tempfile.TemporaryDirectory(prefix="specinfer-night-") as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report = run_night(
            folder,
            spectra=spectra, restarts=restarts, rate=rate, seed=seed, fault=fault, jobs=jobs,
        )  # fmt: skip
    print(json.dumps(report) if as_json else _words(report))
    raise typer.Exit(1 if report["problems"] else 0)


def _words(report: dict[str, Any]) -> str:
    def listed(counts: dict[str, Any]) -> str:
        return ", ".join(f"{count} {name}" for name, count in counts.items())

    lines = [
        f"{report['spectra']} writes of {report['files']} files in {report['seconds']} s, "
        f"{report['kills']} kills",
        f"written: {listed(report['kinds'])}",
        f"ended as: {listed(report['counts'])}",
        f"portal: {report['portal']['requests']} requests, faults: "
        f"{listed(report['portal']['faults'])}",
        f"classified again after a kill: {report['classified_again_after_a_kill']}",
    ]
    for name, values in report["latency"].items():
        if values["n"]:
            lines.append(
                f"closed to answered, {name}: n {values['n']}, median {values['p50']:.2f} s, "
                f"95 % {values['p95']:.2f} s, max {values['max']:.2f} s"
            )
    problems = report["problems"]
    lines.append("reconciled: nothing lost, nothing twice" if not problems else "PROBLEMS:")
    return "\n".join(lines + [f"  {problem}" for problem in problems])


if __name__ == "__main__":
    app()
