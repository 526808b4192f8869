"""The combination of a network and a scan: windows, fallback, chances, cards that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from synthetic_families import galaxy, quasar, star
from test_gasnet2 import write_subclass_model
from tiny_survey import survey_spectrum, write_survey_model

from specinfer import Classifier, Spectrum
from specinfer.classifier import route
from specinfer.errors import ModelError, ReadError
from specinfer.models import card_fingerprint, find_models, load_card
from specinfer.networks import survey
from specinfer.networks.survey import SurveyCombination, opinion_of
from specinfer.networks.survey_answer import SurveyAnswer
from specinfer.survey_card import FIT_CLUES, NONE_CLUES
from specinfer.zfind import Search, find
from specinfer.zscan import Scanner
from specinfer.zweigh import chances, clues

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = {
    "fit": {"family": 0.5, "redshift": 0.5, "misfit": 2.0},
    "none": {
        "one": 1.0, "no_signal": 0.2, "gain": 1.0, "reduced_chi2": 0.5, "coverage": -0.5,
        "snr": -0.5,
    },
    "bias": {"GALAXY": 0.0, "QSO": 0.0, "STAR": 0.0},
}  # fmt: skip


def write_card(root: Path, **changes: Any) -> Path:
    """The card of a combination of the two models under `root`."""
    members = {
        role: {"name": name, "version": "0.0.1", "sha256": load_card(f"{root / name}/").sha256}
        for role, name in (("network", "gasnet2"), ("scan", "gasnet3"))
    }
    windows = {
        "half_width": 0.01, "modes": 2, "least_family": 0.01, "least_mode": 0.02, "enough": 0.9,
    }  # fmt: skip
    card: dict[str, Any] = {
        "schema": "specinfer.card/1",
        "name": "survey",
        "version": "0.0.1",
        "family": "survey",
        "task": "a tiny combination for tests",
        "classes": ["GALAXY", "QSO", "STAR"],
        "members": members,
        "combination": {
            "windows": windows,
            "weights": WEIGHTS,
            "least_reliability": 0.5,
            "prediction_set": {"coverage": 0.9, "threshold": 0.1},
        },
        "flags": {"low_snr": 1.0, "min_coverage": 0.1},
        "licence": "Apache-2.0",
    }
    card |= changes
    card["sha256"] = card_fingerprint(card)
    folder = root / "survey"
    folder.mkdir(exist_ok=True)
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A network that says galaxy at 0.1 (or quasar at 1.2), and a scan of three families."""
    write_subclass_model(tmp_path)
    write_survey_model(tmp_path, families=(galaxy(), quasar(), star()))
    return write_card(tmp_path)


@pytest.fixture
def both(folder: Path) -> SurveyCombination:
    return survey.load(load_card(f"{folder}/"), device="cpu", threads=1)


def answer_of(both: SurveyCombination, spectrum: Spectrum, z: float | None = None) -> SurveyAnswer:
    made = both.predict([spectrum], [z])[0]
    assert isinstance(made, SurveyAnswer)
    return made


def a_galaxy(redshift: float, snr: float = 8.0, seed: int = 0) -> Spectrum:
    return survey_spectrum(galaxy(), (1.0, 0.3, 0.2), redshift, snr, seed)


def test_where_the_network_is_right_the_scan_looks_there_alone(both: SurveyCombination) -> None:
    made = answer_of(both, a_galaxy(0.103))
    assert made.searched == "windows"
    assert made.class_name == "GALAXY"
    assert made.redshift == pytest.approx(0.103, abs=3e-4)
    assert made.reliability is not None
    assert made.reliability > 0.9
    assert made.zwarning == 0
    curve = made.found.curves["GALAXY"]
    assert np.nanmax(np.abs(np.log1p(curve.redshift) - np.log1p(0.1))) < 0.04


def test_where_it_is_wrong_every_redshift_is_searched(both: SurveyCombination) -> None:
    made = answer_of(both, a_galaxy(0.31))
    assert made.searched == "everywhere"
    assert made.redshift == pytest.approx(0.31, abs=3e-4)
    other = answer_of(both, survey_spectrum(star(), (0.7, 0.3), 0.0003, 30.0))
    assert other.class_name == "STAR"
    assert set(other.subtype_probabilities or {}) == {"M"}


