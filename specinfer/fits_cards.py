"""The primary header of a FITS file as bytes: read cards, and replace some of them.

Whoever lets a FITS library write a header gets every card in that library's own style.
Here the cards that are not ours keep every byte, and so does all that follows the header.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from specinfer.errors import ReadError

CARD, BLOCK = 80, 2880
_END = b"END".ljust(CARD)
_LONGEST_STRING = 68
# Sums in ones' complement, of big-endian words of 32 bits, are remainders of this number.
_ONES = 0xFFFFFFFF
_STRUCTURE = (b"NAXIS", b"BITPIX", b"GCOUNT", b"PCOUNT", b"GROUPS")
_PUNCTUATION = (*range(0x3A, 0x41), *range(0x5B, 0x61))


def split_header(data: bytes, start: int = 0) -> tuple[list[bytes], int]:
    """The cards of a header, without END, and where the header ends.

    Parameters
    ----------
    data : bytes
        A FITS file, or its start.
    start : int, optional
        Where the header begins; by default it is the primary one.

    Returns
    -------
    cards : list of bytes
        80 bytes each.
    end : int
        Of the last block of the header: here the data begin.

    Raises
    ------
    ReadError
        ``bad_fits`` if there is no complete header.
    """
    cards: list[bytes] = []
    for place in range(start, len(data) - CARD + 1, CARD):
        card = data[place : place + CARD]
        if card == _END:
            length = place + CARD - start
            end = start + padded(length)
            if end > len(data):
                break
            return cards, end
        cards.append(card)
    raise ReadError(
        "bad_fits", "the FITS header is truncated or damaged (no END); extract the spectrum again"
    )


def name_of(card: bytes) -> str:
    """The keyword of a card."""
    return card[:8].decode("latin-1").rstrip()


def values(cards: Sequence[bytes], prefixes: tuple[bytes, ...] = (b"",)) -> dict[str, Any]:
    """Values by keyword, the first card of a name wins; what does not parse is left out.

    Parameters
    ----------
    cards : sequence of bytes
    prefixes : tuple of bytes, optional
        Starts of the keywords that are wanted: headers are long.

    Returns
    -------
    dict
        str, bool, int or float. Cards without a value are left out.
    """
    found: dict[str, Any] = {}
    for card in cards:
        if card[8:10] == b"= " and card.startswith(prefixes):
            value = _value(card[10:].decode("latin-1").strip())
            if value is not None:
                found.setdefault(name_of(card), value)
    return found


def written(card: bytes) -> str:
    """The value of a card as it stands there; without the quotes of a string."""
    text = card[10:].decode("latin-1").strip()
    return str(_value(text)) if text.startswith("'") else text.partition("/")[0].strip()


def make_card(name: str, value: str, comment: str, *, number: bool) -> bytes:
    """A card in the fixed format.

    Parameters
    ----------
    name : str
        At most eight characters.
    value : str
        As it is to be written; at most 68 characters, with quotes doubled.
    comment : str
        Left out where there is no room for it.
    number : bool
        Whether the value stands without quotes.

    Returns
    -------
    bytes
        80 bytes.

    Raises
    ------
    ValueError
        If the value does not fit, or is no printable ASCII.
    """
    quoted = value.replace("'", "''")
    if len(quoted) > _LONGEST_STRING or not (value.isascii() and value.isprintable()):
        raise ValueError(f"{value!r} does not fit a FITS card")
    text = f"{name:<8}= " + (f"{value:>20}" if number else f"'{quoted:<8}'")
    if len(with_comment := f"{text:<30} / {comment}") <= CARD:
        text = with_comment
    return text.ljust(CARD).encode("ascii")


def with_cards(data: bytes, new: Sequence[bytes], replaced: Collection[str]) -> bytes:
    """A FITS file with some cards of its primary header exchanged.

    Parameters
    ----------
    data : bytes
        The file.
    new : sequence of bytes
        Cards that take the place of the first of the old ones, else that before END.
    replaced : collection of str
        Keywords of the cards that go.

    Returns
    -------
    bytes
        Every other card, and everything after the header, byte for byte. A CHECKSUM of the
        primary HDU is brought up to date.

    Raises
    ------
    ReadError
        ``bad_fits``.
    """
    cards, end = split_header(data)
    kept: list[bytes] = []
    place: int | None = None
    for card in cards:
        if name_of(card) in replaced:
            place = len(kept) if place is None else place
        else:
            kept.append(card)
    if place is None:
        place = len(kept)
    changed = [*kept[:place], *new, *kept[place:]]
    return _summed(changed, data[end:]) + data[end:]


def _header(cards: Sequence[bytes]) -> bytes:
    text = b"".join([*cards, _END])
    return text.ljust(padded(len(text)))


def _summed(cards: Sequence[bytes], rest: bytes) -> bytes:
    """The header, its CHECKSUM right if it has one."""
    at = next((i for i, card in enumerate(cards) if card.startswith(b"CHECKSUM=")), None)
    if at is None:
        return _header(cards)
    pixels = rest[: padded(_data_size(cards))]
    zero, summed = b"'" + b"0" * 16 + b"'", list(cards)
    summed[at] = cards[at][:10] + zero + cards[at][28:]
    total = int.from_bytes(_header(summed) + pixels, "big") % _ONES or _ONES
    summed[at] = cards[at][:11] + _encoded(_ONES - total) + cards[at][27:]
    return _header(summed)


def _encoded(value: int) -> bytes:
    """A 32-bit number as sixteen letters and digits (FITS standard 4.0, appendix J)."""
    text = [0] * 16
    for i, byte in enumerate(value.to_bytes(4, "big")):
        four = [byte // 4 + 48 + (byte % 4 if j == 0 else 0) for j in range(4)]
        while any(code in _PUNCTUATION for code in four):
            for j in (0, 2):
                if four[j] in _PUNCTUATION or four[j + 1] in _PUNCTUATION:
                    four[j] += 1
                    four[j + 1] -= 1
        for j in range(4):
            text[4 * j + i] = four[j]
    return bytes([text[-1], *text[:-1]])


def is_whole(data: bytes) -> bool:
    """Whether all HDUs of a FITS file are there; the padding of the last may be missing."""
    place = 0
    try:
        while place < len(data):
            cards, start = split_header(data, place)
            size = _data_size(cards)
            if start + size > len(data):
                return False
            place = start + padded(size)
            if place < len(data) and not data[place:].strip(b"\0 "):
                return True
    except (ReadError, TypeError, KeyError, ValueError):
        return False
    return bool(data)


def padded(size: int) -> int:
    """Bytes of the whole blocks that hold so many."""
    return -(-size // BLOCK) * BLOCK


def _data_size(cards: Sequence[bytes]) -> int:
    """Bytes of data after a header, without padding."""
    header = values(cards, _STRUCTURE)
    axes = [int(header[f"NAXIS{i + 1}"]) for i in range(int(header.get("NAXIS", 0)))]
    if not axes:
        return 0
    if axes[0] == 0 and header.get("GROUPS") is True:
        axes = axes[1:]
    pixels = 1
    for length in axes:
        pixels *= length
    per_pixel = abs(int(header["BITPIX"])) // 8
    return per_pixel * int(header.get("GCOUNT", 1)) * (int(header.get("PCOUNT", 0)) + pixels)


def _value(text: str) -> Any:
    if text.startswith("'"):
        parts, rest = [], text[1:]
        while True:
            part, quote, rest = rest.partition("'")
            parts.append(part)
            if not (quote and rest.startswith("'")):
                return "".join(parts).rstrip()
            parts.append("'")
            rest = rest[1:]
    word = text.partition("/")[0].strip()
    if word in ("T", "F"):
        return word == "T"
    try:
        return int(word)
    except ValueError:
        pass
    try:
        return float(word.replace("D", "E").replace("d", "e"))
    except ValueError:
        return None
