"""A client of SkyPortal (Fritz): annotations, classes, pictures and redshifts, each once.

SkyPortal has no idempotency keys, so every post begins with a question: is it there? A
post whose answer got lost is asked for again before it is repeated. `specinfer.outbox`
keeps what is to be sent and decides when to try again; here one attempt is made. Nothing
here reports to TNS.

References
----------
SkyPortal's API, https://skyportal.io/docs/api.html
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from specinfer.config_tables import SkyPortalConfig
from specinfer.errors import SpecinferError
from specinfer.skyportal_outcome import (
    DryRun,
    Outcome,
    PortalRefused,
    PortalUnavailable,
    Sender,
    TokenRefused,
)
from specinfer.skyportal_posts import Post
from specinfer.skyportal_token import Token, read_token
from specinfer.twins import stem_of

if TYPE_CHECKING:
    import httpx

__all__ = [
    "DryRun",
    "Outcome",
    "PortalRefused",
    "PortalUnavailable",
    "Sender",
    "SkyPortal",
    "TokenRefused",
]

# A taxonomy may get a new version while the service runs.
_TAXONOMY_S = 3600.0
# Asked of many; more would be a leak in a service that never ends.
_MAX_REMEMBERED = 2000
_MAX_MESSAGE = 300
_MAX_PICTURE = 10 * 1024 * 1024
# The portal is busy, or asks to be left alone: nothing was stored.
_BUSY = (408, 425, 429)


class SkyPortal:
    """The portal's client; may be shared by threads.

    Parameters
    ----------
    config : SkyPortalConfig
    token : Token, optional
        Without it, `specinfer.skyportal_token.read_token` finds it.

    Raises
    ------
    UsageError
        ``no_token``, ``bad_token``.
    ImportError
        If httpx is not installed: ``pip install 'specinfer[skyportal]'``.
    """

    def __init__(self, config: SkyPortalConfig, token: Token | None = None) -> None:
        try:
            import httpx
        except ImportError:
            raise SpecinferError(
                "no_httpx", "posting needs httpx; install it: pip install 'specinfer[skyportal]'"
            ) from None
        self._config = config
        self._token = read_token(config.token_file) if token is None else token
        self._http: httpx.Client = httpx.Client(
            timeout=config.timeout,
            # The token must not follow a redirect to somewhere else.
            follow_redirects=False,
        )
        self._turn = threading.Lock()
        self._next_request = 0.0
        self._spectra: dict[tuple[str, str], int] = {}
        self._taxonomy: tuple[float, int, frozenset[str]] | None = None

    def __enter__(self) -> SkyPortal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SkyPortal({self._config.url})"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, post: Post) -> Outcome:
        """Make one attempt: ask whether it is there, and post it if not.

        Parameters
        ----------
        post : Post

        Returns
        -------
        Outcome

        Raises
        ------
        PortalUnavailable
            Try again later.
        PortalRefused
            Do not try again.
        TokenRefused
            Nothing can be posted with this token.
        """
        attempt = {
            "annotation": self._annotate,
            "classification": self._classify,
            "comment": self._comment,
            "redshift": self._set_redshift,
        }[post.kind]
        try:
            return attempt(post)
        except (KeyError, TypeError, ValueError) as error:
            words = self._clean(f"{type(error).__name__}: {error}")
            raise PortalUnavailable(
                f"the answer of {self._config.url} is not as expected ({words})", stored=True
            ) from None

    def _annotate(self, post: Post) -> Outcome:
        spectrum = self._spectrum_id(post)
        if spectrum is None:
            return _not_there(post)
        place = f"spectra/{spectrum}/annotations"
        outcome = self._update_annotation(place, post)
        if outcome is not None:
            return outcome
        try:
            self._ask("POST", place, post.body)
        except PortalRefused:
            # Somebody else's attempt (one of ours, thought lost) may have been faster.
            outcome = self._update_annotation(place, post)
            if outcome is None:
                raise
            return outcome
        return Outcome("posted")

    def _update_annotation(self, place: str, post: Post) -> Outcome | None:
        """Make the annotation that is there say the same; None if there is none."""
        for one in _entries(self._ask("GET", place)):
            if one.get("origin") != post.body["origin"]:
                continue
            if one.get("data") == post.body["data"]:
                return Outcome("already")
            self._ask("PUT", f"{place}/{int(one['id'])}", post.body)
            return Outcome("updated")
        return None

    def _classify(self, post: Post) -> Outcome:
        name = post.body["classification"]
        taxonomy, names = self._find_taxonomy()
        if name not in names:
            return Outcome("withheld", f"{name!r} is not a class of {self._config.taxonomy}")
        there = self._ask("GET", f"sources/{quote(post.obj, safe='')}/classifications")
        for one in _entries(there):
            same = one.get("classification") == name and one.get("taxonomy_id") == taxonomy
            if same and one.get("origin") == post.body["origin"]:
                return Outcome("already")
        self._ask("POST", "classification", {
            "obj_id": post.obj, "taxonomy_id": taxonomy, **post.body,
        })  # fmt: skip
        return Outcome("posted")

    def _comment(self, post: Post) -> Outcome:
        picture = _read_picture(post)
        if picture is None:
            return Outcome("withheld", f"the picture {post.picture} is gone or too large")
        spectrum = self._spectrum_id(post)
        if spectrum is None:
            return _not_there(post)
        place = f"spectra/{spectrum}/comments"
        for one in _entries(self._ask("GET", place)):
            if one.get("attachment_name") == post.body["name"]:
                return Outcome("already")
        body = {key: value for key, value in post.body.items() if key != "name"}
        attachment = {"name": post.body["name"], "body": base64.b64encode(picture).decode()}
        self._ask("POST", place, {**body, "attachment": attachment})
        return Outcome("posted")

    def _set_redshift(self, post: Post) -> Outcome:
        place = f"sources/{quote(post.obj, safe='')}"
        source = self._ask("GET", place)
        if not isinstance(source, dict) or source.get("redshift") is not None:
            return Outcome("already", "the source has a redshift")
        self._ask("PATCH", place, post.body)
        return Outcome("posted")

    def _spectrum_id(self, post: Post) -> int | None:
        """Which spectrum at the portal was uploaded from this file; None if none was."""
        for stem in post.stems:
            if (post.obj, stem) in self._spectra:
                return self._spectra[post.obj, stem]
        there = self._ask("GET", f"sources/{quote(post.obj, safe='')}/spectra")
        found = [
            int(one["id"])
            for one in _entries(there.get("spectra") if isinstance(there, dict) else there)
            if stem_of(str(one.get("original_file_filename") or "")) in post.stems
        ]
        if not found:
            return None
        if len(self._spectra) >= _MAX_REMEMBERED:
            self._spectra.clear()
        # Uploaded twice: the newer one is what people look at.
        self._spectra[post.obj, post.stems[0]] = max(found)
        return max(found)

    def _find_taxonomy(self) -> tuple[int, frozenset[str]]:
        """The id of the configured taxonomy, and its classes."""
        now = time.monotonic()
        if self._taxonomy is None or now - self._taxonomy[0] > _TAXONOMY_S:
            there = _entries(self._ask("GET", "taxonomy"))
            named = [one for one in there if one.get("name") == self._config.taxonomy]
            if not named:
                known = ", ".join(sorted({str(one.get("name")) for one in there})) or "none"
                raise PortalRefused(
                    f"the portal has no taxonomy {self._config.taxonomy!r}; set taxonomy under "
                    f"[skyportal] to one of: {known}"
                )
            best = max(named, key=lambda one: (bool(one.get("isLatest")), int(one["id"])))
            names = frozenset(_class_names(best.get("hierarchy") or {}))
            self._taxonomy = (now, int(best["id"]), names)
        return self._taxonomy[1:]

    def _ask(self, method: str, place: str, body: Mapping[str, Any] | None = None) -> Any:
        """One request; the ``data`` of its answer."""
        import httpx

        self._wait_for_turn()
        what = f"{method} {self._config.url}/api/{place}"
        try:
            answer = self._http.request(
                method,
                f"{self._config.url}/api/{place}",
                headers=self._token.header(),
                json=body,
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise PortalUnavailable(
                f"{what}: no connection ({self._clean(str(error)) or 'it took too long'})"
            ) from None
        except httpx.TimeoutException:
            raise PortalUnavailable(
                f"{what}: no answer within {self._config.timeout:g} s", stored=method != "GET"
            ) from None
        except httpx.HTTPError as error:
            raise PortalUnavailable(
                f"{what}: the connection broke ({self._clean(str(error))})", stored=method != "GET"
            ) from None
        return self._data(answer, method, what)

    def _data(self, answer: httpx.Response, method: str, what: str) -> Any:
        """What an answer holds, or the error that it is."""
        status = answer.status_code
        try:
            envelope = answer.json()
        except ValueError:
            envelope = None
        told = envelope.get("message") if isinstance(envelope, dict) else None
        said = f"{what}: {status} {self._clean(str(told or answer.reason_phrase))}".rstrip()
        if status in _BUSY:
            raise PortalUnavailable(said, wait=_seconds(answer.headers.get("Retry-After")))
        if status >= 500:
            raise PortalUnavailable(
                said,
                stored=method != "GET",
                wait=_seconds(answer.headers.get("Retry-After")),
            )
        if status == 401 and method == "GET":
            raise TokenRefused(f"{said}; give a token that the portal knows")
        if status == 401:
            raise PortalRefused(f"{said}; the token's user lacks the right to do this")
        if status >= 400:
            raise PortalRefused(said)
        if status >= 300:
            raise PortalRefused(f"{said}; set url under [skyportal] to where it leads")
        if not isinstance(envelope, dict) or envelope.get("status") not in ("success", "error"):
            raise PortalUnavailable(
                f"{what}: the answer is not SkyPortal's; check url under [skyportal]",
                stored=method != "GET",
            )
        if envelope["status"] == "error":
            raise PortalRefused(said)
        return envelope.get("data")

    def _wait_for_turn(self) -> None:
        """So many requests a second and no more, whoever makes them."""
        with self._turn:
            now = time.monotonic()
            start = max(now, self._next_request)
            self._next_request = start + 1 / self._config.rate
        time.sleep(max(0.0, start - now))

    def _clean(self, text: str) -> str:
        """Words from elsewhere: one line, not too long, and without the token."""
        line = " ".join(self._token.scrub(text).split())
        return line if len(line) <= _MAX_MESSAGE else line[:_MAX_MESSAGE] + "..."


def _entries(data: Any) -> list[Mapping[str, Any]]:
    """A list of objects, as most answers are."""
    if not isinstance(data, list):
        raise PortalUnavailable("the portal's answer is not a list; check url under [skyportal]")
    return [one for one in data if isinstance(one, dict)]


def _class_names(hierarchy: Mapping[str, Any]) -> Iterator[str]:
    """All classes of a taxonomy, at every level."""
    waiting: list[Any] = [hierarchy]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield str(one.get("class"))
            waiting.extend(one.get("subclasses") or ())


def _not_there(post: Post) -> Outcome:
    return Outcome("waiting", f"{post.obj} has no spectrum {post.stems[0]} at the portal yet")


def _read_picture(post: Post) -> bytes | None:
    if post.picture is None:
        return None
    try:
        with Path(post.picture).open("rb") as stream:
            content = stream.read(_MAX_PICTURE + 1)
    except OSError:
        return None
    return content if 0 < len(content) <= _MAX_PICTURE else None


def _seconds(text: str | None) -> float | None:
    """A ``Retry-After`` in seconds; the form with a date is not used by SkyPortal."""
    return min(float(text), 86400.0) if text is not None and text.isdigit() else None
