"""What a worker process of our own does when it starts (Dask calls `dask_setup`)."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(_: Any) -> None:
    """Leave Ctrl-C, which a terminal sends to all of its processes, to the one that decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