def test_noise_is_not_trusted(both: SurveyCombination) -> None:
    rng = np.random.default_rng(1)
    wavelength = 10 ** (3.56 + 1e-4 * np.arange(4000))
    made = answer_of(both, Spectrum(wavelength, rng.normal(size=4000), ivar=np.ones(4000)))
    assert made.searched == "everywhere"
    assert made.reliability is not None
    assert made.reliability < 0.5
    assert "UNRELIABLE" in made.flags
    assert made.zwarning & (1 << 20)


def test_an_answer_does_not_change_with_its_batch_mates(both: SurveyCombination) -> None:
    spectra = [a_galaxy(0.05 + 0.06 * i, seed=i) for i in range(5)]
    together = both.predict(spectra)
    for spectrum, other in zip(spectra, together, strict=True):
        one = answer_of(both, spectrum)
        assert isinstance(other, SurveyAnswer)
        assert one.redshift == pytest.approx(other.redshift, abs=1e-9)
        assert one.reliability == pytest.approx(other.reliability, abs=1e-6)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


def test_a_given_redshift_is_taken(both: SurveyCombination) -> None:
    made = answer_of(both, a_galaxy(0.31), 0.31)
    assert (made.redshift, made.redshift_err) == (0.31, None)
    assert made.class_name == "GALAXY"
    assert "Z_GIVEN" in made.flags
    refused = both.predict([a_galaxy(0.31)], [9.0])[0]
    assert isinstance(refused, ReadError)
    assert refused.code == "bad_redshift"


