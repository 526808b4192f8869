"""How long the parts of a call take, by a clock around functions of the runtime.

The functions are replaced while the clock is on and put back afterwards. Two readings of the
time a call are all that is added: below a microsecond.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from types import TracebackType
from typing import Any
from unittest.mock import patch

# Stage, and where its function is looked up: module, then attributes.
POINTS = (
    ("preprocess", "specinfer.networks.spectranet", ("prepare_many",)),
    ("preprocess", "specinfer.networks.gasnet2", ("prepare_many",)),
    ("infer", "specinfer.engine", ("Session", "run")),
    ("scan", "specinfer.networks.gasnet3", ("GasNet3", "search")),
)


class StageClock:
    """Adds up the seconds of every stage while it is entered; for one thread.

    Attributes
    ----------
    missing : list of str
        Functions that this version of specinfer does not have under that name: their time
        counts to no stage.
    """

    def __init__(self) -> None:
        self.missing: list[str] = []
        self._spent: dict[str, float] = {}
        self._deep = 0
        self._stack = ExitStack()

    def __enter__(self) -> StageClock:
        for stage, module, names in POINTS:
            owner: Any = importlib.import_module(module)
            for name in names[:-1]:
                owner = getattr(owner, name, None)
            work = getattr(owner, names[-1], None)
            if work is None:
                self.missing.append(".".join((module, *names)))
                continue
            self._stack.enter_context(patch.object(owner, names[-1], self._timed(stage, work)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def take(self) -> dict[str, float]:
        """Seconds of every stage since the last time."""
        spent, self._spent = self._spent, {}
        return spent

    def _timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(work)
        def timed(*arguments: Any, **options: Any) -> Any:
            # What a stage calls of another is part of it: nothing counts twice.
            self._deep += 1
            began = time.perf_counter()
            try:
                return work(*arguments, **options)
            finally:
                self._deep -= 1
                if not self._deep:
                    taken = time.perf_counter() - began
                    self._spent[stage] = self._spent.get(stage, 0.0) + taken

        return timed
