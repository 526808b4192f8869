"""Cards and integrity: what was published runs, what was altered is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_model import make_card, write_model

from specinfer import Classifier
from specinfer.errors import ModelError
from specinfer.models import Bins, card_fingerprint, find_models, load_card, read_model


def edit_card(folder: Path, **changes: Any) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_fingerprint_ignores_hash_order_and_layout() -> None:
    card = make_card()
    turned = dict(reversed(list(card.items()))) | {"sha256": "anything"}
    assert card_fingerprint(card) == card_fingerprint(turned)
    assert card_fingerprint(card) != card_fingerprint(make_card(version="0.0.2"))


def test_fingerprint_is_the_documented_one() -> None:
    text = '{"a":"é","b":[1,2.5]}'
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert card_fingerprint({"b": [1, 2.5], "a": "é", "sha256": "x"}) == expected


def test_card_is_typed(tiny: Path) -> None:
    card = load_card("spectranet")
    assert card.label == "spectranet@0.0.1"
    assert card.classes == ("SN Ia", "SN II", "galaxy", "star")
    assert card.redshift_bins.size == 200
    assert card.calibration.class_temperature == 1.5
    assert hashlib.sha256(read_model(card)).hexdigest() == card.sha256


def test_own_folder_wins_over_the_installed_models(tiny: Path) -> None:
    assert find_models()["spectranet"] == tiny / "spectranet"


def test_folder_path_is_a_model_name(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "elsewhere")
    assert load_card(str(folder)).folder == folder
    assert Classifier(model=str(folder)).model == str(folder)


def test_unknown_model_lists_the_known(tiny: Path) -> None:
    with pytest.raises(ModelError, match=r"no model 'nonesuch'.*spectranet") as caught:
        load_card("nonesuch")
    assert caught.value.exit_code == 3


def test_model_dir_that_is_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPECINFER_MODEL_DIR", str(tmp_path / "none"))
    with pytest.raises(ModelError, match="SPECINFER_MODEL_DIR") as caught:
        find_models()
    assert caught.value.code == "no_model_dir"


def test_altered_model_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="altered") as caught:
        Classifier(model=str(folder))
    assert caught.value.code == "model_altered"


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": ["SN II", "SN Ia", "galaxy", "star"]},
        {"metrics": {"accuracy": 1.0}},
        {"version": "0.0.2"},
    ],
)
def test_altered_card_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = write_model(tmp_path)
    edit_card(folder, **changes)
    classifier = Classifier(model=str(folder))
    with pytest.raises(ModelError, match="altered") as caught:
        classifier.warm_up()
    assert caught.value.code == "card_altered"


def test_altered_hash_in_the_card_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    edit_card(folder, sha256="0" * 64)
    with pytest.raises(ModelError) as caught:
        Classifier(model=str(folder))
    assert caught.value.code == "model_altered"


def test_missing_model_file(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError) as caught:
        Classifier(model=str(folder))
    assert caught.value.code == "no_model"


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"schema": "specinfer.card/9"}, "card_schema", "specinfer.card/9"),
        ({"preprocessing": {"version": 99}}, "card_preprocessing", "version 99"),
        ({"classes": ["SN Ia", "SN Ia"]}, "bad_card", "different names"),
        ({"phase_classes": ["unicorn"]}, "bad_card", "phase_classes"),
        ({"version": "latest"}, "bad_card", "latest"),
        ({"calibration": {}}, "bad_card", "prediction_set"),
        ({"redshift_bins": {"start": 0, "step": -1, "size": 9}}, "bad_card", "step"),
        ({"inputs": []}, "bad_card", "wrong entry"),
    ],
)
def test_unusable_card_says_why(
    tmp_path: Path, changes: dict[str, Any], code: str, text: str
) -> None:
    folder = write_model(tmp_path)
    edit_card(folder, **changes)
    with pytest.raises(ModelError, match=text) as caught:
        load_card(str(folder))
    assert caught.value.code == code


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_card_that_is_no_json_object(tmp_path: Path, content: str) -> None:
    folder = write_model(tmp_path)
    (folder / "card.json").write_text(content)
    with pytest.raises(ModelError) as caught:
        load_card(str(folder))
    assert caught.value.code == "bad_card"


def test_unknown_family_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path, family="gasnet9")
    with pytest.raises(ModelError, match="gasnet9"):
        Classifier(model=str(folder))


def test_bin_centres() -> None:
    np.testing.assert_allclose(Bins(-0.5, 0.25, 4).centres, [-0.5, -0.25, 0.0, 0.25])
