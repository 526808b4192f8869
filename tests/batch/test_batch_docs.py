"""docs/batch.md names every column with its type, and its programs are programs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from specinfer.batch import tables
from specinfer.batch.columns_input import _FACTS
from specinfer.cli import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "batch.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text()


def test_every_column_is_documented_with_its_type(page: str) -> None:
    table = page.split("<!-- columns -->")[1].split("<!-- /columns -->")[0]
    documented: dict[str, str] = {}
    for names, kind in re.findall(r"^\| (`.+?`) \| (\w.+?) \| ", table, re.MULTILINE):
        documented |= dict.fromkeys(re.findall(r"`(\w+)`", names), kind)
    found = {
        field.name: re.sub(r"(list<)(?:item|element): ", r"\1", str(field.type)).replace(
            "map<string, double (values)>", "map<string, double>"
        )
        for field in tables.schema()
    }
    assert documented == found
    assert f"`{tables.SCHEMA}`" in page


def test_every_option_is_documented(page: str) -> None:
    text = CliRunner().invoke(app, ["batch", "--help"]).output
    options = set(re.findall(r"^  (?:-\w, )?(--[a-z]+)", text, re.MULTILINE))
    assert len(options) > 12
    assert {one for one in options if f"`{one}" not in page} <= {"--debug", "--help"}


def test_names_of_ids_are_documented(page: str) -> None:
    assert all(f"`{name}`" in page for name in _FACTS["id"])


def test_the_programs_are_programs(page: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        compile(block, "batch.md", "exec")
