"""The line of a key is the line where a reader of the file sees it."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from specinfer.toml_lines import KeyPath, key_lines

DOCUMENT = '''\
# A comment with "quotes', brackets [ and an = sign.
model = "auto # not a comment"   # a comment
"quoted key" = 'C:\\dir\\'
'literal.key' = 1
a.b."c d" = 2020-01-01T00:00:00Z

text = """
[not.a.table]
fake = 1 \\"""
still = "inside" """
raw = \'\'\'
[nor.this]
it's \'\'\'\'\'
list = [  # opens
  1, [2, 3], # ] not the end
  "]",
  { x = 1, y = { z = [
    4 ] } },
]

[table.sub]  # header
key=1
"k\\u00e9y" = { inner.deep = 1 }
[[many]]
first = 1
[[many]]

first = 2
[many.child]
of = "the second"
[[many.more]]
n = 1
[[many.more]]
n = 2
[ spaced . out ]
end = true'''


def paths_of(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    """Every key and element of what tomllib read."""
    found = {path} if path else set()
    if isinstance(value, dict):
        for name, item in value.items():
            found |= paths_of(item, (*path, name))
    if isinstance(value, list):
        for position, item in enumerate(value):
            found |= paths_of(item, (*path, position))
    return found


def test_every_key_of_the_document_has_a_line() -> None:
    lines = key_lines(DOCUMENT)
    expected = paths_of(tomllib.loads(DOCUMENT))
    # A table that only a header below it makes has no line of its own.
    without = {("table",), ("spaced",)}
    assert set(lines) == expected - without


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("model",), 2),
        (("quoted key",), 3),
        (("literal.key",), 4),
        (("a", "b", "c d"), 5),
        (("text",), 7),
        (("raw",), 11),
        (("list",), 14),
        (("list", 1, 0), 15),
        (("list", 2), 16),
        (("list", 3, "y", "z", 0), 18),
        (("table", "sub"), 21),
        (("table", "sub", "key"), 22),
        (("table", "sub", "kéy", "inner", "deep"), 23),
        (("many", 0, "first"), 25),
        (("many", 1), 26),
        (("many", 1, "first"), 28),
        (("many", 1, "child", "of"), 30),
        (("many", 1, "more", 0, "n"), 32),
        (("many", 1, "more", 1, "n"), 34),
        (("spaced", "out", "end"), 36),
    ],
)
def test_lines_are_those_of_the_text(path: KeyPath, line: int) -> None:
    assert key_lines(DOCUMENT)[path] == line
    assert key_lines(DOCUMENT.replace("\n", "\r\n"))[path] == line


def test_empty_documents_have_no_keys() -> None:
    assert key_lines("") == key_lines("\n# only a comment") == {}
