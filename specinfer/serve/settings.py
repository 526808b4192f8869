"""`Settings` of the service, checked once, and where its token comes from."""

from __future__ import annotations

import ipaddress
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from specinfer.errors import UsageError

TOKEN_VARIABLE = "SPECINFER_SERVE_TOKEN"
MIN_TOKEN = 16
# A larger body than this is no spectrum, and would be held in memory many times over.
LARGEST_BODY = 256 * 2**20


@dataclass(frozen=True)
class Settings:
    """How the service runs.

    Parameters
    ----------
    host : str
        Address that it listens on.
    port : int
        0 takes a free one.
    token : str or None
        What clients must send as ``Authorization: Bearer ...``; None asks for nothing.
    model, device : str
        As `specinfer.Classifier`.
    threads : int or None
        Threads of the network; by default one, since the workers run side by side.
    workers : int
        Threads that read and classify.
    queue : int
        Requests that may wait for a worker; more are answered with 429.
    batch : int
        Requests that a worker takes from the queue at a time.
    max_body : int
        Bytes of a request at most; also what compressed data may not unpack beyond, fourfold.
    timeout : float
        Seconds that a request may take to arrive, and again to be answered.
    grace : float
        Seconds that SIGTERM leaves to the requests and callbacks in hand.
    callback_hosts : tuple of str
        Where analyses may be sent: ``host`` (at its usual ports) or ``host:port``.
    callback_timeout : float
        Seconds to wait for the answer to one try.
    callback_attempts : int
        Tries to deliver one analysis.

    Raises
    ------
    UsageError
        If a value makes no sense (code ``bad_option``).
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = field(default=None, repr=False)
    model: str = "auto"
    device: str = "auto"
    threads: int | None = None
    workers: int = 1
    queue: int = 64
    batch: int = 8
    max_body: int = 8 * 2**20
    timeout: float = 30.0
    grace: float = 60.0
    callback_hosts: tuple[str, ...] = ()
    callback_timeout: float = 30.0
    callback_attempts: int = 5

    def __post_init__(self) -> None:
        checks = (
            ("host", bool(self.host.strip()), "an address or a name"),
            ("port", 0 <= self.port <= 65535, "a number from 0 to 65535"),
            ("workers", 1 <= self.workers <= 64, "a number from 1 to 64"),
            ("queue", 1 <= self.queue <= 10_000, "a number from 1 to 10000"),
            ("batch", 1 <= self.batch <= 64, "a number from 1 to 64"),
            ("max-body", 1024 <= self.max_body <= LARGEST_BODY, "1 kiB to 256 MiB, in bytes"),
            ("timeout", 0.0 < self.timeout <= 3600.0, "seconds, at most 3600"),
            ("callback-timeout", 0.0 < self.callback_timeout <= 3600.0, "seconds, at most 3600"),
            ("callback-attempts", 1 <= self.callback_attempts <= 100, "a number from 1 to 100"),
            ("grace", 0.0 <= self.grace <= 3600.0, "seconds, at most 3600"),
        )
        for name, fine, wanted in checks:
            if not fine:
                value = getattr(self, name.replace("-", "_"))
                raise UsageError("bad_option", f"{name} {value!r} of the service: give {wanted}")
        if self.token is not None:
            _check_token(self.token, "the token")

    @property
    def max_unpacked(self) -> int:
        """Bytes that compressed data may unpack to."""
        return 4 * self.max_body

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


def find_token(path: Path | None) -> str | None:
    """The bearer token: from a file that nobody else can read, else from the environment.

    Parameters
    ----------
    path : Path or None
        The file of mode 600 whose first line is the token.

    Returns
    -------
    str or None
        None if there is neither a file nor ``SPECINFER_SERVE_TOKEN``.

    Raises
    ------
    UsageError
        ``bad_token_file`` or ``bad_token``; the message never holds the token.
    """
    if path is None:
        token = os.environ.get(TOKEN_VARIABLE)
        if token is None:
            return None
        return _check_token(token.strip(), TOKEN_VARIABLE)
    try:
        with path.open(encoding="utf-8") as handle:
            # Of the opened file: the path could lead to another one by now.
            mode = stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise UsageError(
                    "bad_token_file",
                    f"{path} can be read by others (mode {mode:03o}): chmod 600 {path}",
                )
            token = handle.readline().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(
            "bad_token_file", f"the token file {path} cannot be read: {reason}"
        ) from None
    return _check_token(token, str(path))


def _check_token(token: str, where: str) -> str:
    usable = token.isascii() and token.isprintable() and " " not in token
    if len(token) < MIN_TOKEN or not usable:
        raise UsageError(
            "bad_token",
            f"{where} must hold at least {MIN_TOKEN} ASCII characters without spaces, such as "
            "those of `python -c 'import secrets; print(secrets.token_urlsafe(32))'`",
        )
    return token
