"""The kinds of trials are what their words say."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="recipes name PyTorch networks (extra 'train')")
pytest.importorskip("pyarrow", reason="trials draw from the library (extra 'train')")

from tiny_training import tiny_library, write_inputs, write_recipe

from specinfer.errors import ReadError
from training.archive.labels import CLASSES
from training.config import read_recipe
from training.evaluation.observe import KINDS, Observatory
from training.evaluation.trials import classify
from training.simulate.draw import OTHER_CLASSES

BY_NAME = {kind.name: kind for kind in KINDS}


@pytest.fixture(scope="module")
def observatory(tmp_path_factory: pytest.TempPathFactory) -> Observatory:
    folder: Path = tmp_path_factory.mktemp("observe")
    recipe = read_recipe(write_recipe(folder / "tiny.toml", write_inputs(folder)))
    library = tiny_library()
    return Observatory(library, np.arange(len(library)), recipe, seed=1)


@pytest.mark.parametrize(("name", "share"), [("sedm_host_30", 0.3), ("sedm_host_60", 0.6)])
def test_every_transient_has_exactly_the_share(
    observatory: Observatory, name: str, share: float
) -> None:
    targets, spectra = observatory.observe(BY_NAME[name], 120)
    assert len(targets) == len(spectra) == 120 - targets.left_out
    transient = ~np.isin(targets.label, OTHER_CLASSES)
    np.testing.assert_allclose(targets.host[transient], share)
    assert np.all(targets.host[targets.label == CLASSES.index("Galaxy")] == 1.0)
    assert np.isnan(targets.host[targets.label == CLASSES.index("Star")]).all()


@pytest.mark.parametrize("name", ["sedm_4000_7500", "red_5800_10200"])
def test_only_the_stated_range_is_seen(observatory: Observatory, name: str) -> None:
    kind = BY_NAME[name]
    assert kind.wavelength is not None
    low, high = kind.wavelength
    _, spectra = observatory.observe(kind, 40)
    seen = np.concatenate([s.wavelength[s.ivar > 0] for s in spectra])
    assert low <= seen.min() < low + 60.0
    assert high - 60.0 < seen.max() <= high


def test_every_object_equally_often_and_the_same_again(observatory: Observatory) -> None:
    targets, spectra = observatory.observe(BY_NAME["sedm"], 400)
    _, counts = np.unique(targets.object, return_counts=True)
    assert counts.size == 4 * len(CLASSES)
    assert counts.max() < 25
    assert 4.0 <= targets.snr.min() < targets.snr.max() <= 40.0
    again, same = observatory.observe(BY_NAME["sedm"], 400)
    np.testing.assert_array_equal(targets.row, again.row)
    np.testing.assert_array_equal(spectra[7].flux, same[7].flux)
    every, _ = observatory.observe(BY_NAME["sedm_by_spectrum"], 0)
    assert len(every) + every.left_out == 3 * len(observatory.library)


def test_refused_spectra_are_left_out_and_a_bare_answer_will_do(observatory: Observatory) -> None:
    bare_answer: dict[str, object] = {
        "probabilities": dict.fromkeys(CLASSES, 1.0 / len(CLASSES)),
        "prediction_set": CLASSES[:2],
        "redshift": 0.1,
        "redshift_err": 0.01,
        "phase": None,
        "phase_err": None,
        "flags": (),
    }
    rich_answer: dict[str, object] = bare_answer | {
        "redshift_interval": {"68": [0.09, 0.11], "95": [0.08, 0.12]},
        "phase_interval": None,
        "subtype_probabilities": dict.fromkeys(("normal", "91T", "91bg", "02cx", "CSM"), 0.2),
        "prediction_set_by_class": ("SN Ia",),
        "host_share": 0.2,
        "novelty": 3.0,
        "decision": "auto",
        "flags": ("NOVEL",),
    }
    kinds = (
        ReadError("out_of_range", "nothing is seen"),
        # No more than version 0.1.0 of the network says; and what later ones say besides.
        SimpleNamespace(**bare_answer),
        SimpleNamespace(**rich_answer),
    )

    class Predictor:
        def predict(self, spectra: list[object]) -> list[object]:
            return [kinds[i % 3] for i in range(len(spectra))]

    targets, spectra = observatory.observe(BY_NAME["sedm"], 60)
    trials = classify(Predictor(), targets, spectra)
    refused = -(-len(spectra) // 3)
    assert len(trials) == len(spectra) - refused
    assert trials.left_out == targets.left_out + refused
    np.testing.assert_array_equal(trials.row[:2], targets.row[[1, 2]])
    bare, rich = trials.take(np.array([0])), trials.take(np.array([1]))
    for name in ("z68", "in_class_set", "host_share", "novel", "auto", "subtype_probabilities"):
        assert np.isnan(getattr(bare, name)).all(), name
        assert np.isfinite(getattr(rich, name)).all(), name
    assert rich.z68.tolist() == [[0.09, 0.11]]
    assert np.isnan(rich.days95).all()
    assert rich.in_class_set.sum() == 1.0
    assert (rich.novel[0], rich.auto[0]) == (1.0, 1.0)


def test_trimmed_spectra_have_lost_both_ends_and_nothing_else(observatory: Observatory) -> None:
    targets, whole = observatory.observe(BY_NAME["sedm"], 40)
    same, trimmed = observatory.observe(BY_NAME["sedm_trimmed"], 40)
    np.testing.assert_array_equal(targets.row, same.row)
    np.testing.assert_array_equal(targets.redshift, same.redshift)
    shares = []
    for before, after in zip(whole, trimmed, strict=True):
        kept = after.good
        np.testing.assert_array_equal(before.flux[kept], after.flux[kept])
        # Between its ends nothing is missing that was there.
        first, last = np.flatnonzero(kept)[[0, -1]]
        np.testing.assert_array_equal(before.good[first : last + 1], kept[first : last + 1])
        seen = np.flatnonzero(before.good)
        width = seen[-1] + 1 - seen[0]
        shares += [(first - seen[0]) / width, (seen[-1] - last) / width]
    # Whole pixels; a bad one beside a new end makes it a little more.
    assert min(shares) >= 0.02 - 1 / 100
    assert max(shares) <= 0.15 + 3 / 100
    assert np.std(shares) > 0.02
