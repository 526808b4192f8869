"""The documents name everything that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from specinfer import zwarn
from specinfer.readers import FORMATS, flags

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture(scope="module")
def formats() -> str:
    return (DOCS / "formats.md").read_text()


def test_every_format_is_documented(formats: str) -> None:
    table = formats.split("##")[0]
    documented = re.findall(r"^\| `([a-z0-9][a-z0-9-]*)` \|", table, re.MULTILINE)
    assert documented == list(FORMATS)


def test_every_flag_of_the_readers_is_documented(formats: str) -> None:
    documented = re.findall(r"^\| `([A-Z_]+)` \|", formats, re.MULTILINE)
    assert sorted(documented) == sorted(name for name in vars(flags) if name.isupper())


def test_every_warning_is_documented() -> None:
    page = (DOCS / "survey.md").read_text()
    documented = re.findall(r"^\| (\d+) \| ([A-Z_0-9]+) \| (.+) \|", page, re.MULTILINE)
    assert {name: int(bit) for bit, name, _ in documented} == zwarn.BITS
    assert set(zwarn.MEANINGS) == set(zwarn.BITS)
    schema = (DOCS / "result.schema.json").read_text()
    assert all(f"{1 << bit} {name}" in schema for name, bit in zwarn.BITS.items())


def test_links_between_documents_lead_somewhere() -> None:
    for page in [*DOCS.glob("*.md"), *DOCS.parent.glob("*.md"), *DOCS.parent.glob("*/README.md")]:
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
