"""Every error that specinfer raises on purpose.

Each carries a short machine-readable ``code`` (it lands in the ``error.code``
field of the result) and a sentence for people that says what is wrong and what
to do about it.
"""

from __future__ import annotations


class SpecinferError(Exception):
    """Base class of all errors raised on purpose.

    Parameters
    ----------
    code : str
        Short identifier in ``snake_case``, stable between versions.
    message : str
        One sentence (or two) for people: what is wrong, and what to do.
    """

    exit_code = 1

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class ReadError(SpecinferError):
    """A file, or one row of it, does not hold a usable spectrum.

    Parameters
    ----------
    code, message : str
        See `SpecinferError`.
    row : int, optional
        Row of a multi-object file that the error is about.
    object : str, optional
        Name or identifier of the object in that row, if it is known.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        row: int | None = None,
        object: str | None = None,
    ) -> None:
        super().__init__(code, message)
        self.row = row
        self.object = object


class UsageError(SpecinferError):
    """The call asks for something that does not exist or does not fit together."""

    exit_code = 2


class ModelError(SpecinferError):
    """A model is missing, altered, or not readable by this version."""

    exit_code = 3


class DeviceError(SpecinferError):
    """The execution provider that was asked for does not work on this machine."""

    exit_code = 3


class SpecinferWarning(UserWarning):
    """Something was handled, but the caller should know."""
