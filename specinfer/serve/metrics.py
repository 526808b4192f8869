"""Counters of the service, written in the text format of Prometheus.

Written by hand: the format is a page long, and its client library keeps global state.
See https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Upper bounds in seconds: what is fast, the target of 200 ms, and what is too slow.
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

Labels = tuple[tuple[str, str], ...]


class Counter:
    """A number that only grows (or, as a gauge, is set), one a set of labels.

    Parameters
    ----------
    name, help : str
    kind : {"counter", "gauge"}, optional
    """

    def __init__(self, name: str, help: str, kind: str = "counter") -> None:
        self.name = name
        self.help = help
        self.kind = kind
        self._lock = threading.Lock()
        self._values: dict[Labels, float] = {}

    def add(self, amount: float = 1.0, **labels: str) -> None:
        """Count."""
        key = tuple(sorted(labels.items()))
        with self._lock:
            self._values[key] = self._values.get(key, 0.0) + amount

    def set(self, value: float, **labels: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._values[tuple(sorted(labels.items()))] = value

    def value(self, **labels: str) -> float:
        """What was counted with these labels."""
        with self._lock:
            return self._values.get(tuple(sorted(labels.items())), 0.0)

    def lines(self) -> list[str]:
        """The lines of the exposition format."""
        with self._lock:
            values = sorted(self._values.items())
        # A counter without labels is 0 before it counts, so that rates can be computed.
        return [
            *_head(self.name, self.help, self.kind),
            *(f"{self.name}{_braces(key)} {_number(value)}" for key, value in values or [((), 0)]),
        ]


class Histogram:
    """How often a time fell below each bound, one a set of labels.

    Parameters
    ----------
    name, help : str
    bounds : sequence of float, optional
        Increasing upper bounds.
    """

    def __init__(self, name: str, help: str, bounds: Sequence[float] = SECONDS) -> None:
        self.name = name
        self.help = help
        self.bounds = tuple(bounds)
        self._lock = threading.Lock()
        # Counts below each bound (not cumulative; the last is above all), and the sum.
        self._values: dict[Labels, tuple[list[int], float]] = {}

    def observe(self, value: float, **labels: str) -> None:
        """Count one value."""
        key = tuple(sorted(labels.items()))
        place = sum(value > bound for bound in self.bounds)
        with self._lock:
            counts, total = self._values.get(key, ([0] * (len(self.bounds) + 1), 0.0))
            counts[place] += 1
            self._values[key] = (counts, total + value)

    def lines(self) -> list[str]:
        """The lines of the exposition format."""
        with self._lock:
            values = sorted(
                (key, list(counts), total) for key, (counts, total) in self._values.items()
            )
        found = _head(self.name, self.help, "histogram")
        for key, counts, total in values:
            below = 0
            for bound, count in zip((*self.bounds, None), counts, strict=True):
                below += count
                limit = "+Inf" if bound is None else _number(bound)
                found.append(f"{self.name}_bucket{_braces((*key, ('le', limit)))} {below}")
            found.append(f"{self.name}_sum{_braces(key)} {_number(total)}")
            found.append(f"{self.name}_count{_braces(key)} {below}")
        return found


class Metrics:
    """Everything that the service counts."""

    def __init__(self) -> None:
        self.info = Counter("specinfer_info", "Version and model; always 1.", "gauge")
        self.started = Counter(
            "specinfer_start_time_seconds", "When the service started (Unix time).", "gauge"
        )
        self.requests = Counter(
            "specinfer_http_requests_total", "Requests by route and status of the answer."
        )
        self.seconds = Histogram(
            "specinfer_http_request_seconds", "Time from the request's head to its answer."
        )
        self.refused = Counter(
            "specinfer_refused_total", "Requests refused because a queue was full."
        )
        self.spectra = Counter("specinfer_spectra_total", "Spectra by status and model.")
        self.batches = Counter(
            "specinfer_batches_total", "Turns of a worker; spectra / turns is the batch size."
        )
        self.waited = Histogram(
            "specinfer_queue_seconds", "Time that a request waited for a worker."
        )
        self.waiting = Counter("specinfer_queue_length", "Requests that wait now.", "gauge")
        self.limit = Counter("specinfer_queue_limit", "Requests that may wait.", "gauge")
        self.pictures = Counter("specinfer_pictures_total", "Pictures drawn, by outcome.")
        self.callbacks = Counter(
            "specinfer_callbacks_total", "Analyses sent back to SkyPortal, by outcome."
        )
        self.analyses = Counter(
            "specinfer_analyses_in_hand", "Analyses accepted and not yet sent back.", "gauge"
        )

    def render(self) -> str:
        """The text that Prometheus reads."""
        return "\n".join(line for part in vars(self).values() for line in part.lines()) + "\n"


def _head(name: str, help: str, kind: str) -> list[str]:
    return [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]


def _braces(labels: Labels | Mapping[str, str]) -> str:
    if not labels:
        return ""
    inside = ",".join(f'{key}="{_escaped(value)}"' for key, value in dict(labels).items())
    return "{" + inside + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
