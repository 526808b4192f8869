"""From the public archive to the networks in ``exported_models``."""

import os

# PyTorch has the cores; numpy's own threads, which simulate beside it, would only fight
# over them (a training step takes half as long again). Must be set before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
