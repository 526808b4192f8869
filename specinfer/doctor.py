"""`specinfer doctor`: does this installation work, and what on?"""

from __future__ import annotations

import importlib.metadata
import platform
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from specinfer import __version__, caches, engine, providers
from specinfer.classifier import DEFAULT_MODEL, Classifier
from specinfer.cli_models import inspect
from specinfer.cli_output import dump_json, print_table
from specinfer.errors import SpecinferError
from specinfer.models import load_card, read_model
from specinfer.spectrum import Spectrum

PACKAGES = ("numpy", "astropy", "onnxruntime", "typer", "rich", "matplotlib")
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")
_REPEATS = 20


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    name : str
    state : {"ok", "info", "broken"}
        "info" is not needed for specinfer to work.
    detail : str
    """

    name: str
    state: str
    detail: str


def run(*, as_json: bool) -> int:
    """Look at everything and print it.

    Parameters
    ----------
    as_json : bool
        JSON instead of a table.

    Returns
    -------
    int
        0, or 3 if something is broken.
    """
    checks = examine()
    healthy = all(check.state != "broken" for check in checks)
    if as_json or not sys.stdout.isatty():
        dump_json({"ok": healthy, "checks": [asdict(check) for check in checks]})
    else:
        rows = [[check.name, check.state, check.detail] for check in checks]
        print_table(["Check", "State", "Detail"], rows)
    if not healthy:
        from specinfer.cli_report import say

        for check in checks:
            if check.state == "broken":
                say(f"specinfer: {check.name}: {check.detail}")
    return 0 if healthy else 3


def examine() -> list[Check]:
    """All checks, in the order in which they are shown."""
    return [*_versions(), _distributions(), *_models(), *_devices(), *_caches(), _self_test()]


def _versions() -> list[Check]:
    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    checks = [
        Check("specinfer", "ok", f"{__version__} on {system}"),
        Check(
            "cpu",
            "ok",
            f"{engine.available_cpus()} usable CPUs, {engine.default_threads()} threads a network",
        ),
    ]
    for name in PACKAGES:
        version = _runtime_version() if name == "onnxruntime" else _version(name)
        if version is not None:
            checks.append(Check(name, "ok", version))
        elif name == "matplotlib":
            text = "not installed; only pictures need it: pip install 'specinfer[plot]'"
            checks.append(Check(name, "info", text))
        else:
            checks.append(Check(name, "broken", "not installed; reinstall specinfer"))
    return checks


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _runtime_version() -> str | None:
    try:
        return providers.runtime_version()
    except (ImportError, AttributeError):
        return None


def _distributions() -> Check:
    """Two builds of onnxruntime overwrite each other's files without a word from pip."""
    installed = [name for name in _RUNTIMES if _version(name) is not None]
    if len(installed) == 1:
        return Check("onnxruntime build", "ok", installed[0])
    if not installed:
        return Check("onnxruntime build", "broken", "not installed; reinstall specinfer")
    keep = "onnxruntime-gpu" if "onnxruntime-gpu" in installed else installed[0]
    return Check(
        "onnxruntime build",
        "broken",
        f"{' and '.join(installed)} are both installed and overwrite each other: "
        f"pip uninstall -y {' '.join(installed)} && pip install {keep}",
    )


def _models() -> list[Check]:
    try:
        entries = inspect(verify=True)
    except SpecinferError as error:
        return [Check("models", "broken", error.message)]
    if not entries:
        return [Check("models", "broken", "none found; reinstall specinfer")]
    checks = []
    for entry in entries:
        if entry.problem is not None or entry.card is None:
            checks.append(Check(f"model {entry.name}", "broken", entry.problem or "no card"))
        else:
            detail = f"{entry.card.version}, hashes verified, {entry.card.folder}"
            checks.append(Check(f"model {entry.name}", "ok", detail))
    return checks


def _devices() -> list[Check]:
    try:
        card = load_card(DEFAULT_MODEL)
        problems = engine.usable_devices(read_model(card), card.label)
    except SpecinferError as error:
        return [Check("devices", "broken", f"not tried: {error.message}")]
    checks = []
    for device, problem in problems.items():
        needed = device == "cpu"
        state = "ok" if problem is None else ("broken" if needed else "info")
        checks.append(Check(f"device {device}", state, problem or "works"))
    return checks


def _caches() -> list[Check]:
    """Where they are, how large, and that they may be deleted."""
    checks = []
    for used in caches.usage():
        if used.folder is None:
            detail = f"off ({caches.CACHE_VARIABLE}={caches.OFF}, or no home folder)"
        elif caches.folder(used.kind) is None:
            detail = (
                f"not used: {used.folder} cannot be written, or others may write to it "
                f"(set {caches.CACHE_VARIABLE})"
            )
        else:
            detail = (
                f"{used.files} files, {used.bytes / 1e6:.1f} MB in {used.folder}; "
                "delete the folder to clear it"
            )
        checks.append(Check(f"cache {used.kind}", "info", detail))
    return checks


def _self_test() -> Check:
    """Classify a spectrum made in memory, and time it."""
    try:
        start = time.perf_counter()
        classifier = Classifier(device="cpu")
        classifier.warm_up()
        loaded = (time.perf_counter() - start) * 1e3
        spectrum = synthetic_spectrum()
        result = classifier.classify(spectrum)
        times = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            again = classifier.classify(spectrum)
            times.append((time.perf_counter() - start) * 1e3)
    except SpecinferError as error:
        return Check("self-test", "broken", f"{error.message} ({error.code})")
    if not result.ok or not _same(result.to_dict(), again.to_dict()):
        return Check("self-test", "broken", "a spectrum made in memory was not classified alike")
    return Check(
        "self-test",
        "ok",
        f"model loaded in {loaded:.0f} ms, one spectrum in {statistics.median(times):.1f} ms "
        f"(median of {_REPEATS})",
    )


def synthetic_spectrum() -> Spectrum:
    """A spectrum like a supernova's on the axis of the SEDM, always the same."""
    wavelength = np.linspace(3776.71, 9223.29, 214)
    rng = np.random.default_rng(1)
    flux = np.exp(-0.5 * ((wavelength - 5000.0) / 2000.0) ** 2)
    for centre, width, depth in (
        (3900, 90, 0.5),
        (5600, 70, 0.2),
        (6300, 80, 0.5),
        (8500, 150, 0.4),
    ):
        flux = flux * (1.0 - depth * np.exp(-0.5 * ((wavelength - centre) / width) ** 2))
    sigma = np.full(wavelength.shape, 0.05)
    return Spectrum(wavelength, flux + rng.normal(0.0, sigma), sigma=sigma, object="self-test")


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one | {"latency_ms": None} == other | {"latency_ms": None}
