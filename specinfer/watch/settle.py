"""When a file is complete: its size and time have not changed for a while."""

from __future__ import annotations

from collections.abc import Iterable

from specinfer.watch.folders import Found


class Settling:
    """Files that are being written, and since when they look as they do.

    The clock is ours alone: that of a network share may differ from it.

    Parameters
    ----------
    settle : float
        Seconds without a change.
    """

    def __init__(self, settle: float) -> None:
        self.settle = settle
        self._since: dict[str, tuple[str, float]] = {}
        self._next: float | None = None

    def settled(self, files: Iterable[Found], now: float) -> list[Found]:
        """Those of the files that are complete; the others are remembered.

        Parameters
        ----------
        files : iterable of Found
            All files that are to be read; who is not among them is forgotten.
        now : float
            Seconds, of a clock that only goes forward.
        """
        since: dict[str, tuple[str, float]] = {}
        complete = []
        waits = []
        for found in files:
            signature, began = self._since.get(found.file, ("", now))
            if signature != found.signature:
                signature, began = found.signature, now
            since[found.file] = (signature, began)
            if now - began >= self.settle:
                complete.append(found)
            else:
                waits.append(began + self.settle)
        self._since, self._next = since, min(waits, default=None)
        return complete

    def next_settled(self) -> float | None:
        """When the first of those that are not complete may be; None if there are none."""
        return self._next
