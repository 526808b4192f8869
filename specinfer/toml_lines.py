"""On which line of a TOML text each key stands; Python's own reader does not say."""

from __future__ import annotations

import re

# A key's place in the document: names of tables and keys, and positions in arrays.
KeyPath = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPE = re.compile(r'\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[btnfr"\\])')
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line of every table and key.

    Parameters
    ----------
    text : str
        A document that `tomllib.loads` accepts; of another the answer means nothing.

    Returns
    -------
    dict of tuple to int
        Lines count from 1. A table is where its header stands (or its first key, if it
        has no header); an element of an array has its position in the path.
    """
    return _Scanner(text).scan()


class _Scanner:
    """Walks through a valid document: only keys, quotes, brackets and comments matter."""

    def __init__(self, text: str) -> None:
        # As tomllib does, so that a carriage return is never part of a bare value.
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._lines: dict[KeyPath, int] = {}
        self._tables: dict[KeyPath, int] = {}  # of arrays of tables: how many there are

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while True:
            self._skip(" \t\n")
            if self._at >= len(self._text):
                return self._lines
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> KeyPath:
        line = self._line()
        several = self._text.startswith("[[", self._at)
        self._at += 2 if several else 1
        path = self._under_arrays(self._key())
        self._at += 2 if several else 1
        if several:
            position = self._tables.get(path, 0)
            self._tables[path] = position + 1
            self._note(path, line)
            path = (*path, position)
        self._note(path, line)
        return path

    def _under_arrays(self, names: list[str]) -> KeyPath:
        """The path of a header: a name that is an array of tables means its last one."""
        path: KeyPath = ()
        for position, name in enumerate(names):
            path = (*path, name)
            if position < len(names) - 1 and path in self._tables:
                path = (*path, self._tables[path] - 1)
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._line()
        path = table
        for name in self._key():
            path = (*path, name)
            self._note(path, line)
        self._at += 1  # the equals sign
        self._value(path)

    def _key(self) -> list[str]:
        """A dotted key, up to the sign or bracket that follows."""
        names = []
        while True:
            self._skip(" \t")
            if self._text[self._at] in "\"'":
                names.append(self._string())
            else:
                found = _BARE_KEY.match(self._text, self._at)
                if found is None:
                    raise ValueError(f"line {self._line()} holds no key")
                names.append(found.group())
                self._at = found.end()
            self._skip(" \t")
            if self._text[self._at] != ".":
                return names
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        self._skip(" \t")
        sign = self._text[self._at]
        if sign in "\"'":
            self._string()
        elif sign == "[":
            self._array(path)
        elif sign == "{":
            self._inline_table(path)
        else:
            while self._at < len(self._text) and self._text[self._at] not in ",]}#\n":
                self._at += 1

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        position = 0
        while True:
            self._skip(" \t\n,")
            if self._text[self._at] == "]":
                self._at += 1
                return
            element = (*path, position)
            self._note(element, self._line())
            self._value(element)
            position += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while True:
            self._skip(" \t\n,")
            if self._text[self._at] == "}":
                self._at += 1
                return
            self._pair(path)

    def _string(self) -> str:
        quote = self._text[self._at]
        triple = self._text.startswith(quote * 3, self._at)
        fence = quote * 3 if triple else quote
        start = self._at = self._at + len(fence)
        while not self._text.startswith(fence, self._at):
            self._at += 2 if quote == '"' and self._text[self._at] == "\\" else 1
        end = self._at
        self._at += len(fence)
        # A string of several lines may end in one or two quotes of its own.
        while triple and self._text.startswith(quote, self._at):
            self._at += 1
        inside = self._text[start:end]
        return _ESCAPE.sub(_unescape, inside) if quote == '"' else inside

    def _skip(self, white: str) -> None:
        """Past white space and comments."""
        while self._at < len(self._text):
            sign = self._text[self._at]
            if sign == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif sign in white:
                self._at += 1
            else:
                return

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def _note(self, path: KeyPath, line: int) -> None:
        self._lines.setdefault(path, line)


def _unescape(found: re.Match[str]) -> str:
    code = found.group(1)
    return chr(int(code[1:], 16)) if code[0] in "uU" else _ESCAPED[code]