def test_the_result_holds_the_answers_of_all_models(folder: Path) -> None:
    classifier = Classifier(f"{folder}/", device="cpu", threads=1)
    classifier.warm_up()
    made = classifier.classify(a_galaxy(0.31))
    record = json.loads(made.to_json())
    schema = json.loads((ROOT / "docs" / "result.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(record)
    assert made.model == "survey@0.0.1"
    assert list(record["models"]) == ["survey", "gasnet2", "gasnet3"]
    assert record["models"]["gasnet2"]["redshift"] == pytest.approx(0.1, abs=0.01)
    assert record["models"]["gasnet3"]["redshift"] == pytest.approx(0.31, abs=1e-3)
    assert record["reliability"] == pytest.approx(record["candidates"][0]["score"])
    assert made.embedding is not None
    assert made.embedding.size == classifier.embedding_size == 4


def test_chances_are_probabilities_and_follow_the_network(both: SurveyCombination) -> None:
    spectrum = a_galaxy(0.31, snr=1.0)
    made = both.scan.search(spectrum)
    assert not isinstance(made, ReadError)
    data, found = made
    (proposal,) = both.network.predict([spectrum])
    assert not isinstance(proposal, ReadError)
    opinion = opinion_of(proposal)
    fits, none = clues(found, data, opinion, spectrum.snr)
    assert fits.shape == (len(found.fits), len(FIT_CLUES))
    assert none.shape == (len(NONE_CLUES),)
    p, rest = chances(both.card.weights, found, data, opinion, spectrum.snr)
    assert p.sum() + rest == pytest.approx(1.0)
    assert 0.0 < rest < 1.0
    # The same fits, with a network that sees the redshift where the first of them is.
    place = np.exp(-0.5 * ((opinion.ln1z - np.log1p(found.fits[0].redshift)) / 0.002) ** 2)
    sure = opinion._replace(pdfs={**opinion.pdfs, found.fits[0].family: place / place.sum()})
    better, less = chances(both.card.weights, found, data, sure, spectrum.snr)
    assert better[0] > p[0]
    assert less < rest


def test_a_network_does_not_overrule_a_scan_that_is_sure(both: SurveyCombination) -> None:
    spectrum = survey_spectrum(star(), (0.7, 0.3), 0.0003, 40.0)
    (proposal,) = both.network.predict([spectrum])
    assert not isinstance(proposal, ReadError)
    assert proposal.probabilities["STAR"] < 0.1
    whole = both.everywhere(spectrum, None)
    assert not isinstance(whole, ReadError)
    data, found = whole
    certain = opinion_of(proposal)._replace(families={"GALAXY": 1.0, "QSO": 0.0, "STAR": 0.0})
    p, _ = chances(both.card.weights, found, data, certain, spectrum.snr)
    assert found.fits[0].family == "STAR"
    others = [chance for one, chance in zip(found.fits, p, strict=True) if one.family != "STAR"]
    assert max(others) == 0.0
    assert p.max() > 0.0


def test_what_the_network_proposes_stays_a_candidate(both: SurveyCombination) -> None:
    spectrum = a_galaxy(0.31)
    (proposal,) = both.network.predict([spectrum])
    assert not isinstance(proposal, ReadError)
    first = both.in_windows(spectrum, proposal)
    assert first is not None
    whole = both.everywhere(spectrum, first)
    assert not isinstance(whole, ReadError)
    chi2 = [one.chi2 for one in whole[1].fits]
    assert chi2 == sorted(chi2)
    assert whole[1].fits[0].redshift == pytest.approx(0.31, abs=3e-4)
    assert any(abs(one.redshift - 0.1) < 0.03 for one in whole[1].fits)
    again = both.everywhere(spectrum, whole)
    assert not isinstance(again, ReadError)
    assert len(again[1].fits) == len(whole[1].fits)


def test_windows_of_a_family_are_one_curve_with_gaps() -> None:
    from synthetic_families import observed

    data = observed(galaxy(), (1.0, 0.3, 0.2), 0.31, 8.0, 0)
    scanner = Scanner(galaxy())
    searches = [Search(scanner, (0.5, 0.52)), Search(scanner, (0.3, 0.32))]
    found = find(data, searches)
    curve = found.curves["GALAXY"]
    assert np.isnan(curve.chi2).sum() == 1
    assert np.all(np.diff(curve.redshift) > 0)
    assert found.fits[0].redshift == pytest.approx(0.31, abs=3e-4)
    whole = find(data, [Search(scanner)])
    assert whole.fits[0].redshift == pytest.approx(found.fits[0].redshift, abs=1e-9)
    assert whole.lowest["GALAXY"] == pytest.approx(found.lowest["GALAXY"], abs=1e-6)


def test_spectra_from_survey_files_go_to_the_survey_models(folder: Path) -> None:
    wavelength = np.linspace(3800.0, 9200.0, 400)
    for reader, model in (("desi", "survey"), ("sedm-fits", "spectranet"), (None, "spectranet")):
        one = Spectrum(wavelength, np.ones(400), ivar=np.ones(400), reader=reader)
        assert route(one) == model
    # Without errors there is no chi-square.
    assert route(Spectrum(wavelength, np.ones(400), reader="desi")) == "spectranet"


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (lambda card: card["members"]["scan"].update(sha256="0" * 64), "card_altered"),
        (lambda card: card["combination"]["weights"]["fit"].pop("misfit"), "bad_card"),
        (lambda card: card["combination"].pop("windows"), "bad_card"),
        (lambda card: card.update(classes=["GALAXY", "STAR"]), "bad_card"),
    ],
)
def test_a_wrong_card_is_refused(folder: Path, break_it: Any, code: str) -> None:
    path = folder / "card.json"
    card = json.loads(path.read_text())
    break_it(card)
    card["sha256"] = card_fingerprint(card)
    path.write_text(json.dumps(card))
    with pytest.raises(ModelError) as caught:
        load_card(f"{folder}/")
    assert caught.value.code == code


def test_an_unknown_limit_is_refused(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    card["combination"]["limits"] = {"delta_chi2": 9.0, "patience": 3.0}
    card["sha256"] = card_fingerprint(card)
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="patience") as caught:
        survey.load(load_card(f"{folder}/"), device="cpu")
    assert caught.value.code == "bad_card"


def test_an_altered_card_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "card.json"
    path.write_text(path.read_text().replace('"enough": 0.9', '"enough": 0.1'))
    with pytest.raises(ModelError) as caught:
        load_card(f"{folder}/")
    assert caught.value.code == "card_altered"
    monkeypatch.setenv("SPECINFER_MODEL_DIR", str(folder.parent))
    assert find_models()["survey"] == folder
