"""Cross-correlation recovers class and redshift of a shifted template."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the benchmark loads the training code (extra 'train')")
pytest.importorskip("pyarrow", reason="the templates come from the library (extra 'train')")

from rich.console import Console
from synthetic_trials import GALAXY, IA, II
from tiny_training import CENTRES, GRID_PIXELS, make_library

from benchmarks.accuracy.__main__ import compare
from benchmarks.accuracy.templates import TemplateClassifier, choose_rows
from specinfer.spectrum import Spectrum
from training.archive.library import Library
from training.evaluation.observe import truth
from training.evaluation.trials import classify

FEATURES = {
    "SN Ia": ((3800, 0.5), (4400, -0.4), (5000, 0.5), (5500, 0.4), (6150, 0.6)),
    "SN II": ((3950, 0.3), (4340, 0.4), (4861, 0.5), (5890, 0.4), (6500, -0.9)),
}
GOOD = (CENTRES > 3000.0) & (CENTRES < 9500.0)


def rest_frame(name: str, seed: int = 0) -> np.ndarray:
    flux = (CENTRES / 5000.0) ** -1.5
    for centre, depth in FEATURES[name]:
        flux = flux * (1.0 - depth * np.exp(-0.5 * (np.log(CENTRES / centre) / 0.015) ** 2))
    return flux * (1.0 + 0.01 * np.random.default_rng(seed).normal(size=GRID_PIXELS))


def observed(name: str, redshift: float, noise: float, seed: int) -> Spectrum:
    """The features on the SEDM's pixels."""
    wavelength = np.linspace(3800.0, 9200.0, 210)
    flux = np.interp(wavelength / (1.0 + redshift), CENTRES, rest_frame(name))
    sigma = noise * flux.mean()
    flux = flux + sigma * np.random.default_rng(seed).normal(size=flux.size)
    return Spectrum(wavelength, flux, ivar=np.full(flux.size, sigma**-2))


@pytest.fixture(scope="module")
def library() -> Library:
    return make_library(
        [
            {
                "flux": rest_frame(name, seed),
                "good": GOOD,
                "label": name,
                "object": f"{name}-{seed // 2}",
                "phase": 3.0 if name == "SN Ia" else 10.0,
            }
            for name in FEATURES
            for seed in range(8)
        ]
    )


@pytest.fixture(scope="module")
def classifier(library: Library) -> TemplateClassifier:
    return TemplateClassifier(library, np.arange(len(library)))


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("redshift", [0.0, 0.0312, 0.1, 0.1873])
def test_a_shifted_template_is_found(
    classifier: TemplateClassifier, name: str, redshift: float
) -> None:
    (answer,) = classifier.predict([observed(name, redshift, 0.05, seed=1)])
    assert answer.prediction_set == (name,)
    assert answer.probabilities[name] > 0.5
    assert sum(answer.probabilities.values()) == pytest.approx(1.0)
    # A tenth of a pixel of the SEDM's is 2.5 Angstrom, 0.0004 of the wavelength.
    assert answer.redshift == pytest.approx(redshift, abs=0.002)
    assert 0.0 < answer.redshift_err < 0.01
    assert answer.phase == pytest.approx(3.0 if name == "SN Ia" else 10.0)


def test_noise_lowers_rlap(classifier: TemplateClassifier) -> None:
    rlap = [
        answer.rlap
        for answer in classifier.predict(
            [observed("SN Ia", 0.05, noise, seed=2) for noise in (0.02, 0.3, 3.0)]
        )
    ]
    assert rlap[0] > rlap[1] > rlap[2]


def test_every_object_serves_before_any_serves_twice(library: Library) -> None:
    rows = np.arange(len(library))
    chosen = choose_rows(library, rows)
    assert np.array_equal(np.sort(chosen), rows)
    names = library.object[chosen][library.label[chosen] == IA]
    assert np.unique(names[:4]).size == 4
    # Far from maximum light there is no template.
    library.phase[0] = 200.0
    try:
        assert 0 not in choose_rows(library, rows)
    finally:
        library.phase[0] = 3.0


def test_methods_and_constants_on_the_same_spectra(
    library: Library, classifier: TemplateClassifier
) -> None:
    rows = np.array([0, 2, 4, 6, 8, 10])
    names = ["SN Ia"] * 4 + ["SN II"] * 2
    z = np.array([0.02, 0.05, 0.08, 0.11, 0.03, 0.06])
    spectra = [observed(name, x, 0.05, i) for i, (name, x) in enumerate(zip(names, z, strict=True))]
    targets = truth(library, rows, z, np.full(6, 20.0), np.zeros(6), 0)
    block = compare({"templates": classifier}, targets, spectra, Console(quiet=True))
    assert block["ia_share"] == pytest.approx(4 / 6)
    assert (block["n_spectra"], block["n_objects"]) == (6, 6)
    methods = block["methods"]
    found = methods["templates"]
    assert found["accuracy"][0] == found["ia_against_rest"][0] == 1.0
    assert found["redshift_rms"][0] < 0.003
    assert found["milliseconds"] > 0
    constant = methods["constant class and redshift"]
    assert (
        constant["accuracy"][0] == constant["ia_against_rest"][0] == pytest.approx(4 / 6, abs=1e-5)
    )
    middle = np.median(np.log1p(z))
    expected = np.sqrt(np.mean(np.expm1(middle - np.log1p(z)) ** 2))
    assert constant["redshift_rms"][0] == pytest.approx(expected, abs=1e-5)
    trials = classify(classifier, targets, spectra)
    assert trials.label.tolist() == [IA] * 4 + [II] * 2
    assert trials.probabilities[:, GALAXY].max() == 0.0
