"""What a worker process of our own does when it starts (Dask calls `dask_setup`)."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Any


def dask_setup(_: Any) -> None:
    """Leave Ctrl-C, and what there is to say, to the process that decides.

    A terminal sends Ctrl-C to all of its processes. What a chunk meets stands in its rows; what
    else a worker would print is Python's traceback when its scheduler ends before it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What was imported stays until the end: no collector need look at it again.
    gc.freeze()
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
