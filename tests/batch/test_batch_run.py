"""The command as a process: kills, resumes, clusters, dying workers, refusals."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from survey_files import COMMAND, parts, prepare, rows, run, summary, write_coadd

from specinfer.batch.manifest import MANIFEST, verify
from specinfer.batch.work import do_chunk

HERE = Path(__file__).resolve().parent
OPTIONS = ("--model", "spectranet", "--device", "cpu", "--json")


@pytest.mark.slow
def test_a_run_and_what_it_says(survey: Path, tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out"
    (survey / "empty.fits").write_bytes(b"")
    arguments = (survey, "--output", output, "--chunk", 5, "--workers", 1, *OPTIONS)
    done = run(*arguments)
    assert done.returncode == 1
    said = summary(done)
    assert (said["rows"], said["ok"], said["failed"]) == (19, 15, 4)
    assert said["failures"] == {"empty_file": 1, "no_good_pixels": 3}
    assert (said["workers"], said["reused_chunks"]) == (1, 0)
    assert said["worker_peak_mb"] > 50
    assert said["spectra_per_s"] == pytest.approx(said["rows"] / said["seconds"], rel=0.01)
    assert "3 failed with no_good_pixels, the first: " in done.stderr
    assert len(rows(output)) == 19
    stated = json.loads((output / MANIFEST).read_text())
    assert stated["identity"]["chunks"] == said["chunks"] == len(parts(output))

    before = parts(output)
    again = run(*arguments)
    assert again.returncode == 2
    assert "(output_exists)" in again.stderr
    # Nothing is left to do: no cluster is started, and the summary is that of the output.
    resumed = run(*arguments, "--resume")
    assert resumed.returncode == 1
    assert summary(resumed)["reused_chunks"] == said["chunks"]
    assert summary(resumed)["failures"] == said["failures"]
    other = run(*arguments, "--resume", "--sky")
    assert other.returncode == 2
    assert "(other_run)" in other.stderr
    assert parts(output) == before

    checked = run("--verify", output, "--json")
    assert checked.returncode == 0
    assert json.loads(checked.stdout) == {
        "ok": True, "output": str(output), "parts": len(before), "rows": 19, "problems": []
    }  # fmt: skip
    (output / "part-000001.parquet").unlink()
    checked = run("--verify", output)
    assert checked.returncode == 1
    assert "part-000001.parquet is missing" in checked.stderr


def killed_after(seconds: float, output: Path, *arguments: object) -> None:
    """A run, killed with all that it started."""
    words = [str(word) for word in (*arguments, *(["--resume"] if output.exists() else []))]
    with subprocess.Popen(
        [*COMMAND, *words, "--output", str(output)], start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        # From when it has begun: starting takes longer on a busy machine.
        deadline = time.monotonic() + 60
        known = set(parts(output)) if output.exists() else set()
        while process.poll() is None and time.monotonic() < deadline:
            if output.exists() and set(parts(output)) - known:
                break
            time.sleep(0.01)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_killed_three_times_it_ends_as_if_undisturbed(tmp_path: Path, tiny: Path) -> None:
    chance = random.Random(7)
    folder = tmp_path / "survey"
    folder.mkdir()
    for number in range(3):
        write_coadd(folder / f"coadd-{number}.fits", 60, seed=number)
    arguments = (folder, "--chunk", 2, "--workers", 2, *OPTIONS)
    output, whole = tmp_path / "out", tmp_path / "whole"
    made = []
    for _ in range(3):
        killed_after(chance.uniform(0.0, 0.15), output, *arguments)
        made.append(len(parts(output)))
    last = run(*arguments, "--output", output, "--resume")
    assert last.returncode == 1
    said = summary(last)
    assert said["reused_chunks"] == made[-1]
    assert 0 < made[0] <= made[1] <= made[2]
    assert verify(output) == []
    assert sorted(path.name for path in output.iterdir() if "part" not in path.name) == [
        "_lock", MANIFEST
    ]  # fmt: skip
    plan, job, _ = prepare([folder], whole, chunk=2)
    for chunk in plan.chunks():
        do_chunk(job, chunk)
    assert list(parts(output)) == list(parts(whole))
    assert rows(output) == rows(whole)
    assert said["chunks"] == len(parts(whole)) == 90


@pytest.mark.slow
def test_a_chunk_that_kills_its_workers_is_recorded_and_the_rest_goes_on(
    survey: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, str(HERE / "dying_workers.py"), str(survey), str(output)],
        capture_output=True, text=True, timeout=100,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["lost"], said["chunks"]) == (2, 21)
    # However long the plan is, so many chunks are with the workers.
    assert 2 <= said["most"] <= said["limit"]
    died = [row for row in rows(output) if row["error_code"] == "worker_died"]
    assert [(Path(row["file"]).name, row["row"]) for row in died] == [("coadd-0.fits", 3)]
    bugs = [row for row in rows(output) if row["error_code"] == "internal_error"]
    assert [(Path(row["file"]).name, row["row"]) for row in bugs] == [("coadd-1.fits", 5)]
    # All others were answered, those that waited behind it in the same worker among them.
    assert sum(row["status"] == "ok" for row in rows(output)) == 13
    assert verify(output) == []


CLUSTER = """
import sys
from distributed import LocalCluster

