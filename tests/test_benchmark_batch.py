"""The benchmarks of batch: their spectra, their figures, and what they would find wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import batch_joined, batch_outputs, batch_runs, scale_plan
from benchmarks.batch_cluster import Cluster
from benchmarks.batch_figures import about, in_words, machine, summarised
from benchmarks.batch_kills import killed, undisturbed
from benchmarks.batch_runs import Memory, descendants, read_bytes, sample
from benchmarks.batch_spectra import STAMP, Recipe, file_bytes, judge, make, truth_of
from specinfer import Spectrum, read
from specinfer.readers import iter_spectra

ROOT = Path(__file__).resolve().parents[1]
SMALL = Recipe(spectra=30, seed=4, fibres=20, sky_share=0.1, dead_share=0.1)


@pytest.fixture(scope="module")
def spectra(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two small files: 18 targets in the first, 12 in the second."""
    return make(SMALL, tmp_path_factory.mktemp("spectra"))


def test_the_same_seed_gives_the_same_bytes(spectra: list[Path]) -> None:
    assert file_bytes(SMALL, 1) == spectra[1].read_bytes()
    other = Recipe(**{**vars(SMALL), "seed": 5})
    assert file_bytes(other, 1) != spectra[1].read_bytes()


def test_files_are_read_as_desis(spectra: list[Path]) -> None:
    found = [list(iter_spectra(path)) for path in spectra]
    assert [len(rows) for rows in found] == [18, 12]
    for path, rows in zip(spectra, found, strict=True):
        truth = truth_of(path)
        assert len(truth) == round(len(rows) / 0.9)
        for one in rows:
            assert one.row is not None
            assert truth[one.row]["class"] in ("GALAXY", "QSO", "STAR")
            assert isinstance(one, Spectrum) is not truth[one.row]["dead"]
            if isinstance(one, Spectrum):
                assert one.reader == "desi"
                assert one.wavelength.size == 7781
                assert 0.98 < np.mean(one.ivar > 0) < 1.0
    assert any(line["dead"] for path in spectra for line in truth_of(path).values())


def test_overlapping_arms_have_noise_of_their_own(spectra: list[Path]) -> None:
    from astropy.io import fits

    with fits.open(spectra[0]) as hdus:
        # B ends at 5800 Angstrom, R begins at 5760: the same 51 pixels.
        blue, red = hdus["B_FLUX"].data[:, -51:], hdus["R_FLUX"].data[:, :51]
        good = (hdus["B_IVAR"].data[:, -51:] > 0) & (hdus["R_IVAR"].data[:, :51] > 0)
        variance = 1.0 / hdus["B_IVAR"].data[:, -51:][good]
        variance += 1.0 / hdus["R_IVAR"].data[:, :51][good]
    pull = (blue - red)[good] / np.sqrt(variance)
    # Undetected cosmic rays are in the tails.
    assert np.median(np.abs(pull)) / 0.6745 == pytest.approx(1.0, abs=0.15)


def test_answers_are_those_that_were_drawn(spectra: list[Path]) -> None:
    found = judge(spectra, 25, 2.0)
    assert found["snr_2_and_more"]["n"] >= 8
    assert found["snr_2_and_more"]["class_right"] >= 0.85
    assert found["snr_2_and_more"]["redshift_right"] >= 0.85


def test_files_are_made_once_and_those_of_others_left_alone(tmp_path: Path) -> None:
    recipe = Recipe(spectra=4, fibres=3, sky_share=0.0)
    paths = make(recipe, tmp_path)
    written = [path.stat().st_mtime_ns for path in paths]
    assert make(recipe, tmp_path) == paths
    assert [path.stat().st_mtime_ns for path in paths] == written
    with pytest.raises(FileExistsError, match="empty folder"):
        make(Recipe(spectra=5, fibres=3, sky_share=0.0), tmp_path)
    # Stopped on the way: the stamp knows no sizes yet, and what is there is kept.
    stamp = json.loads((tmp_path / STAMP).read_text())
    del stamp["sizes"]
    (tmp_path / STAMP).write_text(json.dumps(stamp))
    content = paths[1].read_bytes()
    paths[1].unlink()
    make(recipe, tmp_path)
    assert paths[1].read_bytes() == content
    assert paths[0].stat().st_mtime_ns == written[0]


