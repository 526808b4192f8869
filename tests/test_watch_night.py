"""A short simulated night with kills and a portal that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("httpx", reason="posting needs httpx: pip install 'specinfer[skyportal]'")


@pytest.mark.slow
def test_a_short_night_reconciles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.night import run_night

    # Of the model that is shipped: only it has decisions.
    monkeypatch.delenv("SPECINFER_MODEL_DIR", raising=False)
    monkeypatch.delenv("SPECINFER_CONFIG", raising=False)
    report = run_night(tmp_path, spectra=30, restarts=3, rate=5.0, seed=3, fault=0.03, jobs=2)
    assert report["problems"] == []
    assert report["kills"] == 3
    assert report["counts"]["annotations at the portal"] > 10
    assert report["counts"]["classifications at the portal"] > 0
    assert report["latency"]["all"]["n"] > 10
    assert sum(report["portal"]["faults"].values()) > 0
