"""Warm answers, one spectrum at a time: from arrays to a `Classification`, and by stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.cold import commands
from benchmarks.examples import examples, noisy, rebuilt
from benchmarks.stages import StageClock
from benchmarks.timing import interleave, require
from specinfer import Classifier, Spectrum, read

# Different spectra of each kind; calls go round them.
POOL = 240
# Calls of one before the next has its turn: a model that is asked again finds the caches of the
# processor as it left them, as in use.
BLOCK = 5
STAGES = ("read", "preprocess", "infer", "scan", "interpret", "report JSON")


@dataclass(frozen=True)
class Warm:
    """Seconds of warm calls.

    Parameters
    ----------
    seconds : dict of str to list of float
    everywhere : dict of str to float
        Share of the answers of `survey` that needed the scan everywhere, by row.
    one_survey : tuple of str
        The rows of `survey` that ask about one and the same spectrum.
    """

    seconds: dict[str, list[float]]
    everywhere: dict[str, float]
    one_survey: tuple[str, ...]


SPECTRANET = "spectranet, auto"
SPECTRANET_ONE = "spectranet, one spectrum again and again"
SURVEY = "survey, auto"
FAINT = "survey, auto, faint"
# Sigma of the noise that is added for those: then many need the scan everywhere.
FAINT_NOISE = 8.0


def measure(calls: int, threads: int) -> Warm:
    """Time every model over many spectra, and the two of "auto" over one and the same.

    Parameters
    ----------
    calls : int
        Of each.
    threads : int
        Of onnxruntime.
    """
    require(calls, "--calls")
    transients, surveys = examples("sedm"), examples("survey")
    many = {
        SPECTRANET: noisy(transients, POOL),
        SURVEY: noisy(surveys, POOL),
        FAINT: noisy(surveys, POOL, noise=FAINT_NOISE),
    }
    searched: dict[str, list[str]] = {SURVEY: [], FAINT: []}

    def classify(classifier: Classifier, spectra: Sequence[Spectrum], number: int) -> Any:
        return classifier.classify(rebuilt(spectra[number % len(spectra)])).answer

    def search(name: str, number: int) -> None:
        searched[name].append(classify(auto, many[name], number).searched)

    auto = Classifier("auto", "cpu", threads)
    one = {f"survey, {spectrum_name(x)} again and again": [x] for x in surveys}
    actions = {
        SPECTRANET: partial(classify, auto, many[SPECTRANET]),
        SPECTRANET_ONE: partial(classify, auto, transients[:1]),
        **{name: partial(search, name) for name in searched},
        **{name: partial(classify, auto, same) for name, same in one.items()},
    }
    for name in ("gasnet2", "gasnet3", "specpt"):
        actions[name] = partial(classify, Classifier(name, "cpu", threads), many[SURVEY])
    seconds = interleave(actions, calls, block=BLOCK, title="warm")
    # The first of them warmed up.
    shares = {name: found[-calls:].count("everywhere") / calls for name, found in searched.items()}
    return Warm(seconds, shares, tuple(one))


def spectrum_name(spectrum: Spectrum) -> str:
    """Object of a spectrum, or its file's name."""
    return spectrum.object or str(spectrum.file).rpartition("/")[2]


def measure_stages(calls: int, threads: int) -> tuple[dict[str, list[float]], list[str]]:
    """Seconds of each stage of a file's way to its JSON line, and what could not be timed.

    Parameters
    ----------
    calls : int
        Files of each kind.
    threads : int
        Of onnxruntime.

    Returns
    -------
    seconds : dict of str to list of float
        By "model: stage". Reading is of the example file; what follows is of that spectrum
        with other noise, so that the scan has different work. "interpret" is what is left of
        the call after the other stages.
    missing : list of str
        See `StageClock`.
    """
    processes = list(commands().values())
    paths = {"spectranet": processes[0][-1], "survey": processes[1][-1]}
    pools = {
        "spectranet": noisy(examples("sedm"), POOL),
        "survey": noisy(examples("survey"), POOL),
    }
    auto = Classifier("auto", "cpu", threads)
    taken: dict[str, list[float]] = {}
    with StageClock() as clock:

        def one(name: str, number: int) -> None:
            began = time.perf_counter()
            read(paths[name])
            after_read = time.perf_counter()
            clock.take()
            answer = auto.classify(rebuilt(pools[name][number % POOL]))
            answered = time.perf_counter()
            spent = clock.take()
            answer.to_json()
            ended = time.perf_counter()
            spent["interpret"] = answered - after_read - sum(spent.values())
            spent |= {"read": after_read - began, "report JSON": ended - answered}
            for stage, seconds in spent.items():
                taken.setdefault(f"{name}: {stage}", []).append(seconds)

        interleave({name: partial(one, name) for name in paths}, calls, block=BLOCK, title="stages")
    ordered = {
        key: taken[key][-calls:]
        for name in paths
        for stage in STAGES
        if (key := f"{name}: {stage}") in taken
    }
    return ordered, clock.missing
