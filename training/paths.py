"""Where the public data lie."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def shared_data() -> Path:
    """`SPECINFER_SHARED_DATA`, or ``shared/data`` beside the checkout.

    Raises
    ------
    SystemExit
        With a sentence for people if the folder is not there.
    """
    path = Path(os.environ.get("SPECINFER_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (path / "archive" / "transients.parquet").is_file():
        raise SystemExit(
            f"the public data are not at {path}; set SPECINFER_SHARED_DATA to the folder that "
            "holds archive/ and templates/ (training/README.md says where they come from)"
        )
    return path
