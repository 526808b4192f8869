"""Reports of `benchmarks.batch_survey` as one: runs of an hour may be made in pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.batch_figures import summarised
from benchmarks.batch_survey import targets


def joined(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One report of several, of the same spectra.

    Parameters
    ----------
    reports : sequence of dict
        At least one; the machine is that of the first.

    Returns
    -------
    dict
        All runs of a model count together; medians and targets are those of all.

    Raises
    ------
    ValueError
        If the reports are of different numbers of spectra.
    """
    if len(reports) == 1:
        return dict(reports[0])
    if len({report["spectra"] for report in reports}) != 1:
        raise ValueError("the reports of --survey are of different numbers of spectra")
    made: dict[str, Any] = {"models": {}, "kills": {}, "problems": []}
    for report in reports:
        for name, one in report["models"].items():
            made["models"][name] = _both(made["models"].get(name), one)
        made["kills"] |= report["kills"]
        made["problems"] += report["problems"]
    first = reports[0]
    return made | {
        "machine": first["machine"], "spectra": first["spectra"],
        "targets": targets(made["models"]),
    }  # fmt: skip


def _both(first: Any, second: Any) -> Any:
    """What two reports say in one place: all runs, all pieces, the largest memory."""
    if first is None:
        return second
    if isinstance(first, dict):
        if "values" in first:
            return summarised([*first["values"], *second["values"]])
        return {
            key: _both(first.get(key), second[key]) if key in second else first[key]
            for key in first | second
        }
    if isinstance(first, list):
        return [*first, *second]
    if isinstance(first, (int, float)) and not isinstance(first, bool):
        return max(first, second)
    return first
