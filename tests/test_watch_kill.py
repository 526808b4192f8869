"""SIGKILL at any moment loses nothing and does nothing twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from astropy.io import fits

from specinfer.sidecar import read_sidecar
from specinfer.watch.journal import ASIDE, DONE, read_entries

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("spec_auto_robot_*.fits"))


def check(directory: Path, good: set[str], bad: set[str] = frozenset()) -> None:
    """Every good spectrum was answered and annotated once, every bad one is reported."""
    entries = {
        entry.file: entry for entry in read_entries(directory / ".specinfer/journal.sqlite3")
    }
    assert set(entries) == good | bad
    for name in good:
        document = read_sidecar(directory / name)
        assert document is not None
        assert document["state"] in ("OK", "LOWQ", "ABSTAIN")
        assert entries[name].status == DONE
        assert entries[name].sha256 == document["sha256"]
        with fits.open(directory / name) as hdus:
            written = [key for key in hdus[0].header if key == "SPISTAT"]
            assert written == ["SPISTAT"]
            assert hdus[0].header["SPISTAT"] == document["state"]
        text = (directory / name).with_suffix(".txt").read_text()
        assert text.count("# SPISTAT: ") == 1
        assert f"# SPISTAT: {document['state']}\n" in text
    for name in bad:
        assert entries[name].status == ASIDE
        assert entries[name].reason


@pytest.mark.slow
def test_a_kill_at_every_step_of_the_work(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "spectra").mkdir()
    names = set()
    for path in EXAMPLES[:1]:
        shutil.copy(path, tmp_path / "spectra")
        shutil.copy(path.with_suffix(".txt"), tmp_path / "spectra")
        names.add(path.name)
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "kill_steps.py"), str(tmp_path)],
        capture_output=True, text=True, timeout=300, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    # The last one had no step left to be killed at.
    assert len(steps) > 20
    assert [step["code"] for step in steps] == [-signal.SIGKILL] * (len(steps) - 1) + [0]
    for step in steps:
        assert step["again"] == 0, step
        folder = tmp_path / f"step{step['step']}"
        check(folder / "night", names)
        posts = (folder / "posts").read_text().splitlines()
        assert len(posts) == len(set(posts))
        annotations = [post for post in posts if post.startswith("annotation ")]
        assert len(annotations) == 1


@pytest.mark.slow
def test_kills_at_random_moments(tiny: Path, tmp_path: Path) -> None:
    chance = random.Random(1)
    command = [
        sys.executable, "-m", "specinfer", "watch", str(tmp_path), "--annotate", "--log-format",
        "json", "--attempts", "2", "--settle", "0.05", "--interval", "0.05",
    ]  # fmt: skip
    good: set[str] = set()
    bad: set[str] = set()
    kills, began = 0, time.monotonic()
    while kills < 10 and time.monotonic() - began < 90:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stderr is not None
        while '"started"' not in (line := process.stderr.readline()):
            assert "Traceback" not in line
            assert line, "the service ended"
        for _ in range(3):
            number = len(good | bad)
            path = EXAMPLES[number % len(EXAMPLES)]
            name = path.name.replace("SIM", f"{number:03d}SIM")
            content = path.read_bytes()
            if number % 7 == 3:
                (tmp_path / name).write_bytes(content[:3000])
                bad.add(name)
            else:
                text = path.with_suffix(".txt").read_bytes()
                (tmp_path / name).with_suffix(".txt").write_bytes(text)
                (tmp_path / name).write_bytes(content)
                good.add(name)
        time.sleep(chance.uniform(0.0, 0.5))
        process.kill()
        rest = process.communicate()[1]
        assert "Traceback" not in rest
        kills += 1
    for _ in range(2):  # two tries for what is bad
        subprocess.run([*command, "--once"], capture_output=True, timeout=60, check=False, cwd=ROOT)
    last = subprocess.run([*command, "--once"], capture_output=True, text=True, cwd=ROOT)
    assert last.returncode == 0, last.stderr
    check(tmp_path, good, bad)
