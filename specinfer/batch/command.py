"""The work behind `specinfer batch`: plan, run, summary."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from specinfer import __version__
from specinfer.batch import cluster, manifest
from specinfer.batch.plan import Plan, make_plan
from specinfer.cli_inputs import listed_files
from specinfer.cli_reading import check_choices
from specinfer.cli_report import say
from specinfer.engine import available_cpus
from specinfer.errors import UsageError
from specinfer.readers import SLICED, ReadOptions

INTERRUPTED = 130


@dataclass(frozen=True)
class Request:
    """What `specinfer batch` was asked to do; see its options."""

    paths: tuple[str, ...]
    list_file: str | None
    output: Path
    workers: int | None
    scheduler: str | None
    chunk: int
    resume: bool
    model: str
    device: str
    reading: ReadOptions
    columns: Mapping[str, str]
    json: bool
    quiet: bool


def run(request: Request) -> int:
    """Do it.

    Parameters
    ----------
    request : Request

    Returns
    -------
    int
        Exit code: 0, 1 if rows failed, 130 if interrupted.

    Raises
    ------
    SpecinferError
        For wrong usage, models that cannot be used, outputs that cannot be written.
    """
    began = time.perf_counter()
    _check(request)
    cluster.require()
    from specinfer.batch.work import fingerprints

    models = fingerprints(request.model)
    paths = [*request.paths]
    if request.list_file is not None:
        paths += listed_files(request.list_file)
    plan = make_plan(paths, request.chunk, slicing=request.reading.format in (None, *SLICED))
    identity = _identity(request, plan, models)
    with manifest.claim(request.output):
        ledger = manifest.Ledger(request.output, identity)
        ledger.open(resume=request.resume)
        try:
            return _work(request, plan, ledger, began)
        except KeyboardInterrupt:
            say(f"specinfer: interrupted; what is finished is kept, go on with: {_again()}")
            return INTERRUPTED
        finally:
            ledger.close()


def verify(folder: Path, *, as_json: bool) -> int:
    """Check an output against its manifest.

    Parameters
    ----------
    folder : Path
    as_json : bool
        One JSON object on standard output.

    Returns
    -------
    int
        0 if it is complete and unaltered, else 1.
    """
    cluster.require()
    problems = manifest.verify(folder)
    stated = manifest.read_manifest(folder) or {}
    parts, rows = len(stated.get("parts", ())), stated.get("rows", 0)
    if as_json:
        found = {"ok": not problems, "output": str(folder), "parts": parts, "rows": rows}
        print(json.dumps(found | {"problems": problems}))
    elif not problems:
        print(f"{folder}: {rows} rows in {parts} parts, all as they were written")
    for problem in problems:
        say(f"specinfer: {folder}: {problem}")
    return 1 if problems else 0


def _work(request: Request, plan: Plan, ledger: manifest.Ledger, began: float) -> int:
    from specinfer.batch.progress import Meter
    from specinfer.batch.run import Run, Tally
    from specinfer.batch.work import Job

    reused = len(ledger.done)
    if not request.quiet:
        before = f", {reused} finished before" if reused else ""
        say(
            f"specinfer: {len(plan.inputs)} files, {plan.rows} rows in "
            f"{ledger.identity.chunks} chunks{before}"
        )
    left = plan.rows - sum(chunk.rows for chunk in plan.chunks() if chunk.number in ledger.done)
    tally, workers = Tally(), request.workers or available_cpus()
    ready = time.perf_counter()
    if reused < ledger.identity.chunks:
        job = Job(
            output=os.path.abspath(request.output),
            plan=ledger.identity.sha256,
            model=request.model,
            device=request.device,
            models=ledger.identity.models,
            version=__version__,
            reading=request.reading,
            columns=request.columns,
        )
        todo = (chunk for chunk in plan.chunks() if chunk.number not in ledger.done)
        wanted = min(workers, ledger.identity.chunks - reused)
        with cluster.client_of(request.scheduler, wanted) as client:
            ready = time.perf_counter()
            meter = Meter(left, shown=not request.quiet)
            try:
                tally = Run(client, job, ledger, meter).all(todo)
            finally:
                meter.close()
            ended = time.perf_counter()
    else:
        ended = ready
    seconds = time.perf_counter() - began
    report = {
        "reused_chunks": reused,
        "seconds": round(seconds, 3),
        "spectra_per_s": round(tally.rows / seconds, 2),
        "work_seconds": round(ended - ready, 3),
        "work_spectra_per_s": round(tally.rows / max(ended - ready, 1e-9), 2),
        "workers": workers if request.scheduler is None else None,
        "worker_peak_mb": round(tally.peak_mb, 1),
    }
    if reused < ledger.identity.chunks or not _is_complete(request.output):
        ledger.complete(report)
    return _report(request, ledger, report)


def _report(request: Request, ledger: manifest.Ledger, report: Mapping[str, Any]) -> int:
    """The summary, and the failures grouped by their codes."""
    failures: dict[str, tuple[int, str]] = {}
    for number in sorted(ledger.done):
        for code, (count, first) in ledger.done[number].failures.items():
            before = failures.get(code, (0, first))
            failures[code] = (before[0] + count, before[1])
    rows = sum(done.rows for done in ledger.done.values())
    failed = sum(count for count, _ in failures.values())
    summary = {
        "schema": "specinfer.batch-summary/1",
        "output": str(request.output),
        "rows": rows,
        "ok": rows - failed,
        "failed": failed,
        "failures": {code: count for code, (count, _) in sorted(failures.items())},
        "chunks": ledger.identity.chunks,
        **report,
    }
    if not request.quiet:
        for code, (count, first) in sorted(failures.items(), key=lambda item: -item[1][0]):
            say(f"specinfer: {count} failed with {code}, the first: {first}")
    if request.json:
        print(json.dumps(summary))
    elif not request.quiet:
        again = f" ({report['reused_chunks']} were there)" if report["reused_chunks"] else ""
        say(
            f"specinfer: {rows} rows, {failed} failed, in {ledger.identity.chunks} parts{again}: "
            f"{request.output}; {report['spectra_per_s']:.0f} spectra/s over "
            f"{report['seconds']:.0f} s"
        )
    return 1 if failed else 0


def _is_complete(folder: Path) -> bool:
    stated = manifest.read_manifest(folder)
    return stated is not None and stated.get("status") == manifest.COMPLETE


def _identity(request: Request, plan: Plan, models: Mapping[str, str]) -> manifest.Identity:
    return manifest.Identity(
        inputs=plan.sha256,
        files=len(plan.inputs),
        rows=plan.rows,
        chunks=sum(1 for _ in plan.chunks()),
        chunk_size=plan.chunk_size,
        model=request.model,
        device=request.device,
        models=models,
        options=asdict(request.reading) | {"columns": dict(request.columns)},
        version=__version__,
    )


def _check(request: Request) -> None:
    check_choices(request.reading, request.device)
    if request.workers is not None and request.workers < 1:
        raise UsageError("bad_option", f"--workers must be at least 1, not {request.workers}")
    if request.workers is not None and request.scheduler is not None:
        raise UsageError(
            "bad_option",
            "--workers is for processes of this machine; the workers of --scheduler are its own",
        )


def _again() -> str:
    """The command that goes on where this one ended."""
    words = sys.argv[1:]
    return shlex.join(["specinfer", *words, *([] if "--resume" in words else ["--resume"])])
