"""GaSNet-II as a model: families, subclasses, p(z | family), cards that are wrong."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_model import fake_spectrum

from specinfer import Classifier, Spectrum, pdf, plot
from specinfer.errors import ModelError
from specinfer.models import card_fingerprint, load_card
from specinfer.networks import gasnet2
from specinfer.networks.gasnet2_answer import MODE_WIDTH, SubclassAnswer
from specinfer.preprocess import N_CHANNELS, Preprocessing

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ["GALAXY passive", "GALAXY STARBURST", "QSO plain", "QSO BAL", "STAR M", "NO_SIGNAL"]
N_PIXELS, N_BINS, STEP = 512, 400, 0.004
SIZES = {
    "class_logits": len(CLASSES), "galaxy_redshift_logits": N_BINS, "qso_redshift_logits": N_BINS,
    "embedding": 4,
}  # fmt: skip


def make_card(**changes: Any) -> dict[str, Any]:
    levels = {"68": 0.7, "95": 0.96}
    card = {
        "schema": "specinfer.card/1",
        "name": "gasnet2",
        "version": "0.0.1",
        "family": "gasnet2",
        "task": "a tiny network for tests",
        "classes": CLASSES,
        "inputs": [{"name": "spectrum", "shape": ["batch", N_CHANNELS, N_PIXELS]}],
        "outputs": [{"name": name, "shape": ["batch", size]} for name, size in SIZES.items()],
        "preprocessing": Preprocessing(n_pixels=N_PIXELS).to_dict(),
        "redshift_bins": {"start": 0.0, "step": STEP, "size": N_BINS},
        "redshift": {
            "GALAXY": {"output": "galaxy_redshift_logits", "temperature": 1.0, "levels": levels},
            "QSO": {"output": "qso_redshift_logits", "temperature": 2.0, "levels": levels},
            "STAR": {"spread": 4e-4},
        },
        "calibration": {
            "class_temperature": 1.0,
            "prediction_set": {"coverage": 0.9, "threshold": 0.2},
            "novelty_limit": 0.0,
        },
        "flags": {"low_snr": 1.0, "min_coverage": 0.2},
        "licence": "Apache-2.0",
    }
    return card | changes


def write_subclass_model(root: Path, favourite: int = 1, **changes: Any) -> Path:
    """A network that says `favourite`, a redshift of 0.1 for galaxies and of 1.2 for quasars."""
    card = make_card(**changes)
    rng = np.random.default_rng(3)
    biases = {name: np.zeros(size, np.float32) for name, size in SIZES.items()}
    biases["class_logits"][favourite] = 4.0
    bins = np.arange(N_BINS)
    for name, z in (("galaxy", 0.1), ("qso", 1.2)):
        curve = 0.5 * ((bins - np.log1p(z) / STEP) / 2.0) ** 2
        biases[f"{name}_redshift_logits"] -= curve.astype(np.float32)
    nodes = [helper.make_node("Flatten", ["spectrum"], ["flat"], axis=1)]
    constants = []
    for name, size in SIZES.items():
        matrix = rng.normal(size=(N_CHANNELS * N_PIXELS, size)).astype(np.float32) * 1e-3
        constants += [
            numpy_helper.from_array(matrix, f"{name}_w"),
            numpy_helper.from_array(biases[name], f"{name}_b"),
        ]
        nodes += [
            helper.make_node("MatMul", ["flat", f"{name}_w"], [f"{name}_m"]),
            helper.make_node("Add", [f"{name}_m", f"{name}_b"], [name]),
        ]
    shape = ["batch", N_CHANNELS, N_PIXELS]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("spectrum", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
            for name, size in SIZES.items()
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    metadata = {"name": card["name"], "version": card["version"]}
    helper.set_model_props(model, metadata | {"card_sha256": card_fingerprint(card)})
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    folder = root / "gasnet2"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    card["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def answers(folder: Path, spectra: list[Spectrum], z: float | None = None) -> list[SubclassAnswer]:
    network = gasnet2.load(load_card(str(folder)), device="cpu", threads=1)
    made = network.predict(spectra, [z] * len(spectra))
    assert all(isinstance(one, SubclassAnswer) for one in made)
    return made  # type: ignore[return-value]


def test_family_subclass_and_redshift(tmp_path: Path) -> None:
    (made,) = answers(write_subclass_model(tmp_path), [fake_spectrum(1)])
    assert made.class_name == "GALAXY"
    assert made.subtype == "STARBURST"
    assert made.subtype_probabilities is not None
    assert sum(made.subtype_probabilities.values()) == pytest.approx(1.0)
    assert sum(made.probabilities.values()) == pytest.approx(1.0)
    assert made.redshift == pytest.approx(0.1, abs=0.005)
    assert made.redshift_interval is not None
    assert made.redshift_interval["95"][0] < made.redshift_interval["68"][0] < 0.1
    assert made.redshift_err == pytest.approx(2 * STEP * 1.1 * 1.04, rel=0.2)
    assert made.candidates[0].class_name == "GALAXY"


def test_stars_stand_still_and_nothing_has_no_redshift(tmp_path: Path) -> None:
    (star,) = answers(write_subclass_model(tmp_path, 4), [fake_spectrum(1)])
    assert (star.class_name, star.subtype, star.redshift) == ("STAR", "M", 0.0)
    assert star.redshift_err == pytest.approx(4e-4)
    (nothing,) = answers(write_subclass_model(tmp_path, 5), [fake_spectrum(1)])
    assert nothing.class_name == "NO_SIGNAL"
    assert (nothing.redshift, nothing.subtype) == (None, None)
    assert "NO_SIGNAL" in nothing.flags


def test_a_given_redshift_speaks_for_the_family_that_has_it(tmp_path: Path) -> None:
    folder = write_subclass_model(tmp_path)
    (blind,) = answers(folder, [fake_spectrum(1)])
    (given,) = answers(folder, [fake_spectrum(1)], 1.2)
    assert given.probabilities["QSO"] > 5 * blind.probabilities["QSO"]
    assert given.redshift == 1.2
    assert given.redshift_err is None
    assert "Z_GIVEN" in given.flags


def test_an_answer_does_not_change_with_its_batch_mates(tmp_path: Path) -> None:
    folder = write_subclass_model(tmp_path)
    spectra = [fake_spectrum(seed) for seed in range(4)]
    together = answers(folder, spectra)
    for one, other in zip(spectra, together, strict=True):
        (alone,) = answers(folder, [one])
        assert alone.redshift == pytest.approx(other.redshift, abs=1e-6)
        assert alone.probability == pytest.approx(other.probability, abs=1e-6)


def test_modes_that_are_kept_are_those_of_the_distribution(tmp_path: Path) -> None:
    made, other = answers(write_subclass_model(tmp_path), [fake_spectrum(1), fake_spectrum(2)])
    for one in (made, other):
        # Kept for the best family, computed for one that has no candidates; more than are kept.
        assert "GALAXY" in one.family_modes
        for family, count in (("GALAXY", 1), ("GALAXY", 3), ("QSO", 2), ("GALAXY", 5)):
            expected = pdf.modes(one.family_pdfs[family], one.ln1z, count, MODE_WIDTH)
            found = one.modes(family, count)
            np.testing.assert_allclose(found.centre, expected.centre, rtol=0, atol=1e-12)
            np.testing.assert_allclose(found.mass, expected.mass, rtol=0, atol=1e-12)


def test_results_fit_the_schema_and_have_a_picture(tmp_path: Path) -> None:
    schema = json.loads((ROOT / "docs" / "result.schema.json").read_text())
    for favourite in (1, 5):
        folder = write_subclass_model(tmp_path, favourite)
        made = Classifier(str(folder), device="cpu", threads=1).classify(fake_spectrum(2))
        record = json.loads(made.to_json())
        jsonschema.Draft202012Validator(schema).validate(record)
        assert record["delta_chi2"] is None
        pytest.importorskip("matplotlib", reason="pictures are an optional extra")
        assert len(plot.make_figure(made).axes) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"redshift": {}}, "not those of the families"),
        ({"redshift": make_card()["redshift"] | {"QSO": {"output": "no"}}}, "no output 'no'"),
        ({"calibration": {}}, "class_temperature"),
    ],
)
def test_a_wrong_card_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = write_subclass_model(tmp_path, **changes)
    with pytest.raises(ModelError, match=message) as caught:
        load_card(str(folder))
    assert caught.value.code == "bad_card"
