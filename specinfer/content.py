"""What a file says before its spectrum is read: header facts, and a hash of what matters."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from specinfer import fits_cards
from specinfer.errors import ReadError

FITS_MAGIC = b"SIMPLE  ="
# Our own cards and lines; see `specinfer.annotation`.
KEYS = (
    "SPITYPE",
    "SPIPROB",
    "SPIZ",
    "SPIZERR",
    "SPIPHASE",
    "SPISTAT",
    "SPIFLAGS",
    "SPIMODEL",
    "SPINOVEL",
    "SPIDATE",
)
OWN_LINE = re.compile(rb"#[ \t]*(" + "|".join(KEYS).encode() + rb")[ \t]*:[ \t]*(.*?)[ \t\r]*$")
# Remarks, among them those of programs that come after us, and the sum that covers our cards.
_PASSED_OVER = ("HISTORY", "COMMENT", "", "CHECKSUM")
# Where the axis of an SEDM spectrum comes from, besides the facts that are kept.
_SEDM_AXIS = ("BITPIX", "NAXIS", "NAXIS1", "BSCALE", "BZERO", "CRVAL1", "CDELT1", "INSTRUME")


@dataclass(frozen=True)
class Content:
    """A file, looked at.

    Parameters
    ----------
    facts : dict
        Header values by upper-case name (of FITS: the primary header).
    sedm : bool
        Whether it is an SEDM spectrum, so that the gates apply.
    sha256 : str
        Of what an answer depends on: the same after our annotation, and, for SEDM, after
        those of other classifiers. Empty if the file could not be read at all.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    sedm: bool = False
    sha256: str = ""


def look_at(data: bytes) -> Content:
    """The facts and the hash of a file's contents.

    Parameters
    ----------
    data : bytes
        The file. Never fails: what is neither FITS nor text with a header has no facts.

    Returns
    -------
    Content
    """
    if data.startswith(FITS_MAGIC):
        return _of_fits(data)
    return _of_text(data)


def own_block(data: bytes) -> dict[str, str]:
    """Our own cards or lines in a file, by key, as they stand there."""
    if data.startswith(FITS_MAGIC):
        try:
            cards, _ = fits_cards.split_header(data)
        except ReadError:
            return {}
        ours = [card for card in cards if card.startswith(b"SPI")]
        return {
            name: fits_cards.written(c) for c in ours if (name := fits_cards.name_of(c)) in KEYS
        }
    own = {}
    for line in comment_lines(data)[0]:
        if match := OWN_LINE.match(line.rstrip(b"\n")):
            own[match.group(1).decode()] = match.group(2).decode("latin-1")
    return own


def comment_lines(data: bytes) -> tuple[list[bytes], int]:
    """The lines with ``#`` that a text begins with, ends of line kept, and where they end."""
    lines = []
    place = 0
    while data.startswith(b"#", place):
        end = data.find(b"\n", place) + 1 or len(data)
        lines.append(data[place:end])
        place = end
    return lines, place


def _of_fits(data: bytes) -> Content:
    try:
        cards, end = fits_cards.split_header(data)
    except ReadError:
        return Content(sha256=hashlib.sha256(data).hexdigest())
    left_out = {*KEYS, *_PASSED_OVER}
    others = [card for card in cards if fits_cards.name_of(card) not in left_out]
    return _content(fits_cards.values(others), others, data[end:])


def _of_text(data: bytes) -> Content:
    # Heavier than this module: numpy comes with it.
    from specinfer.readers.text_lines import header_facts

    lines, end = comment_lines(data)
    others = [line for line in lines if not OWN_LINE.match(line.rstrip(b"\n"))]
    facts = header_facts(line.decode("latin-1") for line in others)
    return _content(facts, others, data[end:])


def _content(facts: dict[str, Any], others: Iterable[bytes], rest: bytes) -> Content:
    from specinfer.readers import sedm

    is_sedm = sedm.is_sedm(facts)
    digest = hashlib.sha256()
    if is_sedm:
        # Other classifiers write their results into these headers all night.
        names = sorted({*sedm.KEPT, *_SEDM_AXIS} & facts.keys())
        digest.update("".join(f"{name}={facts[name]!r}\n" for name in names).encode())
    else:
        for card in others:
            digest.update(card)
    digest.update(rest)
    return Content(facts, is_sedm, digest.hexdigest())
