"""``python -m benchmarks soak``: minutes of work, to see what grows, drifts or changes.

Transients and survey spectra by turns, one at a time, as a service does. Every answer is
compared with the first to the same spectrum.
"""

from __future__ import annotations

import hashlib
import json
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks import machine
from benchmarks.report import AsJson, Check, Plot, Report, check_plot, deliver
from benchmarks.timing import MINIMUM
from specinfer.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from specinfer import Classification, Classifier, Spectrum

# Growth of memory after this many seconds, in percent; of a short run, after half of it.
GROWTH, SETTLED_S = 5.0, 60.0
# Of each kind; every spectrum is asked about again and again.
SPECTRA = 12
# Latencies of one model within one interval of sampling, at most: memory that is taken at the
# start and does not grow.
_ROOM = 4096
# Share of the samples whose median stands for the start and for the end.
_END = 0.1

app = typer.Typer(add_completion=False)


@dataclass
class Course:
    """What was seen while time went by; the columns are as long as there were samples.

    Parameters
    ----------
    kinds : sequence of str
        Models that are asked by turns.

    Attributes
    ----------
    seconds, memory : array of float
        Since the start, and MB.
    medians : dict of str to array of float
        Median milliseconds of each kind since the sample before.
    answers, changed : int
        Answers in all, and those that were not the first to the same spectrum.
    """

    kinds: Sequence[str]
    answers: int = 0
    changed: int = 0
    seconds: array[float] = field(default_factory=lambda: array("d"))
    memory: array[float] = field(default_factory=lambda: array("d"))
    medians: dict[str, array[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.medians = {kind: array("d") for kind in self.kinds}


@app.command()
def main(
    minutes: Annotated[float, typer.Option(help="How long.")] = 10.0,
    every: Annotated[float, typer.Option(help="Seconds between samples.")] = 1.0,
    threads: Annotated[int | None, typer.Option(help="Threads of onnxruntime.")] = None,
    as_json: AsJson = False,
    plot: Plot = None,
    check: Check = False,
) -> None:
    """Classify without a pause; print growth of memory, drift of latency, and changed answers.

    Memory counts from the end of the first minute (of less than two minutes, from the middle);
    the largest sample after it is compared with the one there.

    Example: python -m benchmarks soak --minutes 10 --plot soak.png
    """
    if every <= 0 or 60.0 * minutes / every < MINIMUM:
        raise UsageError(
            "too_few",
            f"--minutes {minutes:g} --every {every:g}: fewer than {MINIMUM} samples say nothing",
        )
    check_plot(plot)
    report = Report("soak", {"minutes": minutes, "every_s": every, "threads": threads or "default"})
    _judge(report, run(60.0 * minutes, every, threads))
    deliver(report, as_json=as_json, plot=plot, check=check, draw=_draw, panels=2)


def run(duration: float, every: float, threads: int | None) -> Course:
    """Classify for so many seconds.

    Parameters
    ----------
    duration, every : float
        Seconds in all, and between samples.
    threads : int or None
        Of onnxruntime.
    """
    from benchmarks.examples import examples, noisy
    from specinfer import Classifier

    classifier = Classifier("auto", "cpu", threads)
    spectra = {
        "spectranet": noisy(examples("sedm"), SPECTRA),
        "survey": noisy(examples("survey"), SPECTRA),
    }
    first = {
        (kind, place): digest(classifier.classify(one))
        for kind, many in spectra.items()
        for place, one in enumerate(many)
    }
    course = Course(tuple(spectra))
    recent = {kind: array("d", bytes(8 * _ROOM)) for kind in spectra}
    began = time.monotonic()
    number, due = 0, every
    counts = dict.fromkeys(spectra, 0)
    while (now := time.monotonic() - began) < duration:
        if now >= due:
            _sample(course, now, recent, counts)
            due = now + every
        place = number % SPECTRA
        for kind, many in spectra.items():
            taken, made = _timed(classifier, many[place])
            if counts[kind] < _ROOM:
                recent[kind][counts[kind]] = taken
                counts[kind] += 1
            course.answers += 1
            course.changed += digest(made) != first[kind, place]
        number += 1
    _sample(course, time.monotonic() - began, recent, counts)
    return course


def digest(answer: Classification) -> str:
    """Hash of an answer as it is written, without the time that it took."""
    written = answer.to_dict()
    # A failure is an answer, too, but not one that says whether the networks still agree.
    if not answer.ok:
        raise UsageError("failed_example", f"an example was not classified: {written['error']}")
    del written["latency_ms"]
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()


def growth(seconds: Sequence[float], memory: Sequence[float]) -> tuple[float, float]:
    """By how much memory grew after it had settled.

    Parameters
    ----------
    seconds, memory : sequence of float
        Of the samples; memory in any unit.

    Returns
    -------
    percent : float
        The largest sample after the settled one, compared with it.
    settled : float
        Seconds of the settled one: the first after a minute, or after half the time of a run
        of less than two minutes.
    """
    wanted = min(SETTLED_S, 0.5 * seconds[-1])
    place = next(i for i, second in enumerate(seconds) if second >= wanted)
    return 100.0 * (max(memory[place:]) / memory[place] - 1.0), seconds[place]


def _timed(classifier: Classifier, spectrum: Spectrum) -> tuple[float, Classification]:
    began = time.perf_counter()
    made = classifier.classify(spectrum)
    return 1e3 * (time.perf_counter() - began), made


def _sample(
    course: Course, now: float, recent: dict[str, array[float]], counts: dict[str, int]
) -> None:
    from statistics import median

    if not all(counts.values()):
        return
    course.seconds.append(now)
    course.memory.append(machine.resident_mb())
    for kind, values in recent.items():
        course.medians[kind].append(median(values[: counts[kind]]))
        counts[kind] = 0


def _judge(report: Report, course: Course) -> None:
    from statistics import median

    from benchmarks.figures import Target, figure

    report.figures.append(figure("memory", course.memory, "MB"))
    grown, settled = growth(course.seconds, course.memory)
    count = len(course.seconds)
    edge = max(1, round(_END * count))
    for kind, values in course.medians.items():
        drift = 100.0 * (median(values[-edge:]) / median(values[:edge]) - 1.0)
        report.figures.append(
            figure(f"{kind}, medians of an interval", values, drift_percent=drift)
        )
    report.targets += [
        Target(f"growth of memory after {settled:.0f} s", grown, GROWTH, "%", count),
        Target("answers that changed", float(course.changed), 0.0, "", course.answers),
    ]
    report.notes.append(
        f"{course.answers} answers to {SPECTRA} spectra of each kind, each compared with the first "
        f"to the same spectrum; drift: last against first {100 * _END:.0f} % of the time"
    )
    report.series = series(course)


def series(course: Course) -> dict[str, Any]:
    """The whole course as plain JSON values."""
    columns = {"seconds": course.seconds, "memory_mb": course.memory} | {
        f"{kind}_ms": values for kind, values in course.medians.items()
    }
    return {name: [round(x, 3) for x in values] for name, values in columns.items()}


def _draw(axes: Sequence[Axes], report: Report) -> None:
    """Memory and latency over time."""
    minutes = [second / 60.0 for second in report.series["seconds"]]
    axes[0].plot(minutes, report.series["memory_mb"])
    axes[0].set_ylabel("resident memory, MB")
    for name, values in report.series.items():
        if name.endswith("_ms"):
            axes[1].plot(minutes, values, label=name.removesuffix("_ms"))
    axes[1].set_ylabel("median latency, ms")
    axes[1].set_xlabel("minutes")
    axes[1].legend()
    for ax in axes:
        ax.set_ylim(0.0, 1.1 * max(ax.get_ylim()[1], 1e-3))
        ax.grid(visible=True, alpha=0.3)
