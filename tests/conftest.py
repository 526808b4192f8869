"""Shared fixtures: where the public data lies, and what needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True, scope="session")
def _own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests, and the processes that they start, leave the user's caches alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPECINFER_CACHE_DIR", str(tmp_path_factory.mktemp("caches")))
        yield


def _shared_data() -> Path:
    """`SPECINFER_SHARED_DATA`, or `shared/data` beside the checkout."""
    return Path(os.environ.get("SPECINFER_SHARED_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data; the test skips where it is absent."""
    path = _shared_data()
    if not path.is_dir():
        pytest.skip(f"the public data are not here ({path}); set SPECINFER_SHARED_DATA")
    return path


@pytest.fixture(scope="session")
def samples(shared_data: Path) -> Path:
    """Original files of every format, for the readers."""
    return shared_data / "samples"


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tiny model, ``spectranet``; do not change it."""
    from tiny_model import write_model

    root = tmp_path_factory.mktemp("models")
    write_model(root)
    return root


@pytest.fixture
def tiny(tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model is the one that specinfer finds, here and in child processes."""
    monkeypatch.setenv("SPECINFER_MODEL_DIR", str(tiny_root))
    return tiny_root
