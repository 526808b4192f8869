"""Sending an analysis back: only to hosts that were configured, with retries.

The URL comes from the request, so it could name any machine that this one can reach.
Host and port are compared as written with the configured ones, the request is made from
the parts that were compared, proxies of the environment are not used, and redirects are
not followed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from specinfer.serve.failures import RequestFailure
from specinfer.serve.settings import Settings

if TYPE_CHECKING:
    import httpx

LOG = logging.getLogger("specinfer.serve")

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_TARGET = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
# Statuses that a later try may change; any other is the portal's last word.
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
# Seconds before the second try; doubled before each further one.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


@dataclass(frozen=True)
class Target:
    """Where an analysis is sent.

    Parameters
    ----------
    url : str
        Put together again from the parts that were checked.
    host : str
        For messages: the rest of the URL holds a secret.
    """

    url: str
    host: str


def check_url(url: Any, allowed: Sequence[str]) -> Target:
    """The target of a callback URL, if its host is one of the configured.

    Parameters
    ----------
    url : any
        As it came.
    allowed : sequence of str
        ``host`` (at port 80 of http or 443 of https) or ``host:port``.

    Returns
    -------
    Target

    Raises
    ------
    RequestFailure
        400 ``bad_callback`` for what is no plain URL, 403 ``callback_not_allowed`` for a
        host that is not configured.
    """
    bad = RequestFailure(
        400, "bad_callback", "callback_url must be a plain http or https URL of at most 2000 bytes"
    )
    if not isinstance(url, str) or len(url) > 2000 or not url.isascii():
        raise bad
    # Before urlsplit, which drops line breaks and takes more than one client reads the same.
    head, _, rest = url.partition("://")
    authority = re.match(r"[^/?#]*", rest)
    assert authority is not None
    target = rest[authority.end() :] or "/"
    if head.lower() not in _PORTS or not _TARGET.fullmatch(target):
        raise bad
    try:
        parts = urlsplit(f"{head.lower()}://{authority.group()}")
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    except ValueError:
        raise bad from None
    is_ipv6 = ":" in host
    if "@" in authority.group() or not (is_ipv6 or _HOST.fullmatch(host)):
        raise bad
    if not any(_matches(host, port, parts.scheme, entry) for entry in allowed):
        raise RequestFailure(
            403,
            "callback_not_allowed",
            f"callbacks to {host}:{port} are not allowed; add it to callback_hosts of the service",
        )
    shown = f"[{host}]" if is_ipv6 else host
    return Target(f"{parts.scheme}://{shown}:{port}{target}", f"{host}:{port}")


def _matches(host: str, port: int, scheme: str, entry: str) -> bool:
    entry = entry.strip().lower()
    if entry.count(":") == 1:
        name, _, number = entry.partition(":")
        return host == name and str(port) == number
    return host == entry.strip("[]") and port == _PORTS[scheme]


class Sender:
    """Sends analyses; one HTTP client for all.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: httpx.AsyncClient | None = None
        self.first_pause = FIRST_PAUSE

    async def send(self, target: Target, document: dict[str, Any], until: float | None) -> str:
        """Send one analysis, trying again while that may help.

        Parameters
        ----------
        target : Target
        document : dict
        until : float or None
            Unix time after which nobody wants it any more.

        Returns
        -------
        str
            ``delivered``, ``refused`` (an answer that no further try will change),
            ``expired``, or ``failed`` after the last try.
        """
        pause, reason = self.first_pause, ""
        attempts = self._settings.callback_attempts
        for attempt in range(1, attempts + 1):
            if until is not None and time.time() > until:
                LOG.error("callback to %s: nobody waits for it any more (%s)", target.host, reason)
                return "expired"
            status, reason = await self._try(target, document)
            if status is not None and 200 <= status < 300:
                return "delivered"
            if status is not None and status not in _AGAIN:
                LOG.error("callback to %s was refused: %s", target.host, reason)
                return "refused"
            LOG.warning("callback to %s, try %d/%d: %s", target.host, attempt, attempts, reason)
            if attempt < attempts:
                # Not all at the same moment after the portal comes back.
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(2.0 * pause, LONGEST_PAUSE)
        LOG.error("callback to %s failed %d times; given up", target.host, attempts)
        return "failed"

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _try(self, target: Target, document: dict[str, Any]) -> tuple[int | None, str]:
        """Status of the answer (None: there was none), and what to say of it."""
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(
                follow_redirects=False, trust_env=False, timeout=self._settings.callback_timeout
            )
        try:
            async with (
                asyncio.timeout(self._settings.callback_timeout),
                # The body of the answer says nothing that we need, and may be endless.
                self._client.stream("POST", target.url, json=document) as answer,
            ):
                return answer.status_code, f"the portal answered {answer.status_code}"
        except TimeoutError:
            return None, "no answer in time"
        except httpx.HTTPError as error:
            # The message may hold the URL, which holds a secret.
            return None, f"the portal cannot be reached ({type(error).__name__})"
