"""What workers are forked from: it has imported what they need, and has no threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from specinfer.batch import forking

pytestmark = pytest.mark.skipif(forking.METHOD != "forkserver", reason="no forkserver here")


def test_what_is_imported_beforehand_starts_no_thread() -> None:
    code = (
        "import os, sys\n"
        "from importlib import import_module\n"
        "from specinfer.batch.forking import IMPORTED\n"
        "for name in IMPORTED:\n"
        "    import_module(name)\n"
        "print(len(os.listdir('/proc/self/task')),\n"
        "      'onnxruntime' in sys.modules, 'pyarrow' in sys.modules)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | forking.ENVIRONMENT,
    )  # fmt: skip
    assert said.stdout == "1 False False\n"


def test_workers_are_forked_from_what_began_before_them() -> None:
    # In a process of its own: there is one such process for each, and pytest may have one.
    code = (
        "import os\n"
        "from multiprocessing import forkserver\n"
        "from specinfer.batch import cluster, forking\n"
        "def seen():\n"
        "    import sys\n"
        "    there = 'astropy.io.fits' in sys.modules\n"
        "    return os.getppid(), os.environ['MALLOC_ARENA_MAX'], there\n"
        "if __name__ == '__main__':\n"
        "    forking.begin()\n"
        "    begun = forkserver._forkserver._forkserver_pid\n"
        "    with cluster.client_of(None, 2) as client:\n"
        "        told = client.run(seen).values()\n"
        "    print(len(told), {parent == begun for parent, _, _ in told},\n"
        "          {arenas for _, arenas, _ in told}, {there for _, _, there in told})\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout == "2 {True} {'1'} {True}\n"
    assert said.stderr == ""
