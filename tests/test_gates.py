"""What is skipped, by its header, and in what state a result leaves its file."""

from __future__ import annotations

from typing import Any

import pytest

from specinfer.gates import STATES, SkipRules, gate, judge
from specinfer.result import Classification

GOOD = {
    "OBJECT": "ZTF26abc [A]",
    "QUALITY": 0,
    "FLUXCAL": True,
    "RA_RATE": 0.0,
    "DEC_RATE": 0.0,
    "IMGTYPE": "Science",
}


@pytest.mark.parametrize(
    ("cards", "state", "rule"),
    [
        ({"OBJECT": "STD-BD+25d4655 [A]"}, "STD", "standards"),
        ({"OBJECT": "Feige34"}, "STD", "standards"),
        ({"OBJECT": "BD+33d2642"}, "STD", "standards"),
        ({"OBJECT": "HZ4"}, "STD", "standards"),
        ({"OBJECT": "Hiltner600"}, "STD", "standards"),
        ({"IMGTYPE": "Standard"}, "STD", "standards"),
        ({"OBJECT": "NGC 1275"}, "ABSTAIN", "galaxies"),
        ({"OBJECT": "2MASXJ03194823+4130420"}, "ABSTAIN", "galaxies"),
        ({"OBJECT": "HD 12345"}, "ABSTAIN", "galaxies"),
        ({"OBJECT": None, "NAME": "TYC_1234-5678"}, "ABSTAIN", "galaxies"),
        ({"FLUXCAL": False}, "UNCALIBRATED", "uncalibrated"),
        ({"FLUXCAL": "False"}, "UNCALIBRATED", "uncalibrated"),
        ({"RA_RATE": 12.5}, "MOVING", "moving"),
        ({"DEC_RATE": "-0.3"}, "MOVING", "moving"),
        ({"QUALITY": 3}, "LOWQ", "quality"),
        ({"QUALITY": "4"}, "LOWQ", "quality"),
    ],
)
def test_each_rule_skips_and_can_be_switched_off(
    cards: dict[str, Any], state: str, rule: str
) -> None:
    header = GOOD | cards
    found = gate(header, SkipRules())
    assert found is not None
    assert found.state == state
    assert found.reason
    assert gate(header, SkipRules(**{rule: False})) is None
    assert gate(header, None) is None


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"QUALITY": 1},
        {"QUALITY": 5},
        {"QUALITY": None},
        {"FLUXCAL": None},
        # The words of the pipeline's own gates, where they mean nothing.
        {"OBJECT": "SN2024bd"},
        {"OBJECT": "AT2026hd"},
        {"OBJECT": "ZTF26abSTD"},
        {"OBJECT": "ZTF19HZ44"},
        {"RA_RATE": "unknown"},
        {"RA_RATE": None, "DEC_RATE": None},
    ],
)
def test_what_is_classified(cards: dict[str, Any]) -> None:
    assert gate(GOOD | cards, SkipRules()) is None


def result(probability: float = 0.9, *flags: str, status: str = "ok") -> Classification:
    error = None if status == "ok" else {"code": "bad", "message": "it is bad"}
    return Classification(status=status, probability=probability, flags=flags, error=error)


def test_judgements() -> None:
    assert judge(result()).state == "OK"
    assert judge(result(0.9, "LOW_SNR", "NOVEL")).state == "LOWQ"
    assert judge(result(0.9, "NOVEL")).state == "ABSTAIN"
    assert judge(result(0.9, "UNRELIABLE")).state == "ABSTAIN"
    assert judge(result(0.4)).state == "ABSTAIN"
    assert judge(result(0.9, "AXIS_FROM_TWIN", "Z_GIVEN")).state == "OK"
    failed = judge(result(status="failed"))
    assert (failed.state, failed.reason) == ("UNREADABLE", "it is bad")
    assert all(
        judge(one).state in STATES for one in (result(), result(0.4), result(status="failed"))
    )
