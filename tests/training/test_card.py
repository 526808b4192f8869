"""Cards and weights vouch for each other; a card says which commit it came from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="the card is tied to an ONNX file (extra 'train')")

from tiny_model import write_model

from specinfer.errors import ModelError
from specinfer.models import load_card, read_model
from specinfer.networks import spectranet
from training import card
from training.evaluation.model_readme import cell, summary, write_readme, write_summary
from training.paths import ROOT


def load_checked(folder: Path) -> None:
    """Load a model as the runtime does, to the check of its graph against the card."""
    network = spectranet.load(load_card(str(folder)), device="cpu", threads=1)
    assert network.checked_session is not None


def test_a_written_card_is_one_that_the_runtime_takes(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    changed: dict[str, Any] = card.read_card(folder) | {"metrics": {"accuracy": [0.9, 0.8, 1.0]}}
    before = (folder / "model.onnx").read_bytes()
    card.write_card(folder, changed)
    loaded = load_card(str(folder))
    assert loaded.raw["metrics"] == {"accuracy": [0.9, 0.8, 1.0]}
    # The graph carries the fingerprint of the new card.
    assert read_model(loaded) != before
    load_checked(folder)
    assert not list(folder.glob("*.tmp"))


def test_writing_a_card_twice_changes_nothing(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    card.write_card(folder, card.read_card(folder))
    once = {path.name: path.read_bytes() for path in folder.iterdir()}
    card.write_card(folder, card.read_card(folder))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == once


def test_a_card_edited_by_hand_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    card.write_card(folder, card.read_card(folder))
    edited = card.read_card(folder) | {"metrics": {"accuracy": 1.0}}
    (folder / "card.json").write_text(json.dumps(edited))
    with pytest.raises(ModelError):
        load_checked(folder)


def test_commit_is_that_of_the_checkout() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this copy has no git history")
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?|unknown", card.commit())


def test_a_copy_without_history_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert card.commit() == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert card.commit() == "unknown"


def test_the_readme_shows_the_figures_of_the_card() -> None:
    shipped = json.loads((ROOT / "exported_models" / "spectranet" / "card.json").read_text())
    assert shipped["metrics"]["part"] == "test"
    assert summary(shipped) in (ROOT / "README.md").read_text()


def test_the_targets_of_the_docs_are_measured_as_the_card_says() -> None:
    card_path = ROOT / "exported_models" / "spectranet" / "card.json"
    metrics = json.loads(card_path.read_text())["metrics"]
    text = (ROOT / "docs" / "spectranet.md").read_text()
    main = metrics["sedm"]
    table = {
        "three-way accuracy": (main["three_way_accuracy"], 3),
        "balanced accuracy, classes with at least 5 objects": (main["balanced_accuracy_many"], 3),
        "Ia recall where the ROC has 0.6 % of the rest": (main["ia_roc_recall"], 3),
        "redshift RMS": (main["redshift_rms"], 4),
        "redshift RMS, Ia": (main["redshift_rms_ia"], 4),
        "redshift NMAD": (main["redshift_nmad"], 4),
        "redshifts in their 68 % interval": (main["redshift_within_68"], 3),
        "redshifts in their 95 % interval": (main["redshift_within_95"], 3),
        "three-way accuracy at SNR 4-8": (metrics["sedm_by_snr"]["4-8"]["three_way_accuracy"], 3),
        "three-way accuracy with 4000-7500 A": (metrics["sedm_4000_7500"]["three_way_accuracy"], 3),
        "three-way accuracy with 5800-10200 A": (
            metrics["red_5800_10200"]["three_way_accuracy"],
            3,
        ),
    }
    for words, ((value, low, high), digits) in table.items():
        measured = f"{value:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
        (line,) = [x for x in text.splitlines() if x.startswith(f"| {words} |")]
        assert f"| {measured} |" in line
    assert metrics["command"] in text


def test_the_summary_replaces_what_stands_between_its_marks(tmp_path: Path) -> None:
    shipped = json.loads((ROOT / "exported_models" / "spectranet" / "card.json").read_text())
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- figures -->\nwhat stood here\n<!-- /figures -->\nafter\n")
    for _ in range(2):
        write_summary(readme, shipped)
        text = readme.read_text()
        assert text.startswith("before\n<!-- figures -->\n| test objects")
        assert text.endswith("```\n<!-- /figures -->\nafter\n")
        assert "what stood here" not in text
        assert text.count("SEDM-like |") == 1


def test_the_readme_of_a_model_without_pictures(tmp_path: Path) -> None:
    shipped = (ROOT / "exported_models" / "spectranet" / "card.json").read_text()
    (tmp_path / "card.json").write_text(shipped)
    write_readme(tmp_path)
    text = (tmp_path / "README.md").read_text()
    accuracy = json.loads(shipped)["metrics"]["sedm"]["three_way_accuracy"]
    assert (
        f"| three-way accuracy (Ia / Ib, Ic, Ic-BL, IIb, Ibn / II, IIn) | {cell(accuracy)}" in text
    )
    assert "pictures/" not in text
    assert "None" not in text


def test_a_combination_follows_its_members_card(tmp_path: Path) -> None:
    member = write_model(tmp_path)
    before = card.read_card(member)["sha256"]
    block = {"name": member.name, "version": "0.0.1", "sha256": before}
    both = tmp_path / "both"
    card.write_card(both, {"family": "survey", "members": {"network": block}})
    # Of other weights, or of nothing: they stay as they are.
    other = tmp_path / "other"
    card.write_card(other, {"family": "survey", "members": {"network": block | {"sha256": "0"}}})
    untouched = (other / "card.json").read_bytes()
    card.write_card(member, card.read_card(member) | {"metrics": {"accuracy": 0.9}})
    card.follow(member, before)
    now = card.read_card(both)
    assert now["members"]["network"]["sha256"] == card.read_card(member)["sha256"] != before
    stripped = {key: value for key, value in now.items() if key != "sha256"}
    assert now["sha256"] == card.card_fingerprint(stripped)
    assert (other / "card.json").read_bytes() == untouched
    assert not (both / "model.onnx").exists()
