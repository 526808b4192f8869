"""Relevance by occlusion: a network that looks at one place says so, and features get names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tiny_model import N_PIXELS, fake_spectrum, write_model

from specinfer import Classifier, ReadError, UsageError
from specinfer.features import Feature, features_of
from specinfer.lines import lines_of
from specinfer.networks.spectranet import SpectraNet
from specinfer.preprocess import N_CHANNELS, Preprocessing
from specinfer.relevance import MAX_NAMES, WINDOW, Relevance, name_peaks, occlude, spread
from specinfer.result import failed
from specinfer.wavelengths import air_to_vacuum

GRID = Preprocessing(n_pixels=N_PIXELS)
# Where the tiny network looks: the trough of Si II 6355 at rest.
PLACE = 6120.0


def looking_at(place: float) -> dict[str, np.ndarray]:
    """Weights of SN Ia on the valid-pixel channel around one rest wavelength."""
    matrix = np.zeros((2 * N_PIXELS, 4))
    matrix[N_PIXELS:, 0] = 0.3 * (np.abs(np.log(GRID.wavelength / place)) < 0.25 * WINDOW)
    # p(z) at z = 0, whatever the spectrum.
    redshift = np.zeros((2 * N_PIXELS, 200))
    redshift[N_PIXELS:, 0] = 0.05
    return {"class_logits": matrix, "redshift_logits": redshift}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    root = tmp_path_factory.mktemp("looking")
    folder = write_model(root, weights=looking_at(PLACE))
    return Classifier(str(folder), device="cpu", threads=1)


def network_of(classifier: Classifier) -> SpectraNet:
    return classifier.network(classifier.model)


def highest(relevance: Relevance) -> float:
    """Mean wavelength of the pixels that share the highest relevance."""
    top = relevance.of_class >= 0.99 * np.nanmax(relevance.of_class)
    return float(relevance.wavelength[top].mean())


def test_relevance_peaks_where_the_network_looks(classifier: Classifier) -> None:
    result = classifier.classify(fake_spectrum(1))
    assert result.class_name == "SN Ia"
    relevance = classifier.explain(result)
    assert abs(np.log(highest(relevance) / PLACE)) < WINDOW
    far = np.abs(np.log(relevance.wavelength / PLACE)) > 2 * WINDOW
    np.testing.assert_allclose(np.nan_to_num(relevance.of_class[far]), 0.0, atol=1e-5)


def test_relevance_is_the_change_of_log_odds(classifier: Classifier) -> None:
    """A linear network: hiding the whole place takes away its whole contribution."""
    result = classifier.classify(fake_spectrum(1))
    relevance = classifier.explain(result)
    pixels = np.abs(np.log(GRID.wavelength / PLACE)) < 0.25 * WINDOW
    # The temperature of the tiny card is 1.5; the mean of two windows may see less.
    full = 0.3 * pixels.sum() / 1.5
    assert 0.5 * full <= np.nanmax(relevance.of_class) <= full + 1e-5


def test_nothing_is_said_where_nothing_was_seen(classifier: Classifier) -> None:
    result = classifier.classify(fake_spectrum(1))
    relevance = classifier.explain(result)
    assert result.answer is not None
    valid = result.answer.prepared.valid
    np.testing.assert_array_equal(np.isfinite(relevance.of_class), valid)
    assert relevance.of_redshift is not None
    np.testing.assert_array_equal(np.isfinite(relevance.of_redshift), valid)
    assert not valid.all()


def test_the_feature_is_named(classifier: Classifier) -> None:
    relevance = classifier.explain(classifier.classify(fake_spectrum(1)))
    (peak,) = relevance.peaks
    assert peak.name == "Si II 6355"
    assert abs(np.log(peak.wavelength / PLACE)) < WINDOW
    assert peak.relevance == pytest.approx(np.nanmax(relevance.of_class))


def test_a_given_redshift_moves_it_with_the_spectrum(classifier: Classifier) -> None:
    spectrum = fake_spectrum(1)
    relevance = classifier.explain(classifier.classify(spectrum, 0.1))
    assert abs(np.log(highest(relevance) / (1.1 * PLACE))) < WINDOW
    assert [peak.name for peak in relevance.peaks] == ["Si II 6355"]
    assert abs(np.log(relevance.peaks[0].wavelength / (1.1 * PLACE))) < WINDOW
    assert relevance.of_redshift is None


def test_what_p_of_z_hangs_on_is_seen(tmp_path: Path) -> None:
    weights = looking_at(PLACE)
    redshift = np.zeros((2 * N_PIXELS, 200))
    place = np.abs(np.log(GRID.wavelength / 5000.0)) < 0.25 * WINDOW
    redshift[N_PIXELS:][place, :5] = 1.0
    folder = write_model(tmp_path, weights=weights | {"redshift_logits": redshift})
    classifier = Classifier(str(folder), device="cpu", threads=1)
    relevance = classifier.explain(classifier.classify(fake_spectrum(1)))
    assert relevance.of_redshift is not None
    best = relevance.wavelength[np.nanargmax(relevance.of_redshift)]
    assert abs(np.log(best / 5000.0)) < WINDOW


def test_one_call_of_the_network(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    result = classifier.classify(fake_spectrum(1))
    network = network_of(classifier)
    calls = []
    plain = network.run

    def counted(inputs: np.ndarray) -> dict[str, np.ndarray]:
        calls.append(len(inputs))
        return plain(inputs)

    monkeypatch.setattr(network, "run", counted)
    classifier.explain(result)
    assert len(calls) == 1


def test_only_own_answers_are_explained(classifier: Classifier, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        classifier.explain(failed(ReadError("empty_file", "empty")))
    assert caught.value.code == "nothing_to_explain"
    result = dataclasses.replace(classifier.classify(fake_spectrum(1)), model="other@1.0.0")
    with pytest.raises(UsageError, match=r"other@1\.0\.0") as caught:
        classifier.explain(result)
    assert caught.value.code == "other_model"


# --- windows -------------------------------------------------------------------------


def test_windows_hide_flux_and_validity() -> None:
    rng = np.random.default_rng(2)
    valid = np.zeros(N_PIXELS, bool)
    valid[200:800] = True
    prepared = np.stack([rng.normal(size=N_PIXELS), valid, 0.3 * valid]).astype(np.float32)
    inputs, covers = occlude(prepared, valid, GRID.step)
    assert inputs.dtype == np.float32
    for channel in range(N_CHANNELS):
        assert np.all(inputs[:, channel][covers] == 0.0)
    kept = np.broadcast_to(prepared, inputs.shape)[~np.repeat(covers[:, None], N_CHANNELS, axis=1)]
    np.testing.assert_array_equal(inputs[~np.repeat(covers[:, None], N_CHANNELS, axis=1)], kept)
    # Half a width apart: every valid pixel is hidden twice, and no window hides nothing.
    np.testing.assert_array_equal(covers[:, valid].sum(axis=0), 2)
    assert np.all((covers & valid).any(axis=1))
    widths = covers.sum(axis=1)
    assert widths.max() * GRID.step == pytest.approx(WINDOW, rel=0.1)


def test_spread_is_the_mean_of_the_windows() -> None:
    covers = np.array([[1, 1, 0, 0], [0, 1, 1, 0]], bool)
    valid = np.array([True, True, True, False])
    found = spread(np.array([2.0, 4.0]), covers, valid)
    np.testing.assert_array_equal(found, [2.0, 3.0, 4.0, np.nan])


# --- names ---------------------------------------------------------------------------


def test_names_go_to_the_strongest_peaks_once() -> None:
    x = np.arange(4000.0, 8000.0, 50.0)
    features = [Feature("A", 4900.0, 5100.0), Feature("B", 6000.0, 6400.0)]
    values = np.zeros(x.size)
    for place, height in ((5000, 1.0), (6000, 3.0), (6300, 2.0), (7000, 5.0), (4500, -4.0)):
        values[int((place - 4000) / 50)] = height
    # 7000 has no feature, 6300 comes too late for B, 4500 speaks against the class.
    assert [(name, x[i]) for name, i in name_peaks(x, values, features)] == [
        ("B", 6000.0),
        ("A", 5000.0),
    ]


def test_overlapping_ranges_go_to_the_nearest_and_small_peaks_get_none() -> None:
    x = np.arange(4000.0, 8000.0, 50.0)
    values = np.zeros(x.size)
    values[12], values[40] = 1.0, 0.05
    features = [Feature("wide", 4300, 5000), Feature("right", 4500, 4700), Feature("c", 5900, 6100)]
    assert name_peaks(x, values, features) == [("right", 12)]
    assert name_peaks(x, np.full(x.size, -np.inf), features) == []
    many = [Feature(str(i), c - 10, c + 10) for i, c in enumerate(x)]
    assert len(name_peaks(x, np.tile([1.0, 2.0], x.size // 2), many)) == MAX_NAMES


CLASSES = (
    "SN Ia", "SN Ib", "SN Ic", "SN Ic-BL", "SN IIb", "SN Ibn", "SN II", "SN IIn", "SLSN-I",
    "TDE", "AGN/QSO", "CV", "Galaxy", "Star",
)  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_has_features(name: str) -> None:
    found = features_of(name, phase=100.0)
    assert len(found) >= 5
    assert len({feature.name for feature in found}) == len(found)
    assert all(feature.low < feature.high for feature in found)
    centres = [feature.centre for feature in found]
    assert centres == sorted(centres)


def test_nebular_lines_need_a_late_phase() -> None:
    for phase, late in ((None, False), (10.0, False), (200.0, True)):
        names = {feature.name for feature in features_of("SN Ib", phase)}
        assert ("[O I] 6300, 6364" in names) is late
    assert features_of("something else") == ()


def test_troughs_are_to_the_blue_and_lines_where_they_are() -> None:
    """Published trough positions: Si II at 6100-6150 A, S II W at 5250-5500 A, at maximum."""
    ranges = {feature.name: feature for feature in features_of("SN Ia")}
    assert ranges["Si II 6355"].low < 6120.0 < ranges["Si II 6355"].high < 6356.8
    for place in (5300.0, 5460.0):
        assert ranges["S II W"].low < place < ranges["S II W"].high
    tde = {feature.name: feature for feature in features_of("TDE")}
    assert tde["He II 4686"].centre == pytest.approx(
        float(air_to_vacuum(np.array([4685.7]))[0]), abs=1
    )
    plain = {line.name: line.wavelength for line in lines_of("SN II")}
    (halpha,) = (f for f in features_of("SN II") if f.name.startswith("Hα"))
    assert halpha.low < plain["Hα"] < halpha.high
    # Broad-lined: the same lines, faster.
    fast = {feature.name: feature for feature in features_of("SN Ic-BL")}
    slow = {feature.name: feature for feature in features_of("SN Ic")}
    assert fast["Fe II 5169"].low < slow["Fe II 5169"].low