def main():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None,
                      host="127.0.0.1", memory_limit=0, silence_logs=50) as cluster:
        pids = [nanny.pid for nanny in cluster.workers.values()]
        print(cluster.scheduler_address, *pids, flush=True)
        sys.stdin.read()

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_a_scheduler_elsewhere_and_a_worker_that_is_killed(tmp_path: Path, tiny: Path) -> None:
    folder = tmp_path / "survey"
    folder.mkdir()
    for number in range(3):
        write_coadd(folder / f"coadd-{number}.fits", 40, seed=number)
    (tmp_path / "cluster.py").write_text(CLUSTER)
    output = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "cluster.py")], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as elsewhere:  # fmt: skip
        assert elsewhere.stdout is not None
        address, victim, _ = elsewhere.stdout.readline().split()
        words = map(
            str, (folder, "--output", output, "--scheduler", address, "--chunk", 2, *OPTIONS)
        )
        with subprocess.Popen(
            [*COMMAND, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            deadline = time.monotonic() + 60
            while not (output.exists() and parts(output)) and time.monotonic() < deadline:
                time.sleep(0.01)
            os.kill(int(victim), signal.SIGKILL)
            out, err = process.communicate(timeout=100)
        elsewhere.communicate("", timeout=60)
    assert "Traceback" not in err
    assert process.returncode == 1, err
    said = json.loads(out.splitlines()[-1])
    assert said["failures"] == {"no_good_pixels": 3}
    assert said["ok"] == 3 * 38
    assert verify(output) == []


@pytest.mark.slow
def test_interrupted_it_says_how_to_go_on(survey: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    # More than is done until it is interrupted.
    write_coadd(survey / "coadd-3.fits", 250, seed=3)
    words = map(str, (survey, "--output", output, "--chunk", 1, "--workers", 1, *OPTIONS))
    # Ctrl-C on a terminal reaches the workers, too.
    with subprocess.Popen(
        [*COMMAND, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
        # What a shell starts in the background ignores it, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        while not (output.exists() and parts(output)) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert parts(output)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    plan, last = err.splitlines()
    assert plan == "specinfer: 4 files, 271 rows in 271 chunks"
    assert last.startswith("specinfer: interrupted; what is finished is kept")
    assert f"--output {output} --chunk 1" in err
    assert err.strip().endswith("--resume")
    assert "not complete" in verify(output)[0]


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["x.fits"], 2, "--output"),
        (["-o", "out"], 2, "no_input"),
        (["-", "-o", "out"], 2, "standard input"),
        (["x.fits", "-o", "out", "--chunk", "0"], 2, "--chunk"),
        (["x.fits", "-o", "out", "--workers", "0"], 2, "--workers"),
        (["x.fits", "-o", "out", "--workers", "2", "--scheduler", "tcp://a:1"], 2, "--workers"),
        (["x.fits", "-o", "out", "--device", "abacus"], 2, "--device"),
        (["x.fits", "-o", "out", "--format", "papyrus"], 2, "--format"),
        (["x.fits", "-o", "out", "--columns", "wave=x"], 2, "--columns"),
        (["x.fits", "-o", "out", "--columns", "flux=x"], 2, "--columns"),
        (["x.fits", "-o", "out", "--list", "none.txt"], 2, "bad_file_list"),
        (["x.fits", "-o", "out", "--model", "nonesuch"], 3, "unknown_model"),
        (["--verify", "out", "x.fits"], 2, "stands alone"),
        (["--verify", "out"], 2, "no_output"),
    ],
)
def test_wrong_usage(
    tiny: Path, tmp_path: Path, arguments: list[str], code: int, word: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from typer.testing import CliRunner

    from specinfer.cli import app

    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["batch", *arguments])
    assert done.exit_code == code, done.output
    assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from specinfer.batch import cluster

    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(cluster.NoSchedulerError, match=r"specinfer\[batch\]") as caught:
        cluster.require()
    assert caught.value.exit_code == 3


def test_help_and_plan_need_no_dask() -> None:
    code = (
        "import sys\nfrom specinfer.cli import app\n"
        "import contextlib, io, specinfer.batch.plan\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    app(['batch', '--help'])\n"
        "assert not {'dask', 'distributed', 'pyarrow', 'onnxruntime'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
