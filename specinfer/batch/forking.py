"""The process that workers are forked from: what they need is imported once, and beforehand.

Each worker would otherwise import Dask and astropy for itself, and not before it is started.
"""

from __future__ import annotations

import multiprocessing
import os
import sys

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
# What the libraries of a worker must find when they are loaded. Dask has glibc give freed
# memory back at once, which costs more than a quarter of the time: the next spectrum wants it
# again. A worker holds little (docs/scale.md).
ENVIRONMENT = THREADS | {
    "MALLOC_TRIM_THRESHOLD_": str(2**28),
    "MALLOC_MMAP_THRESHOLD_": str(2**28),
    "MALLOC_ARENA_MAX": "1",
    # What Dask logs before it has asked for its settings: a worker that is killed leaves others
    # with broken connections, and tracebacks.
    "DASK_LOGGING__DISTRIBUTED": "critical",
    "DASK_LOGGING__TORNADO": "critical",
    "DASK_LOGGING__ASYNCIO": "critical",
}
METHOD = "forkserver" if sys.platform == "linux" else "spawn"
# Nothing that starts threads, as onnxruntime and pyarrow do: a fork has none of them, but all
# of the locks that they held.
IMPORTED = (
    "distributed.nanny",
    "distributed.worker",
    "astropy.io.fits",
    "specinfer.batch.in_worker",
    "specinfer.batch.work",
    "specinfer.readers.desi",
)


def begin() -> None:
    """Start that process, where there is one; it imports while this one finds out what to do.

    `ENVIRONMENT` becomes that of this process, too, as Dask would do later.
    """
    if METHOD != "forkserver":
        return
    from multiprocessing import forkserver

    os.environ.update(ENVIRONMENT)
    multiprocessing.set_forkserver_preload([*IMPORTED])
    forkserver.ensure_running()
