"""GaSNet-III as a model: answers, warnings, batches, and cards that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from synthetic_families import galaxy, observed, star
from tiny_survey import make_survey_card, survey_spectrum, write_survey_model

from specinfer import Classifier, Spectrum, plot
from specinfer.errors import ModelError, ReadError, UsageError
from specinfer.models import load_card
from specinfer.networks import gasnet3
from specinfer.networks.survey_answer import SurveyAnswer
from specinfer.zlines import measure_lines

ROOT = Path(__file__).resolve().parents[1]


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


def with_floor(folder: Path, stated: object) -> gasnet3.GasNet3:
    """The tiny network, whose card states a floor of the errors of galaxies."""
    scan = make_survey_card()["scan"]
    scan["families"]["GALAXY"]["error_floor"] = stated
    return gasnet3.load(
        load_card(str(write_survey_model(folder, scan=scan))), device="cpu", threads=1
    )


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ([[0.9, 1e-4], [0.9, 1e-3]], "must increase"),
        (-1e-5, "at or above 0"),
        ([], "error_floor"),
        ([1e-4], "bad_card|error_floor|card"),
    ],
)
def test_wrong_floors_are_refused(tmp_path: Path, stated: object, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        with_floor(tmp_path, stated)
    assert caught.value.code == "bad_card"


def test_the_floor_of_the_error_may_change_with_redshift(tmp_path: Path) -> None:
    network = with_floor(tmp_path, [[0.2, 1e-3], [0.4, 1e-2]])
    floor = network.card.families[0].error_floor
    assert [floor(z) for z in (0.0, 0.2, 0.3, 0.4, 3.0)] == pytest.approx(
        [1e-3, 1e-3, 5.5e-3, 1e-2, 1e-2]
    )
    for z, share in ((0.1, 1e-3), (0.31, 5.95e-3), (0.5, 1e-2)):
        made = answer_of(network, survey_spectrum(galaxy(), (1.0, 0.3, 0.2), z, 20.0))
        assert made.redshift_err == pytest.approx(share * (1.0 + z), rel=0.05)


def test_the_classifier_takes_it_by_name(tmp_path: Path) -> None:
    folder = write_survey_model(tmp_path)
    classifier = Classifier(str(folder), device="cpu", threads=1)
    spectra = [
        survey_spectrum(galaxy(), (1.0, 0.3, 0.2), 0.31, 8.0),
        survey_spectrum(star(), (0.7, 0.3), 0.0003, 15.0),
    ]
    results = list(classifier.classify_many(spectra))
    assert [one.class_name for one in results] == ["GALAXY", "STAR"]
    schema = json.loads((ROOT / "docs" / "result.schema.json").read_text())
    for one in results:
        record = json.loads(one.to_json())
        jsonschema.Draft202012Validator(schema).validate(record)
        assert record["zwarning"] == 0
        assert record["delta_chi2"] > 9
        assert 0 <= record["anomaly"] < 0.5
        assert record["phase"] is None
        assert record["models"]["gasnet3"]["warnings"] == []
    assert classifier.embedding_size == 5
    with pytest.raises(UsageError, match="best-fit model") as caught:
        classifier.explain(results[0])
    assert caught.value.code == "not_explained"


def test_the_picture_shows_the_fit(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures are an optional extra")
    folder = write_survey_model(tmp_path)
    made = Classifier(str(folder), device="cpu", threads=1).classify(
        survey_spectrum(galaxy(), (1.0, 0.3, 0.2), 0.31, 4.0)
    )
    figure = plot.make_figure(made)
    assert len(figure.axes) == 4
    labels = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes)
    for text in ("vacuum wavelength", "residual", "redshift", "χ²"):
        assert text in labels
    assert "GALAXY at z = 0.31" in figure.axes[0].get_legend().get_texts()[0].get_text()
    target = tmp_path / "fit.png"
    plot.save(made, target)
    assert target.read_bytes().startswith(b"\x89PNG")


def test_lines_are_measured_where_they_are() -> None:
    data = observed(galaxy(), (1.0, 0.3, 0.2), 0.2, 20.0, 0)
    lines = {line.name: line for line in measure_lines(data, "GALAXY", 0.2)}
    assert lines["Hα"].wavelength == pytest.approx(6564.61 * 1.2)
    assert lines["Hα"].snr > 10
    assert lines["Mg b"].snr < -3
    elsewhere = {line.name: line for line in measure_lines(data, "GALAXY", 0.27)}
    assert abs(elsewhere["Hα"].snr) < 5
