"""The example files: their answers are the truth that they were simulated from."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from specinfer import Classification, Classifier, Spectrum, read

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@dataclass(frozen=True)
class Truth:
    stem: str
    class_name: str
    redshift: float
    snr: float


def read_truth() -> list[Truth]:
    with (EXAMPLES / "truth" / "truth.csv").open(newline="") as handle:
        return [
            Truth(row["file"], row["class"], float(row["redshift"]), float(row["snr"]))
            for row in csv.DictReader(handle)
        ]


TRUTH = read_truth()
every_example = pytest.mark.parametrize("truth", TRUTH, ids=lambda t: t.stem[-5:])
every_kind = pytest.mark.parametrize("kind", ["fits", "txt"])


def spectrum_of(truth: Truth, kind: str) -> Spectrum:
    (spectrum,) = read(EXAMPLES / f"{truth.stem}.{kind}")
    return spectrum


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(device="cpu", threads=1)


def answer_of(classifier: Classifier, truth: Truth, kind: str) -> Classification:
    return classifier.classify(spectrum_of(truth, kind))


def test_every_file_has_its_truth() -> None:
    files = {path.name for path in EXAMPLES.glob("spec_*")}
    assert files == {f"{truth.stem}.{kind}" for truth in TRUTH for kind in ("fits", "txt")}
    assert len(TRUTH) >= 5
    assert {"SN Ia", "SN II", "Star"} <= {truth.class_name for truth in TRUTH}


@every_kind
@every_example
def test_class_is_right(classifier: Classifier, truth: Truth, kind: str) -> None:
    answer = answer_of(classifier, truth, kind)
    assert answer.status == "ok"
    assert answer.class_name == truth.class_name


@every_kind
@every_example
def test_redshift_is_right(classifier: Classifier, truth: Truth, kind: str) -> None:
    answer = answer_of(classifier, truth, kind)
    assert answer.redshift is not None
    assert answer.redshift_err is not None
    assert 0.0 < answer.redshift_err < 0.05
    assert abs(answer.redshift - truth.redshift) < 0.01 + 3.0 * answer.redshift_err


@every_kind
@every_example
def test_signal_to_noise_is_the_simulated_one(truth: Truth, kind: str) -> None:
    """The simulator asks for the mean of a pixel, the runtime measures the median."""
    assert spectrum_of(truth, kind).snr == pytest.approx(truth.snr, rel=0.25)


@every_example
def test_text_twin_is_the_same_spectrum(truth: Truth) -> None:
    fits, text = spectrum_of(truth, "fits"), spectrum_of(truth, "txt")
    np.testing.assert_allclose(text.wavelength, fits.wavelength, rtol=0, atol=0.01)
    np.testing.assert_array_equal(text.good, fits.good)
    # The text has four significant digits.
    np.testing.assert_allclose(text.flux, fits.flux, rtol=5.01e-4)
    np.testing.assert_allclose(text.ivar, fits.ivar, rtol=5.01e-4)


@every_example
def test_text_twin_has_the_same_redshift(classifier: Classifier, truth: Truth) -> None:
    fits, text = (answer_of(classifier, truth, kind) for kind in ("fits", "txt"))
    assert fits.redshift is not None
    assert text.redshift == pytest.approx(fits.redshift, abs=1e-4)
    assert text.redshift_err == pytest.approx(fits.redshift_err, abs=1e-4)


@every_example
def test_text_twin_has_the_same_probabilities(classifier: Classifier, truth: Truth) -> None:
    fits, text = (answer_of(classifier, truth, kind) for kind in ("fits", "txt"))
    assert fits.probabilities is not None
    # Four significant digits of the flux move a probability by a few 1e-4.
    assert text.probabilities == pytest.approx(fits.probabilities, abs=1e-3)


@every_example
def test_text_twin_differs_by_its_rounding_alone(classifier: Classifier, truth: Truth) -> None:
    """FITS flux and variance rounded to the digits of the text give the text's answer."""
    exact = spectrum_of(truth, "fits")
    flux = np.array([float(f"{x:.3e}") for x in exact.flux])
    with np.errstate(divide="ignore"):
        variance = [float(f"{1.0 / x:.3e}") if x > 0 else np.inf for x in exact.ivar]
    rounded = classifier.classify(exact.replace(flux=flux, ivar=1.0 / np.array(variance)))
    text = answer_of(classifier, truth, "txt")
    assert rounded.probabilities is not None
    assert text.probabilities == pytest.approx(rounded.probabilities, abs=1e-5)
    assert text.redshift == pytest.approx(rounded.redshift, abs=1e-6)
