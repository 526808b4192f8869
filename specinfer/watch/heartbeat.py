"""The heartbeat: a small file that says every few seconds that the service lives.

Under systemd the same goes to its watchdog.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

FILE_NAME = "heartbeat.json"
SCHEMA = "specinfer.heartbeat/1"


def write(state: Path, facts: dict[str, Any]) -> None:
    """Replace the heartbeat file; a reader sees the old or the new one.

    Parameters
    ----------
    state : Path
        The state folder.
    facts : dict
        What to say, plain JSON values.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    text = json.dumps({"schema": SCHEMA, **facts}, allow_nan=False)
    handle, temporary = tempfile.mkstemp(prefix=".heartbeat_", suffix=".tmp", dir=state)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.chmod(temporary, 0o644)
        os.replace(temporary, state / FILE_NAME)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def read(state: Path) -> dict[str, Any] | None:
    """The last heartbeat; None if there was none yet or it cannot be read."""
    try:
        facts = json.loads((state / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def sweep(state: Path) -> None:
    """Remove what a service that was killed while it wrote left behind."""
    for path in state.glob(".heartbeat_*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


def tell_systemd(message: str) -> None:
    """Tell systemd ``READY=1``, ``WATCHDOG=1`` or ``STOPPING=1``; nothing where it is not there.

    The protocol is that of sd_notify(3): one datagram to the socket that it names.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(message.encode(), address)
