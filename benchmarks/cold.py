"""Cold answers: a new process from its start to its exit, nothing left out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.machine import ROOT
from benchmarks.timing import Action, interleave
from specinfer.errors import UsageError

SEDM = "classify one SEDM file"
SURVEY = "classify one survey file"
HELP = "specinfer --help"
BARE = "bare Python: imports, opens the file"
# The least that any program of this kind does: the libraries, and the numbers of the file.
_BARE = (
    "import sys, numpy, onnxruntime; from astropy.io import fits\n"
    "with fits.open(sys.argv[1]) as hdus: print(len(hdus[0].data))"
)


def commands() -> dict[str, list[str]]:
    """The processes that are compared, by name.

    Raises
    ------
    UsageError
        ``no_input`` if the examples are not there.
    """
    sedm = _first(ROOT / "examples", "spec_auto_*.fits")
    survey = _first(ROOT / "examples" / "survey", "spec-*.fits")
    specinfer = [sys.executable, "-m", "specinfer"]
    return {
        SEDM: [*specinfer, "classify", str(sedm)],
        SURVEY: [*specinfer, "classify", str(survey)],
        HELP: [*specinfer, "--help"],
        BARE: [sys.executable, "-c", _BARE, str(sedm)],
    }


def measure(processes: Mapping[str, Sequence[str]], count: int) -> dict[str, list[float]]:
    """Seconds of `count` runs of each, turn by turn, after two that fill the disk's cache.

    Raises
    ------
    UsageError
        ``failed_process`` with the last line of one that ends with an error.
    """
    actions = {name: _action(name, command) for name, command in processes.items()}
    return interleave(actions, count, warmups=2, title="cold")


def _action(name: str, command: Sequence[str]) -> Action:
    def run(_: int) -> None:
        made = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
        )
        if made.returncode:
            last = made.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise UsageError(
                "failed_process",
                f"{name} ended with {made.returncode} ({''.join(last)}); see `specinfer doctor`",
            )

    return run


def _first(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise UsageError("no_input", f"{folder} holds no {pattern}; run from a full checkout")
    return found[0]
