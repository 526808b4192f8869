"""Which spectra are not classified, and in what state every file ends.

The SEDM pipeline's own tools skip standard stars, galaxies, uncalibrated and non-sidereal
targets by looking for words in the path. Here the header decides, which holds what the path
lacks: a spectrum that is not flux-calibrated need not say so in its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from specinfer.result import Classification

State = Literal["OK", "LOWQ", "ABSTAIN", "UNREADABLE", "STD", "MOVING", "UNCALIBRATED"]
# Every file ends in one of these.
STATES: tuple[State, ...] = (
    "OK",
    "LOWQ",
    "ABSTAIN",
    "UNREADABLE",
    "STD",
    "MOVING",
    "UNCALIBRATED",
)
# As the pipeline's tools name them; only at the start of a name, where SN 2024bd has no BD.
_STANDARD = re.compile(
    r"STD\b|BD[ +_-]?\d|Feige[ _-]?\d|HZ[ _-]?\d|Hilt(ner)?[ _-]?\d|Kopff|LTT[ _-]?\d|G191",
    re.IGNORECASE,
)
_GALAXY = re.compile(r"(NGC|PGC|MCG|2MASX)[ +_-]?[\dJ]", re.IGNORECASE)
_STAR = re.compile(r"(TYC|SAO|HD|Tycho)[ _-]?\d", re.IGNORECASE)
_SLOT = re.compile(r"\s*\[\w\]$")
_NO = ("f", "false", "no", "n", "0")
# Values of QUALITY that the pipeline's classifiers pass over. The others are 0, 1 (recovered by
# hand) and 5 (no astrometry, the brightest spaxel taken).
_QUALITIES: dict[float | None, str] = {
    3: "the target was outside the IFU",
    4: "more than a fifth of the pixels are negative",
}
# Flags of an answer that rests on too little, and of one that is not to be believed.
_LITTLE = ("LOW_SNR", "LITTLE_COVERAGE", "NO_SIGNAL")
_DOUBTFUL = ("NOVEL", "UNRELIABLE")
# Without half of the probability no class stands out.
_STANDS_OUT = 0.5


@dataclass(frozen=True)
class SkipRules:
    """What is skipped; each rule by itself.

    Parameters
    ----------
    standards : bool
        Standard stars, by IMGTYPE or by name (``STD-``, BD, Feige, HZ, Hiltner, Kopff, LTT).
    galaxies : bool
        Catalogued galaxies and stars, by name (NGC, PGC, MCG, 2MASX; TYC, SAO, HD).
    uncalibrated : bool
        FLUXCAL is false.
    moving : bool
        Non-sidereal targets: RA_RATE or DEC_RATE is not zero.
    quality : bool
        QUALITY 3 (outside the IFU) and 4 (negative pixels).
    """

    standards: bool = True
    galaxies: bool = True
    uncalibrated: bool = True
    moving: bool = True
    quality: bool = True


@dataclass(frozen=True)
class Gate:
    """A state, and in words why.

    Parameters
    ----------
    state : str
        One of `STATES`.
    reason : str
        One sentence; empty where nothing needs a reason.
    """

    state: State
    reason: str


def gate(header: Mapping[str, Any], rules: SkipRules | None) -> Gate | None:
    """Why a spectrum is not to be classified, by its header.

    Parameters
    ----------
    header : mapping
        Cards of an SEDM header by upper-case name. Other instruments' cards of these names
        mean other things: ask only for SEDM (`specinfer.readers.sedm.is_sedm`).
    rules : SkipRules or None
        None skips nothing.

    Returns
    -------
    Gate or None
        None: classify it.
    """
    if rules is None:
        return None
    name = _name(header)
    kind = str(header.get("IMGTYPE") or "").strip()
    if rules.standards and (kind.upper().startswith(("STD", "STANDARD")) or _STANDARD.match(name)):
        return Gate("STD", f"a standard star ({name or kind})")
    if rules.galaxies and _GALAXY.match(name):
        return Gate("ABSTAIN", f"a catalogued galaxy by its name ({name})")
    if rules.galaxies and _STAR.match(name):
        return Gate("ABSTAIN", f"a catalogued star by its name ({name})")
    if rules.uncalibrated and _is_false(header.get("FLUXCAL")):
        return Gate("UNCALIBRATED", "not flux-calibrated (FLUXCAL is false)")
    rates = {key: _number(header.get(key)) for key in ("RA_RATE", "DEC_RATE")}
    moving = [f"{key} {value:g}" for key, value in rates.items() if value]
    if rules.moving and moving:
        return Gate("MOVING", f"a non-sidereal target ({', '.join(moving)})")
    quality = _number(header.get("QUALITY"))
    if rules.quality and quality in _QUALITIES:
        return Gate("LOWQ", f"QUALITY {quality:g}: {_QUALITIES[quality]}")
    return None


def judge(result: Classification) -> Gate:
    """The state in which a result leaves its file.

    Parameters
    ----------
    result : Classification

    Returns
    -------
    Gate
        OK; LOWQ where the answer rests on too little signal or wavelength range; ABSTAIN
        where no class stands out, or the spectrum is unlike all that the model knows;
        UNREADABLE for a failed result. All but the last may have an answer, which is not
        to be taken at its word.
    """
    if not result.ok or result.probability is None:
        error = result.error or {}
        return Gate("UNREADABLE", str(error.get("message") or "there is no answer"))
    for names, state in ((_LITTLE, "LOWQ"), (_DOUBTFUL, "ABSTAIN")):
        found = [name for name in names if name in result.flags]
        if found:
            return Gate(state, f"flagged {', '.join(found)}")  # type: ignore[arg-type]
    if result.probability < _STANDS_OUT:
        return Gate("ABSTAIN", f"no class stands out (P = {result.probability:.2f} at most)")
    return Gate("OK", "")


def _name(header: Mapping[str, Any]) -> str:
    """The target, without the slot of the observing queue ("STD-Feige34 [A]")."""
    value = header.get("OBJECT") or header.get("NAME") or ""
    return _SLOT.sub("", str(value).strip())


def _is_false(value: Any) -> bool:
    """Whether a card says no; one that says nothing does not."""
    if isinstance(value, str):
        return value.strip().lower() in _NO
    return value is not None and not value


def _number(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
