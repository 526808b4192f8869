"""Extractions of one exposure and whether they agree."""

from __future__ import annotations

import pytest

from specinfer.watch.journal import Entry
from specinfer.watch.pairs import disagreement, parse

STEM = "lstep1__crr_b_ifu20261121_05_01_00"


@pytest.mark.parametrize(
    ("name", "extraction", "exposure"),
    [
        (f"spec_auto_robot_{STEM}_ZTF20ab.fits", "robot", "ifu20261121_05_01_00_ZTF20ab"),
        (f"spec_auto_contsep_{STEM}_ZTF20ab.txt", "contsep", "ifu20261121_05_01_00_ZTF20ab"),
        (f"20261121/spec_auto_redo_{STEM}_a_b+c d.fits", "redo", "ifu20261121_05_01_00_a_b+c d"),
        (f"spec_forcepsf_{STEM}_X", "forcepsf", "ifu20261121_05_01_00_X"),
        (f"spec_auto_robot_{STEM}.fits", "robot", "ifu20261121_05_01_00"),
    ],
)
def test_names(name: str, extraction: str, exposure: str) -> None:
    found = parse(name)
    assert found is not None
    assert (found.extraction, found.exposure) == (extraction, exposure)


@pytest.mark.parametrize("name", ["spec_a.fits", "spec_auto_notfluxcal_x_failed.fits", "", "a/b"])
def test_other_names(name: str) -> None:
    assert parse(name) is None


def entry(how: str, name: str | None, z: float | None = None, err: float | None = None) -> Entry:
    return Entry(
        file=how, signature="", extraction=how, class_name=name, probability=0.9, redshift=z,
        redshift_err=err,
    )  # fmt: skip


def test_the_same_class_and_redshift_agree() -> None:
    one = entry("robot", "SN Ia", 0.031, 0.004)
    assert disagreement(one, []) is None
    assert disagreement(one, [one, entry("contsep", "SN Ia", 0.033, 0.004)]) is None
    assert disagreement(one, [entry("contsep", "SN Ia")]) is None
    assert disagreement(one, [entry("contsep", None)]) is None


def test_another_class_is_reported_with_both_answers() -> None:
    words = disagreement(entry("robot", "SN Ia", 0.031), [entry("contsep", "SN II", 0.03)])
    assert words == "robot: SN Ia P=0.90 z=0.0310; contsep: SN II P=0.90 z=0.0300"


def test_a_redshift_beyond_the_errors_is_reported() -> None:
    one = entry("robot", "SN Ia", 0.031, 0.002)
    assert disagreement(one, [entry("contsep", "SN Ia", 0.051, 0.002)]) is not None
    assert disagreement(one, [entry("contsep", "SN Ia", 0.051, 0.010)]) is None
    # Errors that are far too small do not make two answers differ.
    sharp = entry("robot", "SN Ia", 0.031, 1e-6)
    assert disagreement(sharp, [entry("contsep", "SN Ia", 0.033, 1e-6)]) is None
