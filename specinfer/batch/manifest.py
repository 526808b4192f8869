"""What is finished of a run, written so that a kill at any moment loses nothing finished.

Beside the parts lie ``_manifest.json``, which says what the run is (and, in the end, vouches for
every part), and while it runs ``_journal.jsonl``, a line for each finished part.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from specinfer.batch import tables
from specinfer.batch.work import Done
from specinfer.errors import SpecinferError, UsageError
from specinfer.replacing import sweep, write_new
from specinfer.watch.lock import lock_patiently

MANIFEST, JOURNAL, LOCK = "_manifest.json", "_journal.jsonl", "_lock"
RUNNING, COMPLETE = "running", "complete"
# What a manifest says of a part; times and memory differ from run to run and stay out.
_OF_A_PART = ("chunk", "part", "rows", "failed", "failures", "sha256", "size")


@dataclass(frozen=True)
class Identity:
    """What makes two runs the same: only then one can go on where the other ended.

    Parameters
    ----------
    inputs : str
        Hash of the plan.
    files, rows, chunks, chunk_size : int
    model, device : str
        As they were asked for.
    models : mapping of str to str
        Fingerprints by label.
    options : mapping
        How files are read.
    version : str
        Of specinfer.
    """

    inputs: str
    files: int
    rows: int
    chunks: int
    chunk_size: int
    model: str
    device: str
    models: Mapping[str, str]
    options: Mapping[str, Any]
    version: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"schema": tables.SCHEMA, **asdict(self)}

    @property
    def sha256(self) -> str:
        """Of all of it."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


_MEANINGS = {
    "inputs": "the input files (names, sizes, dates, rows)",
    "files": "how many input files there are",
    "rows": "how many rows the input has",
    "chunks": "how the input is cut into chunks",
    "chunk_size": "--chunk",
    "model": "--model",
    "device": "--device",
    "models": "the models",
    "options": "the reading options",
    "version": "the version of specinfer",
    "schema": "the schema of the output",
}


