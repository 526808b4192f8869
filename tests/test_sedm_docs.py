"""What docs/sedm.md tells the pipeline's maintainer is so."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from night_files import write_pair

from specinfer.annotation import BANNED
from specinfer.content import KEYS
from specinfer.gates import STATES

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "sedm.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_key_state_and_word_is_documented() -> None:
    for name in KEYS:
        assert f"`{name}`" in PAGE
    documented = re.findall(r"^\| `([A-Z]+)` \| ", PAGE, re.MULTILINE)
    assert [name for name in documented if name in STATES] == list(STATES)
    for word in BANNED:
        assert word in PAGE


def test_the_sidecar_is_as_documented(tiny: Path, tmp_path: Path) -> None:
    from specinfer import Classifier
    from specinfer.pipeline import handle
    from specinfer.sidecar import sidecar_path

    path, _ = write_pair(tmp_path)
    handle(path, Classifier(device="cpu"))
    block = re.search(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert block is not None
    assert list(json.loads(block.group(1))) == list(json.loads(sidecar_path(path).read_text()))


def test_the_lines_for_the_pipeline(tiny: Path, tmp_path: Path) -> None:
    _, twin = write_pair(tmp_path)
    names: dict[str, Any] = {"specfl": str(twin), "overwrite": False, "summary": []}
    exec(BLOCKS[0], names)
    [line] = names["summary"]
    assert line.startswith(f"{twin} SPECINFER RESULTS: Type=")


def test_the_lines_for_an_older_python(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, twin = write_pair(tmp_path)
    names: dict[str, Any] = {}
    exec(BLOCKS[1], names)
    # No environment in /opt here: this one, which finds the checkout by its folder.
    names["SPECINFER"][:] = [sys.executable, "-m", "specinfer"]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    assert names["run_specinfer"](str(twin))
    assert "SPISTAT=" in names["record_specinfer"](str(twin))
    assert not names["run_specinfer"](str(tmp_path / "none.txt"))
