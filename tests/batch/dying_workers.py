"""A run some of whose chunks kill their workers (see test_batch_run.py).

python tests/batch/dying_workers.py SURVEY OUTPUT
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from survey_files import prepare

from specinfer.batch.cluster import client_of
from specinfer.batch.plan import Chunk
from specinfer.batch.progress import Meter
from specinfer.batch.run import AHEAD, Run
from specinfer.batch.work import ChunkError, Done, Job, do_chunk

POISON, BUG = 3, 9


def die(job: Job, chunk: Chunk) -> Done:
    """As `do_chunk`, but one chunk kills, and one meets a bug."""
    if chunk.number == POISON:
        os.kill(os.getpid(), signal.SIGKILL)
    if chunk.number == BUG:
        raise ChunkError("internal_error", "a bug")
    time.sleep(0.02)
    return do_chunk(job, chunk)


def main(survey: Path, output: Path) -> None:
    """Run; print what it did."""
    plan, job, ledger = prepare([survey], output, chunk=1)
    ledger.open(resume=False)
    with client_of(None, 2) as client:
        run = Run(client, job, ledger, Meter(plan.rows, shown=False), work=die)
        tally = run.all(plan.chunks())
    ledger.complete({})
    said = {"lost": tally.lost, "most": tally.most_in_flight, "limit": 2 * AHEAD}
    print(json.dumps(said | {"chunks": tally.chunks, "threads": threading.active_count()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
