"""The Python API: determinism, order, failures that stop nothing, physics of the answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_model import fake_spectrum, make_card, make_graph, write_model

import specinfer
from specinfer import Classifier, ModelError, Spectrum, UsageError, pdf
from specinfer.classifier import route
from specinfer.models import load_card
from specinfer.networks.spectranet import SpectraNet, load


def numbers(result: specinfer.Classification) -> np.ndarray:
    assert result.probabilities is not None
    return np.array([*result.probabilities.values(), result.redshift, result.redshift_err])


@pytest.fixture
def classifier(tiny: Path) -> Classifier:
    return Classifier(device="cpu", threads=1)


def test_alone_or_in_any_batch_the_answer_is_the_same(classifier: Classifier) -> None:
    spectra = [fake_spectrum(seed, n_pixels=200 + seed) for seed in range(70)]
    alone = [numbers(classifier.classify(spectrum)) for spectrum in spectra]
    for size in (1, 3, 64, 1000):
        many = [numbers(result) for result in classifier.classify_many(spectra, batch_size=size)]
        np.testing.assert_allclose(many, alone, rtol=0, atol=1e-6)
    backwards = [numbers(result) for result in classifier.classify_many(spectra[::-1])]
    np.testing.assert_allclose(backwards[::-1], alone, rtol=0, atol=1e-6)


def test_flux_scale_does_not_matter(classifier: Classifier) -> None:
    spectrum = fake_spectrum(4)
    brighter = spectrum.replace(flux=spectrum.flux * 1e5, ivar=spectrum.ivar * 1e-10)
    np.testing.assert_allclose(
        numbers(classifier.classify(brighter)), numbers(classifier.classify(spectrum)), atol=1e-5
    )


def test_masked_pixels_at_the_end_do_not_matter(classifier: Classifier) -> None:
    spectrum = fake_spectrum(4)
    step = spectrum.wavelength[-1] - spectrum.wavelength[-2]
    more = spectrum.wavelength[-1] + step * np.arange(1, 20)
    longer = Spectrum(
        np.concatenate([spectrum.wavelength, more]),
        np.concatenate([spectrum.flux, np.full(19, 7.0)]),
        np.concatenate([spectrum.ivar, np.zeros(19)]),
    )
    np.testing.assert_allclose(
        numbers(classifier.classify(longer)), numbers(classifier.classify(spectrum)), atol=1e-5
    )


def test_given_redshift_is_the_rest_frame(classifier: Classifier) -> None:
    """A spectrum moved to z = 0.1 and classified at z = 0.1 answers like the one at rest."""
    rest = fake_spectrum(2)
    moved = rest.replace(wavelength=rest.wavelength * 1.1)
    at_rest = classifier.classify(rest, 0.0)
    answer = classifier.classify(moved, 0.1)
    assert answer.redshift == 0.1
    assert answer.redshift_err is None
    assert "Z_GIVEN" in answer.flags
    assert answer.class_name == at_rest.class_name
    assert answer.probability == pytest.approx(at_rest.probability, abs=1e-5)


def test_failures_stop_nothing_and_keep_the_order(classifier: Classifier) -> None:
    good = fake_spectrum(1)
    # At z = 8 the rest frame of this one is below the range of the network.
    results = list(classifier.classify_many([good, good, good], [None, 8.0, 0.0]))
    assert [result.status for result in results] == ["ok", "failed", "ok"]
    assert results[1].error is not None
    assert results[1].error["code"] == "out_of_range"


def test_only_failures(classifier: Classifier) -> None:
    result = classifier.classify(fake_spectrum(1), -2.0)
    assert result.error is not None
    assert result.error["code"] == "bad_redshift"


def test_empty(classifier: Classifier) -> None:
    assert list(classifier.classify_many([])) == []


def test_any_iterable_is_streamed(classifier: Classifier) -> None:
    taken = []

    def endless():  # type: ignore[no-untyped-def]
        for seed in range(10**9):
            taken.append(seed)
            yield fake_spectrum(seed % 3)

    results = classifier.classify_many(endless(), batch_size=4)
    assert next(results).ok
    assert len(taken) == 4


@pytest.mark.parametrize("redshifts", [[0.1], [0.1, 0.1, 0.1]])
def test_as_many_redshifts_as_spectra(classifier: Classifier, redshifts: list[float]) -> None:
    with pytest.raises(UsageError, match="redshifts than spectra"):
        list(classifier.classify_many([fake_spectrum(1)] * 2, redshifts))


def test_arrays_must_be_wrapped(classifier: Classifier) -> None:
    with pytest.raises(UsageError, match=r"specinfer\.Spectrum"):
        classifier.classify(np.ones(300))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"device": "abacus"}, {"threads": 0}])
def test_wrong_options(tiny: Path, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Classifier(**options)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        Classifier().classify_many([], batch_size=0)


def test_flags_follow_the_card(classifier: Classifier) -> None:
    assert classifier.classify(fake_spectrum(1, snr=20.0)).flags == ()
    assert "LOW_SNR" in classifier.classify(fake_spectrum(1, snr=1.0)).flags
    spectrum = fake_spectrum(1)
    half = spectrum.wavelength < 5200
    short = Spectrum(spectrum.wavelength[half], spectrum.flux[half], spectrum.ivar[half])
    assert "LITTLE_COVERAGE" in classifier.classify(short).flags


def test_a_flat_redshift_distribution_is_ambiguous(tmp_path: Path) -> None:
    calibration = make_card()["calibration"] | {"redshift_temperature": 1000.0}
    folder = write_model(tmp_path, calibration=calibration)
    result = Classifier(str(folder), device="cpu").classify(fake_spectrum(1))
    assert "Z_AMBIGUOUS" in result.flags
    # Its redshift is the mean of p(z), and its error says that it is none.
    centres = np.expm1(result.answer.ln1z)  # type: ignore[union-attr]
    assert result.redshift == pytest.approx(np.median(centres), abs=0.02)
    assert result.redshift_err is not None
    assert result.redshift_err > 0.25 * np.ptp(centres)


def test_phase_only_for_classes_that_have_one(classifier: Classifier) -> None:
    seen = set()
    for seed in range(40):
        result = classifier.classify(fake_spectrum(seed))
        has_phase = result.class_name in ("SN Ia", "SN II")
        assert (result.phase is not None) == (result.phase_err is not None) == has_phase
        seen.add(has_phase)
    assert seen == {True, False}


def test_prediction_set_is_what_is_probable_enough(classifier: Classifier) -> None:
    for seed in range(20):
        result = classifier.classify(fake_spectrum(seed))
        assert result.probabilities is not None
        assert result.prediction_set is not None
        assert result.prediction_set[0] == result.class_name
        expected = {name for name, p in result.probabilities.items() if p >= 0.2}
        assert set(result.prediction_set) == expected | {result.class_name}


def test_numbers_are_those_of_the_logits(tiny: Path) -> None:
    """Temperatures, the redshift and its error, recomputed from the raw outputs."""
    card = load_card("spectranet")
    network = load(card, device="cpu")
    spectrum = fake_spectrum(6)
    answer = network.predict([spectrum])[0]
    assert not isinstance(answer, specinfer.ReadError)
    raw = network.session.run({"spectrum": network.prepare(spectrum).input[None]})
    p = np.exp(raw["class_logits"][0].astype(float) / 1.5)
    np.testing.assert_allclose(list(answer.probabilities.values()), p / p.sum(), rtol=1e-6)
    p_z = pdf.softmax(raw["redshift_logits"])
    centre, sigma = pdf.point_estimate(p_z, card.redshift_bins.centres)
    assert answer.redshift == pytest.approx(np.expm1(centre[0]), rel=1e-9)
    assert answer.redshift_err == pytest.approx((1 + answer.redshift) * sigma[0], rel=1e-9)
    assert answer.redshift_pdf.sum() == pytest.approx(1.0)
    assert answer.embedding.shape == (8,)


def test_model_with_other_outputs_is_refused(tmp_path: Path) -> None:
    import hashlib
    import json

    folder = write_model(tmp_path)
    card = json.loads((folder / "card.json").read_text())
    metadata = load(load_card(str(folder))).session.metadata
    content = make_graph(metadata, {"class_logits": 4})
    (folder / "model.onnx").write_bytes(content)
    card["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="outputs of a SpectraNet"):
        Classifier(model=str(folder)).warm_up()


def test_network_is_shared_and_routed(classifier: Classifier) -> None:
    assert route(fake_spectrum(1)) == "spectranet"
    assert isinstance(classifier.network("spectranet"), SpectraNet)
    assert classifier.network("spectranet") is classifier.network("spectranet")


def test_convenience_takes_a_spectrum(tiny: Path) -> None:
    result = specinfer.classify(fake_spectrum(1), redshift=0.02)
    assert isinstance(result, specinfer.Classification)
    assert result.ok
    assert result.redshift == 0.02


def test_convenience_gives_a_list_for_several(samples: Path, tiny: Path) -> None:
    path = samples / "desi_coadd" / "quasarnp_test_coadd.fits"
    results = specinfer.classify(path)
    assert isinstance(results, list)
    assert all(result.file == str(path) for result in results)
    assert [result.row for result in results] == sorted(r.row or 0 for r in results)


def test_convenience_gives_one_for_one(samples: Path, tiny: Path) -> None:
    path = sorted((samples / "sdss_spec").glob("*.fits"))[0]
    result = specinfer.classify(path)
    assert isinstance(result, specinfer.Classification)
    assert result.reader == "sdss-spec"


def test_convenience_raises_what_cannot_be_read(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(specinfer.ReadError, match="no such file"):
        specinfer.classify(tmp_path / "none.fits")
