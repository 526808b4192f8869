"""Which rows and redshifts are drawn, and the batches made of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the simulator draws from the library (extra 'train')")

from tiny_training import make_library, tiny_library

from specinfer.preprocess import Preprocessing
from training.archive.labels import CLASSES, PHASE_CLASSES
from training.archive.library import GRID_PIXELS, Library
from training.simulate.draw import (
    MIN_COVERAGE,
    OTHER_CLASSES,
    SEDM_Z_MAX,
    Z_MAX,
    BatchMaker,
    RowSampler,
    draw_redshifts,
    host_rows,
    largest_redshift,
)
from training.simulate.transients import Conditions

FLAT = np.ones(GRID_PIXELS, dtype=np.float32)


@pytest.fixture(scope="module")
def uneven() -> Library:
    """9 objects of type Ia, the first with 16 spectra; 4 of type II; 1 TDE."""
    names = ["Ia-0"] * 16 + [f"Ia-{i}" for i in range(1, 9)] + [f"II-{i}" for i in range(4)]
    labels = ["SN Ia"] * 24 + ["SN II"] * 4
    rows = [
        {"flux": FLAT, "label": label, "object": name}
        for name, label in zip([*names, "tde"], [*labels, "TDE"], strict=True)
    ]
    return make_library(rows)


@pytest.fixture(scope="module")
def everything() -> Library:
    return make_library([{"flux": FLAT, "label": label} for label in CLASSES])


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_classes_are_balanced_as_documented(uneven: Library, power: float) -> None:
    sampler = RowSampler(uneven, np.arange(len(uneven)), power)
    labels = uneven.label[sampler.draw(20000, np.random.default_rng(0))]
    counts = {"SN Ia": 9, "SN II": 4, "TDE": 1}
    total = sum(n**power for n in counts.values())
    for name, count in counts.items():
        expected = count**power / total
        assert np.mean(labels == CLASSES.index(name)) == pytest.approx(expected, abs=0.015)
        assert sampler.class_share[CLASSES.index(name)] == pytest.approx(expected)
    assert sampler.class_share.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("share", [0.15, 0.6])
def test_what_is_no_transient_has_its_share(everything: Library, share: float) -> None:
    sampler = RowSampler(everything, np.arange(len(everything)), 0.5, share)
    labels = everything.label[sampler.draw(20000, np.random.default_rng(1))]
    other = np.isin(labels, OTHER_CLASSES)
    assert other.mean() == pytest.approx(share, abs=0.015)
    assert sampler.class_share[list(OTHER_CLASSES)].sum() == pytest.approx(share)
    # Inside both groups nothing changes: one object a class here.
    assert np.ptp(np.bincount(labels[~other])[: other.size]) < 400
    assert {CLASSES[i] for i in OTHER_CLASSES} == {"AGN/QSO", "CV", "Galaxy", "Star"}


@pytest.mark.parametrize("name", [c for c in CLASSES if c not in ("CV", "Star")])
def test_the_sedm_sees_less_far(everything: Library, name: str) -> None:
    rows = np.full(20000, CLASSES.index(name))
    near, far = (
        draw_redshifts(everything, rows, 0.1, np.random.default_rng(2), sedm_depth=depth)
        for depth in (True, False)
    )
    assert near.max() <= SEDM_Z_MAX.get(name, 0.25) <= largest_redshift(name)
    assert far.max() > near.max() or name == "AGN/QSO"
    # Most are near for every instrument.
    np.testing.assert_allclose(np.median(near), np.median(far), rtol=0.2)


def test_objects_count_by_the_root_of_their_spectra(uneven: Library) -> None:
    sampler = RowSampler(uneven, np.arange(len(uneven)))
    drawn = Counter(uneven.object[sampler.draw(40000, np.random.default_rng(1))].tolist())
    ia = sum(count for name, count in drawn.items() if name.startswith("Ia"))
    # sqrt(16) = 4 against 1 of each of the eight others.
    assert drawn["Ia-0"] / ia == pytest.approx(4 / 12, abs=0.015)
    assert drawn["Ia-5"] / ia == pytest.approx(1 / 12, abs=0.01)


def test_spectra_of_an_object_are_drawn_alike(uneven: Library) -> None:
    rows = RowSampler(uneven, np.arange(len(uneven))).draw(40000, np.random.default_rng(2))
    counts = np.bincount(rows, minlength=len(uneven))[:16]
    assert counts.min() > 0.7 * counts.mean()


def test_only_the_given_rows_are_drawn(uneven: Library) -> None:
    rows = np.array([3, 20, 26])
    drawn = RowSampler(uneven, rows).draw(500, np.random.default_rng(3))
    assert set(drawn.tolist()) == set(rows.tolist())


def redshifts_of(library: Library, name: str, far_quasars: float = 0.1) -> np.ndarray:
    rows = np.full(20000, CLASSES.index(name))
    return draw_redshifts(library, rows, far_quasars, np.random.default_rng(4))


@pytest.mark.parametrize("name", CLASSES)
def test_redshifts_stay_within_the_limit_of_the_class(everything: Library, name: str) -> None:
    z = redshifts_of(everything, name)
    assert z.max() <= largest_redshift(name)
    # Below zero only by a peculiar or Galactic velocity.
    assert z.min() > -0.01


@pytest.mark.parametrize("name", ["SN Ia", "SN II", "SLSN-I", "Galaxy"])
def test_redshifts_of_transients(everything: Library, name: str) -> None:
    z = redshifts_of(everything, name)
    z_max = Z_MAX.get(name, 0.3)
    at_rest = np.abs(z) < 0.006
    # A tenth, and what the uniform draws put there.
    assert at_rest.mean() == pytest.approx(0.1 + 0.68 * 0.03, abs=0.02)
    near = 0.68 + 0.22 * np.log1p(0.2) / np.log1p(z_max)
    assert np.mean(z < 0.2) == pytest.approx(0.1 + near, abs=0.015)
    far = np.log1p(z[z > 0.2])
    assert far.mean() == pytest.approx(0.5 * (np.log1p(0.2) + np.log1p(z_max)), rel=0.03)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_redshifts_of_quasars(everything: Library, share: float) -> None:
    z = redshifts_of(everything, "AGN/QSO", share)
    beyond = share * (1.0 - np.log(2.0) / np.log1p(Z_MAX["AGN/QSO"]))
    assert np.mean(z > 1.0) == pytest.approx(beyond, abs=0.01)
    assert z.min() >= 0.0


@pytest.mark.parametrize("name", ["Star", "CV"])
def test_stars_move_with_galactic_velocities(everything: Library, name: str) -> None:
    velocity = 299792.458 * redshifts_of(everything, name)
    assert velocity.std() == pytest.approx(120.0, rel=0.03)
    assert abs(velocity.mean()) < 5.0


def test_hosts_are_galaxies_with_their_continuum() -> None:
    library = make_library(
        [
            {"flux": FLAT, "label": "Galaxy", "source": "KC96"},
            {"flux": FLAT, "label": "Galaxy", "source": "gasnet3-rebuilt"},
            {"flux": FLAT, "label": "SN Ia", "source": "KC96"},
            {"flux": FLAT, "label": "Galaxy", "source": "desisim-LRG"},
        ]
    )
    np.testing.assert_array_equal(host_rows(library, np.arange(4)), [0, 3])
    np.testing.assert_array_equal(host_rows(library, np.array([1, 3])), [3])


@pytest.fixture(scope="module")
def maker() -> BatchMaker:
    library = tiny_library()
    rows = np.arange(0, len(library), 2)
    return BatchMaker(
        library,
        rows,
        host_rows(library, rows),
        Preprocessing(n_pixels=256),
        Conditions(),
        power=0.5,
        slit_share=0.25,
        far_quasars=0.1,
    )


def test_batches_are_ready_for_a_network(maker: BatchMaker) -> None:
    batch = maker.make(64, np.random.default_rng(5))
    assert batch.input.shape == (64, 3, 256)
    assert batch.input.dtype == np.float32
    assert np.all(np.isfinite(batch.input))
    assert np.all(batch.input[:, 1].mean(axis=-1) > MIN_COVERAGE)
    assert set(batch.row.tolist()) <= set(range(0, len(maker.library), 2))
    np.testing.assert_array_equal(batch.label, maker.library.label[batch.row])
    np.testing.assert_array_equal(np.isfinite(batch.phase), batch.label < len(PHASE_CLASSES))
    assert np.all((batch.snr >= 2.0) & (batch.snr <= 50.0))
    for name in batch.__dataclass_fields__:
        assert len(getattr(batch, name)) == 64


def test_batches_are_reproducible(maker: BatchMaker) -> None:
    one, other = (maker.make(16, np.random.default_rng([1, 0, 7])) for _ in "ab")
    np.testing.assert_array_equal(one.input, other.input)
    np.testing.assert_array_equal(one.row, other.row)
    assert np.abs(one.input - maker.make(16, np.random.default_rng([1, 0, 8])).input).max() > 0.1


def test_rows_that_nobody_can_see_end_with_a_sentence() -> None:
    good = np.zeros(GRID_PIXELS, dtype=bool)
    good[:300] = True
    library = make_library([{"flux": FLAT, "good": good, "label": "Star"}])
    blind = BatchMaker(
        library, np.arange(1), np.array([], dtype=int), Preprocessing(), Conditions(), 0.5, 0, 0.1
    )
    with pytest.raises(RuntimeError, match="sedm sees too few"):
        blind.make(4, np.random.default_rng(0))
