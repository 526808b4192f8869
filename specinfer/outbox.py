"""What is to be posted to the portal, kept on disk until it is there.

The table lies in the journal of ``specinfer watch`` (SQLite), with a connection of its
own. A post survives a dead network, a restart and SIGKILL, and reaches the portal once:
before it is sent, its row says so; after a crash or a lost answer it is tried again only
when the portal must have finished with the first attempt, and then the portal is asked
first.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specinfer.config_tables import DecisionConfig, SkyPortalConfig
from specinfer.outbox_lock import only_one
from specinfer.outbox_table import OutboxTable, Row
from specinfer.skyportal_outcome import PortalRefused, PortalUnavailable, Sender, TokenRefused
from specinfer.skyportal_posts import make_posts

# So many attempts in a row without an answer: the portal is down, leave it alone for a while.
_DOWN_AFTER = 3
_DAY_S = 86400.0


@dataclass(frozen=True)
class Delivered:
    """What one round of deliveries came to.

    Parameters
    ----------
    posted, updated, already : int
        What is at the portal now: new; changed; found there (an earlier attempt had
        succeeded).
    withheld, failed : int
        What will not be sent: not to be posted after all; refused or given up.
    waiting, retried : int
        What will be tried again: its spectrum is not uploaded yet; no answer.
    shown : int
        What a dry run said.
    problem : str or None
        Why the round ended early: another process delivers, the portal is down, the
        token is refused.
    token_refused : bool
        Whether it was the token: somebody must do something.
    """

    posted: int = 0
    updated: int = 0
    already: int = 0
    withheld: int = 0
    failed: int = 0
    waiting: int = 0
    retried: int = 0
    shown: int = 0
    problem: str | None = None
    token_refused: bool = False

    @property
    def done(self) -> int:
        """How many posts are at the portal since this round."""
        return self.posted + self.updated + self.already


@dataclass(frozen=True)
class Failure:
    """A post that will not be tried again by itself.

    Parameters
    ----------
    kind : str
    obj : str
    files : tuple of str
        The spectrum's, without ending.
    message : str
        What the portal said, or why it is withheld.
    attempts : int
    date : float
        When, in seconds since 1970.
    """

    kind: str
    obj: str
    files: tuple[str, ...]
    message: str
    attempts: int
    date: float


class Outbox:
    """The posts to one portal; may be shared by threads.

    Parameters
    ----------
    database : Path
        SQLite file, made if it is not there; others may have tables in it.
    config : SkyPortalConfig
        Which posts to make, how long to try.
    decisions : DecisionConfig, optional
        What holds classifications back.

    Raises
    ------
    SpecinferError
        ``bad_outbox``, from every method: the file cannot be used.
    """

    def __init__(
        self,
        database: Path,
        config: SkyPortalConfig,
        decisions: DecisionConfig | None = None,
    ) -> None:
        self._config = config
        self._decisions = decisions or DecisionConfig()
        self._table = OutboxTable(Path(database), config.url)
        self._lock_file = Path(database).with_name(Path(database).name + "-outbox.lock")
        # Of an attempt whose end nobody saw: then the portal has finished with it.
        self._after_crash = 2 * config.timeout
        self._paused_until = 0.0
        self._bad_rounds = 0

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._table.close()

    def enqueue(
        self, document: Mapping[str, Any], path: Path, picture: Path | None = None
    ) -> tuple[str, ...]:
        """Keep what is to be posted of one answer; again is no harm.

        Parameters
        ----------
        document : mapping
            The sidecar's.
        path : Path
            The spectrum.
        picture : Path, optional
            Goes with a comment.

        Returns
        -------
        tuple of str
            Kinds of the posts that are new (or say something new).

        Raises
        ------
        UsageError
            ``bad_sidecar``.
        """
        made = make_posts(document, path, picture, self._config, self._decisions)
        dry = self._config.dry_run
        with self._table.change():
            new = [
                post.kind
                for post in made.posts
                if self._table.put(made.sha256, made.model, post, None, dry=dry)
            ]
            for post, reason in made.withheld:
                self._table.put(made.sha256, made.model, post, reason, dry=dry)
        return tuple(new)

    def deliver(
        self,
        client: Sender,
        limit: int | None = None,
        *,
        stop: Callable[[], bool] | None = None,
    ) -> Delivered:
        """Try what is due, oldest first.

        Parameters
        ----------
        client : Sender
            `specinfer.skyportal.SkyPortal` or `DryRun`.
        limit : int, optional
            Most posts to try.
        stop : callable, optional
            Asked between posts whether to end the round.

        Returns
        -------
        Delivered
            All zeros, with a problem, while the portal is left alone after a failure or
            another process delivers. What the portal does is never raised.
        """
        if time.monotonic() < self._paused_until:
            return Delivered(problem="the portal is left alone for a while")
        with only_one(self._lock_file) as alone:
            if not alone:
                return Delivered(problem="another process delivers")
            return self._round(client, limit, stop or (lambda: False))

    def pending(self) -> int:
        """How many posts are still to be sent."""
        return self.counts().get("pending", 0)

    def counts(self) -> dict[str, int]:
        """How many posts are ``pending``, ``sent``, ``failed``, ``withheld``..."""
        return self._table.counts()

    def next_due(self) -> float | None:
        """Seconds until something is to be tried (0: now); None if nothing is pending."""
        due = self._table.next_due(self._after_crash)
        if due is None:
            return None
        return max(0.0, due - time.time(), self._paused_until - time.monotonic())

    def failures(self) -> list[Failure]:
        """What was refused or given up, oldest first."""
        return [_failure(row) for row in self._table.of_state("failed")]

    def withheld(self) -> list[Failure]:
        """What is not posted although the model was sure, with the reasons."""
        return [_failure(row) for row in self._table.of_state("withheld")]

    def waiting(self) -> list[Failure]:
        """What was tried and is still to be sent, with what the last attempt came to."""
        return [_failure(row) for row in self._table.of_state("pending") if row.attempts]

    def retry_failures(self) -> int:
        """Try again what was refused or given up; how many posts that are."""
        return self._table.revive("failed")

    def _round(self, client: Sender, limit: int | None, stop: Callable[[], bool]) -> Delivered:
        counts: Counter[str] = Counter()
        without_answer = 0
        problem = None
        refused = False
        for number in self._table.due(self._after_crash, limit):
            if stop():
                break
            row = self._table.begin(number)
            if row is None:
                continue
            try:
                result, message = self._attempt(client, row)
            except TokenRefused as refusal:
                self._table.put_off(row, row.attempts, self._back_off(1), refusal.message)
                problem, refused = refusal.message, True
                break
            counts[result] += 1
            without_answer = without_answer + 1 if result == "retried" else 0
            if without_answer >= _DOWN_AFTER:
                problem = f"the portal is down: {message}"
                break
        self._bad_rounds = 0 if problem is None else self._bad_rounds + 1
        pause = 0.0 if problem is None else self._back_off(self._bad_rounds)
        self._paused_until = time.monotonic() + pause
        return Delivered(**counts, problem=problem, token_refused=refused)

    def _attempt(self, client: Sender, row: Row) -> tuple[str, str]:
        """Try one post: a field of `Delivered`, and what was said."""
        try:
            outcome = client.send(row.post)
        except PortalUnavailable as error:
            # The first attempt may still be under way at the portal: let it end.
            least = (self._config.timeout if error.stored else 0.0) + (error.wait or 0.0)
            return self._put_off(row, "retried", error.message, least), error.message
        except PortalRefused as error:
            self._table.finish(row, "failed", "refused", error.message)
            return "failed", error.message
        if outcome.state == "waiting":
            return self._put_off(row, "waiting", outcome.message), outcome.message
        state = outcome.state if outcome.state in ("withheld", "shown") else "sent"
        self._table.finish(row, state, outcome.state, outcome.message)
        return outcome.state, outcome.message

    def _put_off(self, row: Row, result: str, message: str, least: float = 0.0) -> str:
        """Try again later, after at least so many seconds; give up what is too old."""
        if time.time() - row.queued > self._config.give_up_days * _DAY_S:
            self._table.finish(row, "failed", "given up", f"given up: {message}")
            return "failed"
        wait = least + self._back_off(row.attempts + 1)
        self._table.put_off(row, row.attempts + 1, wait, message)
        return result

    def _back_off(self, attempts: int) -> float:
        """Seconds before the next attempt, twice as many each time."""
        wait = self._config.retry_first * 2.0 ** min(attempts - 1, 30)
        # Many that failed together must not come back together.
        return min(wait, self._config.retry_most) * random.uniform(0.8, 1.2)


def _failure(row: Row) -> Failure:
    return Failure(
        kind=row.post.kind,
        obj=row.post.obj,
        files=row.post.stems,
        message=row.message,
        attempts=row.attempts,
        date=row.finished or row.queued,
    )
