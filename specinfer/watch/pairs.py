"""Extractions of one exposure: which files belong together, and whether they agree.

SEDM extracts a target more than once: ``robot`` as it comes, ``contsep`` with the host
separated, others by hand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

# spec_auto_<tag>_lstep1__crr_b_ifuYYYYMMDD_HH_MM_SS_<target>.fits
_NAME = re.compile(
    r"spec_(?P<how>.+?)_+lstep\d+_.*?(?P<exposure>ifu\d{8}_\d\d_\d\d_\d\d)(?:_(?P<target>.+))?$"
)
# Redshifts of two extractions of one object differ by less than this many errors, or by
# less than a broad line can be placed.
_SIGMAS = 4.0
_LEAST_DIFFERENCE = 0.005


@dataclass(frozen=True)
class Extraction:
    """What the name of a file says.

    Parameters
    ----------
    exposure : str
        ``ifuYYYYMMDD_HH_MM_SS`` with the target: what two extractions have in common.
    extraction : str
        How it was extracted: robot, contsep, ...
    """

    exposure: str
    extraction: str


class Answered(Protocol):
    """The answer to one extraction, in short."""

    @property
    def file(self) -> str:
        """Name of the file."""

    @property
    def extraction(self) -> str | None:
        """robot, contsep, ..."""

    @property
    def class_name(self) -> str | None:
        """The most probable class."""

    @property
    def probability(self) -> float | None:
        """Its probability."""

    @property
    def redshift(self) -> float | None:
        """The redshift."""

    @property
    def redshift_err(self) -> float | None:
        """Its error."""


def parse(name: str) -> Extraction | None:
    """What a file name says about exposure and extraction; None if it is no SEDM name.

    Parameters
    ----------
    name : str
        With or without folders and ending.

    Examples
    --------
    >>> parse("spec_auto_contsep_lstep1__crr_b_ifu20261121_05_01_00_ZTF26a.fits").extraction
    'contsep'
    """
    stem = re.sub(r"\.(fits|txt)$", "", name.rsplit("/", 1)[-1])
    match = _NAME.match(stem)
    if match is None:
        return None
    exposure = "_".join(part for part in (match["exposure"], match["target"]) if part)
    return Extraction(exposure, match["how"].removeprefix("auto_"))


def disagreement(one: Answered, others: Iterable[Answered]) -> str | None:
    """How an answer differs from those of other extractions of its exposure.

    Parameters
    ----------
    one : Answered
    others : iterable of Answered
        Of the same exposure; `one` itself and those without an answer are passed over.

    Returns
    -------
    str or None
        ``robot: SN Ia P=0.93 z=0.031; contsep: Galaxy P=0.81 z=0.030``, None if all agree.
    """
    differing = [other for other in others if other.file != one.file and _differ(one, other)]
    if not differing:
        return None
    return "; ".join(_words(answer) for answer in (one, *differing))


def _differ(one: Answered, other: Answered) -> bool:
    if one.class_name is None or other.class_name is None:
        return False
    if one.class_name != other.class_name:
        return True
    if one.redshift is None or other.redshift is None:
        return False
    error = math.hypot(one.redshift_err or 0.0, other.redshift_err or 0.0)
    allowed = max(_LEAST_DIFFERENCE * (1.0 + one.redshift), _SIGMAS * error)
    return abs(one.redshift - other.redshift) > allowed


def _words(answer: Answered) -> str:
    words = f"{answer.extraction or answer.file}: {answer.class_name}"
    if answer.probability is not None:
        words += f" P={answer.probability:.2f}"
    return words if answer.redshift is None else f"{words} z={answer.redshift:.4f}"
