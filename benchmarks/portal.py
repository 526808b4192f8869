"""``python -m benchmarks.portal``: a stand-in for a SkyPortal that loses its temper.

It keeps SkyPortal's rules as far as specinfer depends on them (envelope, token, unique
annotations, classes of a taxonomy, comments that keep their first picture) and fails on
demand: errors before and after a post was stored, dropped connections, late answers,
refusals for too many requests. What it stored can be asked for and counted. It runs in a
thread of a test, or as a process of its own.

    from benchmarks.portal import Faults, Portal

    with Portal(faults=Faults(drop_after=0.1), seed=1) as portal:
        portal.add_spectrum("ZTF20abwdwoa", "spec_auto_..._ZTF20abwdwoa.txt")
        ...  # post to portal.url with portal.token
        assert portal.duplicates() == []
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import random
import re
import signal
import threading
from collections import Counter, deque
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote

from benchmarks.portal_http import Refusal, handler_of

TOKEN = "4b3d7c1e-stand-in-token-of-a-bot-91a2"
TAXONOMY = "Sitewide Taxonomy"
# As nested as the real one; the classes that specinfer maps to, and a few that it does not.
_CLASSES: dict[str, Any] = {
    "Time-domain Source": {
        "Supernova": {
            "Type I": {"Ia": {"Ia-91T": {}, "Ia-91bg": {}}, "Ib": {"Ibn": {}}, "Ic": {"Ic-BL": {}}},
            "Type II": {"IIP": {}, "IIL": {}, "IIn": {}, "IIb": {}},
            "Superluminous": {"Ic-SLSN": {}, "II-SLSN": {}},
        },
        "Galactic Nuclei": {"AGN": {"QSO": {}}, "Tidal Disruption Event": {}},
        "Stellar variable": {"Cataclysmic": {"Nova": {}}},
    }
}


@dataclass(frozen=True)
class Faults:
    """How often (0-1, of all requests unless said otherwise) what goes wrong.

    ``error`` and ``drop``: answered 503, or the connection closed, with nothing stored;
    ``error_after`` and ``drop_after``: the same after a write was stored; ``late``: the
    answer, of a stored write, comes after ``delay`` seconds; ``late_store``: the write
    itself happens after ``delay`` seconds, though the client has gone; ``limit``: 429.
    """

    error: float = 0.0
    drop: float = 0.0
    error_after: float = 0.0
    drop_after: float = 0.0
    late: float = 0.0
    late_store: float = 0.0
    limit: float = 0.0
    delay: float = 0.5

    NAMES: ClassVar[tuple[str, ...]] = (
        "error", "drop", "error_after", "drop_after", "late", "late_store", "limit",
    )  # fmt: skip

    @classmethod
    def flaky(cls) -> Faults:
        """A bad night: about a third of all requests go wrong in one way or another."""
        share = dict.fromkeys(cls.NAMES, 0.05)
        return cls(**share, delay=0.3)


class Portal:
    """The stand-in, listening on the loopback interface while it is open.

    Parameters
    ----------
    faults : Faults, optional
    seed : int, optional
        Of the faults: the same requests in the same order fail in the same way.
    token : str, optional
    port : int, optional
        0 takes a free one.

    Attributes
    ----------
    down : bool
        Set it: every connection is closed without an answer.
    lacking : set of str
        Rights that the token's user lacks: "Annotate", "Classify", "Comment".
    requests : list of tuple
        Time (s), method and path of every request; what was asked, not what was stored.
    faults_met : Counter
        How often each fault happened.
    """

    def __init__(
        self, *, faults: Faults | None = None, seed: int = 0, token: str = TOKEN, port: int = 0
    ) -> None:
        self.token = token
        self.faults = faults or Faults()
        self.down = False
        self.lacking: set[str] = set()
        self.requests: list[tuple[float, str, str]] = []
        self.faults_met: Counter[str] = Counter()
        self.sources: dict[str, dict[str, Any]] = {}
        self.spectra: dict[int, dict[str, Any]] = {}
        self.annotations: list[dict[str, Any]] = []
        self.classifications: list[dict[str, Any]] = []
        self.comments: list[dict[str, Any]] = []
        self.taxonomies = [
            {"id": 3, "name": TAXONOMY, "version": "0.1", "isLatest": False,
             "hierarchy": {"class": "Time-domain Source"}},
            {"id": 7, "name": TAXONOMY, "version": "0.2", "isLatest": True,
             "hierarchy": _hierarchy(*next(iter(_CLASSES.items())))},
        ]  # fmt: skip
        self._script: deque[str] = deque()
        self._random = random.Random(seed)
        self._next_id = 100
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Portal:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add_spectrum(self, obj: str, file_name: str, *, redshift: float | None = None) -> int:
        """A spectrum that the pipeline has uploaded, and its source; gives the spectrum's id."""
        with self._lock:
            source = self.sources.setdefault(obj, {"id": obj, "redshift": redshift})
            source["redshift"] = redshift if redshift is not None else source["redshift"]
            number = self._number()
            self.spectra[number] = {
                "id": number,
                "obj_id": obj,
                "original_file_filename": file_name,
            }
            return number

    def fail_next(self, *faults: str) -> None:
        """What happens to the next writes (POST, PUT, PATCH): names of `Faults`, or "ok"."""
        self._script.extend(faults)

    def duplicates(self) -> list[str]:
        """What is there twice though it was meant once."""
        with self._lock:
            seen = Counter(
                [f"annotation {a['spectrum_id']} {a['origin']}" for a in self.annotations]
                + [f"classification {c['obj_id']} {c['classification']} {c['origin']}"
                   for c in self.classifications]
                + [f"comment {c['spectrum_id']} {c['attachment_name']}" for c in self.comments]
            )  # fmt: skip
        return sorted(name for name, count in seen.items() if count > 1)

    def fate(self, method: str) -> str:
        """What happens to this request: the name of a fault, or "ok"."""
        with self._lock:
            if method != "GET" and self._script:
                fate = self._script.popleft()
            else:
                shares = [getattr(self.faults, name) for name in Faults.NAMES]
                names = [*Faults.NAMES, "ok"]
                fate = self._random.choices(names, [*shares, max(0.0, 1 - sum(shares))])[0]
            if method == "GET" and fate in ("error_after", "drop_after", "late_store"):
                fate = {"error_after": "error", "drop_after": "drop", "late_store": "late"}[fate]
            if fate != "ok":
                self.faults_met[fate] += 1
            return fate

    def answer(self, method: str, path: str, body: Any) -> Any:
        """The data of a successful answer; raises a refusal otherwise."""
        for verb, pattern, name in _ROUTES:
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                with self._lock:
                    return getattr(self, f"_{name}")(*map(unquote, found.groups()), body)
        raise Refusal(404, f"there is no {method} {path}")

    def _number(self) -> int:
        self._next_id += 1
        return self._next_id

    def _source(self, obj: str, _: Any = None) -> dict[str, Any]:
        if obj not in self.sources:
            raise Refusal(400, f"Cannot find source with ID {obj}")
        return self.sources[obj]

    def _set_source(self, obj: str, body: Any) -> None:
        self._source(obj).update(body)

    def _spectra_of(self, obj: str, _: Any) -> dict[str, Any]:
        self._source(obj)
        return {"obj_id": obj, "spectra": [s for s in self.spectra.values() if s["obj_id"] == obj]}

    def _spectrum(self, number: str) -> dict[str, Any]:
        if int(number) not in self.spectra:
            raise Refusal(403, f"Could not access spectrum {number}.")
        return self.spectra[int(number)]

    def _annotations_of(self, number: str, _: Any) -> list[dict[str, Any]]:
        return [a for a in self.annotations if a["spectrum_id"] == int(number)]

    def _annotate(self, number: str, body: Any) -> dict[str, int]:
        spectrum = self._spectrum(number)
        self._need("Annotate")
        self._check_annotation(body)
        if any(a["origin"] == body["origin"] for a in self._annotations_of(number, None)):
            raise Refusal(400, "duplicate key value violates unique constraint")
        entry = {"id": self._number(), "spectrum_id": spectrum["id"], **body, "changes": 0}
        self.annotations.append(entry)
        return {"annotation_id": entry["id"]}

    def _update_annotation(self, number: str, annotation: str, body: Any) -> None:
        self._need("Annotate")
        self._check_annotation(body)
        for entry in self._annotations_of(number, None):
            if entry["id"] == int(annotation):
                entry["data"] = body["data"]
                entry["changes"] += 1
                return
        raise Refusal(403, "Could not find any accessible annotations.")

    def _check_annotation(self, body: Any) -> None:
        data = body.get("data")
        if not re.match(r"\w+", body.get("origin") or "") or not isinstance(data, dict):
            raise Refusal(400, "Invalid/missing parameters")
        for value in data.values():
            # SkyPortal takes texts; specinfer must not send them, filters cannot use them.
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise Refusal(400, f"not a number: {value!r}")

    def _classifications_of(self, obj: str, _: Any) -> list[dict[str, Any]]:
        return [c for c in self.classifications if c["obj_id"] == obj]

    def _classify(self, body: Any) -> dict[str, int]:
        self._need("Classify")
        self._source(body["obj_id"])
        named = [t for t in self.taxonomies if t["id"] == body["taxonomy_id"]]
        if not named:
            raise Refusal(400, f"Cannot find a taxonomy with ID: {body['taxonomy_id']}.")
        if body["classification"] not in set(_names_in(named[0]["hierarchy"])):
            raise Refusal(400, f"That classification ({body['classification']}) is not allowed")
        if not 0 <= body["probability"] <= 1:
            raise Refusal(400, "That probability is outside the allowable range (0-1).")
        entry = {"id": self._number(), **body}
        self.classifications.append(entry)
        return {"classification_id": entry["id"]}

    def _comments_of(self, number: str, _: Any) -> list[dict[str, Any]]:
        return [
            {key: value for key, value in c.items() if key != "body"}
            for c in self.comments
            if c["spectrum_id"] == int(number)
        ]

    def _comment(self, number: str, body: Any) -> dict[str, int]:
        self._spectrum(number)
        self._need("Comment")
        attachment = body.get("attachment") or {}
        try:
            content = base64.b64decode(attachment.get("body", ""), validate=True)
        except binascii.Error:
            raise Refusal(400, "Malformed comment attachment") from None
        entry = {
            "id": self._number(),
            "spectrum_id": int(number),
            "text": body["text"],
            "attachment_name": attachment.get("name"),
            "body": content,
        }
        self.comments.append(entry)
        return {"comment_id": entry["id"]}

    def _taxonomy(self, _: Any) -> list[dict[str, Any]]:
        return self.taxonomies

    def _need(self, right: str) -> None:
        if right in self.lacking:
            raise Refusal(401, f"Unauthorized: {right}")


