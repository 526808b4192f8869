"""``python -m benchmarks``: statistics, refusals, documents, and each command in small."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer

from benchmarks import machine, stages
from benchmarks.__main__ import COMMANDS
from benchmarks.correlation import Templates
from benchmarks.examples import examples, noisy, rebuilt
from benchmarks.figures import FOR_P99, Target, figure, milliseconds, ratio
from benchmarks.report import SCHEMA, Report, check_plot, deliver, number, target_line
from benchmarks.soak import digest, growth
from benchmarks.throughput import doubling
from benchmarks.timing import MINIMUM, interleave
from specinfer import Classifier
from specinfer.classifier import route
from specinfer.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]
HERE = {name for name, (module, _) in COMMANDS.items() if importlib.util.find_spec(module)}
# Of the package as a whole; those written elsewhere may have options of their own.
OWN = ("latency", "throughput", "accuracy", "scan", "compare", "device", "soak")
# These need what the extra 'train' brings before they say anything.
NEEDS_TORCH = ("accuracy",)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The program as a user starts it: a process of its own, whose pinning ends with it."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=300,
        check=False,
    )


def document(*arguments: str) -> dict[str, Any]:
    """The JSON document of a command, which has what every document has."""
    made = run(*arguments, "--json")
    assert made.returncode == 0, made.stderr
    found: dict[str, Any] = json.loads(made.stdout)
    assert found["schema"] == SCHEMA
    assert found["benchmark"] == arguments[0]
    assert {"cpu", "cpus", "usable_cpus", "load", "governor", "versions", "environment"} <= set(
        found["machine"]
    )
    assert {"python", "numpy", "onnxruntime", "specinfer"} <= set(found["machine"]["versions"])
    assert found["figures"]
    for row in found["figures"]:
        assert row["n"] >= MINIMUM
        assert row["least"] <= row["p5"] <= row["p95"] <= row["most"]
        assert row["interval"][0] <= row["median"] <= row["interval"][1]
        assert (row["p99"] is None) == (row["n"] < FOR_P99)
    for target in found["targets"]:
        assert target["met"] is (
            target["value"] >= target["limit"]
            if target["at_least"]
            else target["value"] <= target["limit"]
        )
    return found


def names(found: dict[str, Any]) -> list[str]:
    return [row["name"] for row in found["figures"]]


# Statistics.


def test_percentiles_are_those_of_the_repetitions() -> None:
    made = figure("x", np.arange(1.0, 102.0), "s", threads=2)
    assert (made.n, made.unit, made.more) == (101, "s", {"threads": 2})
    assert (made.median, made.p5, made.p95, made.p99) == (51.0, 6.0, 96.0, 100.0)
    assert (made.least, made.most) == (1.0, 101.0)
    assert milliseconds("x", [0.25] * MINIMUM).median == 250.0


def test_the_interval_of_the_median_covers_and_shrinks() -> None:
    rng = np.random.default_rng(1)
    made = [figure("x", rng.exponential(size=60)).interval for _ in range(100)]
    truth = np.log(2.0)
    # 95 of 100 are expected; fewer than 88 or none too many would be chance of one in a thousand.
    assert sum(low <= truth <= high for low, high in made) >= 88
    wide, narrow = (figure("x", rng.exponential(size=n)).interval for n in (30, 3000))
    assert 3.0 * (narrow[1] - narrow[0]) < wide[1] - wide[0]


def test_fewer_than_twenty_repetitions_give_no_figure() -> None:
    few = [1.0] * (MINIMUM - 1)
    for work in (
        lambda: figure("x", few),
        lambda: ratio("x", few, few),
        lambda: interleave({"x": lambda _: None}, MINIMUM - 1),
    ):
        with pytest.raises(UsageError, match="fewer than 20") as error:
            work()
        assert error.value.code == "too_few"


def test_the_99th_percentile_needs_a_hundred() -> None:
    assert figure("x", [1.0] * (FOR_P99 - 1)).p99 is None
    assert figure("x", [1.0] * FOR_P99).p99 == 1.0


def test_a_drift_that_both_share_does_not_widen_a_ratio() -> None:
    drift = np.linspace(1.0, 3.0, 60)
    made = ratio("x", 2.0 * drift, drift)
    assert made.median == 2.0
    assert made.interval == (2.0, 2.0)
    apart = ratio("x", 2.0 * drift, np.random.default_rng(0).permutation(drift))
    assert apart.interval[1] - apart.interval[0] > 0.1
    with pytest.raises(ValueError, match="took no turns"):
        ratio("x", [1.0] * 30, [1.0] * 40)


@pytest.mark.parametrize(
    ("value", "at_least", "met"),
    [(1.0, False, True), (1.1, False, False), (1.0, True, True), (0.9, True, False)],
)
def test_targets(value: float, at_least: bool, met: bool) -> None:
    target = Target("x", value, 1.0, "ms", 20, at_least=at_least)
    assert target.met is met
    assert target_line(target).startswith("met" if met else "MISSED")
    assert not Target("x", float("nan"), 1.0, "ms", 20, at_least=at_least).met


def test_numbers_have_three_digits() -> None:
    shown = [number(x) for x in (0.0, 1234.5, 12.345, 0.01234, 7.87e-7, float("nan"))]
    assert shown == ["0", "1,234", "12.3", "0.0123", "7.87e-07", "nan"]


# Turns.


def test_everything_has_its_turn_in_every_round() -> None:
    calls: list[tuple[str, int]] = []
    actions = {name: lambda number, name=name: calls.append((name, number)) for name in "abc"}
    seconds = interleave(actions, 20, warmups=2, block=5)
    assert {name: len(taken) for name, taken in seconds.items()} == dict.fromkeys("abc", 20)
    assert calls[:6] == [(name, number) for name in "abc" for number in (0, 1)]
    timed = calls[6:]
    for start in range(0, len(timed), 15):
        numbers = range(start // 3, start // 3 + 5)
        assert sorted(timed[start : start + 15]) == [(x, i) for x in "abc" for i in numbers]
    # Not always in the same order.
    assert len({tuple(name for name, _ in timed[i : i + 15 : 5]) for i in range(0, 60, 15)}) > 1


def test_times_are_seconds() -> None:
    seconds = interleave({"sleep": lambda _: time.sleep(0.002)}, 20, warmups=0)
    assert all(0.002 <= one < 1.0 for one in seconds["sleep"])


def test_pinning_ends() -> None:
    before = machine.usable_cpus()
    with machine.pinned(1) as cpus:
        if cpus is None:
            pytest.skip("this system cannot pin a process")
        assert machine.usable_cpus() == cpus
        assert len(cpus) == 1
    assert machine.usable_cpus() == before


def test_memory_is_that_of_this_process() -> None:
    idle = machine.resident_mb()
    held = np.ones(8_000_000)
    assert machine.resident_mb() - idle > 50.0
    assert machine.peak_mb() >= machine.resident_mb() - 1.0
    assert held.sum() == 8_000_000


def test_a_busy_machine_is_said() -> None:
    quiet = machine.facts() | {"load": 0.0, "busy": False}
    assert not any("WARNING" in line for line in machine.lines(quiet))
    assert any("WARNING: the machine is busy" in x for x in machine.lines(quiet | {"busy": True}))


def test_threads_of_a_doubling_series() -> None:
    assert [doubling(n) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


# Parts.


def test_a_stage_within_a_stage_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def inner() -> None:
        time.sleep(0.01)

    def outer() -> None:
        time.sleep(0.01)
        module.inner()

    module = SimpleNamespace(inner=inner, outer=outer)
    monkeypatch.setitem(sys.modules, "staged_module", module)  # type: ignore[arg-type]
    points = (
        ("inner", "staged_module", ("inner",)),
        ("outer", "staged_module", ("outer",)),
        ("gone", "staged_module", ("gone",)),
    )
    monkeypatch.setattr(stages, "POINTS", points)
    with stages.StageClock() as clock:
        module.outer()
        spent = clock.take()
        module.inner()
        assert set(clock.take()) == {"inner"}
    assert set(spent) == {"outer"}
    assert spent["outer"] >= 0.02
    assert clock.missing == ["staged_module.gone"]
    assert (module.inner, module.outer) == (inner, outer)


def test_every_stage_is_where_the_clock_looks_for_it() -> None:
    with stages.StageClock() as clock:
        pass
    assert clock.missing == []


def test_a_template_is_found_at_its_shift() -> None:
    bank = Templates(40, 512, 256)
    rng = np.random.default_rng(3)
    patterns = np.fft.irfft(np.conj(bank._bank), bank.length)[:, :512]
    for template, shift in ((7, 0), (21, 60), (33, 141)):
        flux = np.roll(patterns[template], shift) + 0.2 * rng.standard_normal(512)
        flux[:shift] = 0.0
        one = SimpleNamespace(valid=np.ones(512, dtype=bool), input=flux[None].astype(np.float32))
        found, place, weight = bank.best(one)  # type: ignore[arg-type]
        assert (found, place) == (template, shift)
        assert weight > 0


def test_noisy_copies_differ_and_go_to_the_same_model() -> None:
    (first, *_), made = examples("survey"), noisy(examples("survey"), 7)
    assert len({one.flux.tobytes() for one in made}) == 7
    assert made[3].ivar.max() == pytest.approx(first.ivar.max() / 1.25)
    assert {route(rebuilt(one)) for one in made} == {"survey"}
    assert route(rebuilt(examples("sedm")[0])) == "spectranet"


def test_growth_counts_from_the_settled_memory() -> None:
    long = [float(second) for second in range(1, 181)]
    memory = [100.0 + min(second, 60) for second in range(1, 181)]
    assert growth(long, memory) == (0.0, 60.0)
    memory[150] = 176.0
    assert growth(long, memory)[0] == pytest.approx(10.0)
    assert growth([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 2.0, 3.0])[1] == 2.0


def test_a_digest_is_of_the_answer_and_not_of_its_time() -> None:
    classifier, (one, other, *_) = Classifier("spectranet", "cpu", 1), examples("sedm")
    made = classifier.classify(one)
    assert digest(made) == digest(classifier.classify(one))
    assert digest(made) != digest(classifier.classify(other))


# Reports.


def small_report() -> Report:
    report = Report("latency", {"calls": 20})
    report.figures.append(figure("x", np.linspace(1.0, 2.0, 20), share=0.5))
    report.targets += [
        Target("fast", 1.5, 2.0, "ms", 20),
        Target("small", float("nan"), 1.0, "", 20),
    ]
    report.notes.append("a [note] in brackets")
    return report


def test_a_document_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    deliver(small_report(), as_json=True, plot=None, check=False)
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [
        "schema", "benchmark", "machine", "settings", "figures", "targets", "notes", "series",
    ]  # fmt: skip
    assert found["figures"][0]["more"] == {"share": 0.5}
    assert [one["met"] for one in found["targets"]] == [True, False]
    assert found["targets"][1]["value"] is None


def test_a_report_for_people_and_its_picture(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "made.png"
    with pytest.raises(typer.Exit) as end:
        deliver(small_report(), as_json=False, plot=picture, check=True)
    assert end.value.exit_code == 1
    shown = capsys.readouterr().out
    assert "met    fast: 1.50 ms (<= 2 ms; n = 20)" in shown
    assert "MISSED small" in shown
    assert "a [note] in brackets" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["made.png"]


def test_a_picture_that_cannot_be_is_said_before_the_work(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for path in (tmp_path / "x.pdf", tmp_path / "none" / "x.png"):
        with pytest.raises(UsageError, match="--plot"):
            check_plot(path)


# The program.


def test_help_is_quick_and_names_every_command() -> None:
    made = run("--help")
    assert made.returncode == 0
    assert all(name in made.stdout for name in HERE)
    code = (
        "import sys, benchmarks.__main__; "
        "print(*{'numpy', 'onnxruntime', 'torch', 'matplotlib'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert found.stdout.split() == []


@pytest.mark.parametrize("command", [x for x in OWN if x not in NEEDS_TORCH])
def test_nothing_heavy_is_there_before_the_process_is_pinned(command: str) -> None:
    module = COMMANDS[command][0]
    code = f"import sys, {module}; print(*{{'numpy', 'onnxruntime'}} & set(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert found.stdout.split() == []


@pytest.mark.parametrize("command", sorted(HERE))
def test_every_command_has_help(command: str) -> None:
    if command in NEEDS_TORCH:
        pytest.importorskip("torch")
    made = run(command, "--help")
    assert made.returncode == 0, made.stderr
    assert f"python -m benchmarks {command}" in made.stdout
    if command in OWN:
        assert "--json" in made.stdout
        assert "--plot" in made.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["latency", "--calls", "19"], "fewer than 20"),
        (["latency", "--processes", "5"], "fewer than 20"),
        (["throughput", "--count", "19"], "fewer than 20"),
        (["throughput", "--sizes", "1,x"], "--sizes 1,x"),
        (["throughput", "--threads", "4096"], "CPUs are usable"),
        (["throughput", "--models", "nobody"], "there is no model 'nobody'"),
        (["scan", "--count", "19"], "fewer than 20"),
        (["compare", "--count", "19"], "fewer than 20"),
        (["device", "--count", "19"], "fewer than 20"),
        (["soak", "--minutes", "0.1"], "fewer than 20 samples"),
    ],
)
def test_what_makes_no_sense_is_one_line(arguments: Sequence[str], words: str) -> None:
    made = run(*arguments)
    assert made.returncode == 2 or "no model" in words
    assert made.returncode != 0
    assert made.stdout == ""
    assert made.stderr.count("\n") == 1
    assert words in made.stderr


def test_accuracy_says_what_it_lacks() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("pyarrow")
    made = run("accuracy", "--part", "validation", "--count", "19")
    assert made.returncode == 2
    assert "fewer than 20" in made.stderr
    if not (ROOT / "runs" / "library.npz").is_file():
        made = run("accuracy", "--part", "validation", "--count", "20")
        assert "python -m training.archive" in made.stderr
        assert made.stderr.count("\n") == 1


def test_latency_in_small() -> None:
    found = document("latency", "--processes", "0", "--calls", "20")
    shown = names(found)
    for model in ("spectranet, auto", "survey, auto", "gasnet2", "gasnet3", "specpt"):
        assert model in shown
    stages_of = {x.partition(": ")[2] for x in shown if x.startswith("spectranet: ")}
    assert stages_of == {"read", "preprocess", "infer", "interpret", "report JSON"}
    assert "survey: scan" in shown
    assert {one["name"] for one in found["targets"]} == {
        "warm, spectranet, auto", "warm, survey, auto",
    }  # fmt: skip
    assert any("needed the scan everywhere" in note for note in found["notes"])


def test_cold_processes_are_timed_and_a_failing_one_is_said() -> None:
    from benchmarks import cold

    assert len(cold.commands()) == 4
    seconds = cold.measure({"nothing": [sys.executable, "-I", "-S", "-c", ""]}, MINIMUM)
    assert len(seconds["nothing"]) == MINIMUM
    with pytest.raises(UsageError, match="broken ended with 3"):
        cold.measure({"broken": [sys.executable, "-c", "raise SystemExit(3)"]}, MINIMUM)


def test_throughput_in_small() -> None:
    found = document(
        "throughput", "--models", "spectranet", "--sizes", "1,4", "--threads", "1"
    )  # fmt: skip
    assert names(found) == ["spectranet, 1 threads, batch 1", "spectranet, 1 threads, batch 4"]
    one, four = (row["more"] for row in found["figures"])
    assert 0 < one["peak_MB"] <= four["peak_MB"]
    assert one["per_core"] == found["figures"][0]["median"]


@pytest.mark.slow
def test_scan_in_small() -> None:
    found = document("scan", "--count", "20")
    assert {"full scan, all families", "network + scan", "published way, numpy"} <= set(
        names(found)
    )
    assert found["targets"][0]["name"] == "full scan, all families"


def test_compare_in_small() -> None:
    found = document("compare", "--count", "20", "--templates", "50", "--no-published")
    shown = names(found)
    assert "templates, arrays to answer / spectranet, arrays to answer" in shown
    assert "spectranet, ONNX" in shown
    with_torch = "spectranet, PyTorch / spectranet, ONNX" in shown
    assert with_torch or any("torch" in note and "left out" in note for note in found["notes"])


@pytest.mark.slow
def test_the_published_size_is_compared() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    found = document("compare", "--count", "20", "--templates", "50")
    (target,) = found["targets"]
    assert target["name"].startswith("spectranet of published size")
    assert target["at_least"]
    assert any("25.2 million" in note for note in found["notes"])


def test_device_in_small() -> None:
    found = document("device", "--models", "spectranet", "--count", "20")
    assert found["series"]["devices"]["cpu"] is None
    for device, reason in found["series"]["devices"].items():
        said = any(note.startswith(f"{device}: ") for note in found["notes"])
        assert said is (reason is not None)
    row = next(x for x in found["figures"] if x["name"] == "spectranet, cpu, float32, batch 1")
    assert row["more"]["off_the_CPU_by"] < 1e-4


def test_soak_in_small(tmp_path: Path) -> None:
    picture = tmp_path / "soak.png"
    options = ["--minutes", "0.05", "--every", "0.1"]
    plot = ["--plot", str(picture)] if importlib.util.find_spec("matplotlib") else []
    found = document("soak", *options, *plot)
    changed = next(one for one in found["targets"] if "changed" in one["name"])
    assert changed["met"]
    assert changed["n"] > 2 * MINIMUM
    assert len(found["series"]["seconds"]) == len(found["series"]["memory_mb"]) >= MINIMUM
    assert not plot or picture.read_bytes().startswith(b"\x89PNG")
