"""The SpecPT that ships: alone or in a batch, its positions, half precision, real answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from specinfer import Classifier, Spectrum, read
from specinfer.engine import Session
from specinfer.models import load_card, read_half, read_model
from specinfer.networks.specpt_answer import SpecPTAnswer

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "exported_models" / "specpt"
EXAMPLES = sorted((ROOT / "examples" / "survey").glob("*.fits"))
TRUTH = {"0001": ("GALAXY", 0.2137), "0002": ("QSO", 2.184), "0003": ("STAR", 0.0)}


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier("specpt", device="cpu", threads=1)


@pytest.fixture(scope="module")
def spectra() -> list[Spectrum]:
    """The examples, with other noise, cut, and without their errors."""
    rng = np.random.default_rng(0)
    made = []
    for one in (read(path)[0] for path in EXAMPLES):
        made.append(one)
        noise = np.where(one.good, rng.normal(size=one.flux.size), 0.0)
        sigma = np.where(one.good, 1.0 / np.sqrt(np.where(one.good, one.ivar, 1.0)), 0.0)
        made.append(Spectrum(one.wavelength, one.flux + noise * sigma, ivar=one.ivar / 2.0))
        cut = (one.wavelength > 4500.0) & (one.wavelength < 7500.0)
        made.append(Spectrum(one.wavelength, one.flux, ivar=np.where(cut, one.ivar, 0.0)))
        made.append(Spectrum(one.wavelength[one.good], one.flux[one.good]))
    return made


def test_the_examples_are_what_they_are(classifier: Classifier) -> None:
    for path in EXAMPLES:
        result = classifier.classify(read(path)[0])
        family, redshift = TRUTH[path.stem[-4:]]
        assert result.class_name == family
        assert result.redshift == pytest.approx(redshift, abs=0.004 * (1 + redshift))
        assert result.reconstruction is not None


def test_the_same_redshift_alone_and_in_any_batch(
    classifier: Classifier, spectra: list[Spectrum]
) -> None:
    together = list(classifier.classify_many(spectra))
    backwards = list(classifier.classify_many(spectra[::-1]))[::-1]
    for one, a, b in zip(spectra, together, backwards, strict=True):
        alone = classifier.classify(one)
        for other in (a, b):
            assert other.class_name == alone.class_name
            assert other.redshift == pytest.approx(alone.redshift, abs=1e-6)
            assert isinstance(alone.answer, SpecPTAnswer)
            assert isinstance(other.answer, SpecPTAnswer)
            scale = np.abs(alone.answer.reconstructed).max()
            np.testing.assert_allclose(
                other.answer.reconstructed, alone.answer.reconstructed, atol=1e-4 * scale
            )


def test_its_attention_knows_where_tokens_are() -> None:
    """Another order of the tokens is another answer: attention and positions are used."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from training.architectures.specpt import SpecPTNet
    from training.parity import torch_network

    network = torch_network(FOLDER)
    assert isinstance(network, SpecPTNet)
    with np.load(FOLDER / "golden.npz") as golden:
        x = torch.from_numpy(golden["spectrum"])
    order = torch.randperm(network.config.n_tokens, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        usual, other = network(x)[1], network(x, order)[1]
        # And each token looks at all others: what the red end shows changes the blue end.
        changed = x.clone()
        changed[:, 0, 1536:] = changed[:, 0, 1536:].flip(1)
        moved = (network.reconstruct(x) - network.reconstruct(changed))[:, :256].abs().amax(dim=1)
    assert float((usual - other).abs().amax(dim=1).min()) > 0.1
    assert float(moved.max()) > 0.01


def test_half_precision_moves_no_redshift_by_much() -> None:
    """On the CPU, where onnxruntime runs it, too; within 1e-3 over 1 + z."""
    card = load_card(str(FOLDER))
    half = read_half(card)
    assert half is not None
    with np.load(FOLDER / "golden.npz") as golden:
        x = golden["spectrum"]
    single, other = (
        Session(model, name=card.label, device="cpu", threads=1).run({card.input_name: x})
        for model in (read_model(card), half)
    )
    assert (single["class_logits"].argmax(1) == other["class_logits"].argmax(1)).all()
    step = card.raw["redshift_bins"]["step"]
    for name in ("galaxy", "qso"):
        logits = [one[f"{name}_redshift_logits"] for one in (single, other)]
        sure = np.exp(logits[0] - logits[0].max(axis=1, keepdims=True)).sum(axis=1) < 4.0
        peaks = [row.argmax(axis=1)[sure] for row in logits]
        assert np.abs(peaks[0] - peaks[1]).max(initial=0) * step < 1e-3 + step / 2
    assert card.raw["half"]["largest_dz"] < 1e-3


def test_lines_of_the_quasar(classifier: Classifier) -> None:
    result = classifier.classify(read(EXAMPLES[1])[0]).with_lines()
    lines = {line["name"]: line for line in result.lines or ()}
    assert lines["C IV"]["snr"] > 10
    assert lines["Mg II"]["flux"] > 0
