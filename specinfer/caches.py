"""The user's cache folder: optimised networks for the CPU, engines of TensorRT.

What is kept here only saves time. A folder that cannot be used, a damaged file and a full
disk cost that time again, and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

CACHE_VARIABLE = "SPECINFER_CACHE_DIR"
OFF = "off"
NETWORKS, ENGINES = "networks", "tensorrt"

# The oldest go first; a network's graph has some 10 MB.
_MOST = {NETWORKS: 16, ENGINES: 16}
# What tells which instructions a processor has; its clock and core numbers vary.
_CPU_LINES = re.compile(
    r"^(?:vendor_id|cpu family|model|model name|flags|Features|CPU implementer|CPU part)\s*:.*$",
    re.MULTILINE,
)
_CPU_FILE = "/proc/cpuinfo"


@dataclass(frozen=True)
class Usage:
    """What one kind of cache holds.

    Parameters
    ----------
    kind : str
        "networks" or "tensorrt".
    folder : Path or None
        None if nothing is kept.
    files, bytes : int
    """

    kind: str
    folder: Path | None
    files: int
    bytes: int


def root() -> Path | None:
    """The folder of all caches, which need not exist; None if none are wanted.

    ``SPECINFER_CACHE_DIR`` ("off" for none), else ``specinfer`` in ``XDG_CACHE_HOME``,
    else in ``~/.cache``.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return None if chosen == OFF else Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "specinfer"
    except RuntimeError:  # a user without a home
        return None


def folder(kind: str) -> Path | None:
    """The folder of one kind, made if need be; None if it cannot be used.

    A folder that others may write to is not used: a network from it could give any answer.
    """
    top = root()
    if top is None:
        return None
    try:
        for path in (top, top / kind):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_ours(path):
                return None
    except OSError:
        return None
    return top / kind


def network_key(sha256: str, runtime: str) -> str | None:
    """What an optimised network depends on, as 24 hexadecimal digits.

    Parameters
    ----------
    sha256 : str
        Of the network before.
    runtime : str
        Version and build of onnxruntime.

    Returns
    -------
    str or None
        None where the processor's instructions cannot be told: weights are laid out for
        them, and another processor would read them wrongly.
    """
    processor = _processor()
    return None if processor is None else _digest(sha256, runtime, processor)


def find_network(key: str) -> bytes | None:
    """An optimised network that was kept and is undamaged; None without one."""
    place = folder(NETWORKS)
    if place is None:
        return None
    with contextlib.suppress(OSError):
        for path in place.glob(f"{key}-*.onnx"):
            content = path.read_bytes()
            if path.name == _network_name(key, content):
                return content
    return None


def begin_network(key: str) -> Path | None:
    """A new file to write an optimised network to; None if none can be kept."""
    place = folder(NETWORKS)
    if place is None:
        return None
    # Only who has something to keep pays for these.
    import tempfile

    from specinfer.replacing import sweep

    try:
        sweep(place)
        handle, path = tempfile.mkstemp(".tmp", f".specinfer_{key}_", place)
        os.close(handle)
    except OSError:
        return None
    return Path(path)


def finish_network(key: str, written: Path) -> None:
    """Keep what was written under its key, in one step; the oldest networks make room."""
    with contextlib.suppress(OSError):
        content = written.read_bytes()
        if content:
            # Others of the key are damaged, or would have been found.
            forget_network(key)
            os.replace(written, written.with_name(_network_name(key, content)))
            _make_room(written.parent, _MOST[NETWORKS])
    written.unlink(missing_ok=True)


def forget_network(key: str) -> None:
    """Remove the optimised networks of a key."""
    place = folder(NETWORKS)
    if place is not None:
        for path in place.glob(f"{key}-*.onnx"):
            with contextlib.suppress(OSError):
                path.unlink()


def engine_folder(*parts: str) -> Path | None:
    """Folder of the TensorRT engines that belong to `parts`; None if none can be kept.

    Parameters
    ----------
    *parts : str
        All that an engine depends on: network, GPU, versions, shapes.
    """
    place = folder(ENGINES)
    if place is None:
        return None
    path = place / _digest(*parts)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        # Told by the oldest: what is in use is not old.
        os.utime(path)
        _make_room(place, _MOST[ENGINES])
    except OSError:
        return None
    return path if os.access(path, os.W_OK) else None


def empty(path: Path) -> bool:
    """Remove the files of a folder; whether there were any."""
    found = False
    with contextlib.suppress(OSError):
        for entry in list(path.iterdir()):
            found = True
            entry.unlink()
    return found


def usage() -> list[Usage]:
    """What the caches hold; nothing is made."""
    top = root()
    made = []
    for kind in (NETWORKS, ENGINES):
        files = size = 0
        if top is not None:
            with contextlib.suppress(OSError):
                for path in (top / kind).rglob("*"):
                    if path.is_file():
                        files += 1
                        size += path.stat().st_size
        made.append(Usage(kind, None if top is None else top / kind, files, size))
    return made


def _network_name(key: str, content: bytes) -> str:
    """The name says what the file must hold: one file, replaced in one step, is its own proof.

    The sum is there to find damage, in 3 ms where a sha256 takes 8; it proves no author. Who
    may write here is looked at by `folder`.
    """
    return f"{key}-{len(content)}-{zlib.crc32(content):08x}.onnx"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


@lru_cache(maxsize=1)
def _processor() -> str | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        with open(_CPU_FILE, "rb", buffering=0) as stream:
            # The first processor; the kernel asks each of the others for its clock.
            text = stream.read(8192).decode(errors="replace")
    except OSError:
        return None
    lines = _CPU_LINES.findall(text.partition("\n\n")[0])
    known = any(line.startswith(("flags", "Features")) for line in lines)
    return "\n".join(lines) if known else None


def _is_ours(path: Path) -> bool:
    """Whether a folder is the user's, and nobody else may write to it."""
    if not hasattr(os, "geteuid"):
        return True
    status = path.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _make_room(place: Path, most: int) -> None:
    """Remove the oldest entries of a folder until `most` are left."""
    entries = [path for path in place.iterdir() if not path.name.startswith(".")]
    entries.sort(key=lambda path: path.stat().st_mtime)
    for path in entries[: max(0, len(entries) - most)]:
        if path.is_dir():
            empty(path)
            path.rmdir()
        else:
            path.unlink()
