"""Being woken by the file system, where it can and watchfiles is installed.

It only shortens the wait for the next look at the directory: network shares give no such
notice, so the looks at regular times stay.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Milliseconds: notices that come within this time are one.
_DEBOUNCE, _STEP = 50, 20


class Notices:
    """Calls a function when something changes in the followed folders.

    Parameters
    ----------
    wake : callable
        Called in another thread.

    Attributes
    ----------
    why_not : str or None
        Why there are no notices.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._folders: tuple[Path, ...] = ()
        self._stop = threading.Event()
        self.why_not: str | None = None

    def follow(self, folders: Sequence[Path]) -> None:
        """From now on, notices of these folders (not of those below them)."""
        if tuple(folders) == self._folders or self.why_not is not None:
            return
        self.stop()
        self._folders, self._stop = tuple(folders), threading.Event()
        try:
            import watchfiles
        except ImportError:
            self.why_not = "watchfiles is not installed: pip install 'specinfer[watch]'"
            return
        threading.Thread(
            target=self._listen,
            args=(watchfiles.watch, self._folders, self._stop),
            name="specinfer-notices",
            daemon=True,
        ).start()

    @property
    def state(self) -> str:
        """``on``, ``off``, or why there are none."""
        return self.why_not or ("on" if self._folders else "off")

    def stop(self) -> None:
        """No more calls."""
        self._stop.set()

    def _listen(self, watch: Any, folders: Sequence[Path], stop: threading.Event) -> None:
        try:
            changes = watch(
                *(folder.absolute() for folder in folders),
                watch_filter=_of_interest,
                debounce=_DEBOUNCE,
                step=_STEP,
                stop_event=stop,
                rust_timeout=1000,
                recursive=False,
                raise_interrupt=False,
            )
            for _ in changes:
                self._wake()
        except Exception as error:  # no more watches, a folder that vanished: looks go on
            self.why_not = f"{type(error).__name__}: {error}"


def _of_interest(_: Any, path: str) -> bool:
    """Whether a change is not one of our own."""
    return not os.path.basename(path).startswith((".", "specinfer_"))
