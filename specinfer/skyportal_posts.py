"""What of an answer goes to a SkyPortal: from a sidecar's document to posts.

Nothing here talks to a portal. What only the portal knows (the id of a spectrum, of the
taxonomy) is left for `specinfer.skyportal` to find.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from specinfer.config_tables import DecisionConfig, SkyPortalConfig
from specinfer.errors import UsageError
from specinfer.twins import stem_of

Kind = Literal["annotation", "classification", "comment", "redshift"]

# SpectraNet's classes as SkyPortal's taxonomy calls them. What is missing is never posted:
# the taxonomy has no galaxy and no star.
CLASSES: Mapping[str, str] = {
    "SN Ia": "Ia",
    "SN Ib": "Ib",
    "SN Ic": "Ic",
    "SN Ic-BL": "Ic-BL",
    "SN IIb": "IIb",
    "SN Ibn": "Ibn",
    "SN II": "Type II",
    "SN IIn": "IIn",
    "SLSN-I": "Ic-SLSN",
    "TDE": "Tidal Disruption Event",
    "AGN/QSO": "AGN",
    "CV": "Cataclysmic",
    "QSO": "QSO",
}
# Numbers of a result that annotations hold.
NUMBERS = (
    "probability", "redshift", "redshift_err", "phase", "phase_err", "snr", "novelty",
    "host_share", "reliability", "delta_chi2", "zwarning",
)  # fmt: skip

# States of a sidecar whose answer is worth showing; of LOWQ only noise would be shown.
_SHOWN_STATES = ("OK", "ABSTAIN")
_SCHEMA = "specinfer.sidecar/"
# The pipeline adds the extracted part of the field to the name: "ZTF20abwdwoa [A]".
_PART = re.compile(r"\s*\[[^\]]*\]\s*$")
_OBJECT_IN_NAME = re.compile(r"ifu\d{8}_\d\d_\d\d_\d\d_(.+)$")
# What SkyPortal takes as the name of an object.
_OBJECT = re.compile(r"[0-9A-Za-z_.+-]{1,128}")


@dataclass(frozen=True)
class Post:
    """Something to be at the portal, once.

    Parameters
    ----------
    kind : {"annotation", "classification", "comment", "redshift"}
    obj : str
        The object's name at the portal.
    stems : tuple of str
        Names that the spectrum's file goes by, without folder and ending.
    body : mapping
        What is sent, except for what only the portal knows.
    picture : str or None
        Path of the picture that goes with a comment.
    """

    kind: Kind
    obj: str
    stems: tuple[str, ...]
    body: Mapping[str, Any]
    picture: str | None = None

    def body_json(self) -> str:
        """The body as text, the same for the same body."""
        return json.dumps(self.body, sort_keys=True, allow_nan=False)


@dataclass(frozen=True)
class Posts:
    """All of one answer: what to post, and what is held back with the reason."""

    sha256: str
    model: str
    posts: tuple[Post, ...]
    withheld: tuple[tuple[Post, str], ...] = ()


def make_posts(
    document: Mapping[str, Any],
    path: Path,
    picture: Path | None,
    config: SkyPortalConfig,
    decisions: DecisionConfig,
) -> Posts:
    """What to post of one sidecar.

    Parameters
    ----------
    document : mapping
        The sidecar's.
    path : Path
        The spectrum.
    picture : Path or None
        Its picture; without one there is no comment.
    config : SkyPortalConfig
    decisions : DecisionConfig

    Returns
    -------
    Posts
        Nothing to post for spectra that were skipped, unreadable or of low quality.

    Raises
    ------
    UsageError
        ``bad_sidecar``: this is not the document of a sidecar.
    """
    try:
        if not str(document["schema"]).startswith(_SCHEMA):
            raise UsageError(
                "bad_sidecar", f"{path}: its sidecar is of another kind ({document['schema']})"
            )
        return _made(document, path, picture, config, decisions)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(
            "bad_sidecar",
            f"{path}: its sidecar is not complete ({type(error).__name__}: {error}); classify "
            "it again",
        ) from None


def _made(
    document: Mapping[str, Any],
    path: Path,
    picture: Path | None,
    config: SkyPortalConfig,
    decisions: DecisionConfig,
) -> Posts:
    result = document["result"]
    if document["state"] not in _SHOWN_STATES or not result or result["status"] != "ok":
        return Posts(str(document["sha256"]), str(document["model"]), ())
    stem = stem_of(path)
    obj = object_of(result, stem)
    if obj is None:
        return Posts(document["sha256"], document["model"], ())
    posts: list[Post] = []
    withheld: list[tuple[Post, str]] = []

    def add(kind: Kind, body: Mapping[str, Any], shown: Path | None = None) -> None:
        posts.append(Post(kind, obj, (stem,), body, None if shown is None else str(shown)))

    groups = {"group_ids": list(config.group_ids)} if config.group_ids else {}
    if config.annotations:
        add("annotation", {"origin": config.origin, "data": annotation_data(result), **groups})
    if config.comments and picture is not None:
        text = comment_text(document)
        name = attachment_name(document, text)
        add("comment", {"text": text, "name": name, **groups}, picture)
    if result["decision"] == "auto":
        reason = held_back(result, config, decisions)
        if config.classifications:
            body = {
                "classification": portal_class(result["class"], config) or "",
                "probability": result["probability"],
                "origin": config.origin,
                "ml": True,
                "vote": False,
                "label": False,
                **groups,
            }
            add("classification", body)
            if reason is not None:
                withheld.append((posts.pop(), reason))
        if config.redshift and reason is None and is_measured(result):
            found = {"redshift": result["redshift"], "redshift_error": result["redshift_err"]}
            add("redshift", {name: x for name, x in found.items() if x is not None})
    return Posts(document["sha256"], document["model"], tuple(posts), tuple(withheld))


def object_of(result: Mapping[str, Any], stem: str) -> str | None:
    """The object's name at the portal; None if it cannot be one."""
    name = _PART.sub("", result["object"] or "").strip()
    if not name:
        found = _OBJECT_IN_NAME.search(stem)
        name = found.group(1) if found else ""
    return name if _OBJECT.fullmatch(name) else None


