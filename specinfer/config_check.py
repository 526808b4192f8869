"""What of a configuration cannot work on this machine, though every key is well-formed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from specinfer.config import Config
from specinfer.errors import ModelError, SpecinferError
from specinfer.toml_lines import KeyPath, key_lines


def check_config(config: Config) -> list[str]:
    """Look at the models, tokens and folders that a configuration names.

    Parameters
    ----------
    config : Config

    Returns
    -------
    list of str
        One sentence a problem, with file and line if it came from a file.
    """
    lines = {} if config.source is None else _lines(config.source)
    found = [
        *_models(config),
        *_portal(config),
        *_watch(config),
        *_serve(config),
    ]
    numbered = sorted((lines.get(path, lines.get(path[:1], 1)), words) for path, words in found)
    if config.source is None:
        return [words for _, words in numbered]
    return [f"{config.source}, line {line}: {words}" for line, words in numbered]


def _lines(source: Path) -> dict[KeyPath, int]:
    return key_lines(source.read_text(encoding="utf-8"))


def _models(config: Config) -> Iterator[tuple[KeyPath, str]]:
    from specinfer.models import find_models, load_card

    classes: set[str] = set()
    for name in find_models():
        try:
            classes.update(load_card(name).classes)
        except ModelError:
            # `specinfer models` and `doctor` tell what is wrong with a model.
            continue
    if config.model != "auto":
        try:
            classes.update(load_card(config.model).classes)
        except ModelError as error:
            yield ("model",), error.message
    named: list[tuple[KeyPath, str]] = [
        (("decisions", "minimum", name), name) for name in config.decisions.minimum
    ]
    if config.skyportal is not None:
        named += [(("skyportal", "classes", name), name) for name in config.skyportal.classes]
    for path, name in named:
        if name not in classes:
            known = ", ".join(sorted(classes)) or "none"
            yield path, f"no model has a class {name!r}; there are: {known}"


def _portal(config: Config) -> Iterator[tuple[KeyPath, str]]:
    from specinfer.skyportal_token import read_token

    portal = config.skyportal
    if portal is None:
        if config.watch.skyportal:
            yield ("watch", "skyportal"), "there is nowhere to post; write [skyportal] with its url"
        return
    if not portal.dry_run:
        try:
            read_token(portal.token_file)
        except SpecinferError as error:
            yield ("skyportal", "token_file"), error.message
    if portal.retry_first > portal.retry_most:
        yield ("skyportal", "retry_first"), "retry_first must not be more than retry_most"
    wanted = portal.annotations or portal.classifications or portal.comments or portal.redshift
    if not wanted:
        yield ("skyportal",), "everything is switched off; leave out [skyportal]"


def _watch(config: Config) -> Iterator[tuple[KeyPath, str]]:
    watch = config.watch
    if watch.retry_first > watch.retry_most:
        yield ("watch", "retry_first"), "retry_first must not be more than retry_most"
    if watch.state is not None:
        place = next(one for one in (watch.state, *watch.state.absolute().parents) if one.exists())
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            yield ("watch", "state"), f"{watch.state} cannot be made or written to"


def _serve(config: Config) -> Iterator[tuple[KeyPath, str]]:
    from specinfer.skyportal_token import read_token_file

    if config.serve.token_file is not None:
        try:
            read_token_file(config.serve.token_file)
        except SpecinferError as error:
            yield ("serve", "token_file"), error.message
