"""What a request can fail with: a status, a code and a sentence, always as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from specinfer.errors import SpecinferError


class RequestFailure(Exception):
    """A request that is answered with an error.

    Parameters
    ----------
    status : int
        HTTP status, 4xx or 5xx.
    code : str
        Short identifier in ``snake_case``, stable between versions.
    message : str
        One sentence for people: what is wrong, and what to do.
    headers : mapping of str to str, optional
        More headers of the answer, such as Retry-After.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def __str__(self) -> str:
        return self.message

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(self.to_dict(), self.status, self.headers)

    def to_dict(self) -> dict[str, Any]:
        """``{"error": {"code", "message"}}``, the message on one line."""
        return {"error": {"code": self.code, "message": " ".join(self.message.split())}}


def busy(seconds: int, what: str) -> RequestFailure:
    """429: a queue is full, and is expected to have room in so many seconds."""
    return RequestFailure(
        429,
        "queue_full",
        f"{what}; try again in {seconds} s",
        {"Retry-After": str(seconds)},
    )


def from_error(error: Exception) -> RequestFailure:
    """The answer for an exception of the work itself; what is unknown is a 500.

    A spectrum that cannot be used is the client's (422), a model that does not work is ours.
    """
    if isinstance(error, RequestFailure):
        return error
    if isinstance(error, SpecinferError):
        # 3: a model, a device or an optional package, not what was sent.
        return RequestFailure(503 if error.exit_code == 3 else 422, error.code, error.message)
    return RequestFailure(
        500,
        "internal_error",
        "something went wrong inside specinfer; the log of the service says what, "
        "please report it as a bug",
    )
