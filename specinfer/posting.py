"""The work behind ``specinfer skyportal``: sidecars to the outbox, and the outbox to the portal."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from specinfer.cli_report import say
from specinfer.config import Config, SkyPortalConfig, load_config
from specinfer.errors import ReadError, UsageError
from specinfer.outbox import Failure, Outbox
from specinfer.sidecar import PREFIX, read_sidecar, sidecar_path
from specinfer.skyportal_outcome import DryRun
from specinfer.skyportal_posts import make_posts
from specinfer.watch.journal import FILE_NAME as JOURNAL
from specinfer.watch.options import STATE_FOLDER


@dataclass(frozen=True)
class Posting:
    """What the command line says."""

    paths: tuple[str, ...] = ()
    dry_run: bool = False
    outbox: Path | None = None
    retry: bool = False
    patience: float = 60.0
    config: Path | None = None


@dataclass(frozen=True)
class Answer:
    """A sidecar that is there, the spectrum that it is of, and its picture."""

    path: Path
    document: dict[str, Any]
    picture: Path | None


def run(posting: Posting) -> int:
    """Post.

    Parameters
    ----------
    posting : Posting

    Returns
    -------
    int
        0; 1 if something was refused or still waits; 3 if the token was refused.

    Raises
    ------
    UsageError
        No portal is configured, no token, no files; ``config_not_found`` and the like.
    ReadError
        ``no_sidecar``: a file has no answer yet.
    """
    config = load_config(posting.config)
    portal = config.skyportal
    if portal is None:
        raise UsageError(
            "no_portal",
            "the configuration names no portal; write [skyportal] with its url "
            "(docs/configuration.md)",
        )
    answers = list(find_answers(posting.paths))
    if posting.dry_run or portal.dry_run:
        return _show(answers, portal, config)
    database = posting.outbox or _default_outbox(posting.paths)
    return _post(answers, database, posting, portal, config)


def find_answers(paths: Sequence[str]) -> Iterator[Answer]:
    """The sidecars that paths name.

    Parameters
    ----------
    paths : sequence of str
        Spectra, sidecars, or folders with sidecars directly inside.

    Yields
    ------
    Answer

    Raises
    ------
    ReadError
        ``no_sidecar``.
    """
    for name in paths:
        path = Path(name)
        if path.is_dir():
            found = sorted(path.glob(f"{PREFIX}*.json"))
            if not found:
                raise _no_sidecar(path, f"no {PREFIX}*.json is in it")
            for one in found:
                yield _answer(one)
        else:
            yield _answer(path)


def _answer(path: Path) -> Answer:
    is_sidecar = path.name.startswith(PREFIX) and path.suffix == ".json"
    own = path if is_sidecar else sidecar_path(path)
    document = read_sidecar(own)
    if document is None:
        why = "is none of this version" if own.exists() else "is not there"
        raise _no_sidecar(path, f"{own.name} {why}")
    picture = own.with_suffix(".png")
    spectrum = own.with_name(document["file"])
    return Answer(spectrum, document, picture if picture.is_file() else None)


def _no_sidecar(path: Path, why: str) -> ReadError:
    return ReadError(
        "no_sidecar", f"{path} has no answer to post: {why}; run specinfer classify --sidecar"
    )


def _show(answers: Sequence[Answer], portal: SkyPortalConfig, config: Config) -> int:
    """What would be posted of these answers, with no portal, token or outbox."""
    dry = DryRun(portal, print)
    for answer in answers:
        made = make_posts(answer.document, answer.path, answer.picture, portal, config.decisions)
        for post in made.posts:
            dry.send(post)
        for post, reason in made.withheld:
            say(f"specinfer: {post.obj}: the class is held back: {reason}")
        if not made.posts:
            say(f"specinfer: {answer.path.name}: nothing to post ({answer.document['state']})")
    return 0


def _default_outbox(paths: Sequence[str]) -> Path:
    first = Path(paths[0]) if paths else Path()
    folder = first if first.is_dir() else first.parent
    # A service that watches the folder of all nights keeps its journal there.
    above = folder.absolute().parent
    for place in (folder, above):
        journal = place / STATE_FOLDER / JOURNAL
        if journal.is_file():
            return journal
    return folder / STATE_FOLDER / JOURNAL


def _post(
    answers: Sequence[Answer],
    database: Path,
    posting: Posting,
    portal: SkyPortalConfig,
    config: Config,
) -> int:
    from specinfer.skyportal import SkyPortal

    if not answers and not database.is_file():
        raise UsageError(
            "no_outbox",
            f"there is no outbox {database} to go on with; name files, or the outbox (--outbox)",
        )
    # A token that is missing must not leave an outbox behind.
    with SkyPortal(replace(portal, dry_run=False)) as client:
        os.makedirs(database.parent, exist_ok=True)
        with Outbox(database, portal, config.decisions) as outbox:
            for answer in answers:
                outbox.enqueue(answer.document, answer.path, answer.picture)
            if posting.retry:
                outbox.retry_failures()
            token_refused = _deliver(outbox, client, posting.patience)
            code = _report(outbox)
            return 3 if token_refused else code


def _deliver(outbox: Outbox, client: Any, patience: float) -> bool:
    """Until nothing is left or to be expected soon; whether the token was refused."""
    deadline = time.monotonic() + patience
    said = None
    while True:
        result = outbox.deliver(client)
        if result.problem is not None and result.problem != said:
            said = result.problem
            say(f"specinfer: {said}")
        if result.token_refused:
            return True
        due = outbox.next_due()
        if due is None or time.monotonic() + due > deadline:
            return False
        time.sleep(min(max(due, 0.05), 1.0))


def _report(outbox: Outbox) -> int:
    """Print what is at the portal; say what is not. The exit code."""
    counts = outbox.counts()
    print(
        f"{counts.get('sent', 0)} posts are at the portal, {counts.get('pending', 0)} wait, "
        f"{counts.get('failed', 0)} were refused or given up, "
        f"{counts.get('withheld', 0)} are held back"
    )
    for title, several in (
        ("refused", outbox.failures()),
        ("waits", outbox.waiting()),
        ("held back", outbox.withheld()),
    ):
        for one in several:
            say(f"specinfer: {_line(title, one)}")
    return 1 if counts.get("failed") or counts.get("pending") else 0


def _line(title: str, one: Failure) -> str:
    return f"{one.obj}: {one.kind} {title}: {one.message} ({', '.join(one.files)})"
