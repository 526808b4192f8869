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
# Remarks, among them those of programs that come after us.
_REMARKS = ("HISTORY", "COMMENT", "")
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
    ours : dict of str to str
        Our own block, as it stands in the file; empty if there is none.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    sedm: bool = False
    sha256: str = ""
    ours: dict[str, str] = field(default_factory=dict)


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
    facts = fits_cards.values(cards)
    own = {}
    for card in cards:
        if (name := fits_cards.name_of(card)) in KEYS:
            own[name] = fits_cards.written(card)
            facts.pop(name, None)
    others = [card for card in cards if fits_cards.name_of(card) not in (*KEYS, *_REMARKS)]
    return _content(facts, own, others, data[end:])


def _of_text(data: bytes) -> Content:
    # Heavier than this module: numpy comes with it.
    from specinfer.readers.text_lines import header_facts

    lines, end = comment_lines(data)
    own, others = {}, []
    for line in lines:
        match = OWN_LINE.match(line.rstrip(b"\n"))
        if match:
            own[match.group(1).decode()] = match.group(2).decode("latin-1")
        else:
            others.append(line)
    facts = header_facts(line.decode("latin-1") for line in others)
    return _content(facts, own, others, data[end:])


def _content(
    facts: dict[str, Any], own: dict[str, str], others: Iterable[bytes], rest: bytes
) -> Content:
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
    return Content(facts, is_sedm, digest.hexdigest(), own)