def test_resolution_matrices_make_files_larger_and_change_no_spectrum(tmp_path: Path) -> None:
    recipe = Recipe(spectra=3, fibres=3, sky_share=0.0)
    full = Recipe(**{**vars(recipe), "resolution": True})
    bare, whole = tmp_path / "bare.fits", tmp_path / "whole.fits"
    bare.write_bytes(file_bytes(recipe, 0))
    whole.write_bytes(file_bytes(full, 0))
    assert whole.stat().st_size > 3 * bare.stat().st_size
    assert read(whole)[0].wavelength.size == read(bare)[0].wavelength.size == 7781


def write_parts(folder: Path, redshifts: list[list[float]], **more: Any) -> Path:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder.mkdir()
    for number, values in enumerate(redshifts):
        columns = {"redshift": values, "names": [["a", None]] * len(values)}
        columns |= {name: [value] * len(values) for name, value in more.items()}
        parquet.write_table(pa.table(columns), folder / f"part-{number:06d}.parquet")
    return folder


def test_equal_outputs_have_no_differences(tmp_path: Path) -> None:
    rows = [[0.1, float("nan")], [0.3]]
    one = write_parts(tmp_path / "a", rows, latency_ms=1.0)
    other = write_parts(tmp_path / "b", rows, latency_ms=2.0)
    assert batch_outputs.differences(one, other) == []
    assert batch_outputs.part_rows(one) == {"part-000000.parquet": 2, "part-000001.parquet": 1}


@pytest.mark.parametrize(
    ("other", "more", "said"),
    [
        ([[0.1, 0.2], [0.4]], {}, "part-000001.parquet: column redshift differs in rows [0]"),
        ([[0.1, 0.2]], {}, "part-000001.parquet is in one output only"),
        ([[0.1], [0.3]], {}, "part-000000.parquet: 2 and 1 rows"),
        ([[0.1, 0.2], [0.3]], {"more": 1}, "part-000000.parquet: the columns differ"),
    ],
)
def test_differences_are_found(
    tmp_path: Path, other: list[list[float]], more: dict[str, int], said: str
) -> None:
    one = write_parts(tmp_path / "a", [[0.1, 0.2], [0.3]])
    assert said in batch_outputs.differences(one, write_parts(tmp_path / "b", other, **more))


