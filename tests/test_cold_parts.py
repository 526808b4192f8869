"""The measurement of a cold start does what the command does."""

from __future__ import annotations

from benchmarks.cold_parts import EXAMPLE, ROOT, Times, parts, whole


def test_every_part_is_timed() -> None:
    found = parts(EXAMPLE, 1)
    assert {len(seconds) for seconds in found.values()} == {1}
    assert min(seconds[0] for seconds in found.values()) > -0.05
    for name in ("import numpy", "make the session", "preprocess", "inference", "interpret"):
        assert found[name][0] > 0.0


def test_whole_processes_take_turns() -> None:
    found = whole(EXAMPLE, 1, {"here": ROOT})
    assert {"here: classify .fits", "here: classify .txt", "here: --help"} < set(found)
    assert all(len(one.wall) == len(one.cpu) == 1 for one in found.values())


def test_times_are_summed_up_by_their_median() -> None:
    times = Times(wall=[0.3, 0.1, 0.2], cpu=[0.1, 0.1, 0.4])
    summary = times.summary()
    assert (summary["n"], summary["median_s"], summary["cpu_median_s"]) == (3, 0.2, 0.1)
