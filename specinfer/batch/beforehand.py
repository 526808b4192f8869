"""Imports what workers need, in the process that they are forked from (`forking`).

Nothing that starts threads, as onnxruntime and pyarrow do: a fork has none of them, but all of
the locks that they held.
"""

from __future__ import annotations

import gc
from importlib import import_module

IMPORTED = (
    "distributed.nanny",
    "distributed.worker",
    "astropy.io.fits",
    "specinfer.batch.in_worker",
    "specinfer.batch.work",
    "specinfer.readers.desi",
)

# There is nothing to collect, and what a collector writes to is no longer shared by forks.
gc.disable()
for _name in IMPORTED:
    import_module(_name)
gc.freeze()
gc.enable()
