"""How attempts to post end, and a dry run that makes none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from specinfer.config_tables import SkyPortalConfig
from specinfer.errors import SpecinferError
from specinfer.skyportal_posts import Post


class PortalUnavailable(SpecinferError):
    """The portal gave no answer, or one that says: try again.

    Parameters
    ----------
    message : str
    stored : bool
        Whether a post may have been stored all the same.
    wait : float or None
        Seconds that the portal asks to wait.
    """

    def __init__(self, message: str, *, stored: bool = False, wait: float | None = None) -> None:
        super().__init__("portal_unavailable", message)
        self.stored = stored
        self.wait = wait


class PortalRefused(SpecinferError):
    """The portal said no (4xx): the same again would be refused again."""

    def __init__(self, message: str) -> None:
        super().__init__("portal_refused", message)


class TokenRefused(SpecinferError):
    """The portal does not know the token: no post can succeed."""

    exit_code = 3

    def __init__(self, message: str) -> None:
        super().__init__("token_refused", message)


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Parameters
    ----------
    state : str
        ``posted``, ``updated`` or ``already`` (it is there); ``waiting`` (what it belongs
        to is not there yet); ``withheld`` (it is not to be posted); ``shown`` (dry run).
    message : str
        Why, for the last three.
    """

    state: Literal["posted", "updated", "already", "waiting", "withheld", "shown"]
    message: str = ""


class Sender(Protocol):
    """Who makes the attempts: a portal's client, or a dry run."""

    def send(self, post: Post) -> Outcome:
        """Make one attempt."""

    def close(self) -> None:
        """Close what is open."""


class DryRun:
    """Says what would be sent; asks and sends nothing.

    Parameters
    ----------
    config : SkyPortalConfig
    say : callable
        Takes one line a post.
    """

    def __init__(self, config: SkyPortalConfig, say: Callable[[str], None]) -> None:
        self._config = config
        self._say = say

    def send(self, post: Post) -> Outcome:
        """Say one post."""
        spectrum = f"spectra/(id of {post.stems[0]})"
        place = {
            "annotation": f"POST {self._config.url}/api/{spectrum}/annotations",
            "classification": f"POST {self._config.url}/api/classification",
            "comment": f"POST {self._config.url}/api/{spectrum}/comments",
            "redshift": f"PATCH {self._config.url}/api/sources/{post.obj}",
        }[post.kind]
        self._say(f"{post.obj}: {place} {post.body_json()}")
        return Outcome("shown", "dry run")

    def close(self) -> None:
        """Nothing is open."""