class Ledger:
    """The records of one run in its output folder.

    Parameters
    ----------
    folder : Path
    identity : Identity
    """

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.folder = folder
        self.identity = identity
        self.done: dict[int, Done] = {}
        self._journal: int | None = None

    def open(self, *, resume: bool) -> None:
        """Begin the records, or find what is finished already.

        Raises
        ------
        UsageError
            ``output_exists`` without `resume` if there is anything of a run,
            ``other_run`` if what is there is of another run.
        """
        stated = read_manifest(self.folder)
        if stated is None:
            if any(self.folder.glob("part-*.parquet")):
                raise UsageError(
                    "output_exists",
                    f"{self.folder} holds parts and no {MANIFEST}; give a new folder to --output",
                )
            self._write({"status": RUNNING})
        elif not resume:
            finished = stated.get("status") == COMPLETE
            raise UsageError(
                "output_exists",
                f"{self.folder} holds a run that {'is complete' if finished else 'was begun'}; "
                + ("check it with --verify" if finished else "go on with --resume")
                + ", or give a new folder to --output",
            )
        else:
            self._compare(stated)
            # Whoever wrote them is dead: this process has the lock.
            sweep(self.folder, age=0.0)
            self._find(stated)
        path = self.folder / JOURNAL
        self._journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        # A line that a kill has cut short must not take the next one with it.
        if os.fstat(self._journal).st_size and path.read_bytes()[-1:] != b"\n":
            os.write(self._journal, b"\n")

    def record(self, done: Done) -> None:
        """A part is finished: on disk before this returns."""
        self.done[done.chunk] = done
        assert self._journal is not None
        os.write(self._journal, json.dumps(asdict(done)).encode() + b"\n")
        os.fsync(self._journal)

    def complete(self, report: Mapping[str, Any]) -> None:
        """All parts are there: the manifest takes the place of the journal."""
        rows = sum(done.rows for done in self.done.values())
        failed = sum(done.failed for done in self.done.values())
        parts = [
            {name: value for name, value in asdict(self.done[i]).items() if name in _OF_A_PART}
            for i in sorted(self.done)
        ]
        totals = {"rows": rows, "ok": rows - failed, "failed": failed}
        self._write({"status": COMPLETE, **totals, "report": dict(report), "parts": parts})
        self.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.folder / JOURNAL)

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None

    def _write(self, entries: Mapping[str, Any]) -> None:
        about = {"schema": tables.SCHEMA, "run": self.identity.sha256}
        document = about | {"identity": self.identity.to_dict()} | dict(entries)
        write_new(self.folder / MANIFEST, json.dumps(document, indent=1).encode() + b"\n")

    def _compare(self, stated: Mapping[str, Any]) -> None:
        before, now = stated.get("identity") or {}, self.identity.to_dict()
        other = [_MEANINGS[name] for name in now if before.get(name) != _as_json(now[name])]
        if other:
            raise UsageError(
                "other_run",
                f"{self.folder} holds another run: {', '.join(other)} differ from now; repeat the "
                "command of that run with --resume, or give a new folder to --output",
            )

    def _find(self, stated: Mapping[str, Any]) -> None:
        """Parts that are finished, and are still what was written."""
        lines = stated.get("parts") or _lines(self.folder / JOURNAL)
        known = {line["chunk"]: Done(**{**line, "failures": _failures(line)}) for line in lines}
        for path in sorted(self.folder.glob("part-*.parquet")):
            found = _examine(path, self.identity.sha256)
            if found is None or not 0 <= found.chunk < self.identity.chunks:
                continue
            # A part without a line was written in the moment before the kill.
            line = known.get(found.chunk, found)
            if line.sha256 == found.sha256 and line.part == path.name:
                self.done[found.chunk] = line


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest in a folder; None if there is none.

    Raises
    ------
    UsageError
        ``bad_manifest`` if it is not one of this schema.
    """
    try:
        stated = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        stated = None
    if not isinstance(stated, dict) or stated.get("schema") != tables.SCHEMA:
        raise UsageError(
            "bad_manifest",
            f"{folder / MANIFEST} is damaged, or of another version of specinfer; "
            "give a new folder to --output",
        )
    return stated


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Have an output folder for oneself; made if it is not there.

    Raises
    ------
    SpecinferError
        ``not_writable``; ``output_busy`` if another run has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise SpecinferError(
            "not_writable",
            f"{folder} cannot be written ({error.strerror}); give another folder to --output",
        ) from None
    try:
        # Some network shares have no locks; there nobody checks.
        with contextlib.suppress(OSError):
            if not lock_patiently(file):
                raise UsageError(
                    "output_busy",
                    f"another run writes into {folder}; wait for it, or stop it and use --resume",
                )
        yield
    finally:
        os.close(file)


def verify(folder: Path) -> list[str]:
    """What is wrong with an output, a line each; nothing for a complete and unaltered one.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of str

    Raises
    ------
    UsageError
        ``no_output`` if there is no manifest, ``bad_manifest``.
    """
    stated = read_manifest(folder)
    if stated is None:
        raise UsageError("no_output", f"there is no {MANIFEST} in {folder}; check the path")
    if stated.get("status") != COMPLETE:
        return ["the run is not complete; repeat its command with --resume"]
    problems: list[str] = []
    parts, identity = stated.get("parts", []), stated.get("identity", {})
    for line in parts:
        path = folder / line["part"]
        if not path.is_file():
            problems.append(f"{line['part']} is missing")
            continue
        found = _examine(path, stated["run"])
        if found is None:
            problems.append(f"{line['part']} is damaged, or of another run")
        elif found.sha256 != line["sha256"]:
            problems.append(f"{line['part']} was altered: its sha256 is another one")
        elif found.rows != line["rows"] or found.failed != line["failed"]:
            problems.append(f"{line['part']} has {found.rows} rows, not {line['rows']}")
    named = {line["part"] for line in parts}
    problems += [
        f"{path.name} is not in the manifest"
        for path in sorted(folder.glob("*.parquet"))
        if path.name not in named
    ]
    if len(parts) != identity.get("chunks"):
        problems.append(f"{len(parts)} parts are listed for {identity.get('chunks')} chunks")
    if sum(line["rows"] for line in parts) != stated.get("rows"):
        problems.append("the rows of the parts do not add up to those of the manifest")
    return problems


def _examine(path: Path, run: str) -> Done | None:
    """A part as it is on disk; None if it is damaged or of another run."""
    import pyarrow.parquet as pq

    about = tables.read_about(str(path))
    if about is None or about.get("plan") != run:
        return None
    failures = _failures(about)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    rows = pq.read_metadata(path).num_rows
    return Done(
        chunk=int(about["chunk"]),
        part=path.name,
        rows=rows,
        failed=sum(number for number, _ in failures.values()),
        failures=failures,
        sha256=digest,
        size=path.stat().st_size,
    )


def _failures(entry: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    return {code: (int(n), str(first)) for code, (n, first) in entry["failures"].items()}


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a journal."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_bytes().split(b"\n"):
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
    return [line for line in found if isinstance(line, dict)]


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))
