"""``python -m benchmarks.scale_plan``: hours and nodes for surveys, from what was measured.

Reads the JSON of ``batch_survey``, ``batch_formats`` and ``batch_scaling``, and prints the tables
of docs/scale.md; ``--write docs/scale.md`` puts them between its markers. What was not measured is
left out; nothing is made up.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.batch_figures import about, in_words
from benchmarks.batch_joined import joined
from specinfer.replacing import write_new

BEGIN, END = "<!-- scale-plan -->", "<!-- /scale-plan -->"
# The format whose rate is measured; others are slower by their CPU time a spectrum.
MEASURED = "DESI coadd"
_RELEASED = "DESI coadd, with resolution matrices"

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Survey:
    """Work to be done.

    Parameters
    ----------
    name : str
    spectra : int
    format : str
        Name of `benchmarks.batch_formats`.
    model : str
    within_hours : float
        In which it should be done.
    """

    name: str
    spectra: int
    format: str
    model: str
    within_hours: float


# Where the numbers come from stands in docs/scale.md.
SURVEYS = (
    Survey("4MOST, five years", 25_000_000, "4MOST L1", "auto", 24.0),
    Survey("DESI, all targets", 60_000_000, _RELEASED, "auto", 24.0),
    Survey("4MOST, a field of 1,624 low-resolution fibres", 1_624, "4MOST L1", "auto", 1 / 3),
    Survey("4MOST, a night of 20 such fields", 32_480, "4MOST L1", "auto", 1.0),
    Survey("the same, as transients", 32_480, "4MOST L1", "spectranet", 1.0),
    Survey("TiDES, all 30,000 live transients", 30_000, "4MOST L1", "spectranet", 1.0),
)


@dataclass(frozen=True)
class Plan:
    """What one survey takes.

    Parameters
    ----------
    survey : Survey
    core_rate : float
        Spectra a second of a core in its format.
    core_hours : float
    node_hours : float
        On one node.
    nodes : float
        To be done in time.
    terabytes : float
        To be read.
    node_megabytes : float
        To be read a second by one node.
    """

    survey: Survey
    core_rate: float
    core_hours: float
    node_hours: float
    nodes: float
    terabytes: float
    node_megabytes: float


def plan(
    survey: Survey,
    core_rate: float,
    size: float,
    *,
    cores: int,
    efficiency: float,
) -> Plan:
    """Hours, nodes and bytes of a survey.

    Parameters
    ----------
    survey : Survey
    core_rate : float
        Spectra a second of one core.
    size : float
        Bytes that are read a spectrum.
    cores : int
        Of a node.
    efficiency : float
        What a node does, over its cores times one core: an assumption.

    Returns
    -------
    Plan
    """
    core_hours = survey.spectra / core_rate / 3600.0
    node_rate = core_rate * cores * efficiency
    node_hours = survey.spectra / node_rate / 3600.0
    return Plan(
        survey, core_rate, core_hours, node_hours, node_hours / survey.within_hours,
        survey.spectra * size / 1e12, node_rate * size / 1e6,
    )  # fmt: skip


def core_rates(
    survey: Mapping[str, Any], formats: Mapping[str, Any]
) -> dict[tuple[str, str], float]:
    """Spectra a second of one of two busy cores, by model and format.

    That of DESI's files is measured (the steady part of runs on two workers). Another format's
    is that times the CPU time of a spectrum there over the CPU time here, reading and
    classifying, of the same light.
    """
    made: dict[tuple[str, str], float] = {}
    base = formats["formats"].get(MEASURED)
    for model, one in survey["models"].items():
        rate = one["workers"]["2"]["steady"]["median"]
        if rate is None:
            continue
        made[model, MEASURED] = rate / 2.0
        for name, cost in formats["formats"].items():
            if base is None or model not in cost["classify_ms"]:
                continue
            times = [
                _value(each["read_ms"]) + _value(each["classify_ms"][model])
                for each in (base, cost)
            ]
            made[model, name] = rate / 2.0 * times[0] / times[1]
    return made


def tables(
    survey: Mapping[str, Any],
    formats: Mapping[str, Any],
    scaling: Mapping[str, Any] | None,
    *,
    cores: int,
    efficiency: float,
) -> str:
    """All tables, as Markdown."""
    rates = core_rates(survey, formats)
    lines = [f"Measured on {about(survey['machine'])}.", ""]
    lines += _rate_table(survey)
    lines += ["", *_format_table(formats)]
    lines += ["", *_plan_table(rates, formats, cores, efficiency)]
    if scaling is not None:
        lines += ["", *_scaling_table(scaling)]
    if survey.get("kills"):
        lines += ["", *_kill_lines(survey)]
    return "\n".join(lines)


def _rate_table(survey: Mapping[str, Any]) -> list[str]:
    lines = [
        f"Rates on {survey['spectra']:,} spectra (median, range, number of runs; files read from "
        "disk; spectra a second):",
        "",
        "| model | workers | whole process | steady part | pieces of the steady part | "
        "CPU time that the host took, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for model, one in survey["models"].items():
        for number, two in one["workers"].items():
            pieces = two["pieces"]
            spread = f"{min(pieces):.0f}-{max(pieces):.0f}" if pieces else ""
            stolen = in_words(two["stolen_s"]) if two.get("stolen_s") else "not known"
            lines.append(
                f"| {model} | {number} | {in_words(two['whole'])} | {in_words(two['steady'])} | "
                f"{spread} | {stolen} |"
            )
    lines += [
        "",
        "| model | efficiency, 1 to 2 workers | its steady part | that of two plain loops | "
        "largest worker |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for model, one in survey["models"].items():
        loops = in_words(one["plain"]["efficiency"], 3) if "plain" in one else "not measured"
        lines.append(
            f"| {model} | {in_words(one['efficiency']['whole'], 3)} | "
            f"{in_words(one['efficiency']['steady'], 3)} | {loops} | "
            f"{one['memory']['worker_resident_mb']:.0f} MB |"
        )
    lines += ["", "| target | asked | measured | met |", "| --- | ---: | ---: | --- |"]
    words = {True: "yes", False: "no", None: "too few runs to say"}
    for row in survey["targets"]:
        value = "" if row["measured"] is None else f"{row['measured']:.3g}"
        lines.append(f"| {row['what']} | {row['target']:g} | {value} | {words[row['met']]} |")
    return lines


def _format_table(formats: Mapping[str, Any]) -> list[str]:
    models = list(next(iter(formats["formats"].values()))["classify_ms"])
    lines = [
        "One core, one thread, CPU time a spectrum (median, range, number of rounds):",
        "",
        "| format | pixels | kB on disk | kB read | read, ms | "
        + " | ".join(f"{model}, ms" for model in models) + " |",
        "| --- | ---: | ---: | ---: | ---: |" + " ---: |" * len(models),
    ]  # fmt: skip
    for name, one in formats["formats"].items():
        fetched = one["bytes_read"]
        read = "not known" if fetched is None else f"{_value(fetched) / 1e3:.0f}"
        times = " | ".join(in_words(one["classify_ms"][model], 2) for model in models)
        lines.append(
            f"| {name} | {one['pixels']:,} | {one['bytes'] / 1e3:.0f} | {read} | "
            f"{in_words(one['read_ms'], 2)} | {times} |"
        )
    return lines


def _plan_table(
    rates: Mapping[tuple[str, str], float],
    formats: Mapping[str, Any],
    cores: int,
    efficiency: float,
) -> list[str]:
    lines = [
        f"A node has {cores} such cores and does {efficiency:.0%} of {cores} times one of them, "
        "which is an assumption:",
        "",
        "| work | spectra | model | a core, spectra/s | one core | one node | "
        "nodes that do it in time | to read | a node reads |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for survey in SURVEYS:
        rate = rates.get((survey.model, survey.format))
        cost = formats["formats"].get(survey.format)
        if rate is None or cost is None:
            continue
        fetched = cost["bytes_read"]
        size = cost["bytes"] if fetched is None else _value(fetched)
        made = plan(survey, rate, size, cores=cores, efficiency=efficiency)
        lines.append(
            f"| {survey.name} | {survey.spectra:,} | {survey.model} | {rate:.1f} | "
            f"{_duration(made.core_hours)} | {_duration(made.node_hours)} | "
            f"{math.ceil(made.nodes)} in {_duration(survey.within_hours)} | "
            f"{_bytes(made.terabytes)} | {made.node_megabytes:.0f} MB/s |"
        )
    return lines


def _scaling_table(scaling: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    if "weak" in scaling:
        weak = scaling["weak"]
        lines += [
            f"Weak scaling ({scaling['model']}, {scaling['spectra_a_worker']:,} spectra a worker):",
            "",
            "| | 1 worker | 2 workers | efficiency, whole | steady part |",
            "| --- | ---: | ---: | ---: | ---: |",
            f"| seconds | {in_words(weak['seconds']['1'])} | {in_words(weak['seconds']['2'])} | "
            f"{in_words(weak['efficiency']['whole'], 3)} | "
            f"{in_words(weak['efficiency']['steady'], 3)} |",
            "",
        ]
    if "cluster" in scaling:
        lines += [
            "The same spectra on a Dask cluster of two worker processes (one run each):",
            "",
            "| | seconds | spectra/s | output |",
            "| --- | ---: | ---: | --- |",
        ]
        for name, one in scaling["cluster"].items():
            killed = one.get("killed_at_part")
            what = name.replace("_", " ")
            if killed is not None:
                what += f" (after {killed} of {one['parts']} chunks)"
            equal = "the reference" if name == "local" else "equal"
            if one.get("problems"):
                equal = "; ".join(one["problems"])
            lines.append(f"| {what} | {one['seconds']:.1f} | {one['rate']:.1f} | {equal} |")
    return lines


def _kill_lines(survey: Mapping[str, Any]) -> list[str]:
    lines = []
    for model, one in survey["kills"].items():
        moments = ", ".join(f"{kill['parts']} after {kill['after_s']} s" for kill in one["kills"])
        result = "equal to that of an undisturbed run"
        if one["problems"]:
            result = "NOT right: " + "; ".join(one["problems"])
        lines.append(
            f"Killed with SIGKILL {len(one['kills'])} times and resumed ({model}; chunks finished "
            f"so far: {moments}; {one['parts']} in all): the output is {result}."
        )
    return lines


def put(text: str, inserted: str) -> str:
    """Text with what is between the markers replaced.

    Raises
    ------
    ValueError
        If the markers are not there, once each and in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the markers {BEGIN} and {END} must stand there once each, in order")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{inserted.strip()}\n{END}{rest.split(END)[1]}"


