"""The documents name everything that the code has."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from specinfer import zwarn
from specinfer.config import Config, parse_config
from specinfer.config_tables import TABLES
from specinfer.readers import FORMATS, flags
from specinfer.skyportal_posts import CLASSES

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


def test_every_key_of_the_configuration_is_documented_with_its_default() -> None:
    page = (DOCS / "configuration.md").read_text()
    sections = re.split(r"^### `\[(\w+)\]`.*$", page, flags=re.MULTILINE)
    tables = dict(zip(["", *sections[1::2]], sections[::2], strict=True))
    assert set(tables) == {"", *TABLES}
    found = parse_config("[skyportal]\nurl = 'https://x.org'", Path("x.toml"))
    defaults = {"": found} | {name: getattr(found, name) for name in TABLES}
    for name, section in tables.items():
        rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE))
        keys = [one for one in fields(TABLES.get(name, Config)) if "about" in one.metadata]
        assert list(rows) == [one.name for one in keys]
        # Defaults of other words ("none", "all cores") are not values.
        for key, default in rows.items():
            if default.startswith("`") and "=" not in default and not default.endswith("folder"):
                shown = tomllib.loads(f"x = {default.strip('`')}")["x"]
                value = getattr(defaults[name], key)
                assert (list(value) if isinstance(value, tuple) else value) == shown, key


def test_the_classes_at_the_portal_are_documented() -> None:
    page = (DOCS / "skyportal.md").read_text()
    rows = page.split("| class | at the portal |")[1].split("\n\n")[0]
    documented = dict(re.findall(r"^\| ([^|-][^|]*?) \| ([^|]+?) \|$", rows, re.MULTILINE))
    assert documented == dict(CLASSES)


def test_the_configuration_in_the_documents_is_valid() -> None:
    for page in DOCS.glob("*.md"):
        for text in re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            parse_config(text, page)
