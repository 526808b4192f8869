"""``python -m benchmarks scan``: how long a redshift takes, against the published way.

The published way (Zhong et al. 2024, arXiv:2412.21130): one reconstruction a family, made once,
is slid over the whole grid by direct convolution, chi2 being a constant and two convolutions
whose kernel is the spectrum. It is written anew here, in PyTorch as released if that is
installed, and in numpy. Nothing is left out on our side: our time is that from the arrays of a
spectrum to the answer, all coefficients solved for at every shift.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks import machine
from benchmarks.report import AsJson, Check, Plot, Report, check_plot, deliver
from benchmarks.timing import MINIMUM, interleave, require

if TYPE_CHECKING:
    from benchmarks.published_scan import Convolve
    from specinfer.spectrum import Spectrum

# Milliseconds a spectrum on one core, and how many times faster than the published way.
FULL_MS, WINDOWED_MS, RATIO = 25.0, 5.0, 40.0
WAYS = ("published way, PyTorch", "published way, numpy")
OURS, TOGETHER, WINDOWS = "full scan, all families", "network + scan", "of these, in windows alone"

app = typer.Typer(add_completion=False)


@app.command()
def main(
    model: Annotated[str, typer.Option(help="A combination: its name or folder.")] = "survey",
    files: Annotated[
        Path | None, typer.Option(help="Folder of SDSS spectra (default: the examples).")
    ] = None,
    count: Annotated[int, typer.Option(help="Spectra.")] = 60,
    as_json: AsJson = False,
    plot: Plot = None,
    check: Check = False,
) -> None:
    """Print the time of the scan and of the published way, one spectrum at a time, one core.

    Example: python -m benchmarks scan
    """
    require(count, "--count")
    check_plot(plot)
    report = Report("scan", {"spectra": count, "threads": 1})
    report.notes += filter(None, [machine.threads_note()])
    with machine.pinned(1) as cpus:
        report.settings["cpus_used"] = cpus or "not pinned"
        _measure(report, model, files, count)
    deliver(report, as_json=as_json, plot=plot, check=check)


def _measure(report: Report, model: str, files: Path | None, count: int) -> None:
    from benchmarks.examples import examples, noisy
    from benchmarks.figures import Target, milliseconds, ratio
    from benchmarks.published_scan import by_numpy, by_torch, published
    from specinfer.models import load_card
    from specinfer.networks import survey
    from specinfer.zgrid import to_grid

    both = survey.load(load_card(model), device="cpu", threads=1)
    spectra = noisy(examples("survey", files), count)
    searched: list[str] = []

    def on_all(work: Callable[[Spectrum], Any]) -> Callable[[int], Any]:
        return lambda number: work(spectra[number])

    def together(one: Spectrum) -> None:
        searched.append(getattr(both.predict([one])[0], "searched", "failed"))

    def slide(convolve: Convolve, one: Spectrum) -> float:
        return published(to_grid(one.wavelength, one.flux, one.ivar), convolve)

    actions = {OURS: on_all(both.scan.search), TOGETHER: on_all(together)}
    actions[WAYS[1]] = on_all(partial(slide, by_numpy))
    torch_way = by_torch()
    if torch_way is None:
        report.notes.append("PyTorch is not installed: the published way in PyTorch is left out")
    else:
        actions[WAYS[0]] = on_all(partial(slide, torch_way))
    seconds = interleave(actions, count, warmups=4, title="scan")
    report.figures += [milliseconds(name, values) for name, values in seconds.items()]
    report.targets.append(Target(OURS, report.figures[0].median, FULL_MS, "ms", count))
    # Which of the timed calls were answered in windows, and their neighbours in time.
    places = [i for i, where in enumerate(searched[-count:]) if where == "windows"]
    chosen = {name: [values[i] for i in places] for name, values in seconds.items()}
    compared = {"full scan": seconds[OURS]}
    if len(places) >= MINIMUM:
        windowed = milliseconds(WINDOWS, chosen[TOGETHER])
        report.figures.append(windowed)
        report.targets.append(Target(WINDOWS, windowed.median, WINDOWED_MS, "ms", windowed.n))
        compared["network + scan in windows"] = chosen[TOGETHER]
    else:
        report.notes.append(f"only {len(places)} answers in windows: no figure of those alone")
    for way in (name for name in WAYS if name in seconds):
        for name, ours in compared.items():
            theirs = seconds[way] if len(ours) == count else chosen[way]
            report.figures.append(ratio(f"{way} / {name}", theirs, ours))
    # Of the fastest answer and of the published way as it is released.
    if torch_way is not None:
        name = list(compared)[-1]
        best = next(x for x in report.figures if x.name == f"{WAYS[0]} / {name}")
        report.targets.append(Target(best.name, best.median, RATIO, "x", best.n, at_least=True))