def test_two_empty_outputs_are_not_equal(tmp_path: Path) -> None:
    assert batch_outputs.differences(tmp_path, tmp_path) == ["neither output has any part"]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_steady_rate_is_that_of_the_parts(tmp_path: Path, workers: int) -> None:
    rows = {}
    for number in range(41):
        path = tmp_path / f"part-{number:06d}.parquet"
        path.touch()
        # Ten rounds a second, in step, and the last ones late, as where a worker is idle already.
        at = 1_000_000.0 + 0.1 * (number // workers) + (5.0 if number >= 39 else 0.0)
        os.utime(path, (at, at))
        rows[path.name] = 25
    found = batch_outputs.steady(tmp_path, rows, workers)
    assert found["rate"] == pytest.approx(250.0 * workers, rel=1e-3)
    assert found["chunks"] == 41
    expected = [250.0 * workers] * len(found["pieces"])
    assert found["pieces"] == pytest.approx(expected, rel=1e-3)
    assert len(found["pieces"]) >= 6


def test_a_short_run_has_no_steady_rate(tmp_path: Path) -> None:
    (tmp_path / "part-000000.parquet").touch()
    assert batch_outputs.steady(tmp_path, {"part-000000.parquet": 3}, 1)["rate"] is None


def test_no_median_of_two_runs() -> None:
    assert summarised([1.0, 2.0])["median"] is None
    assert "no median" in in_words(summarised([1.0, 2.0]))
    assert summarised([3.0, 1.0, 2.0])["median"] == 2.0
    assert in_words(summarised([3.0, 1.0, 2.0])) == "2.0 (1.0-3.0, n 3)"
    assert in_words(summarised([])) == "not measured"


def test_memory_and_children_are_seen_from_outside() -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', "
        "'x = bytearray(60_000_000); print(1, flush=True); input()'], stdin=subprocess.PIPE)\n"
        "input()\n"
        "child.communicate(b'\\n')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        children = descendants(process.pid)
        with pytest.MonkeyPatch.context() as without:
            # A kernel that does not list the children of a process.
            without.setattr(batch_runs, "glob", lambda _: [])
            assert descendants(process.pid) == children
        memory: dict[int, Memory] = {}
        sample(process.pid, memory)
        process.communicate(b"\n")
    assert len(children) == 1
    assert memory[process.pid].name == "client"
    assert memory[children[0]].name == "worker"
    assert memory[children[0]].own > 60.0
    assert memory[children[0]].resident > memory[process.pid].resident


def test_what_is_no_process_has_read_nothing() -> None:
    assert read_bytes(2**30) == 0
    assert descendants(2**30) == []


def measured() -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures as the benchmarks give them: 200 spectra a second on two workers."""

    def three(value: float) -> dict[str, Any]:
        return summarised([value] * 3)

    def cost(read_ms: float, classify_ms: float, size: float) -> dict[str, Any]:
        return {
            "spectra": 9, "files": 1, "pixels": 7781, "bytes": size, "bytes_read": three(size),
            "read_ms": three(read_ms), "classify_ms": {"auto": three(classify_ms)},
        }  # fmt: skip

    one = {"whole": three(90.0), "steady": three(110.0), "pieces": [100.0, 120.0],
           "read_kb_a_spectrum": three(98.0)}  # fmt: skip
    two = {**one, "whole": three(180.0), "steady": three(200.0)}
    model = {
        "workers": {"1": one, "2": two},
        "efficiency": {"whole": three(1.0), "steady": three(0.91)},
        "memory": {"worker_resident_mb": 400.0},
    }
    stated = machine() | {"load": 0.1, "busy": False}
    target = {"what": "rate", "target": 120.0, "measured": 180.0, "met": True}
    survey = {"machine": stated, "spectra": 100, "models": {"auto": model}, "kills": {},
              "targets": [target]}  # fmt: skip
    formats = {
        "formats": {
            "DESI coadd": cost(1.0, 9.0, 1e5),
            "DESI coadd, with resolution matrices": cost(1.0, 9.0, 4e5),
            "4MOST L1": cost(5.0, 15.0, 6e5),
        }
    }
    return survey, formats


def test_the_plan_is_arithmetic() -> None:
    survey = scale_plan.Survey("x", 36_000_000, "DESI coadd", "auto", 10.0)
    made = scale_plan.plan(survey, 100.0, 1e5, cores=50, efficiency=0.5)
    assert made.core_hours == pytest.approx(100.0)
    assert made.node_hours == pytest.approx(4.0)
    assert made.nodes == pytest.approx(0.4)
    assert made.terabytes == pytest.approx(3.6)
    assert made.node_megabytes == pytest.approx(250.0)


def test_other_formats_cost_what_their_reading_and_classifying_does() -> None:
    rates = scale_plan.core_rates(*measured())
    assert rates["auto", "DESI coadd"] == pytest.approx(100.0)
    assert rates["auto", "4MOST L1"] == pytest.approx(50.0)


def test_the_tables_say_what_was_measured_and_nothing_else() -> None:
    survey, formats = measured()
    text = scale_plan.tables(survey, formats, None, cores=64, efficiency=0.7)
    assert "| auto | 2 | 180.0 (180.0-180.0, n 3) | 200.0 (200.0-200.0, n 3) | 100-120 |" in text
    # 25 million at 50 a second, and 64 cores of which 0.7 count.
    assert "| 4MOST, five years | 25,000,000 | auto | 50.0 | 139 h | 3.1 h | 1 in 24 h |" in text
    # SpectraNet was not measured.
    assert "spectranet" not in text
    assert "SIGKILL" not in text
    assert "busy" not in text
    assert "the machine is busy" in about(machine() | {"load": 3.0, "busy": True})


def test_only_what_is_between_the_markers_is_replaced() -> None:
    text = f"before\n{scale_plan.BEGIN}\nold\n{scale_plan.END}\nafter\n"
    made = scale_plan.put(text, "new")
    assert made == f"before\n{scale_plan.BEGIN}\nnew\n{scale_plan.END}\nafter\n"
    assert scale_plan.put(made, "new") == made
    with pytest.raises(ValueError, match="markers"):
        scale_plan.put("none", "new")


def test_the_plan_can_be_written_into_the_document(tmp_path: Path) -> None:
    survey, formats = measured()
    for name, value in (("survey", survey), ("formats", formats)):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    document = shutil.copy(ROOT / "docs" / "scale.md", tmp_path)
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale_plan", "--survey", str(tmp_path / "survey.json"),
         "--formats", str(tmp_path / "formats.json"), "--write", str(document)],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert answer.stdout.strip() in Path(document).read_text()


@pytest.mark.slow
def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("pyarrow")
    recipe = Recipe(spectra=80, seed=6, fibres=44, sky_share=0.1, dead_share=0.05)
    inputs = [str(path) for path in make(recipe, tmp_path / "spectra")]
    options = ["--model", "spectranet", "--workers", "2", "--chunk", "5"]
    whole = undisturbed(inputs, tmp_path / "whole", options)
    assert whole.summary["rows"] == 80
    dead = sum(line["dead"] for path in inputs for line in truth_of(Path(path)).values())
    assert whole.summary["failed"] == dead > 0
    # Two that classify; what they are forked from, and what keeps count of resources, only help.
    assert len(whole.workers) == 2
    assert whole.stolen is None or whole.stolen >= 0.0
    ended = killed(
        inputs, tmp_path / "killed", options,
        kills=2, seed=1, whole=whole, reference=tmp_path / "whole",
    )  # fmt: skip
    assert ended["problems"] == []
    assert len(ended["kills"]) == 2
    assert ended["rows"] == 80


@pytest.mark.slow
def test_a_cluster_loses_a_worker_and_gets_another(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with Cluster(tmp_path, 2) as cluster:
        assert cluster.address.startswith("tcp://127.0.0.1:")
        first = cluster.workers[0]
        cluster.sample()
        cluster.kill_worker()
        assert first.poll() == -signal.SIGKILL
        cluster.add_worker()
        started = list(cluster.workers)
        assert [one.poll() for one in started] == [None, None]
    assert all(one.poll() is not None for one in started)
    assert len(cluster.memory) == 2


def run_report(rates: list[float], spectra: int = 20) -> dict[str, Any]:
    summary = summarised
    workers = {
        number: {"whole": summary([factor * rate for rate in rates]), "pieces": rates, "chunks": 4}
        for number, factor in (("1", 1.0), ("2", 1.8))
    }
    return {
        "machine": {"cpu": "any"}, "spectra": spectra, "kills": {}, "problems": [],
        "models": {"auto": {
            "workers": workers, "efficiency": {"whole": summary([0.9] * len(rates))},
            "memory": {"worker_resident_mb": max(rates), "each_worker_mb": rates},
        }},
    }  # fmt: skip


def test_runs_in_pieces_count_together() -> None:
    made = batch_joined.joined([run_report([70.0]), run_report([60.0, 80.0])])
    one = made["models"]["auto"]
    assert one["workers"]["1"]["whole"]["median"] == 70.0
    assert one["workers"]["2"]["whole"]["n"] == 3
    assert one["workers"]["2"]["pieces"] == [70.0, 60.0, 80.0]
    assert one["workers"]["1"]["chunks"] == 4
    assert one["memory"]["worker_resident_mb"] == 80.0
    rate = made["targets"][0]
    assert rate["measured"] == pytest.approx(126.0)
    assert rate["met"] is True


def test_runs_on_two_workers_alone_count_too() -> None:
    second = run_report([60.0, 80.0])
    del second["models"]["auto"]["workers"]["1"]
    made = batch_joined.joined([run_report([70.0]), second])
    workers = made["models"]["auto"]["workers"]
    assert workers["1"]["whole"]["n"] == 1
    assert workers["2"]["whole"]["n"] == 3


def test_runs_of_other_spectra_do_not() -> None:
    with pytest.raises(ValueError, match="different numbers"):
        batch_joined.joined([run_report([70.0]), run_report([70.0], spectra=30)])
