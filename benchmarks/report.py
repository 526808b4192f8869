"""What a benchmark says: tables for people, one JSON document for machines, a picture."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks import machine
from specinfer.cli_exit import exit_with
from specinfer.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmarks.figures import Figure, Target

SCHEMA = "specinfer.benchmark/1"

AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output instead of tables.")
]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE.png", help="Also draw the figures.")
]
Check = Annotated[bool, typer.Option("--check", help="Exit code 1 if a target is missed.")]


@dataclass
class Report:
    """Everything that one benchmark measured.

    Parameters
    ----------
    benchmark : str
        Name of the subcommand.
    settings : dict
        Repetitions, threads, pinning...: plain JSON values.
    """

    benchmark: str
    settings: dict[str, Any]
    machine: dict[str, Any] = field(default_factory=machine.facts)
    figures: list[Figure] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # Whatever else a machine may want, such as a course over time.
    series: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether every target is met."""
        return all(target.met for target in self.targets)

    def document(self) -> dict[str, Any]:
        """The JSON document."""
        return {
            "schema": SCHEMA,
            "benchmark": self.benchmark,
            "machine": self.machine,
            "settings": self.settings,
            "figures": [asdict(one) for one in self.figures],
            "targets": [asdict(one) | {"met": one.met} for one in self.targets],
            "notes": self.notes,
            "series": self.series,
        }


def run_program(work: Callable[[], int]) -> None:
    """Do the work of a program of its own; its end is the program's.

    Parameters
    ----------
    work : callable
        See `specinfer.cli_exit.exit_with`.
    """
    try:
        exit_with(work, debug=False)
    except typer.Exit as end:
        sys.exit(end.exit_code)


def check_plot(path: Path | None) -> None:
    """Find out before the work whether a picture can be drawn.

    Raises
    ------
    UsageError
        ``no_matplotlib``; ``bad_option`` for another kind of file or no such folder.
    """
    if path is None:
        return
    # Not by specinfer.plot, which imports numpy: the process may still have to be pinned.
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("no_matplotlib", "--plot needs matplotlib: pip install 'specinfer[plot]'")
    if path.suffix.lower() != ".png":
        raise UsageError("bad_option", f"--plot {path}: give a name that ends in .png")
    if not path.parent.is_dir():
        raise UsageError("bad_option", f"--plot {path}: there is no folder {path.parent}")


def deliver(
    report: Report,
    *,
    as_json: bool,
    plot: Path | None,
    check: bool,
    draw: Callable[[Sequence[Axes], Report], None] | None = None,
    panels: int = 1,
) -> None:
    """Print a report, draw it, and end the command.

    Parameters
    ----------
    report : Report
    as_json, plot, check
        The options of the command.
    draw : callable, optional
        Draws into the axes; by default medians with 5-95 %.
    panels : int, optional
        Axes that `draw` wants, one above the other.

    Raises
    ------
    typer.Exit
        With 1, if a target is missed and that was asked for.
    SpecinferError
        ``not_writable``.
    """
    if as_json:
        print(json.dumps(_finite(report.document()), allow_nan=False))
    else:
        show(report)
    if plot is not None:
        save_picture(report, plot, draw or draw_figures, panels)
    if check and not report.met:
        raise typer.Exit(1)


def show(report: Report) -> None:
    """Print tables for people."""
    from rich.console import Console
    from rich.table import Table

    # In a pipe rich would take 80 columns and leave out digits.
    console = Console(width=max(118, Console().width), highlight=False)
    for line in machine.lines(report.machine):
        console.print(line, markup=False)
    given = ", ".join(f"{name} {value}" for name, value in report.settings.items())
    console.print(f"{report.benchmark}: {given}", markup=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("what", overflow="fold")
    for name in ("n", "median", "95 % of it", "5-95 %", "p99", "largest", ""):
        table.add_column(name, justify="left" if name == "" else "right", no_wrap=name != "")
    for one in report.figures:
        table.add_row(*_row(one))
    if report.figures:
        console.print(table)
    for target in report.targets:
        console.print(target_line(target), markup=False)
    for note in report.notes:
        console.print(f"note: {note}", markup=False)


def target_line(target: Target) -> str:
    """One line: met or missed, by which value."""
    sign = ">=" if target.at_least else "<="
    return (
        f"{'met   ' if target.met else 'MISSED'} {target.name}: {number(target.value)} "
        f"{target.unit} ({sign} {target.limit:g} {target.unit}; n = {target.n})"
    )


def number(value: float) -> str:
    """Three significant digits; a power of ten for very small numbers alone."""
    if not math.isfinite(value) or abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _row(one: Figure) -> list[str]:
    between = [f"{number(a)}-{number(b)}" for a, b in (one.interval, (one.p5, one.p95))]
    last = "" if one.p99 is None else number(one.p99)
    more = ", ".join(f"{k.replace('_', ' ')} {_word(v)}" for k, v in one.more.items())
    return [
        one.name, str(one.n), f"{number(one.median)} {one.unit}", *between, last,
        number(one.most), more,
    ]  # fmt: skip


def _word(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def save_picture(
    report: Report, path: Path, draw: Callable[[Sequence[Axes], Report], None], panels: int
) -> None:
    """Draw into a PNG file, which is replaced whole."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    from specinfer.replacing import write_new

    height = 1.5 + (0.3 * len(report.figures) if panels == 1 else 3.0 * panels)
    canvas = Canvas(figsize=(10.0, max(3.5, height)), layout="constrained")
    FigureCanvasAgg(canvas)
    draw([canvas.add_subplot(panels, 1, 1 + index) for index in range(panels)], report)
    canvas.suptitle(f"{report.benchmark} on {report.machine['cpu']}", fontsize=11)
    content = io.BytesIO()
    canvas.savefig(content, format="png", dpi=120)
    write_new(path, content.getvalue())


def draw_figures(axes: Sequence[Axes], report: Report) -> None:
    """Medians with 5-95 %, on a logarithmic axis."""
    ax, shown = axes[0], report.figures[::-1]
    places = range(len(shown))
    middle = [one.median for one in shown]
    below = [max(one.median - one.p5, 0.0) for one in shown]
    above = [max(one.p95 - one.median, 0.0) for one in shown]
    ax.errorbar(middle, places, xerr=(below, above), fmt="o", capsize=3)
    ax.set_yticks(list(places), [one.name for one in shown])
    ax.set_xscale("log")
    units = " or ".join(dict.fromkeys(one.unit for one in shown))
    ax.set_xlabel(f"{units}: median and 5-95 %")
    ax.grid(visible=True, axis="x", alpha=0.3)


def _finite(value: Any) -> Any:
    """The same with None for what JSON has no number for."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
