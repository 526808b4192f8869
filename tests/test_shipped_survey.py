"""The survey models that ship, on the example spectra and on copies of them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from specinfer import Classification, Classifier, Spectrum, read
from specinfer.zwarn import names

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "survey"
FloatArray = NDArray[np.float64]
# What counts as the right redshift.
GOOD = {"GALAXY": 0.003, "QSO": 0.01, "STAR": 0.001}


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(device="cpu", threads=1)


def example(number: int) -> tuple[Spectrum, dict[str, str]]:
    text = (EXAMPLES / "truth" / "truth.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    return read(EXAMPLES / rows[number]["file"])[0], rows[number]


def cumulative(edges: FloatArray, values: FloatArray, to: FloatArray) -> FloatArray:
    """Integral of a step function between new edges."""
    total = np.concatenate([[0.0], np.cumsum(values * np.diff(edges))])
    return np.diff(np.interp(to, edges, total))


def linear_copy(one: Spectrum, step: float) -> Spectrum:
    """The same photons in pixels of equal width in wavelength."""
    ln = np.log(one.wavelength)
    middle = 0.5 * (ln[1:] + ln[:-1])
    edges = np.exp(np.concatenate([[2 * ln[0] - middle[0]], middle, [2 * ln[-1] - middle[-1]]]))
    to = np.arange(edges[0] + step, edges[-1] - step, step)
    width = np.diff(edges)
    sigma2 = np.where(one.ivar > 0, 1.0 / np.where(one.ivar > 0, one.ivar, 1.0), 0.0)
    bad = cumulative(edges, (one.ivar <= 0).astype(float), to) > 0.0
    flux = cumulative(edges, one.flux, to) / step
    # Independent pixels: the variance of a mean over a length is the density over the length.
    variance = cumulative(edges, sigma2 * width, to) / step**2
    ivar = np.where(bad, 0.0, 1.0 / variance)
    centre = 0.5 * (to[1:] + to[:-1])
    return Spectrum(centre, flux, ivar=ivar, resolution=one.resolution, reader=one.reader)


@pytest.mark.parametrize("number", range(3))
def test_the_examples_get_class_and_redshift(classifier: Classifier, number: int) -> None:
    spectrum, truth = example(number)
    made = classifier.classify(spectrum)
    assert made.model is not None
    assert made.model.startswith("survey@")
    assert made.class_name == truth["class"]
    z = float(truth["redshift"])
    assert made.redshift is not None
    assert abs(made.redshift - z) / (1 + z) < GOOD[truth["class"]]
    assert names(made.zwarning or 0) == ()
    assert made.reliability is not None
    assert made.reliability > 0.9
    assert set(made.models or {}) == {"survey", "gasnet2", "gasnet3"}


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("step", [0.8, 1.4])
def test_a_linear_copy_has_the_same_answer(
    classifier: Classifier, number: int, step: float
) -> None:
    spectrum, _ = example(number)
    one = classifier.classify(spectrum)
    other = classifier.classify(linear_copy(spectrum, step))
    assert one.class_name == other.class_name
    assert one.redshift is not None
    assert other.redshift is not None
    assert one.redshift_err is not None
    assert abs(one.redshift - other.redshift) < one.redshift_err


def test_alone_and_in_a_batch(classifier: Classifier) -> None:
    spectra = [example(number)[0] for number in range(3)] * 2
    together = list(classifier.classify_many(spectra))
    for spectrum, made in zip(spectra, together, strict=True):
        alone = classifier.classify(spectrum)
        assert alone.redshift == pytest.approx(made.redshift, abs=1e-7)
        assert alone.reliability == pytest.approx(made.reliability, abs=1e-4)
        assert alone.class_name == made.class_name


def flagged(made: Classification) -> bool:
    return bool(made.zwarning)


def test_noise_is_flagged(classifier: Classifier) -> None:
    rng = np.random.default_rng(3)
    wavelength = 10.0 ** (3.57 + 1e-4 * np.arange(4400))
    spectra = [
        Spectrum(wavelength, rng.normal(size=4400), ivar=np.ones(4400), reader="sdss-spec")
        for _ in range(40)
    ]
    answers = list(classifier.classify_many(spectra))
    assert all(flagged(one) for one in answers)
    assert all((one.reliability or 0.0) < 0.9 for one in answers)


def test_part_of_a_spectrum_is_enough(classifier: Classifier) -> None:
    spectrum, truth = example(0)
    inside = (spectrum.wavelength > 4500.0) & (spectrum.wavelength < 7500.0)
    cut = Spectrum(
        spectrum.wavelength, spectrum.flux, ivar=np.where(inside, spectrum.ivar, 0.0),
        resolution=spectrum.resolution, reader=spectrum.reader,
    )  # fmt: skip
    made = classifier.classify(cut)
    assert made.class_name == truth["class"]
    assert made.redshift == pytest.approx(float(truth["redshift"]), abs=0.003)