_ROUTES = (
    ("GET", r"/api/taxonomy", "taxonomy"),
    ("GET", r"/api/sources/([^/]+)", "source"),
    ("PATCH", r"/api/sources/([^/]+)", "set_source"),
    ("GET", r"/api/sources/([^/]+)/spectra", "spectra_of"),
    ("GET", r"/api/sources/([^/]+)/classifications", "classifications_of"),
    ("POST", r"/api/classification", "classify"),
    ("GET", r"/api/spectra/(\d+)/annotations", "annotations_of"),
    ("POST", r"/api/spectra/(\d+)/annotations", "annotate"),
    ("PUT", r"/api/spectra/(\d+)/annotations/(\d+)", "update_annotation"),
    ("GET", r"/api/spectra/(\d+)/comments", "comments_of"),
    ("POST", r"/api/spectra/(\d+)/comments", "comment"),
)


def _hierarchy(name: str, below: dict[str, Any]) -> dict[str, Any]:
    return {"class": name, "subclasses": [_hierarchy(*item) for item in below.items()]}


def _names_in(hierarchy: dict[str, Any]) -> list[str]:
    below = [name for item in hierarchy.get("subclasses", []) for name in _names_in(item)]
    return [hierarchy["class"], *below]


def main() -> None:
    """Serve until interrupted; print the address, and on exit what was stored."""
    import argparse

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flaky", action="store_true", help="a third of the requests fail")
    parser.add_argument("spectra", nargs="*", metavar="OBJECT:FILE", help="spectra that it knows")
    arguments = parser.parse_args()
    faults = Faults.flaky() if arguments.flaky else Faults()
    with Portal(faults=faults, seed=arguments.seed, port=arguments.port) as portal:
        for spectrum in arguments.spectra:
            portal.add_spectrum(*spectrum.split(":", 1))
        print(f"url = {portal.url}\ntoken = {portal.token}", flush=True)
        # In the background of a script, too, where the shell has SIGINT ignored.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        stored = ("annotations", "classifications", "comments")
        counts = {name: len(getattr(portal, name)) for name in stored}
        print(json.dumps(counts | {"duplicates": portal.duplicates()}))


if __name__ == "__main__":
    main()
