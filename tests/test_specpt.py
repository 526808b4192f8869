"""SpecPT as a model: its denoised spectrum, anomaly, lines, picture; cards that are wrong."""

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
from test_gasnet2 import N_BINS, SIZES, STEP
from test_gasnet2 import make_card as make_subclass_card
from tiny_model import fake_spectrum

from specinfer import Classifier, Spectrum, plot
from specinfer.cli_models import verify_model
from specinfer.errors import ModelError
from specinfer.models import card_fingerprint, load_card, read_half
from specinfer.networks import specpt
from specinfer.networks.specpt import misfit
from specinfer.networks.specpt_answer import SpecPTAnswer
from specinfer.noise_channel import CHANNELS

ROOT = Path(__file__).resolve().parents[1]
N_PIXELS = 512


def make_card(**changes: Any) -> dict[str, Any]:
    sizes = SIZES | {"reconstruction": N_PIXELS}
    card = make_subclass_card(
        name="specpt",
        family="specpt",
        inputs=[{"name": "spectrum", "shape": ["batch", CHANNELS, N_PIXELS]}],
        outputs=[{"name": name, "shape": ["batch", size]} for name, size in sizes.items()],
        reconstruction={"output": "reconstruction", "usual_misfit": 1.0, "high_misfit": 3.0},
    )
    card["calibration"]["novelty_limit"] = 50.0
    return card | changes


