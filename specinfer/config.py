"""The configuration: one TOML file, checked as a whole before anything is done.

Every key has a default, so an empty file and no file mean the same. What the command
line says wins over the file. docs/configuration.md describes the keys.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from specinfer.config_kinds import Kind
from specinfer.config_place import ENVIRONMENT, FILE_NAME, find_config
from specinfer.config_tables import (
    TABLES,
    Config,
    DecisionConfig,
    ServeConfig,
    SkipConfig,
    SkyPortalConfig,
    WatchConfig,
    is_needed,
)
from specinfer.errors import UsageError
from specinfer.toml_lines import KeyPath, key_lines

__all__ = [
    "Config",
    "ConfigError",
    "DecisionConfig",
    "ServeConfig",
    "SkipConfig",
    "SkyPortalConfig",
    "WatchConfig",
    "find_config",
    "load_config",
    "parse_config",
]

# Larger than any configuration: somebody named another file.
_MAX_BYTES = 1 << 20
_SHOWN = 40


class ConfigError(UsageError):
    """The configuration cannot be used.

    Parameters
    ----------
    code : str
        See `SpecinferError`.
    problems : sequence of str
        What is wrong, one sentence each, with file and line.
    """

    def __init__(self, code: str, problems: tuple[str, ...]) -> None:
        more = f" ({len(problems) - 1} more: specinfer config check)" if len(problems) > 1 else ""
        super().__init__(code, problems[0] + more)
        self.problems = problems


def load_config(path: Path | None = None) -> Config:
    """Read and check the configuration.

    Parameters
    ----------
    path : Path, optional
        The file; without it, see `find_config`. Paths in it are relative to its folder.

    Returns
    -------
    Config
        The defaults if there is no file.

    Raises
    ------
    ConfigError
        ``config_not_found`` or ``config_unreadable``: the file; ``bad_config``: what is in
        it, with the line.
    """
    found = find_config(path)
    if found is None:
        return Config()
    return parse_config(_read(found, by_option=path is not None), found)


def parse_config(text: str, source: Path) -> Config:
    """Check the text of a configuration.

    Parameters
    ----------
    text : str
        TOML.
    source : Path
        The file it is from, for messages and for relative paths.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        ``bad_config``, with all problems.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError("bad_config", (_syntax(source, text, error),)) from None
    reader = _Reader(source, text)
    values = reader.fields_of(Config, document, ())
    if reader.problems:
        # In the order of the file, whatever the order in which they were noticed.
        raise ConfigError("bad_config", tuple(words for _, words in sorted(reader.problems)))
    return Config(**values, source=source)


def _read(path: Path, *, by_option: bool) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        how = "" if by_option or path == Path(FILE_NAME) else f" (named by {ENVIRONMENT})"
        words = f"there is no configuration file {path}{how}; give one that exists"
        raise ConfigError("config_not_found", (words,)) from None
    except OSError as error:
        words = f"{path} cannot be read ({error.strerror}); give a configuration file"
        raise ConfigError("config_unreadable", (words,)) from None
    if len(content) > _MAX_BYTES:
        words = f"{path} is larger than a configuration can be; give a TOML file"
        raise ConfigError("config_unreadable", (words,))
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        words = f"{path}, line {line}: a character is not UTF-8; save the file as UTF-8"
        raise ConfigError("bad_config", (words,)) from None


def _syntax(source: Path, text: str, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"{source}: values are nested too deeply"
    words = str(error)
    found = re.search(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$", words)
    line = found.group(1) if found and found.group(1) else str(text.rstrip().count("\n") + 1)
    words = words[: found.start()] if found else words
    return f"{source}, line {line}: this is not TOML: {words[:1].lower()}{words[1:]}"


class _Reader:
    """Builds the values of one file and keeps what is wrong with it."""

    def __init__(self, source: Path, text: str) -> None:
        self._source = source
        self._folder = source.parent
        self._lines = key_lines(text)
        self.problems: list[tuple[int, str]] = []

    def fields_of(self, of: type[Any], values: Mapping[str, Any], where: KeyPath) -> dict[str, Any]:
        """The arguments of a dataclass."""
        known = {one.name: one for one in fields(of) if one.name != "source"}
        made = {}
        for name, value in values.items():
            path = (*where, name)
            if name not in known:
                self._complain(path, _unknown(name, where, list(known)))
            elif not where and name in TABLES:
                made[name] = self._table(TABLES[name], value, path)
            else:
                made[name] = self._value(known[name], value, path)
        for one in known.values():
            if one.name not in values and is_needed(one):
                self._complain(where, f"[{where[-1]}] needs {one.name}: {one.metadata['about']}")
        return made

    def _table(self, of: type[Any], value: Any, path: KeyPath) -> Any:
        if not isinstance(value, dict):
            self._complain(path, f"{path[-1]} must be a table: write [{path[-1]}]")
            return None
        before = len(self.problems)
        arguments = self.fields_of(of, value, path)
        return of(**arguments) if len(self.problems) == before else None

    def _value(self, one: Field[Any], value: Any, path: KeyPath) -> Any:
        kind: Kind = one.metadata["kind"]
        try:
            return kind.parse(value, self._folder)
        except ValueError as error:
            where = self._culprit(kind, value, path)
            # A reason is given instead of the value where that may hold a password.
            if str(error):
                found = f": {error}"
            elif where == path:
                found = f", not {_shown(value)}"
            else:
                found = f"; {_shown(value[where[-1]])} does not fit"
            self._complain(where, f"{one.name} must be {kind.words}{found}")
            return None

    def _culprit(self, kind: Kind, value: Any, path: KeyPath) -> KeyPath:
        """Where in a list or table the value is that does not fit."""
        parts: Iterator[tuple[str | int, Any]] = iter(())
        if isinstance(value, dict):
            parts = iter(value.items())
        elif isinstance(value, list):
            parts = iter(enumerate(value))
        for key, part in parts:
            try:
                kind.parse({key: part} if isinstance(value, dict) else [part], self._folder)
            except ValueError:
                return (*path, key)
        return path

    def _complain(self, path: KeyPath, words: str) -> None:
        line = self._lines.get(path, 1)
        self.problems.append((line, f"{self._source}, line {line}: {words}"))


def _unknown(name: str, where: KeyPath, known: list[str]) -> str:
    place = f"[{where[-1]}] has no key" if where else "there is no key or table"
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"{place} {name!r}; did you mean {near[0]!r}?"
    owners = [table for table, of in TABLES.items() if name in {one.name for one in fields(of)}]
    if not where and owners:
        return f"{place} {name!r}; it belongs under [{owners[0]}]"
    return f"{place} {name!r}; the keys are {', '.join(known)}"


def _shown(value: Any) -> str:
    """A value, as a message shows it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value if len(value) <= _SHOWN else value[:_SHOWN] + "...")
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    return "a date or time"
