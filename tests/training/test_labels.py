"""Which archive label is which class, and what happens where libraries disagree."""

from __future__ import annotations

import pytest

from training.archive.labels import (
    CLASSES,
    PHASE_CLASSES,
    THREE_WAY,
    class_of,
    resolve_objects,
)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Ia-91bg", "SN Ia"),
        ("Ia-CSM", "SN Ia"),
        ("IIP", "SN II"),
        ("IIL", "SN II"),
        ("IIn", "SN IIn"),
        ("IIb", "SN IIb"),
        ("Ic-BL", "SN Ic-BL"),
        ("QSO", "AGN/QSO"),
    ],
)
def test_labels_of_the_archive(label: str, expected: str) -> None:
    assert class_of(label) == expected


@pytest.mark.parametrize("label", ["Ib/c", "LBV", "KN", "", None, "ia", "SN Ia"])
def test_labels_that_are_not_used(label: str | None) -> None:
    assert class_of(label) is None


def test_classes_of_the_design() -> None:
    assert len(CLASSES) == len(set(CLASSES)) == 14
    assert set(CLASSES) - set(PHASE_CLASSES) == {"AGN/QSO", "CV", "Galaxy", "Star"}
    # A row has a phase if its label's index is below len(PHASE_CLASSES).
    assert CLASSES[: len(PHASE_CLASSES)] == PHASE_CLASSES


def test_three_way_groups_are_those_of_the_acceptance_figures() -> None:
    groups: dict[str, set[str]] = {}
    for name, group in THREE_WAY.items():
        groups.setdefault(group, set()).add(name)
    assert groups == {
        "Ia": {"SN Ia"},
        "stripped": {"SN Ib", "SN Ic", "SN Ic-BL", "SN IIb", "SN Ibn"},
        "hydrogen": {"SN II", "SN IIn"},
    }


def test_objects_get_the_class_of_three_quarters() -> None:
    objects = ["a"] * 4 + ["b"] * 4 + ["c"] * 3 + ["d"] * 2
    labels = ["Ia", "Ia-91T", "Ia", "Ib", "II", "IIP", "IIb", "IIb", "Ic", None, "Ib/c", None, "?"]
    classes, dropped = resolve_objects(objects, labels)
    # Subtypes vote for their class, labels that are not used do not vote.
    assert classes == {"a": "SN Ia", "c": "SN Ic"}
    assert set(dropped) == {"b"}
    assert "SN II x2" in dropped["b"]
    assert "SN IIb x2" in dropped["b"]


def test_rows_without_a_partner_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        resolve_objects(["a", "b"], ["Ia"])
