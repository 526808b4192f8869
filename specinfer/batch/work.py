"""One chunk, in a worker: read its rows, classify them, write its part."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from specinfer import __version__, result
from specinfer.batch import tables
from specinfer.batch.plan import Chunk, Piece
from specinfer.classifier import DEFAULT_MODEL, SURVEY_MODEL, Classifier, shared_classifier
from specinfer.errors import ModelError, ReadError, SpecinferError
from specinfer.models import load_card
from specinfer.readers import ReadOptions, iter_spectra
from specinfer.replacing import write_new
from specinfer.result import Classification
from specinfer.spectrum import Spectrum

# Spectra in memory at a time.
BATCH = 64


@dataclass(frozen=True)
class Job:
    """What all chunks of a run have in common.

    Parameters
    ----------
    output : str
        Folder of the parts.
    plan : str
        Identity of the run.
    model, device : str
        As in `specinfer.Classifier`.
    models : mapping of str to str
        What `fingerprints` gives for the model where the run was planned.
    version : str
        Of specinfer, there.
    reading : ReadOptions
    columns : mapping of str to str
        Columns of tables, where the user names them.
    """

    output: str
    plan: str
    model: str
    device: str
    models: Mapping[str, str]
    version: str
    reading: ReadOptions = field(default_factory=ReadOptions)
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """What is left to say of a chunk whose part is written.

    Parameters
    ----------
    chunk : int
    part : str
        Name of the part.
    rows, failed : int
    failures : mapping of str to (int, str)
        How many rows failed by code of the error, and what became of the first.
    sha256 : str
        Of the part.
    size : int
        Bytes of the part.
    seconds : float
    peak_mb : float
        Largest memory of the worker so far.
    """

    chunk: int
    part: str
    rows: int
    failed: int
    failures: Mapping[str, tuple[int, str]]
    sha256: str
    size: int
    seconds: float = 0.0
    peak_mb: float = 0.0


class ChunkError(SpecinferError):
    """Something that nobody has thought of, in this chunk alone."""


def fingerprints(model: str) -> dict[str, str]:
    """Label and fingerprint of a model's cards, which hold the hashes of the networks.

    Raises
    ------
    ModelError
        If it is not there.
    """
    names = (DEFAULT_MODEL, SURVEY_MODEL) if model == "auto" else (model,)
    found: dict[str, str] = {}
    for name in names:
        try:
            card = load_card(name)
        except ModelError:
            # Spectra of surveys then fail with this error, each of them.
            if model != "auto" or name == DEFAULT_MODEL:
                raise
            continue
        for one in (card, *card.networks):
            found[one.label] = f"{one.fingerprint} {one.sha256}"
    return found


def do_chunk(job: Job, chunk: Chunk) -> Done:
    """Classify a chunk and write its part.

    Parameters
    ----------
    job : Job
    chunk : Chunk

    Returns
    -------
    Done

    Raises
    ------
    ModelError
        If this worker has other models than the run was planned with, or cannot use them.
    ChunkError
        ``internal_error`` for anything unexpected: a bug, or no memory.
    SpecinferError
        ``not_writable`` if the part cannot be written.
    """
    began = time.perf_counter()
    _check(job)
    try:
        done = _do(job, chunk)
    except SpecinferError:
        raise
    except Exception as error:
        raise ChunkError("internal_error", _bug(error)) from None
    return replace(done, seconds=time.perf_counter() - began, peak_mb=_peak_mb())


def _do(job: Job, chunk: Chunk) -> Done:
    classifier = shared_classifier(job.model, job.device, 1)
    columns: dict[str, list[Any]] = {}
    failures: Counter[str] = Counter()
    first: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for batch in _batches(_items(job, chunk)):
            results = _classified(classifier, batch)
            for one in results:
                if one.error is not None:
                    failures[one.error["code"]] += 1
                    first.setdefault(one.error["code"], describe(one))
            for name, values in tables.to_columns(results).items():
                columns.setdefault(name, []).extend(values)
    told = {code: (number, first[code]) for code, number in sorted(failures.items())}
    return write_part(job, chunk, columns, told)


def write_part(
    job: Job,
    chunk: Chunk,
    columns: Mapping[str, list[Any]],
    failures: Mapping[str, tuple[int, str]],
) -> Done:
    """Write the part of a chunk, whole or not at all.

    Raises
    ------
    SpecinferError
        ``not_writable``.
    """
    # Of a chunk without rows, such as one of sky fibres.
    columns = columns or {name: [] for name in tables.schema().names}
    rows = len(columns["file"])
    about = {
        "schema": tables.SCHEMA,
        "plan": job.plan,
        "chunk": chunk.number,
        "rows": rows,
        "failures": failures,
        "models": dict(job.models),
        "version": job.version,
    }
    data = tables.part_bytes(columns, about)
    write_new(Path(job.output) / chunk.part, data)
    failed = sum(number for number, _ in failures.values())
    digest = hashlib.sha256(data).hexdigest()
    return Done(chunk.number, chunk.part, rows, failed, failures, digest, len(data))


def write_lost(job: Job, chunk: Chunk, error: SpecinferError) -> Done:
    """Write the part of a chunk that no worker survives: a failed row for each of its rows."""
    lost: list[Classification] = []
    for piece in chunk.pieces:
        if piece.start is None or piece.stop is None:
            lost.append(result.failed(error, file=piece.path))
            continue
        rows = range(piece.offset + piece.start, piece.offset + piece.stop)
        lost += [result.failed(error, file=piece.path, row=row) for row in rows]
    told = {error.code: (len(lost), describe(lost[0]))}
    return write_part(job, chunk, tables.to_columns(lost), told)


def describe(one: Classification) -> str:
    """A failed row in a line: file, row, what is wrong."""
    row = "" if one.row is None else f", row {one.row}"
    said = "" if one.error is None else one.error["message"]
    return f"{one.file}{row}: {said}"


_checked: set[str] = set()


def _check(job: Job) -> None:
    """Refuse to answer with other models than the run was planned with."""
    if job.plan in _checked:
        return
    _quiet_pyarrow()
    if job.version != __version__:
        raise ModelError(
            "other_version",
            f"a worker has specinfer {__version__}, the run was planned with {job.version}; "
            "install the same version everywhere",
        )
    if fingerprints(job.model) != dict(job.models):
        raise ModelError(
            "other_models",
            "a worker has other models than the run was planned with; give all workers the "
            "same installation and the same SPECINFER_MODEL_DIR",
        )
    _checked.add(job.plan)


def _quiet_pyarrow() -> None:
    """One thread a worker: the cores are full of workers."""
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def _items(job: Job, chunk: Chunk) -> Iterator[Spectrum | Classification]:
    """The spectra of a chunk in order; failed results in place of those that cannot be read."""
    for piece in chunk.pieces:
        try:
            if piece.error is not None:
                raise ReadError(*piece.error)
            for item in _read(job, piece):
                if isinstance(item, ReadError):
                    yield result.failed(item, file=piece.path, row=item.row, object=item.object)
                else:
                    yield item
        except ReadError as error:
            yield result.failed(error, file=piece.path, row=error.row, object=error.object)


def _read(job: Job, piece: Piece) -> Iterator[Spectrum | ReadError]:
    if piece.group is not None:
        from specinfer.batch.columns_input import iter_table

        return iter_table(piece, job.columns, job.reading)
    rows = None
    if piece.start is not None and piece.stop is not None:
        rows = (piece.start, piece.stop)
    return iter_spectra(piece.path, replace(job.reading, rows=rows))


def _batches(
    items: Iterator[Spectrum | Classification],
) -> Iterator[list[Spectrum | Classification]]:
    batch: list[Spectrum | Classification] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _classified(
    classifier: Classifier, batch: Sequence[Spectrum | Classification]
) -> list[Classification]:
    """The answers to a batch; what was failed already stays."""
    spectra = [item for item in batch if isinstance(item, Spectrum)]
    try:
        answers = iter(list(classifier.classify_many(spectra)))
    except SpecinferError:
        raise
    except Exception:  # a bug that one spectrum meets must not cost the others their answers
        answers = iter([_alone(classifier, spectrum) for spectrum in spectra])
    return [next(answers) if isinstance(item, Spectrum) else item for item in batch]


def _alone(classifier: Classifier, spectrum: Spectrum) -> Classification:
    try:
        return classifier.classify(spectrum)
    except SpecinferError:
        raise
    except Exception as error:
        return result.failed(SpecinferError("internal_error", _bug(error)), spectrum=spectrum)


def _bug(error: Exception) -> str:
    return f"{type(error).__name__}: {error}; this is a bug of specinfer, please report it"


def _peak_mb() -> float:
    """Largest resident memory of this process in MB; 0 where the system does not say."""
    with contextlib.suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)
    return 0.0
