"""Values that Python wrote as text, read without ever running them.

SkyPortal sends tables as CSV whose cells are the text of Python lists and dictionaries:
``[3776.7, nan, 3802.3]``, ``{'INSTRUME': 'SEDM-P60', 'EXPTIME': 1200}``. They come over
the network, so nothing of them is evaluated; JSON is understood, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

_NUMPY = re.compile(r"np\.(?:float|int)\d+\(([^()]*)\)")
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<mark>[\[\](){},:])
    | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<word>[+-]?[A-Za-z]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_WORDS: dict[str, Any] = {
    "none": None,
    "null": None,
    "true": True,
    "false": False,
    "nan": math.nan,
    "inf": math.inf,
    "+inf": math.inf,
    "-inf": -math.inf,
    "infinity": math.inf,
    "-infinity": -math.inf,
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\n": ""}
_ENDS = {"[": "]", "(": ")", "{": "}"}
_DEEPEST = 20


def numbers(text: str) -> list[float]:
    """The numbers of a list as Python, numpy or JSON write it.

    Parameters
    ----------
    text : str
        ``[1.0, nan, None]``, ``[1. 2.]``, ``[np.float64(1.0)]``.

    Returns
    -------
    list of float
        NaN for what has no value.

    Raises
    ------
    ValueError
        With a reason for people.
    """
    inside = text.strip()
    inside = re.sub(r"^array\((.*?)(?:,\s*dtype=\w+)?\)$", r"\1", inside, flags=re.DOTALL)
    if not (inside.startswith("[") and inside.endswith("]")):
        raise ValueError(f"expected a list of numbers, found {text[:30]!r}")
    inside = _NUMPY.sub(r"\1", inside[1:-1])
    if "..." in inside:
        raise ValueError("the list was shortened with '...'")
    return [_number(word) for word in inside.replace(",", " ").split()]


def value(text: str) -> Any:
    """One value: a number, a text, a word, or a list, tuple or dictionary of them.

    Parameters
    ----------
    text : str

    Returns
    -------
    float, str, bool, None, list or dict

    Raises
    ------
    ValueError
        If it is none, or is nested more than 20 deep.
    """
    tokens = _tokens(text)
    found = _value(next(tokens), tokens, 0)
    if next(tokens)[0] != "end":
        raise ValueError("there is something after the value")
    return found


def _number(word: str) -> float:
    if word in ("None", "null"):
        return math.nan
    try:
        # Underscores are fine for Python and mean nothing here.
        return float(word.replace("_", "?"))
    except ValueError:
        raise ValueError(f"{word[:30]!r} is not a number") from None


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    place = 0
    end = len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"cannot read {text[place : place + 20]!r}")
        place = match.end()
        kind = match.lastgroup or ""
        yield kind, match.group(kind)
    while True:
        yield "end", ""


def _value(token: tuple[str, str], tokens: Iterator[tuple[str, str]], depth: int) -> Any:
    kind, text = token
    if kind == "number":
        return float(text)
    if kind == "text":
        return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text[1:-1], flags=re.DOTALL)
    if kind == "word" and text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if kind == "mark" and text in _ENDS:
        if depth == _DEEPEST:
            raise ValueError("it is nested too deeply")
        read = _dictionary if text == "{" else _list
        return read(tokens, _ENDS[text], depth + 1)
    raise ValueError(f"cannot read {text[:20]!r}" if text else "it ends too early")


def _list(tokens: Iterator[tuple[str, str]], end: str, depth: int) -> list[Any]:
    found: list[Any] = []
    while (token := next(tokens)) != ("mark", end):
        found.append(_value(token, tokens, depth))
        if (token := next(tokens)) == ("mark", end):
            break
        _expect(token, ",")
    return found


def _dictionary(tokens: Iterator[tuple[str, str]], end: str, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while (token := next(tokens)) != ("mark", end):
        key = _value(token, tokens, depth)
        _expect(next(tokens), ":")
        found[str(key)] = _value(next(tokens), tokens, depth)
        if (token := next(tokens)) == ("mark", end):
            break
        _expect(token, ",")
    return found


def _expect(token: tuple[str, str], mark: str) -> None:
    if token != ("mark", mark):
        raise ValueError(f"expected {mark!r}, found {token[1][:20]!r}")