def _value(summary: Mapping[str, Any]) -> float:
    """The median; the mean of what is there where that is too little for one."""
    if summary["median"] is not None:
        return float(summary["median"])
    return float(sum(summary["values"]) / len(summary["values"]))


def _duration(hours: float) -> str:
    """Two digits, in seconds, minutes or hours."""
    for unit, length in (("s", 1 / 3600), ("min", 1 / 60), ("h", 1.0)):
        value = hours / length
        if value < 100 or unit == "h":
            break
    return f"{value:,.0f} {unit}" if value >= 10 else f"{value:.2g} {unit}"


def _bytes(terabytes: float) -> str:
    return f"{terabytes:.1f} TB" if terabytes >= 1 else f"{1e3 * terabytes:.1f} GB"


@app.command()
def main(
    survey: Annotated[
        list[Path], typer.Option(help="JSON of benchmarks.batch_survey; all runs count together.")
    ],
    formats: Annotated[Path, typer.Option(help="JSON of benchmarks.batch_formats.")],
    scaling: Annotated[Path | None, typer.Option(help="JSON of benchmarks.batch_scaling.")] = None,
    cores: Annotated[int, typer.Option(min=1, help="Of a node.")] = 64,
    efficiency: Annotated[float, typer.Option(help="Of a node, over its cores times one.")] = 0.7,
    write: Annotated[
        Path | None, typer.Option(help="Put the tables between the markers of this file.")
    ] = None,
) -> None:
    """Print the tables of docs/scale.md.

    Example: python -m benchmarks.scale_plan --survey survey.json --formats formats.json
    """
    try:
        runs = joined([json.loads(path.read_text()) for path in survey])
        costs = json.loads(formats.read_text())
        third = None if scaling is None else json.loads(scaling.read_text())
        made = tables(runs, costs, third, cores=cores, efficiency=efficiency)
        if write is not None:
            write_new(write, put(write.read_text(), made).encode())
    except OSError as error:
        typer.echo(f"scale_plan: {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(2) from None
    except (ValueError, KeyError) as error:
        typer.echo(f"scale_plan: {error}; give the JSON of those commands (--json)", err=True)
        raise typer.Exit(2) from None
    print(made)


if __name__ == "__main__":
    app()
