"""Documents of sidecars, for tests of what is posted."""

from __future__ import annotations

import hashlib
from typing import Any

from specinfer.result import FIELDS

STEM = "spec_auto_robot_lstep1__crr_b_ifu20261121_05_01_00_{}"


def document(
    target: str = "ZTF26aaaaaaa",
    *,
    stem: str | None = None,
    state: str = "OK",
    sha256: str | None = None,
    model: str = "spectranet@0.2.1",
    **changes: Any,
) -> dict[str, Any]:
    """A sidecar's document of a sure SN Ia; changes are fields of its result."""
    stem = stem or STEM.format(target)
    result: dict[str, Any] = {"schema": "specinfer.result/1", **dict.fromkeys(FIELDS)}
    del result["class_name"]
    result |= {
        "file": f"/data/{stem}.fits",
        "object": f"{target} [A]",
        "status": "ok",
        "model": model,
        "class": "SN Ia",
        "probability": 0.97,
        "probabilities": {"SN Ia": 0.97, "SN Ic-BL": 0.02, "AGN/QSO": 0.01},
        "redshift": 0.0312,
        "redshift_err": 0.0021,
        "phase": 3.2,
        "phase_err": 2.1,
        "snr": 12.5,
        "flags": [],
        "decision": "auto",
    }
    return {
        "schema": "specinfer.sidecar/1",
        "specinfer": "0.1.0",
        "file": f"{stem}.fits",
        "sha256": sha256 or hashlib.sha256(stem.encode()).hexdigest(),
        "state": state,
        "reason": "",
        "model": model,
        "date": "2026-11-21T05:30:00",
        "result": result | changes,
    }
