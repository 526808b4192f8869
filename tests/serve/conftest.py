"""One service with the tiny model for all tests that change nothing about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Served, serving

from specinfer.models import MODEL_DIR_VARIABLE


@pytest.fixture(scope="module")
def served(tiny_root: Path) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MODEL_DIR_VARIABLE, str(tiny_root))
        with serving() as running:
            yield running
