"""`WatchOptions`: how a directory is watched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from specinfer.errors import UsageError

# Hidden, and no name that a step of the SEDM pipeline picks up.
STATE_FOLDER = ".specinfer"


@dataclass(frozen=True)
class WatchOptions:
    """How a directory is watched.

    Parameters
    ----------
    directory : Path
        What is watched: its own files and those of its newest night (``YYYYMMDD``).
    state : Path, optional
        Folder of journal, lock and heartbeat; by default ``.specinfer`` in `directory`.
    pattern : str
        Names of the spectra, as a shell pattern.
    interval : float
        Seconds between two looks at the directory.
    settle : float
        Seconds for which size and time of a file must not change before it is read.
    attempts : int
        How often a file is tried before it is set aside.
    retry_first, retry_most : float
        Seconds before the second try, doubled for every further one; the longest pause.
    jobs : int
        Spectra that are worked on at a time.
    timeout : float
        Seconds after which work on a file is given up from without; `specinfer.pipeline`
        gives up earlier where it can.
    heartbeat : float
        Seconds between two heartbeats.
    notify : bool
        Whether to be woken by the file system where it can (extra ``watch``).
    once : bool
        Answer what is there and stop.

    Raises
    ------
    UsageError
        ``bad_option`` if a number makes no sense, ``no_directory`` if there is none.
    """

    directory: Path
    state: Path | None = None
    pattern: str = "spec_*.fits"
    interval: float = 0.2
    settle: float = 0.2
    attempts: int = 5
    retry_first: float = 2.0
    retry_most: float = 300.0
    jobs: int = 1
    timeout: float = 120.0
    heartbeat: float = 5.0
    notify: bool = True
    once: bool = False

    def __post_init__(self) -> None:
        for name in ("interval", "timeout", "heartbeat", "retry_first", "retry_most"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(
                    "bad_option", f"{name} must be seconds above 0, not {getattr(self, name)}"
                )
        if not 0 <= self.settle < math.inf:
            raise UsageError("bad_option", f"settle must be 0 seconds or more, not {self.settle}")
        for name in ("attempts", "jobs"):
            if getattr(self, name) < 1:
                raise UsageError(
                    "bad_option", f"{name} must be at least 1, not {getattr(self, name)}"
                )
        if not self.pattern or "/" in self.pattern:
            raise UsageError(
                "bad_option",
                f"the pattern {self.pattern!r} must be one of file names, such as 'spec_*.fits'",
            )
        if not self.directory.is_dir():
            raise UsageError(
                "no_directory", f"{self.directory} is not a directory that can be watched"
            )

    @property
    def state_folder(self) -> Path:
        """Where journal, lock and heartbeat are."""
        return self.state or self.directory / STATE_FOLDER
