"""Log lines on standard error, as text or as JSON."""

from __future__ import annotations

import datetime
import json
import math
import threading
from typing import Any

from specinfer.cli_report import say
from specinfer.errors import UsageError

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")


class Log:
    """Writes one line an event; may be used by many threads.

    Parameters
    ----------
    format : {"text", "json"}
    level : {"debug", "info", "warning", "error"}
        The least important one that is written.

    Raises
    ------
    UsageError
        If there is no such format.
    """

    def __init__(self, format: str = "text", level: str = "info") -> None:
        if format not in FORMATS:
            raise UsageError("bad_option", f"--log-format {format}: it is text or json")
        self.format = format
        self._least = LEVELS.index(level)
        self._lock = threading.Lock()

    def debug(self, event: str, message: str, **facts: Any) -> None:
        """What is only of interest when something is being looked for."""
        self._write("debug", event, message, facts)

    def info(self, event: str, message: str, **facts: Any) -> None:
        """What went as it should."""
        self._write("info", event, message, facts)

    def warning(self, event: str, message: str, **facts: Any) -> None:
        """What somebody should look at."""
        self._write("warning", event, message, facts)

    def error(self, event: str, message: str, **facts: Any) -> None:
        """What failed."""
        self._write("error", event, message, facts)

    def _write(self, level: str, event: str, message: str, facts: dict[str, Any]) -> None:
        if LEVELS.index(level) < self._least:
            return
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        message = " ".join(message.split())
        if self.format == "json":
            entry = {"time": now, "level": level, "event": event, "message": message}
            line = json.dumps(entry | {key: _plain(value) for key, value in facts.items()})
        else:
            line = f"{now} {level.upper():7} {message}"
        with self._lock:
            say(line)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
