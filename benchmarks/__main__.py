"""``python -m benchmarks``: what this machine makes of specinfer.

A subcommand is imported when it runs, so that it can pin the process before numpy is loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import typer

from specinfer.cli_exit import exit_with
from specinfer.errors import UsageError

# Module, which has a typer `app` of one command, and what it measures.
COMMANDS = {
    "latency": ("benchmarks.latency", "One answer: cold process, warm, and by stage."),
    "throughput": ("benchmarks.throughput", "Spectra a second by batch size and threads; memory."),
    "accuracy": (
        "benchmarks.accuracy.__main__",
        "SpectraNet beside templates and constants; needs the training library.",
    ),
    "scan": ("benchmarks.scan", "The redshift scan against the published direct convolution."),
    "compare": ("benchmarks.compare", "ONNX, PyTorch, published sizes and templates, as ratios."),
    "device": ("benchmarks.device", "Every device that works here, and half precision."),
    "soak": ("benchmarks.soak", "Minutes of work: memory, drift, identical answers."),
    "cold-parts": ("benchmarks.cold_parts", "A cold start against a bare Python, and in parts."),
    "engine": ("benchmarks.engine", "Threads, loading from the cache, one warm spectrum."),
    "int8": ("benchmarks.int8", "Networks in 8-bit integers: time."),
    "int8-accuracy": ("benchmarks.int8_accuracy", "And what they cost in right answers."),
    "specpt": ("benchmarks.specpt", "SpecPT beside GaSNet-II's network."),
    "batch-spectra": ("benchmarks.batch_spectra", "Simulated survey spectra in DESI's files."),
    "batch-survey": ("benchmarks.batch_survey", "specinfer batch: rates, memory, kills."),
    "batch-scaling": ("benchmarks.batch_scaling", "Weak scaling; a cluster loses a worker."),
    "batch-formats": ("benchmarks.batch_formats", "Bytes and time of a spectrum by format."),
    "scale-plan": ("benchmarks.scale_plan", "Hours and nodes for surveys, from these."),
    "night": ("benchmarks.night", "A night with kills and a portal that fails."),
    "serve-load": ("benchmarks.serve_load", "The service under load and overload."),
}
PROGRAM = "python -m benchmarks"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Measure specinfer on this machine: medians of 20 repetitions or more, and their spread.",
)


def _add(name: str, module: str, words: str) -> None:
    def forward(context: typer.Context) -> None:
        def work() -> int:
            _load(module, name).app(context.args, prog_name=f"{PROGRAM} {name}")
            return 0

        exit_with(work, debug=False)

    # The first line of the help.
    forward.__doc__ = words
    app.command(
        name,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(forward)


def _load(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if str(error.name).startswith(("benchmarks", "specinfer")):
            raise
        raise UsageError(
            "no_extra", f"{name} needs {error.name}: pip install '.[train]' in the checkout"
        ) from None


for _name, (_module, _words) in COMMANDS.items():
    if importlib.util.find_spec(_module) is not None:
        _add(_name, _module, _words)


if __name__ == "__main__":
    app(prog_name=PROGRAM)
