"""What the values of the configuration may be, and the words that say so."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Hosts to which a token may travel without encryption: they are this machine.
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

_HOST = re.compile(r"(?!-)[A-Za-z0-9.:_-]{1,253}")


@dataclass(frozen=True)
class Kind:
    """What a value may be.

    Parameters
    ----------
    words : str
        What it must be, as it follows "must be".
    parse : callable
        Takes the value as TOML gives it and the folder of the configuration file;
        raises `ValueError` (with nothing, or with a reason) for what does not fit.
    """

    words: str
    parse: Callable[[Any, Path], Any]


def option(kind: Kind, about: str) -> dict[str, Any]:
    """The metadata of a field that is a key of the configuration."""
    return {"kind": kind, "about": about}


def number(least: float, most: float = math.inf) -> Kind:
    """A number between two limits (both allowed)."""

    def parse(value: Any, _: Path) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError
        if not least <= value <= most or math.isinf(value):
            raise ValueError
        return float(value)

    return Kind(f"a number{_between(least, most)}", parse)


def whole(least: int, most: int | None = None) -> Kind:
    """A whole number between two limits (both allowed)."""

    def parse(value: Any, _: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError
        if value < least or (most is not None and value > most):
            raise ValueError
        return value

    return Kind(f"a whole number{_between(least, math.inf if most is None else most)}", parse)


def _between(least: float, most: float) -> str:
    return f" of at least {least:g}" if math.isinf(most) else f" from {least:g} to {most:g}"


def _yes_or_no(value: Any, _: Path) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _text(value: Any, _: Path) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError
    return value.strip()


def choice(*names: str) -> Kind:
    """One of a few words."""

    def parse(value: Any, _: Path) -> str:
        if value not in names or not isinstance(value, str):
            raise ValueError
        return value

    return Kind("one of " + ", ".join(f'"{name}"' for name in names), parse)


def listing(kind: Kind, several: str) -> Kind:
    """A list of values of one kind, as a tuple."""

    def parse(value: Any, folder: Path) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError
        return tuple(kind.parse(item, folder) for item in value)

    return Kind(f"a list of {several}", parse)


def table(kind: Kind, several: str) -> Kind:
    """A table of any keys with values of one kind."""

    def parse(value: Any, folder: Path) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError
        return {name: kind.parse(item, folder) for name, item in value.items()}

    return Kind(f"a table of {several}", parse)


def _path(value: Any, folder: Path) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    # Beside the file that names it, wherever the command is started.
    try:
        return folder / Path(value).expanduser()
    except RuntimeError:
        raise ValueError("this user has no home folder") from None


def _pattern(value: Any, _: Path) -> str:
    if not isinstance(value, str) or not value or "/" in value or "\0" in value:
        raise ValueError
    return value


def _host(value: Any, _: Path) -> str:
    if not isinstance(value, str) or not _HOST.fullmatch(value):
        raise ValueError
    return value


def check_url(url: str) -> str:
    """The base URL of a portal, without a slash at its end.

    Parameters
    ----------
    url : str

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If a token must not be sent there: not https (except to this machine), or with a
        user name, a query or a fragment. The text says which.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("it cannot be read as a URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError('it must be like "https://fritz.science"')
    if not url.isprintable() or any(sign.isspace() for sign in url):
        raise ValueError("it holds white space or unprintable characters")
    if parts.scheme == "http" and host not in LOCAL_HOSTS:
        raise ValueError("the token would travel unencrypted; use https")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it must not hold a user name or password")
    if parts.query or parts.fragment:
        raise ValueError("it must end with the host, its port or a path")
    return url.rstrip("/")


def _url(value: Any, _: Path) -> str:
    if not isinstance(value, str):
        raise ValueError
    return check_url(value)


FLAG = Kind("true or false", _yes_or_no)
TEXT = Kind("a text that is not empty", _text)
WORDS = Kind("a text", lambda value, _: _words(value))
PATH = Kind("a path, as a text", _path)
PATTERN = Kind('a pattern of file names such as "spec_*.fits", without folders', _pattern)
HOST = Kind("a host name or address", _host)
URL = Kind("the URL of the portal, with https", _url)


def _words(value: Any) -> str:
    """A text that may be empty."""
    if not isinstance(value, str) or not (value.isprintable() or value == ""):
        raise ValueError
    return value.strip()
