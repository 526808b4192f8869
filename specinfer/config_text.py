"""A configuration as TOML with every key, its value and what it does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from specinfer.config import Config
from specinfer.config_tables import TABLES, is_needed

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def config_text(config: Config) -> str:
    """TOML that reads as this configuration; keys without a value are commented out.

    Parameters
    ----------
    config : Config

    Returns
    -------
    str
    """
    parts = ["\n".join(_keys(config, [one for one in fields(Config) if one.name not in TABLES]))]
    for name, of in TABLES.items():
        table = getattr(config, name)
        if table is None:
            lines = [f"# [{name}]", *(_without_value(one) for one in fields(of) if is_needed(one))]
        else:
            lines = [f"[{name}]", *_keys(table, fields(of))]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def config_dict(config: Config) -> dict[str, Any]:
    """The same as plain JSON values.

    Parameters
    ----------
    config : Config

    Returns
    -------
    dict
    """
    return {one.name: _plain(getattr(config, one.name)) for one in fields(config)}


def _keys(table: Any, keys: Any) -> Iterator[str]:
    for one in keys:
        if "about" not in one.metadata:
            continue
        value = getattr(table, one.name)
        if value is None:
            yield _without_value(one)
        else:
            yield f"{one.name} = {_toml(value)}  # {one.metadata['about']}"


def _without_value(one: Field[Any]) -> str:
    return f"# {one.name} =   # {one.metadata['about']}"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (str, Path)):
        # JSON's escapes are TOML's, except for the one that TOML wants and JSON does not.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        items = (f"{_key(name)} = {_toml(item)}" for name, item in value.items())
        return "{ " + ", ".join(items) + " }" if value else "{}"
    return "[" + ", ".join(map(_toml, value)) + "]"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _toml(name)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "__dataclass_fields__"):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    return value
