"""The classes of SpectraNet, and which archive label belongs to which."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

CLASSES = (
    "SN Ia",
    "SN Ib",
    "SN Ic",
    "SN Ic-BL",
    "SN IIb",
    "SN Ibn",
    "SN II",
    "SN IIn",
    "SLSN-I",
    "TDE",
    "AGN/QSO",
    "CV",
    "Galaxy",
    "Star",
)

# The second level of SN Ia, as archive labels; the first is a normal one. ``Ia-pec`` says
# only what it is not, and is left out of the second level.
IA_SUBTYPES = ("Ia", "Ia-91T", "Ia-91bg", "Ia-02cx", "Ia-CSM")

# Classes that evolve with a phase in days from maximum.
PHASE_CLASSES = CLASSES[:10]

# The three-way grouping of the acceptance figures.
THREE_WAY = {
    "SN Ia": "Ia",
    "SN Ib": "stripped",
    "SN Ic": "stripped",
    "SN Ic-BL": "stripped",
    "SN IIb": "stripped",
    "SN Ibn": "stripped",
    "SN II": "hydrogen",
    "SN IIn": "hydrogen",
}

# Labels left out, and why: Ib/c is ambiguous between two of our classes; LBV,
# LFBOT, KN, Icn and Ca-rich have one to three objects, too few to learn or to test.
_CLASS_OF_LABEL = {
    "Ia": "SN Ia",
    "Ia-91T": "SN Ia",
    "Ia-91bg": "SN Ia",
    "Ia-pec": "SN Ia",
    "Ia-02cx": "SN Ia",
    "Ia-CSM": "SN Ia",
    "Ib": "SN Ib",
    "Ic": "SN Ic",
    "Ic-BL": "SN Ic-BL",
    "IIb": "SN IIb",
    "Ibn": "SN Ibn",
    "II": "SN II",
    "IIP": "SN II",
    "IIL": "SN II",
    "II-pec": "SN II",
    "IIn": "SN IIn",
    "SLSN-I": "SLSN-I",
    "TDE": "TDE",
    "AGN": "AGN/QSO",
    "QSO": "AGN/QSO",
    "Galaxy": "Galaxy",
    "Star": "Star",
}


def class_of(label: str | None) -> str | None:
    """Our class for an archive label, or None if rows with it are not used."""
    return _CLASS_OF_LABEL.get(label or "")


def resolve_objects(
    objects: Sequence[str], labels: Sequence[str | None]
) -> tuple[dict[str, str], dict[str, str]]:
    """One class for each object, from the labels of all its rows.

    Libraries disagree about some objects. A class that at least three quarters of
    the usable rows agree on is taken; other objects are dropped before the split,
    so that neither training nor test holds a label that nobody can be sure of.

    Parameters
    ----------
    objects, labels : sequence of str, length n_rows

    Returns
    -------
    classes : dict
        Object name -> class.
    dropped : dict
        Object name -> reason, for objects that had usable labels but disagree.
    """
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for name, label in zip(objects, labels, strict=True):
        found = class_of(label)
        if found is not None:
            votes[name][found] += 1
    classes: dict[str, str] = {}
    dropped: dict[str, str] = {}
    for name, counter in votes.items():
        (best, count), total = counter.most_common(1)[0], counter.total()
        if count >= 0.75 * total:
            classes[name] = best
        else:
            dropped[name] = "labels disagree: " + ", ".join(
                f"{label} x{n}" for label, n in counter.most_common()
            )
    return classes, dropped
