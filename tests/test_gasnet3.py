"""GaSNet-III as a model: answers, warnings, batches, and cards that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_families import galaxy, star
from tiny_survey import survey_spectrum, write_survey_model

from specinfer import Spectrum
from specinfer.errors import ModelError, ReadError
from specinfer.models import load_card
from specinfer.networks import gasnet3
from specinfer.networks.survey_answer import SurveyAnswer


@pytest.fixture
def network(tmp_path: Path) -> gasnet3.GasNet3:
    return gasnet3.load(load_card(str(write_survey_model(tmp_path))), device="cpu", threads=1)


def answer_of(network: gasnet3.GasNet3, spectrum: Spectrum, z: float | None = None) -> SurveyAnswer:
    made = network.predict([spectrum], [z])[0]
    assert isinstance(made, SurveyAnswer)
    return made


def test_a_galaxy_and_a_star(network: gasnet3.GasNet3) -> None:
    made = answer_of(network, survey_spectrum(galaxy(), (1.0, 0.3, 0.2), 0.31, 8.0))
    assert made.class_name == "GALAXY"
    assert made.probability > 0.99
    assert made.redshift == pytest.approx(0.31, abs=3e-4)
    assert made.redshift_err is not None
    assert 1e-6 < made.redshift_err < 1e-3
    assert made.zwarning == 0
    assert made.delta_chi2 is not None
    assert made.delta_chi2 > 9
    assert made.reduced_chi2 == pytest.approx(1.0, abs=0.1)
    assert made.anomaly < 0.3
    assert made.candidates[0].redshift == made.redshift
    other = answer_of(network, survey_spectrum(star(), (0.7, 0.3), 0.0003, 15.0))
    assert other.class_name == "STAR"
    assert other.redshift == pytest.approx(0.0003, abs=1e-4)


def test_an_answer_does_not_change_with_its_batch_mates(network: gasnet3.GasNet3) -> None:
    spectra = [
        survey_spectrum(galaxy(), (1.0, 0.3, 0.2), 0.05 + 0.1 * i, 5.0, seed=i) for i in range(5)
    ]
    alone = [answer_of(network, one) for one in spectra]
    together = network.predict(spectra)
    for one, other in zip(alone, together, strict=True):
        assert isinstance(other, SurveyAnswer)
        assert one.redshift == other.redshift
        assert one.probabilities == other.probabilities
        np.testing.assert_allclose(one.embedding, other.embedding, rtol=1e-5, atol=1e-6)


def test_a_given_redshift_is_taken(network: gasnet3.GasNet3) -> None:
    spectrum = survey_spectrum(galaxy(), (1.0, 0.3, 0.2), 0.31, 8.0)
    made = answer_of(network, spectrum, 0.31)
    assert made.redshift == 0.31
    assert made.redshift_err is None
    assert "Z_GIVEN" in made.flags
    assert made.class_name == "GALAXY"
    refused = network.predict([spectrum], [3.0])[0]
    assert isinstance(refused, ReadError)
    assert refused.code == "bad_redshift"


def test_noise_has_a_warning(network: gasnet3.GasNet3) -> None:
    rng = np.random.default_rng(1)
    wavelength = 10 ** (3.56 + 1e-4 * np.arange(4000))
    made = answer_of(network, Spectrum(wavelength, rng.normal(size=4000), ivar=np.ones(4000)))
    assert {"NO_SIGNAL", "LOW_SNR"} <= set(made.flags)
    assert "NO_SIGNAL" in made.anomaly_reasons
    assert made.zwarning != 0


def test_the_answer_is_plain_json(network: gasnet3.GasNet3) -> None:
    made = answer_of(network, survey_spectrum(galaxy(), (1.0, 0.3, 0.2), 0.31, 8.0))
    block = json.loads(json.dumps(made.to_dict("1.0.0"), allow_nan=False))
    assert block["class"] == "GALAXY"
    assert len(block["candidates"]) == 3
    assert block["warnings"] == []
    assert sum(block["probabilities"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scan": {}}, "lacks 'families'"),
        ({"classes": ["GALAXY", "QSO"]}, "not the classes"),
        ({"outputs": [{"name": "coefficients", "shape": ["batch", 5]}]}, "no outputs"),
    ],
)
def test_a_wrong_card_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    folder = write_survey_model(tmp_path, **changes)
    with pytest.raises(ModelError, match=words) as caught:
        load_card(str(folder))
    assert caught.value.code == "bad_card"
