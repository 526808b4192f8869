"""When a file is complete: its size and time have not changed for a while."""

from __future__ import annotations

from collections.abc import Iterable

from specinfer.watch.folders import Found

# Times `settle`, for a file of a size that no complete file has: its writer only rests.
_UNFINISHED = 10.0


class Settling:
    """Files that are being written, and since when they look as they do.

    The clock is ours alone: that of a network share may differ from it.

    Parameters
    ----------
    settle : float
        Seconds without a change; ten times as many for a file that is empty or no whole
        number of FITS blocks, for it will hardly stay so.
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
            end = began + self.settle * (1.0 if found.whole else _UNFINISHED)
            if now >= end:
                complete.append(found)
            else:
                waits.append(end)
        self._since, self._next = since, min(waits, default=None)
        return complete

    def next_settled(self) -> float | None:
        """When the first of those that are not complete may be; None if there are none."""
        return self._next
