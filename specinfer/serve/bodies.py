"""Reading what a client sends: never more than allowed, never for longer than allowed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from specinfer.serve.failures import RequestFailure
from specinfer.serve.settings import Settings

# Types of a body that is the file itself, as `curl --data-binary` sends one.
FILE_TYPES = ("application/octet-stream", "application/fits", "image/fits")


@dataclass(frozen=True)
class Upload:
    """A file that was sent.

    Parameters
    ----------
    name : str
        As the client gives it, not to be trusted.
    data : bytes
    """

    name: str
    data: bytes


async def read_body(request: Request, settings: Settings) -> bytes:
    """The whole body of a request.

    Parameters
    ----------
    request : Request
    settings : Settings
        For the limits.

    Returns
    -------
    bytes

    Raises
    ------
    RequestFailure
        413 if it is too large, 408 if it comes too slowly, 400 if the client goes away.
    """
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(settings.timeout):
            async for part in request.stream():
                size += len(part)
                if size > settings.max_body:
                    # What is over is read, up to a limit, and thrown away: a client that is
                    # still writing when the connection closes would not see the answer.
                    body.clear()
                    if size > 4 * settings.max_body:
                        break
                else:
                    body += part
    except TimeoutError:
        raise RequestFailure(
            408,
            "too_slow",
            f"the request did not arrive within {settings.timeout:g} s; send it again",
            {"Connection": "close"},
        ) from None
    except ClientDisconnect:
        raise RequestFailure(400, "disconnected", "the client went away") from None
    if size > settings.max_body:
        raise RequestFailure(
            413,
            "too_large",
            f"a request may have {settings.max_body} bytes; send fewer spectra at a time",
            {"Connection": "close"},
        )
    if not body:
        raise RequestFailure(400, "empty_body", "the request has no body; send a spectrum")
    return bytes(body)


def content_type(headers: Mapping[str, str]) -> str:
    """The type of a body, in lower case and without parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


async def file_of_form(headers: Headers, body: bytes) -> Upload:
    """The one file of a multipart form.

    Raises
    ------
    RequestFailure
        400, code ``bad_form``.
    """

    async def parts() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await MultiPartParser(headers, parts(), max_files=1, max_fields=1).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        reason = getattr(error, "message", "it has no boundary")
        raise _bad(f"the form cannot be read: {reason}") from None
    try:
        values = [value for _, value in form.multi_items()]
        if len(values) != 1 or not isinstance(values[0], UploadFile):
            raise _bad("the form must hold one file and nothing else; options go into the query")
        data = await values[0].read()
        if not data:
            raise RequestFailure(
                422, "empty_file", "the file is empty (0 bytes); the extraction probably failed"
            )
        return Upload(values[0].filename or "", data)
    finally:
        await form.close()


def _bad(message: str) -> RequestFailure:
    return RequestFailure(400, "bad_form", message)