def annotation_data(result: Mapping[str, Any]) -> dict[str, float]:
    """Flat numbers: what the portal's filters can use.

    Parameters
    ----------
    result : mapping
        In the output schema.

    Returns
    -------
    dict of str to float
        `NUMBERS` as far as they are known; ``p_SN_Ia`` and so on; ``auto``, 1 if the
        answer needs no review.
    """
    data = {name: result[name] for name in NUMBERS if _is_number(result.get(name))}
    for name, probability in (result["probabilities"] or {}).items():
        data["p_" + re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_")] = round(probability, 4)
    data["auto"] = int(result["decision"] == "auto")
    return data


def held_back(
    result: Mapping[str, Any], config: SkyPortalConfig, decisions: DecisionConfig
) -> str | None:
    """Why a class that needs no review is yet not posted; None if it is."""
    name = result["class"]
    if not portal_class(name, config):
        return f"{name} has no name in the portal's taxonomy"
    least = decisions.minimum.get(name, 0.0)
    if result["probability"] < least:
        return f"P({name}) = {result['probability']:.3f} is below the configured {least:g}"
    flags = sorted(set(decisions.hold) & set(result["flags"]))
    return f"flag {flags[0]}" if flags else None


def portal_class(name: str, config: SkyPortalConfig) -> str | None:
    """A class as the portal calls it: as configured, else as in `CLASSES`."""
    return config.classes.get(name, CLASSES.get(name)) or None


def is_measured(result: Mapping[str, Any]) -> bool:
    """Whether the redshift was measured, clearly, and not given to us."""
    doubts = {"Z_GIVEN", "Z_AMBIGUOUS", "Z_CONFLICT"} & set(result["flags"])
    return _is_number(result["redshift"]) and not doubts


def comment_text(document: Mapping[str, Any]) -> str:
    """One line for people beside the picture."""
    result = document["result"]
    model = str(document["model"]).replace("@", " ")
    # Some models measure a redshift only.
    sure = f" (P = {result['probability']:.2f})" if _is_number(result["probability"]) else ""
    parts = [] if result["class"] is None else [f"{_label(result)}{sure}"]
    if _is_number(result["redshift"]):
        parts.append(f"z = {result['redshift']:.4f}{_error(result['redshift_err'], '.4f')}")
    if _is_number(result["phase"]):
        parts.append(f"{result['phase']:+.0f}{_error(result['phase_err'], '.0f')} d")
    if result["flags"]:
        parts.append(" ".join(result["flags"]))
    if result["decision"] is not None:
        parts.append("sure" if result["decision"] == "auto" else "for review")
    return f"specinfer {document['specinfer']}, {model}: {', '.join(parts)}"


def attachment_name(document: Mapping[str, Any], text: str) -> str:
    """A name that no other answer's picture has.

    The portal keeps the first picture of a name, so the name holds the model's version
    and a digest of the spectrum and of what was said about it.
    """
    digest = hashlib.sha256(f"{document['sha256']} {text}".encode()).hexdigest()[:10]
    model = re.sub(r"[^0-9A-Za-z.]+", "-", str(document["model"]))
    return f"specinfer_{model}_{digest}.png"


def _label(result: Mapping[str, Any]) -> str:
    subtype = result.get("subtype")
    return result["class"] if subtype in (None, "normal") else f"{result['class']} ({subtype})"


def _error(value: Any, form: str) -> str:
    return f" +- {value:{form}}" if _is_number(value) else ""


def _is_number(value: Any) -> bool:
    is_plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_plain and math.isfinite(value)
