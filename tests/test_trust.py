"""When to believe an answer: intervals, subtypes, novelty, host light, conflicts, decisions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from tiny_model import N_PIXELS, SUBTYPES, fake_spectrum, make_trust_card, write_model

from specinfer import Classification, Classifier, ReadError, pdf
from specinfer.cli_output import csv_row, fitting, table_header, table_row
from specinfer.models import load_card
from specinfer.networks.spectranet import SpectraNet
from specinfer.networks.spectranet_answer import SpectraNetAnswer
from specinfer.preprocess import N_CHANNELS, Preprocessing

SCHEMA_FILE = Path(__file__).resolve().parents[1] / "docs" / "result.schema.json"


def classifier_with(root: Path, **options: Any) -> Classifier:
    return Classifier(str(write_model(root, trust=True, **options)), device="cpu", threads=1)


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return classifier_with(tmp_path_factory.mktemp("trusted"))


def network_of(classifier: Classifier) -> SpectraNet:
    return classifier.network(classifier.model)


def one_class(classifier: Classifier, name: str, **options: Any) -> Classification:
    """A spectrum that the tiny network takes for this class."""
    for seed in range(60):
        result = classifier.classify(fake_spectrum(seed, **options))
        if result.class_name == name:
            return result
    raise AssertionError(f"no spectrum is {name}")


def column(index: int, size: int, per_pixel: float) -> np.ndarray:
    """Weights that add `per_pixel` to one output for every valid pixel."""
    matrix = np.zeros((2 * N_PIXELS, size))
    matrix[N_PIXELS:, index] = per_pixel
    return matrix


# --- the card ------------------------------------------------------------------------


def test_blocks_are_typed(tmp_path: Path) -> None:
    card = load_card(str(write_model(tmp_path, trust=True)))
    assert card.subtypes == {"SN Ia": tuple(SUBTYPES)}
    assert card.embedding_size == 8
    assert card.calibration.redshift_levels == {"68": 0.75, "95": 0.97}
    assert card.calibration.subtype_temperature == 1.2
    # "star" has no threshold of its own.
    assert card.calibration.set_thresholds == {
        "SN Ia": 0.3, "SN II": 0.1, "galaxy": 0.25, "star": 0.2,
    }  # fmt: skip
    assert card.trust.novelty is not None
    assert card.trust.novelty.false_alarm_rate == 0.01
    assert (card.trust.host_dominated, card.trust.conflict_level) == (0.5, 0.997)
    (point,) = card.trust.operating_points
    assert (point.class_name, point.threshold, point.false_positive_rate) == ("SN Ia", 0.6, 0.005)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"subtypes": {"SN Ia": ["a", "b"]}}, "2 subtypes but 5"),
        ({"subtypes": {"nova": ["a", "b"]}}, "'nova'"),
        ({"subtypes": {"SN Ia": ["a", "a", "b", "c", "d"]}}, "different names"),
        ({"novelty": {"threshold": float("nan"), "false_alarm_rate": 0.01}}, "threshold"),
        ({"novelty": {"threshold": 1.0}}, "false_alarm_rate"),
        ({"host": {"dominated": 1.5}}, "dominated"),
        ({"redshift_conflict": {"level": -1}}, "level"),
        ({"decisions": [{"class": "nova", "threshold": 0.9}]}, "'nova'"),
        ({"decisions": [{"class": "SN Ia"}]}, "threshold"),
        ({"calibration": {"redshift_levels": {"68": 0.7}}}, "95"),
        ({"calibration": {"phase_levels": {"68": 0.7, "95": 0.6}}}, "rise"),
        ({"calibration": {"subtype_temperature": 0}}, "subtype_temperature"),
        (
            {"calibration": {"prediction_set": {"coverage": 0.9, "threshold": 0.2,
                                                "by_class": {"nova": 0.1}}}},
            "nova",
        ),
        ({"outputs": make_trust_card()["outputs"][:5]}, "'novelty' needs"),
    ],
)  # fmt: skip
def test_wrong_blocks_are_said(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    folder = write_model(tmp_path, trust=True, **changes)
    from specinfer import ModelError

    with pytest.raises(ModelError, match=text) as caught:
        load_card(str(folder))
    assert caught.value.code == "bad_card"


# --- intervals -----------------------------------------------------------------------


def test_intervals_have_the_mass_of_the_card(trusted: Classifier) -> None:
    result = one_class(trusted, "SN Ia")
    answer = result.answer
    assert answer is not None
    assert result.redshift_interval is not None
    for key, mass in (("68", 0.75), ("95", 0.97)):
        low, high = result.redshift_interval[key]
        ends = pdf.central_interval(answer.redshift_pdf, answer.ln1z, mass)
        assert (low, high) == (np.expm1(ends.low), np.expm1(ends.high))
    (low, high), (lowest, highest) = (result.redshift_interval[key] for key in ("68", "95"))
    assert lowest <= low < high <= highest
    assert result.redshift_err == pytest.approx(0.5 * (high - low))
    assert result.phase_interval is not None
    first, last = result.phase_interval["68"]
    assert result.phase_err == pytest.approx(0.5 * (last - first))


def test_no_phase_interval_without_a_phase(trusted: Classifier) -> None:
    result = one_class(trusted, "galaxy")
    assert (result.phase, result.phase_err, result.phase_interval) == (None, None, None)
    assert result.redshift_interval is not None


def test_a_given_redshift_has_no_interval(trusted: Classifier) -> None:
    result = trusted.classify(fake_spectrum(1), 0.05)
    assert (result.redshift_err, result.redshift_interval) == (None, None)


# --- subtypes and sets ---------------------------------------------------------------


def test_subtypes_are_those_of_the_logits(trusted: Classifier) -> None:
    result = one_class(trusted, "SN Ia")
    network = network_of(trusted)
    assert result.answer is not None
    raw = network.run(result.answer.prepared.input[None])
    expected = pdf.softmax(raw["subtype_logits"][0], 1.2)
    assert result.subtype_probabilities is not None
    assert list(result.subtype_probabilities) == SUBTYPES
    np.testing.assert_allclose(list(result.subtype_probabilities.values()), expected, rtol=1e-6)
    assert result.subtype == SUBTYPES[int(expected.argmax())]


def test_classes_without_subtypes_have_none(trusted: Classifier) -> None:
    result = one_class(trusted, "SN II")
    assert (result.subtype, result.subtype_probabilities) == (None, None)
    assert result.class_label == "SN II"


def test_sets_by_class_follow_their_thresholds(trusted: Classifier) -> None:
    limits = {"SN Ia": 0.3, "SN II": 0.1, "galaxy": 0.25, "star": 0.2}
    for seed in range(10):
        result = trusted.classify(fake_spectrum(seed))
        assert result.probabilities is not None
        expected = [name for name, p in result.probabilities.items() if p >= limits[name]]
        expected.sort(key=lambda name: -result.probabilities[name])  # type: ignore[index]
        assert result.prediction_set_by_class == tuple(expected)


# --- novelty, host light, decisions --------------------------------------------------


def test_novelty_above_the_threshold_is_flagged(tmp_path: Path) -> None:
    weights = {"novelty": column(0, 1, 0.01)}
    card = {"novelty": {"threshold": 5.0, "false_alarm_rate": 0.01}}
    classifier = classifier_with(tmp_path, weights=weights, **card)
    spectrum = fake_spectrum(1)
    result = classifier.classify(spectrum)
    assert result.answer is not None
    assert result.novelty == pytest.approx(0.01 * result.answer.prepared.valid.sum(), rel=1e-4)
    assert result.novelty > 5.0
    assert "NOVEL" in result.flags
    half = spectrum.wavelength < 5800
    short = spectrum.replace(ivar=np.where(half, spectrum.ivar, 0.0))
    assert "NOVEL" not in classifier.classify(short).flags


def test_only_transients_are_dominated_by_their_host(tmp_path: Path) -> None:
    classifier = classifier_with(tmp_path, weights={"host_logit": column(0, 1, 0.005)})
    for name, flagged in (("SN Ia", True), ("galaxy", False)):
        result = one_class(classifier, name)
        assert result.answer is not None
        logit = 0.005 * result.answer.prepared.valid.sum()
        assert result.host_share == pytest.approx(1.0 / (1.0 + np.exp(-logit)), rel=1e-5)
        assert ("HOST_DOMINATED" in result.flags) is flagged
        assert result.decision == "review"


def test_huge_host_logits_are_shares(tmp_path: Path) -> None:
    classifier = classifier_with(tmp_path, weights={"host_logit": column(0, 1, -10.0)})
    assert classifier.classify(fake_spectrum(1)).host_share == 0.0


@pytest.fixture(scope="module")
def deciding(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """Everything is an SN Ia, probability 0.9 or more, without any host light."""
    weights = {"class_logits": column(0, 4, 0.01), "host_logit": column(0, 1, -0.01)}
    return classifier_with(tmp_path_factory.mktemp("deciding"), weights=weights)


def test_a_sure_answer_without_doubts_is_posted(deciding: Classifier) -> None:
    result = deciding.classify(fake_spectrum(1))
    assert result.class_name == "SN Ia"
    assert result.probability is not None
    assert result.probability > 0.9
    assert result.decision == "auto"


def test_doubts_send_it_to_a_human(deciding: Classifier) -> None:
    noisy = deciding.classify(fake_spectrum(1, snr=1.0))
    assert "LOW_SNR" in noisy.flags
    assert noisy.decision == "review"
    spectrum = fake_spectrum(1)
    part = np.where(spectrum.wavelength < 5200, spectrum.ivar, 0.0)
    short = deciding.classify(spectrum.replace(ivar=part))
    assert "LITTLE_COVERAGE" in short.flags
    assert short.decision == "review"


def test_an_unsure_answer_is_for_a_human(trusted: Classifier) -> None:
    for seed in range(20):
        result = trusted.classify(fake_spectrum(seed))
        if result.class_name != "SN Ia" or (result.probability or 0.0) < 0.6:
            assert result.decision == "review"


# --- a given redshift that the spectrum denies ----------------------------------------


def peaked(centre: int, *, base: float = 0.0) -> np.ndarray:
    """Redshift weights: a peak of p(z) at one bin, whatever the spectrum."""
    bins = np.arange(200)
    matrix = np.zeros((2 * N_PIXELS, 200))
    matrix[N_PIXELS:] = np.where(np.abs(bins - centre) < 3, 0.05, base)
    return matrix


def test_conflict_is_what_p_of_z_excludes(tmp_path: Path) -> None:
    # Bins of 0.002 in ln(1+z): the peak is at z = 0.105.
    classifier = classifier_with(tmp_path, weights={"redshift_logits": peaked(50)})
    spectrum = fake_spectrum(1)
    agreed = classifier.classify(spectrum, 0.105)
    denied = classifier.classify(spectrum, 0.2)
    assert "Z_CONFLICT" not in agreed.flags
    assert "Z_CONFLICT" in denied.flags
    assert denied.redshift == 0.2
    assert denied.decision == "review"
    assert "Z_CONFLICT" not in classifier.classify(spectrum).flags


def test_p_of_z_is_the_blind_one(trusted: Classifier) -> None:
    spectrum = fake_spectrum(4)
    blind = trusted.classify(spectrum)
    given = trusted.classify(spectrum, 0.1)
    assert blind.answer is not None
    assert given.answer is not None
    assert blind.answer.redshift_pdf_is_blind
    assert given.answer.redshift_pdf_is_blind
    np.testing.assert_allclose(given.answer.redshift_pdf, blind.answer.redshift_pdf, atol=1e-6)
    # The class is that of the rest frame all the same.
    at_rest = trusted.classify(spectrum.replace(wavelength=spectrum.wavelength / 1.1))
    assert given.probability == pytest.approx(at_rest.probability, abs=1e-5)
    assert np.max(np.abs(given.answer.prepared.input - at_rest.answer.prepared.input)) < 1e-4  # type: ignore[union-attr]


def test_no_check_where_the_observed_spectrum_is_off_the_grid(tmp_path: Path) -> None:
    grid = Preprocessing(wavelength_max=6000.0, n_pixels=N_PIXELS).to_dict()
    classifier = classifier_with(tmp_path, preprocessing=grid)
    spectrum = fake_spectrum(2)
    red = spectrum.replace(ivar=np.where(spectrum.wavelength > 6100, spectrum.ivar, 0.0))
    assert classifier.classify(red).error is not None
    result = classifier.classify(red, 0.5)
    assert result.ok
    assert "Z_CONFLICT" not in result.flags
    assert result.answer is not None
    assert not result.answer.redshift_pdf_is_blind


def numbers(answer: SpectraNetAnswer | ReadError) -> np.ndarray:
    assert isinstance(answer, SpectraNetAnswer)
    return np.array(
        [
            *answer.probabilities.values(),
            answer.redshift,
            *answer.shown_interval,
            answer.host_share,
            answer.novelty,
            *answer.embedding,
            float("Z_CONFLICT" in answer.flags),
        ]
    )


def test_answers_do_not_depend_on_the_batch(trusted: Classifier) -> None:
    """Redshifts given, not given and impossible, mixed: more rows than fit at once."""
    network = network_of(trusted)
    spectra = [fake_spectrum(seed, n_pixels=200 + seed % 30) for seed in range(70)]
    redshifts = [(None, 0.05, 8.0, 0.0, 0.3)[i % 5] for i in range(70)]
    together = network.predict(spectra, redshifts)
    for i in range(70):
        (alone,) = network.predict([spectra[i]], [redshifts[i]])
        if redshifts[i] == 8.0:
            assert isinstance(alone, ReadError)
            assert isinstance(together[i], ReadError)
            continue
        np.testing.assert_allclose(numbers(together[i]), numbers(alone), rtol=1e-5, atol=1e-5)
        assert alone.flags == together[i].flags  # type: ignore[union-attr]


def test_any_number_of_rows_is_run(trusted: Classifier) -> None:
    network = network_of(trusted)
    inputs = np.random.default_rng(1).normal(size=(150, N_CHANNELS, N_PIXELS)).astype(np.float32)
    raw = network.run(inputs)
    assert raw["class_logits"].shape == (150, 4)
    np.testing.assert_allclose(
        raw["novelty"][100:101], network.run(inputs[100:101])["novelty"], rtol=1e-4, atol=1e-4
    )


# --- how it is written ---------------------------------------------------------------


def test_every_variant_fits_the_schema(trusted: Classifier, deciding: Classifier) -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    spectrum = fake_spectrum(1)
    results = [
        one_class(trusted, "SN Ia"),
        one_class(trusted, "galaxy"),
        trusted.classify(spectrum, 0.05),
        trusted.classify(spectrum, 8.0),
        deciding.classify(spectrum),
    ]
    for result in results:
        record = json.loads(result.to_json())
        jsonschema.Draft202012Validator(schema).validate(record)
        assert list(record) == list(schema["properties"])
        if result.ok:
            (block,) = record["models"].values()
            for name in (
                "subtype", "subtype_probabilities", "prediction_set_by_class", "decision",
                "redshift_interval", "phase_interval", "host_share", "novelty",
            ):  # fmt: skip
                assert block[name] == record[name]
    assert record["decision"] == "auto"
    assert len(record["redshift_interval"]["68"]) == 2


def test_models_without_the_blocks_leave_them_null(tiny: Path) -> None:
    result = Classifier(device="cpu").classify(fake_spectrum(1))
    for name in (
        "subtype", "subtype_probabilities", "prediction_set_by_class", "decision",
        "redshift_interval", "phase_interval", "host_share", "novelty",
    ):  # fmt: skip
        assert getattr(result, name) is None


def test_table_shows_decision_and_subtype(deciding: Classifier, tiny: Path) -> None:
    result = deciding.classify(fake_spectrum(1))
    shown = "SN Ia" if result.subtype == "normal" else f"SN Ia ({result.subtype})"
    row = [str(cell) for cell in table_row(result, 3)]
    header, rows = fitting(table_header(3), [row], 120)
    assert row[1] == shown
    assert "Next best" in header
    assert "Next best" not in fitting(table_header(3), [row], 80)[0]
    assert rows[0][header.index("Decision")] == "auto"
    plain = table_row(Classifier(device="cpu").classify(fake_spectrum(1)), 3)
    header, rows = fitting(table_header(3), [plain], 120)
    assert "Decision" not in header
    assert len(rows[0]) == len(header)


def test_csv_holds_the_new_columns(trusted: Classifier) -> None:
    from specinfer.cli_output import CSV_COLUMNS

    result = one_class(trusted, "SN Ia")
    cells = dict(zip(CSV_COLUMNS, csv_row(result), strict=True))
    assert json.loads(cells["redshift_interval"])["68"][0] == pytest.approx(
        result.redshift_interval["68"][0],  # type: ignore[index]
        rel=1e-6,
    )
    assert cells["prediction_set_by_class"] == ";".join(result.prediction_set_by_class or ())
    assert cells["decision"] in ("auto", "review")