def write_specpt(root: Path, favourite: int = 1, **changes: Any) -> Path:
    """A network whose denoised spectrum is half of what it sees, and z is 0.1 or 1.2."""
    card = make_card(**changes)
    biases = {name: np.zeros((1, size), np.float32) for name, size in SIZES.items()}
    biases["class_logits"][0, favourite] = 6.0
    bins = np.arange(N_BINS)
    for name, z in (("galaxy", 0.1), ("qso", 1.2)):
        curve = 0.5 * ((bins - np.log1p(z) / STEP) / 2.0) ** 2
        biases[f"{name}_redshift_logits"][0] -= curve.astype(np.float32)
    nodes = [
        helper.make_node("Slice", ["spectrum", "zero", "one", "axis"], ["first"]),
        helper.make_node("Squeeze", ["first", "axis"], ["flux"]),
        helper.make_node("Mul", ["flux", "half"], ["reconstruction"]),
        helper.make_node("ReduceMean", ["spectrum", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "axis"], ["column"]),
        helper.make_node("Mul", ["column", "nothing"], ["still"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([0], np.int64), "zero"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
        numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
        numpy_helper.from_array(np.float32(0.5), "half"),
        numpy_helper.from_array(np.float32(0.0), "nothing"),
    ]
    for name in SIZES:
        constants.append(numpy_helper.from_array(biases[name], f"{name}_b"))
        nodes.append(helper.make_node("Add", ["still", f"{name}_b"], [name]))
    outputs = SIZES | {"reconstruction": N_PIXELS}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(
                "spectrum", TensorProto.FLOAT, ["batch", CHANNELS, N_PIXELS]
            )
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
            for name, size in outputs.items()
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    metadata = {"name": card["name"], "version": card["version"]}
    helper.set_model_props(model, metadata | {"card_sha256": card_fingerprint(card)})
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    folder = root / "specpt"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    card["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def spectrum(noise: float = 0.05, bad: bool = False) -> Spectrum:
    rng = np.random.default_rng(4)
    wavelength = np.arange(3700.0, 9500.0, 3.0)
    flux = 2.0 + 0.2 * np.sin(wavelength / 70.0) + rng.normal(0.0, noise, wavelength.size)
    if bad:
        flux = flux + 3.0 * np.sign(np.sin(wavelength / 20.0))
    return Spectrum(wavelength, flux, sigma=np.full(wavelength.size, noise), object="one")


def answers(folder: Path, spectra: list[Spectrum]) -> list[SpecPTAnswer]:
    made = specpt.load(load_card(str(folder)), device="cpu", threads=1).predict(spectra)
    assert all(isinstance(one, SpecPTAnswer) for one in made)
    return made  # type: ignore[return-value]


def test_the_denoised_spectrum_is_in_the_unit_of_the_flux(tmp_path: Path) -> None:
    one = spectrum()
    (made,) = answers(write_specpt(tmp_path), [one])
    assert (made.class_name, made.subtype) == ("GALAXY", "STARBURST")
    assert made.redshift == pytest.approx(0.1, abs=0.005)
    wavelength, flux = made.denoised
    assert wavelength.shape == flux.shape
    seen = np.interp(wavelength, one.wavelength, one.flux)
    # The tiny network halves what stands out of the continuum.
    continuum = made.prepared.continuum[made.prepared.valid]
    slope = np.polyfit(seen - continuum, flux - continuum, 1)[0]
    assert slope == pytest.approx(0.5, abs=0.08)


def test_units_do_not_change_the_answer(tmp_path: Path) -> None:
    folder = write_specpt(tmp_path)
    one = spectrum()
    small = Spectrum(one.wavelength, one.flux * 1e-17, ivar=one.ivar * 1e34)
    a, b = answers(folder, [one, small])
    assert a.misfit == pytest.approx(b.misfit, rel=1e-6)
    np.testing.assert_allclose(a.reconstructed * 1e-17, b.reconstructed, rtol=1e-6, atol=1e-23)


def test_a_bad_fit_is_an_anomaly(tmp_path: Path) -> None:
    folder = write_specpt(tmp_path, reconstruction={
        "output": "reconstruction", "usual_misfit": 5.0, "high_misfit": 10.0,
    })  # fmt: skip
    usual, bad = answers(folder, [spectrum(), spectrum(bad=True)])
    assert bad.misfit is not None
    assert usual.misfit is not None
    assert bad.misfit > usual.misfit
    assert bad.anomaly > max(usual.anomaly, 0.5)
    assert bad.anomaly_reasons == ("BAD_FIT",)


def test_without_errors_there_is_no_misfit(tmp_path: Path) -> None:
    one = spectrum()
    plain = Spectrum(one.wavelength, one.flux)
    (made,) = answers(write_specpt(tmp_path), [plain])
    assert made.misfit is None
    assert made.anomaly == 0.0


def test_an_answer_does_not_depend_on_the_others(tmp_path: Path) -> None:
    folder = write_specpt(tmp_path)
    some = [spectrum(), fake_spectrum(1), spectrum(0.3)]
    together = answers(folder, some)
    for one, made in zip(some, together, strict=True):
        (alone,) = answers(folder, [one])
        # Spectra on the same pixels are prepared together: the last digit may differ.
        np.testing.assert_allclose(alone.reconstructed, made.reconstructed, rtol=1e-12, atol=0)
        assert alone.redshift == pytest.approx(made.redshift, abs=1e-9)


def test_the_result_has_its_reconstruction_and_lines(tmp_path: Path) -> None:
    classifier = Classifier(f"{write_specpt(tmp_path)}/", device="cpu")
    result = classifier.classify(spectrum())
    assert result.reconstruction is not None
    assert result.lines is None
    assert result.anomaly is not None
    with_lines = result.with_lines()
    assert {line["name"] for line in with_lines.lines or ()} >= {"H-alpha", "[O II]", "Ca K"}
    schema = json.loads((ROOT / "docs" / "result.schema.json").read_text())
    for one in (result, with_lines):
        jsonschema.validate(one.to_dict(), schema)
    assert with_lines.to_dict()["models"]["specpt"]["misfit"] == pytest.approx(
        result.answer.misfit,
        rel=1e-5,  # type: ignore[union-attr]
    )


def test_the_picture(tmp_path: Path) -> None:
    classifier = Classifier(f"{write_specpt(tmp_path)}/", device="cpu")
    one = spectrum()
    for number, some in enumerate((one, Spectrum(one.wavelength, one.flux))):
        path = tmp_path / f"{number}.png"
        plot.save(classifier.classify(some), path)
        assert path.read_bytes().startswith(b"\x89PNG")
    nothing = Classifier(f"{write_specpt(tmp_path / 'b', 5)}/", device="cpu").classify(one)
    assert nothing.redshift is None
    plot.save(nothing, tmp_path / "nothing.png")


@pytest.mark.parametrize(
    "wrong",
    [
        {"output": "nonsense", "usual_misfit": 1.0, "high_misfit": 2.0},
        {"output": "reconstruction", "usual_misfit": 2.0, "high_misfit": 1.0},
        {"output": "reconstruction", "usual_misfit": 1.0},
    ],
)
def test_cards_that_make_no_sense_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    folder = write_specpt(tmp_path, reconstruction=wrong)
    with pytest.raises(ModelError):
        load_card(str(folder))


def test_misfit_is_not_moved_by_a_few_pixels() -> None:
    rng = np.random.default_rng(0)
    model, ivar = np.ones(2000), np.full(2000, 4.0)
    flux = model + rng.normal(0.0, 0.5, 2000)
    plain = float(misfit(flux, ivar, model))
    assert plain == pytest.approx(1.0, abs=0.1)
    flux[:4] += 1e6
    assert float(misfit(flux, ivar, model)) < plain + 0.06
    assert float(misfit(flux, np.zeros(2000), model)) == 0.0


def test_a_network_in_half_precision_is_checked_like_the_other(tmp_path: Path) -> None:
    folder = write_specpt(tmp_path)
    assert read_half(load_card(str(folder))) is None
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.fp16.onnx").write_bytes(content)
    card = json.loads((folder / "card.json").read_text())
    card["half_sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    # The hash of a file is no part of the fingerprint that the file holds.
    made = load_card(str(folder))
    assert read_half(made) == content
    verify_model(made)
    (folder / "model.fp16.onnx").write_bytes(content + b"x")
    with pytest.raises(ModelError, match="altered"):
        read_half(load_card(str(folder)))
    with pytest.raises(ModelError, match="altered"):
        verify_model(load_card(str(folder)))
