"""The work behind `specinfer classify`: read, classify in batches, report in order."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from specinfer import result
from specinfer.classifier import Classifier
from specinfer.cli_files import EmbeddingFile, guard_inputs
from specinfer.cli_inputs import Target, expand, followed_files, listed_files
from specinfer.cli_lines import LineTable
from specinfer.cli_loading import Background
from specinfer.cli_output import JsonLines, OutputFile, Sink, Table
from specinfer.cli_reading import check_choices
from specinfer.cli_report import Progress, Reporter
from specinfer.cli_start import collect_garbage
from specinfer.errors import ReadError, UsageError
from specinfer.networks.spectranet_answer import SpectraNetAnswer
from specinfer.readers import ReadOptions, iter_spectra
from specinfer.result import Classification
from specinfer.spectrum import Spectrum

if TYPE_CHECKING:
    from specinfer.cli_keep import Keeper
    from specinfer.gates import SkipRules

PICTURE_SUFFIXES = (".png", ".pdf", ".svg")
# A batch that is not full goes through after this long: slow readers hold nothing back.
_MAX_WAIT_S = 0.5
INTERRUPTED = 130


@dataclass(frozen=True)
class Job:
    """What `specinfer classify` was asked to do; see its options."""

    paths: tuple[str, ...]
    files_from: str | None
    join: bool
    model: str
    redshift: float | None
    reading: ReadOptions
    json: bool
    output: str | None
    embedding: str | None
    plot: str | None
    lines: bool
    annotate: bool
    sidecar: bool
    overwrite: bool
    skip: SkipRules | None
    top: int
    device: str
    threads: int | None
    batch_size: int
    quiet: bool
    debug: bool


Item = Spectrum | Classification
# As in specinfer.cli_keep, which only --annotate and --sidecar need.
SKIPPED = "skipped"


def run(job: Job) -> int:
    """Do the job.

    Parameters
    ----------
    job : Job

    Returns
    -------
    int
        Exit code: 0, 1 if a file failed, 130 if interrupted.

    Raises
    ------
    SpecinferError
        For wrong usage, an output that cannot be written, and models that cannot be used.
    """
    _check(job)
    if job.plot is not None:
        from specinfer import plot

        plot.require_matplotlib()
    classifier = Classifier(job.model, job.device, job.threads)
    targets, total = _targets(job)
    reporter = Reporter(Progress(total, enabled=not job.quiet))
    files = _files(job, classifier)
    sinks = _sinks(job, files)
    # The network loads while the first file is read.
    loading = Background(classifier)
    work = _Run(job, classifier, loading, sinks, reporter)
    code = 1
    try:
        code = work.all(targets)
    except KeyboardInterrupt:
        reporter.line("specinfer: interrupted; the results made so far are kept")
        code = INTERRUPTED
    except BaseException:
        for file in files:
            if not file.count:
                file.discard()
                sinks.remove(file)
        raise
    finally:
        reporter.finish()
        for sink in sinks:
            sink.close()
    return code


class _Run:
    """State of one run: what waits for its batch, and whether anything failed."""

    def __init__(
        self,
        job: Job,
        classifier: Classifier,
        loading: Background,
        sinks: list[Sink],
        reporter: Reporter,
    ) -> None:
        self.job = job
        self.classifier = classifier
        self.loading = loading
        self.sinks = sinks
        self.reporter = reporter
        self.failed = False
        self.waiting: list[Item] = []
        self.since = 0.0
        self.pictures = 0
        self.keeper: Keeper | None = None
        if job.annotate or job.sidecar:
            from specinfer.cli_keep import Keeper

            self.keeper = Keeper(classifier, job)

    def all(self, targets: Iterator[Target | None]) -> int:
        """Everything, in order; the exit code."""
        if self.job.join:
            for item in self._joined(target for target in targets if target is not None):
                self._add(item)
        else:
            for target in targets:
                if target is None:
                    self._flush()
                    continue
                for item in self._read(target):
                    self._add(item)
                    if isinstance(item, Spectrum) and item.rows is not None:
                        self.reporter.progress.row((item.row or 0) + 1, item.rows)
                self.reporter.progress.step()
        self._flush()
        # With nothing to classify, a device that does not work is still an error.
        self.loading.wait()
        return 1 if self.failed else 0

    def _read(self, target: Target) -> Iterator[Item]:
        """The spectra of one file; what cannot be read is a failed result."""
        path = target.path
        try:
            if target.error is not None:
                raise target.error
            skipped = None if self.keeper is None else self.keeper.look(path)
            if skipped is not None:
                yield skipped
                return
            for item in iter_spectra(path, self.job.reading):
                if isinstance(item, ReadError):
                    yield result.failed(item, file=path, row=item.row, object=item.object)
                else:
                    yield item
        except ReadError as error:
            self._trace()
            yield result.failed(error, file=path, row=error.row, object=error.object)
        except Exception as error:  # a file must never stop the others
            self._trace()
            wrapped = ReadError(
                "internal_error",
                f"reading failed ({type(error).__name__}: {error}); this is a bug of specinfer, "
                "please report it with the output of --debug",
            )
            yield result.failed(wrapped, file=path)

    def _joined(self, targets: Iterator[Target]) -> Iterator[Item]:
        """All files as one object; a file that cannot be read is left out and reported."""
        from specinfer.readers.join import join

        parts: list[Spectrum] = []
        for target in targets:
            items = list(self._read(target))
            spectra = [item for item in items if isinstance(item, Spectrum)]
            yield from (item for item in items if not isinstance(item, Spectrum))
            if len(spectra) > 1:
                raise UsageError(
                    "join_many",
                    f"--join: {target.path} holds {len(spectra)} objects; give files that hold "
                    "one object each",
                )
            parts += spectra
            self.reporter.progress.step()
        if parts:
            try:
                yield join(parts)
            except ReadError as error:
                self._trace()
                yield result.failed(error, file=parts[0].file)

    def _add(self, item: Item) -> None:
        if not self.waiting:
            self.since = time.monotonic()
        self.waiting.append(item)
        late = time.monotonic() - self.since > _MAX_WAIT_S
        if late or len(self.waiting) >= self.job.batch_size:
            self._flush()

    def _flush(self) -> None:
        """Classify what waits and hand out the results in order."""
        items, self.waiting = self.waiting, []
        if not items:
            return
        spectra = [item for item in items if isinstance(item, Spectrum)]
        if spectra:
            self.loading.wait()
        known = [self.job.redshift] * len(spectra)
        answers = self.classifier.classify_many(spectra, known, self.job.batch_size)
        results = [item if isinstance(item, Classification) else next(answers) for item in items]
        if self.job.lines:
            results = [self._measured(answer) for answer in results]
        for answer in results:
            if answer.error is not None:
                self._fail(answer, answer.error)
        self.reporter.progress.hide()
        for sink in self.sinks:
            sink.write(results)
        for answer in results:
            self._keep(answer)
        if self.job.plot is not None:
            for answer in results:
                if answer.ok:
                    self._plot(answer)
        # Everything is imported by now; from here on there may be garbage.
        collect_garbage()

    def _measured(self, answer: Classification) -> Classification:
        """With its lines; once it is said if a model gives nothing to measure them with."""
        made = answer.with_lines()
        if answer.ok and made.lines is None and answer.redshift is not None:
            self.reporter.once(
                f"specinfer: --lines: {answer.model} gives no spectrum without noise to measure "
                "lines with; use --model survey or specpt"
            )
        return made

    def _keep(self, answer: Classification) -> None:
        error = None if self.keeper is None else self.keeper.write(answer)
        if error is not None:
            self._fail(answer, {"code": error.code, "message": error.message})

    def _plot(self, answer: Classification) -> None:
        from specinfer import plot

        path = self._picture_path(answer)
        self.pictures += 1
        try:
            explained = isinstance(answer.answer, SpectraNetAnswer)
            relevance = self.classifier.explain(answer) if explained else None
            plot.save(answer, path, relevance)
        except OSError as error:
            self._trace()
            message = f"the picture {path} cannot be written: {error.strerror or error}"
            self._fail(answer, {"code": "not_writable", "message": message})

    def _picture_path(self, answer: Classification) -> Path:
        """The file asked for (numbered from the second on), or one a spectrum in the folder."""
        wanted = Path(self.job.plot or "")
        if wanted.suffix.lower() in PICTURE_SUFFIXES:
            if self.pictures:
                return wanted.with_name(f"{wanted.stem}_{self.pictures + 1}{wanted.suffix}")
            return wanted
        name = Path(answer.file or "spectrum").name
        stem = "stdin" if name == "-" else name
        for ending in (".gz", ".bz2", ".xz", ".fz"):
            stem = stem.removesuffix(ending)
        row = "" if answer.row is None else f"_{answer.row}"
        return wanted / f"specinfer_{Path(stem).stem}{row}.png"

    def _fail(self, answer: Classification, error: Mapping[str, str]) -> None:
        if error["code"] != SKIPPED:
            self.failed = True
        elif self.job.quiet:
            return
        where = "standard input" if answer.file in (None, "-") else str(answer.file)
        if answer.row is not None:
            where += f"[row {answer.row}]"
        # One line, whatever messages of libraries and names of files hold.
        message = " ".join(error["message"].split())
        where = where.replace("\n", "\\n")
        self.reporter.line(f"specinfer: {where}: {message} ({error['code']})")

    def _trace(self) -> None:
        if self.job.debug:
            self.reporter.line(traceback.format_exc().rstrip())


def _check(job: Job) -> None:
    """Wrong usage is said before any work."""
    if not job.paths and job.files_from is None:
        raise UsageError(
            "no_input", "give files to classify, '-' for standard input, or --files-from"
        )
    if "-" in job.paths and job.files_from == "-":
        raise UsageError(
            "bad_option", "standard input cannot be both a spectrum and the list of files"
        )
    kept = [f"--{name}" for name in ("annotate", "sidecar") if getattr(job, name)]
    if kept and (job.join or "-" in job.paths):
        what = "--join" if job.join else "standard input"
        raise UsageError("bad_option", f"{kept[0]} needs files of one spectrum, not {what}")
    if not kept and (job.overwrite or job.skip is None):
        name = "--overwrite" if job.overwrite else "--no-skip"
        raise UsageError("bad_option", f"{name} goes with --annotate or --sidecar")
    if job.redshift is not None and not -1.0 < job.redshift < 100.0:
        raise UsageError(
            "bad_option", f"--redshift {job.redshift}: give a number between -1 and 100"
        )
    if job.top < 1 or job.batch_size < 1:
        raise UsageError("bad_option", "--top and --batch-size must be at least 1")
    check_choices(job.reading, job.device)


def _targets(job: Job) -> tuple[Iterator[Target | None], int | None]:
    """What to read, and how much it is (None: not known)."""
    options = (("--output", job.output), ("--embedding", job.embedding), ("--plot", job.plot))
    written = [(option, path) for option, path in options if path is not None]
    if job.files_from == "-":
        return guard_inputs(chain(expand(job.paths), _following()), written), None
    listed = [] if job.files_from is None else list(listed_files(job.files_from))
    targets = list(guard_inputs(expand([*job.paths, *listed]), written))
    return iter(targets), len(targets)


def _following() -> Iterator[Target | None]:
    """Targets from standard input; None where it is silent."""
    for path in followed_files():
        if path is None:
            yield None
        else:
            yield from expand([path])


def _files(job: Job, classifier: Classifier) -> list[OutputFile | EmbeddingFile]:
    files: list[OutputFile | EmbeddingFile] = []
    try:
        if job.output is not None:
            files.append(OutputFile(job.output))
        if job.embedding is not None:
            fixed = job.model != "auto"
            files.append(EmbeddingFile(job.embedding, classifier.embedding_size, fixed))
    except BaseException:
        for file in files:
            file.discard()
        raise
    return files


def _sinks(job: Job, files: Sequence[OutputFile | EmbeddingFile]) -> list[Sink]:
    terminal = sys.stdout.isatty()
    # The files first: they are complete even if whoever reads standard output goes away.
    sinks: list[Sink] = [*files]
    if job.json or (job.output is None and not terminal):
        sinks.append(JsonLines(sys.stdout))
    elif terminal and not (job.output is not None and job.quiet):
        sinks.append(Table(job.top))
        if job.lines:
            sinks.append(LineTable())
    return sinks
