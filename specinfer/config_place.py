"""Where the configuration is: known without reading it."""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT = "SPECINFER_CONFIG"
FILE_NAME = "specinfer.toml"


def find_config(path: Path | None = None) -> Path | None:
    """The configuration file that counts.

    Parameters
    ----------
    path : Path, optional
        What ``--config`` names.

    Returns
    -------
    Path or None
        `path`; else what the environment variable ``SPECINFER_CONFIG`` names; else
        ``specinfer.toml`` in the working directory; else None.
    """
    if path is not None:
        return path
    named = os.environ.get(ENVIRONMENT, "").strip()
    if named:
        return Path(named).expanduser()
    here = Path(FILE_NAME)
    return here if here.exists() else None
