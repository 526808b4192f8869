"""The work behind `specinfer models`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from specinfer.cli_output import dump_json, print_table
from specinfer.cli_report import say
from specinfer.engine import Session
from specinfer.errors import ModelError, SpecinferError
from specinfer.models import (
    MODEL_DIR_VARIABLE,
    ModelCard,
    check_metadata,
    find_models,
    load_card,
    read_half,
    read_model,
)


@dataclass(frozen=True)
class Entry:
    """One model: its card if it can be read, and what is wrong with it, if anything is."""

    name: str
    card: ModelCard | None
    problem: str | None


def run(name: str | None, *, verify: bool, as_json: bool) -> int:
    """List models, or show one.

    Parameters
    ----------
    name : str or None
        Only this one, with its whole card.
    verify : bool
        Check hashes and metadata too.
    as_json : bool
        JSON instead of a table.

    Returns
    -------
    int
        0, or 3 if a model is not as it should be.

    Raises
    ------
    ModelError
        If there is no such model, or none at all.
    """
    if name is not None:
        card = load_card(name)
        if verify:
            verify_model(card)
            say(f"specinfer: {card.label} is as it was published")
        dump_json(card.raw)
        return 0
    entries = inspect(verify=verify)
    if not entries:
        raise ModelError(
            "no_models", f"no models are installed; reinstall specinfer or set {MODEL_DIR_VARIABLE}"
        )
    for entry in entries:
        if entry.problem is not None:
            say(f"specinfer: {entry.name}: {entry.problem}")
    if as_json or not sys.stdout.isatty():
        dump_json([as_dict(entry, verified=verify) for entry in entries])
    else:
        header = ["Model", "Task", "Classes", "Folder", "State"]
        print_table(header, [_row(entry, verify) for entry in entries])
    return 3 if any(entry.problem for entry in entries) else 0


def inspect(*, verify: bool) -> list[Entry]:
    """All models that can be found, each with what is wrong with it."""
    entries = []
    for name in find_models():
        card = None
        problem = None
        try:
            card = load_card(name)
            if verify:
                verify_model(card)
        except SpecinferError as error:
            problem = f"{error.message} ({error.code})"
        entries.append(Entry(name, card, problem))
    return entries


def verify_model(card: ModelCard) -> None:
    """Check that neither the model nor its card was altered.

    Raises
    ------
    ModelError
        If one was, or the model cannot be loaded.
    """
    # A combination has no network of its own, and checked its members when it was read.
    for one in card.networks:
        session = Session(read_model(one), name=one.label, device="cpu", threads=1)
        check_metadata(one, session.metadata)
        half = read_half(one)
        if half is not None:
            session = Session(half, name=f"{one.label} (half)", device="cpu", threads=1)
            check_metadata(one, session.metadata)


def as_dict(entry: Entry, *, verified: bool) -> dict[str, object]:
    """An entry as plain values."""
    card = entry.card
    return {
        "name": entry.name,
        "version": card.version if card else None,
        "family": card.family if card else None,
        "task": card.task if card else None,
        "classes": list(card.classes) if card else None,
        "folder": str(card.folder) if card else None,
        "sha256": card.sha256 if card else None,
        "verified": verified and entry.problem is None,
        "problem": entry.problem,
    }


def _row(entry: Entry, verified: bool) -> list[str]:
    card = entry.card
    if entry.problem is not None or card is None:
        state = "broken"
    else:
        state = "verified" if verified else "not checked (--verify)"
    return [
        card.label if card else entry.name,
        card.task if card else "",
        str(len(card.classes)) if card else "",
        str(card.folder) if card else "",
        state,
    ]
