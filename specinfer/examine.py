"""A spectrum's files before it is read: which one counts, and what its header says."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from specinfer.content import Content, look_at
from specinfer.errors import ReadError
from specinfer.fits_cards import is_whole
from specinfer.gates import Gate, SkipRules, gate
from specinfer.readers.base import Source
from specinfer.replacing import Snapshot, snapshot
from specinfer.twins import Twins, find_twins


@dataclass(frozen=True)
class Examined:
    """A spectrum before it is read.

    Parameters
    ----------
    twins : Twins
    main : Snapshot or None
        The file to read; None if that fails.
    content : Content
    gate : Gate or None
        Why it is not to be classified, or why it cannot be.
    """

    twins: Twins
    main: Snapshot | None
    content: Content
    gate: Gate | None

    @property
    def object(self) -> str | None:
        """The target, as the header names it."""
        name = self.content.facts.get("OBJECT") or self.content.facts.get("NAME")
        return None if name is None else str(name)


def examine(path: str | os.PathLike[str], rules: SkipRules | None) -> Examined:
    """Look at a file and its header, without reading the spectrum.

    Parameters
    ----------
    path : path
        FITS or text. Of twins the FITS file counts, which has all digits, unless it is
        empty or damaged.
    rules : SkipRules or None
        What to skip, of SEDM spectra.

    Returns
    -------
    Examined
    """
    twins = find_twins(path)
    try:
        main = _main_file(twins)
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror or error}"
        return Examined(twins, None, Content(), Gate("UNREADABLE", reason))
    try:
        plain = Source(main.data, name=str(main.path)).data
    except ReadError as error:  # empty, or its compression is damaged
        return Examined(twins, main, look_at(main.data), Gate("UNREADABLE", error.message))
    content = look_at(plain)
    return Examined(twins, main, content, gate(content.facts, rules) if content.sedm else None)


def _main_file(twins: Twins) -> Snapshot:
    if twins.fits is not None and twins.text is not None:
        with contextlib.suppress(OSError):
            main = snapshot(twins.fits)
            if is_whole(main.data):
                return main
        return snapshot(twins.text)
    return snapshot(twins.given)
