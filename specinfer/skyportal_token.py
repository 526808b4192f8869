"""The token of a portal: from where it is read, and that nothing ever shows it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from specinfer.errors import UsageError

__all__ = ["ENVIRONMENT", "Token", "read_token", "read_token_file"]

ENVIRONMENT = "SPECINFER_SKYPORTAL_TOKEN"

# A token is one line; nobody's key ring is read into memory by a mistyped path.
_MAX_BYTES = 4096
_HIDDEN = "***"


class Token:
    """A secret that prints as ``***``.

    Parameters
    ----------
    value : str
        One word of printable ASCII.
    where : str
        Where it was found, for messages.

    Raises
    ------
    UsageError
        ``bad_token``: it cannot be a token. The message does not hold it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str, where: str) -> None:
        # Anything else would be an illegal header, and libraries quote those in errors.
        if not value or not value.isascii() or not value.isprintable() or " " in value:
            raise UsageError(
                "bad_token",
                f"what {where} holds is no token; it must be one word of printable characters",
            )
        self._value = value

    def header(self) -> dict[str, str]:
        """The header that a request carries."""
        return {"Authorization": f"token {self._value}"}

    def scrub(self, text: str) -> str:
        """A text from elsewhere, without the token."""
        return text.replace(self._value, _HIDDEN)

    def __repr__(self) -> str:
        return f"Token({_HIDDEN})"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a token is not written anywhere")


def read_token(token_file: Path | None) -> Token:
    """The token, from the environment or from a file that only its owner can read.

    Parameters
    ----------
    token_file : Path or None
        Read where the environment variable ``SPECINFER_SKYPORTAL_TOKEN`` is not set.

    Returns
    -------
    Token

    Raises
    ------
    UsageError
        ``no_token``: there is none; ``bad_token``: the file cannot be read, others may
        read it, or it holds no token.
    """
    value = os.environ.get(ENVIRONMENT, "").strip()
    if value:
        return Token(value, ENVIRONMENT)
    if token_file is None:
        raise UsageError(
            "no_token",
            f"there is no token for the portal; set {ENVIRONMENT}, or token_file under "
            "[skyportal] to a file with mode 600",
        )
    return read_token_file(token_file)


def read_token_file(path: Path) -> Token:
    """The token in a file that only its owner can read.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Token

    Raises
    ------
    UsageError
        As `read_token`.
    """
    return Token(_content(path), str(path))


def _content(path: Path) -> str:
    try:
        # The file that was checked is the one that is read, whatever is renamed meanwhile;
        # a named pipe must not block.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise UsageError(
            "no_token", f"there is no token file {path}; make it, with mode 600"
        ) from None
    except OSError as error:
        raise UsageError(
            "bad_token", f"the token file {path} cannot be read ({error.strerror})"
        ) from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError("bad_token", f"the token file {path} is not a file; give one")
        if os.name == "posix" and status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise UsageError(
                "bad_token",
                f"others can read the token file {path} (mode {mode:o}); run: chmod 600 {path}",
            )
        content = os.read(handle, _MAX_BYTES)
    finally:
        os.close(handle)
    return content.decode("ascii", "replace").strip()
