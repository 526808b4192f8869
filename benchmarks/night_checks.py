"""What is left in the morning: whether every spectrum was answered, annotated and posted once."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from benchmarks.night_spectra import STATES, Item
from benchmarks.portal import Portal
from specinfer.content import look_at
from specinfer.sidecar import read_sidecar, sidecar_path
from specinfer.skyportal_posts import CLASSES
from specinfer.watch.journal import ASIDE, DONE, FILE_NAME, read_entries

_POSTED = ("OK", "ABSTAIN")
_LEFT_BY_KILLS = re.compile(r"\.specinfer_.*\.tmp$")


class Morning:
    """Looks at a directory after its night.

    Parameters
    ----------
    directory : Path
        What was watched.
    items : sequence of Item
    portal : Portal
    """

    def __init__(self, directory: Path, items: Sequence[Item], portal: Portal) -> None:
        self._directory = directory
        # The last item of a name is what its file holds.
        self._items = {item.stem: item for item in items}
        self._redone = {item.obj for item in items if item.kind == "redone"}
        self._portal = portal
        self.problems: list[str] = []
        self.counts: Counter[str] = Counter()

    def reconcile(self) -> None:
        """Check everything; what is wrong is in `problems`, one sentence each."""
        entries = {e.file: e for e in read_entries(self._directory / ".specinfer" / FILE_NAME)}
        expected: dict[str, dict[str, Any]] = {}
        for item in self._items.values():
            path = self._directory / item.night / f"{item.stem}.fits"
            document = read_sidecar(path)
            entry = entries.pop(f"{item.night}/{path.name}", None)
            if document is None:
                self._wrong(item, "has no sidecar")
                continue
            if entry is None:
                self._wrong(item, "is not in the journal")
                continue
            self.counts[document["state"]] += 1
            if not item.good:
                self._check_bad(item, path, document, entry.status)
                continue
            if entry.status != DONE:
                self._wrong(item, f"is {entry.status} in the journal: {entry.reason}")
            if document["sha256"] != look_at(path.read_bytes()).sha256:
                self._wrong(item, "has a sidecar of other contents")
            if item.kind in STATES and document["state"] != STATES[item.kind]:
                self._wrong(item, f"should be {STATES[item.kind]}, is {document['state']}")
            if item.kind not in STATES and document["result"] is None:
                self._wrong(item, f"has no answer: {document['state']}, {document['reason']}")
            for words in (*_fits_wrong(item, path, document), *_text_wrong(item, path, document)):
                self._wrong(item, words)
            expected[item.stem] = document
        self.problems += [f"{file} is in the journal but was never written" for file in entries]
        self._check_portal(expected)
        self._check_folder()

    def _wrong(self, item: Item, words: str) -> None:
        self.problems.append(f"{item.stem} ({item.kind}) {words}")

    def _check_bad(self, item: Item, path: Path, document: dict[str, Any], status: str) -> None:
        if document["state"] != "UNREADABLE" or not document["reason"]:
            self._wrong(item, f"is bad and ended as {document['state']}")
        if status != ASIDE:
            self._wrong(item, f"is bad and {status} in the journal, not set aside")
        if path.read_bytes() != item.fits:
            self._wrong(item, "is bad and was changed")

    def _check_portal(self, expected: dict[str, dict[str, Any]]) -> None:
        """Every content annotated once at the portal, every sure class posted once."""
        portal = self._portal
        self.problems += [f"at the portal twice: {name}" for name in portal.duplicates()]
        annotations: dict[str, list[dict[str, Any]]] = {}
        for annotation in portal.annotations:
            name = portal.spectra[annotation["spectrum_id"]]["original_file_filename"]
            annotations.setdefault(name.removesuffix(".txt"), []).append(annotation["data"])
        groups: dict[str, list[str]] = {}
        for stem, document in expected.items():
            groups.setdefault(document["sha256"], []).append(stem)
        wanted_classes = set()
        for stems in groups.values():
            document = expected[stems[0]]
            found = [data for stem in stems for data in annotations.pop(stem, [])]
            wanted = int(document["state"] in _POSTED)
            if len(found) != wanted:
                self.problems.append(f"{stems[0]} has {len(found)} annotations, not {wanted}")
            elif wanted and found[0]["probability"] != document["result"]["probability"]:
                self.problems.append(f"{stems[0]} is annotated with an older answer")
            result = document["result"] or {}
            if wanted and result["decision"] == "auto" and result["class"] in CLASSES:
                wanted_classes.add((self._items[stems[0]].obj, CLASSES[result["class"]]))
        self.problems += [f"{stem} is annotated, though it should not be" for stem in annotations]
        classes = {(c["obj_id"], c["classification"]) for c in portal.classifications}
        self.problems += [f"class not posted: {pair}" for pair in wanted_classes - classes]
        # Of spectra that were extracted again the class of the first one stays.
        surplus = {pair for pair in classes - wanted_classes if pair[0] not in self._redone}
        self.problems += [f"class posted, not sure: {pair}" for pair in surplus]
        self.counts["annotations at the portal"] = len(portal.annotations)
        self.counts["annotations updated"] = sum(a["changes"] for a in portal.annotations)
        self.counts["classifications at the portal"] = len(portal.classifications)

    def _check_folder(self) -> None:
        """Nothing but spectra and sidecars lies in the nights' folders."""
        expected = set()
        for item in self._items.values():
            path = self._directory / item.night / f"{item.stem}.fits"
            expected |= {path, sidecar_path(path)}
            if item.text:
                expected.add(path.with_suffix(".txt"))
        nights = {item.night for item in self._items.values()}
        there = {path for night in nights for path in (self._directory / night).iterdir()}
        for path in sorted(there - expected):
            if _LEFT_BY_KILLS.match(path.name):
                # Swept by a later service, an hour after nobody has touched them.
                self.counts["temporary files left by kills"] += 1
            else:
                self.problems.append(f"{path.name} should not be there")
        self.problems += [f"{path.name} is missing" for path in sorted(expected - there)]


def _fits_wrong(item: Item, path: Path, document: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the annotation of a FITS file."""
    with fits.open(io.BytesIO(item.fits)) as before, fits.open(path) as after:
        header = after[0].header
        ours = [key for key in header if key.startswith("SPI")]
        if len(ours) != len(set(ours)) or ours.count("SPISTAT") != 1:
            yield f"is annotated {ours.count('SPISTAT')} times"
        elif header["SPISTAT"] != document["state"]:
            yield f"says {header['SPISTAT']} and its sidecar {document['state']}"
        for old, new in zip(before, after, strict=True):
            if not np.array_equal(old.data, new.data, equal_nan=True):
                yield "has other data than before"
            cards = [str(card) for card in new.header.cards if not card.keyword.startswith("SPI")]
            if cards != [str(card) for card in old.header.cards]:
                yield "has other cards than before"


def _text_wrong(item: Item, path: Path, document: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the annotation of a text twin."""
    lines = path.with_suffix(".txt").read_bytes().splitlines(keepends=True)
    ours = [line for line in lines if line.startswith(b"# SPI")]
    states = [line for line in ours if line.startswith(b"# SPISTAT: ")]
    if len(states) != 1:
        yield f"has a text twin that is annotated {len(states)} times"
    elif states[0].decode().strip() != f"# SPISTAT: {document['state']}":
        yield "has a text twin that says another state"
    if b"".join(line for line in lines if line not in ours) != item.text:
        yield "has a text twin with other lines than before"
