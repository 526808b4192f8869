"""Plain FITS images, read without astropy: its import takes longer than an answer.

Only what leaves no room for interpretation: standard cards, unscaled images, complete to
the last block. Every other file is left to astropy, which knows the rest of the standard
and what people do instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer import fits_cards
from specinfer.errors import ReadError

# A card with a value, of the fixed or the free format (FITS standard 4.0, section 4.2).
_CARD = re.compile(
    r"(?P<name>[A-Z0-9_-]{1,8}) *= "
    r" *(?:'(?P<text>(?:[^']|'')*)'|(?P<truth>[TF])|(?P<whole>[+-]?\d+)"
    r"|(?P<real>[+-]?(?:\d+\.?\d*|\.\d+)(?:[ED][+-]?\d+)?))? *(?:/.*)?"
)
# Long or spaced names, which nobody asks a spectrum for.
_LONG_NAME = re.compile(r"HIERARCH +(?:[^ =]{9,}|[^ =]+(?: +[^ =]+)+) *=.*")
_REMARKS = ("COMMENT", "HISTORY", "")
# Pixels that mean something else than they say, or more than one array.
_NOT_PLAIN = ("BSCALE", "BZERO", "BLANK", "GROUPS", "ZIMAGE")
_TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


@dataclass(frozen=True, eq=False)
class PlainImage:
    """One image of a FITS file, with the attributes of astropy's HDUs that readers use.

    Parameters
    ----------
    name : str
        EXTNAME in capitals; "PRIMARY" for a primary image without one.
    header : dict of str to value
        By keyword; the first card of a name counts. None where the value is left open.
    data : ndarray or None
        As it is in the file (big-endian, read-only); None without pixels.
    """

    name: str
    header: dict[str, Any]
    data: NDArray[Any] | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image; empty without pixels."""
        return () if self.data is None else self.data.shape


class _NotPlainError(Exception):
    """The file is for astropy."""


def plain_images(data: bytes) -> list[PlainImage] | None:
    """The images of a FITS file that has nothing else.

    Parameters
    ----------
    data : bytes
        The file.

    Returns
    -------
    list of PlainImage or None
        None if there is anything in the file that is not plain, or damaged.
    """
    images: list[PlainImage] = []
    place = 0
    try:
        while place < len(data):
            image, place = _image(data, place)
            images.append(image)
    except (_NotPlainError, ReadError):
        return None
    return images or None


def _image(data: bytes, place: int) -> tuple[PlainImage, int]:
    """The image that begins at `place`, and where it ends."""
    cards, start = fits_cards.split_header(data, place)
    header = _header(cards)
    first = place == 0
    opening = ("SIMPLE", True) if first else ("XTENSION", "IMAGE")
    if next(iter(header.items()), None) != opening or not header.keys().isdisjoint(_NOT_PLAIN):
        raise _NotPlainError
    if (header.get("PCOUNT", 0), header.get("GCOUNT", 1)) != (0, 1):
        raise _NotPlainError
    pixels = None
    shape = tuple(_size(header, f"NAXIS{i}") for i in range(_size(header, "NAXIS"), 0, -1))
    kind = _TYPES.get(_integer(header, "BITPIX"))
    if kind is None:
        raise _NotPlainError
    end = start
    if shape:
        count = int(np.prod(shape, dtype=object))
        used = count * np.dtype(kind).itemsize
        end = start + fits_cards.padded(used)
        if not count or end > len(data):
            raise _NotPlainError
        pixels = np.frombuffer(data, kind, count, start).reshape(shape)
    name = header.get("EXTNAME", "PRIMARY" if first else "")
    if not isinstance(name, str):
        raise _NotPlainError
    return PlainImage(name.upper(), header, pixels), end


def _header(cards: list[bytes]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for card in cards:
        if not card.isascii():
            raise _NotPlainError
        text = card.decode("ascii")
        if text[:8].rstrip() in _REMARKS:
            continue
        match = _CARD.fullmatch(text)
        if match is None or not text.isprintable() or text[8] != "=":
            if _LONG_NAME.fullmatch(text) and text.isprintable():
                continue
            raise _NotPlainError
        if (match["text"] or "").rstrip().endswith("&"):
            # Goes on in the next card, as some write it.
            raise _NotPlainError
        found.setdefault(match["name"], _value(match))
    return found


def _value(match: re.Match[str]) -> Any:
    if match["text"] is not None:
        return match["text"].replace("''", "'").rstrip()
    if match["truth"]:
        return match["truth"] == "T"
    if match["whole"]:
        return int(match["whole"])
    return float(match["real"].replace("D", "E")) if match["real"] else None


def _integer(header: dict[str, Any], name: str) -> int:
    value = header.get(name)
    if type(value) is not int:
        raise _NotPlainError
    return value


def _size(header: dict[str, Any], name: str) -> int:
    """A number of axes or pixels that can be one."""
    value = _integer(header, name)
    if not 0 <= value < 1 << 31 or (name == "NAXIS" and value > 9):
        raise _NotPlainError
    return value
