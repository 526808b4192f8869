"""The simulator obeys physics: lines move with 1+z, noise is what was asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pyarrow", reason="the simulator draws from the library (extra 'train')")

from tiny_training import CENTRES, line, make_library

from training.archive.library import GRID_PIXELS, Library, smooth_library
from training.simulate.draw import host_rows
from training.simulate.instruments import Instrument, make_instrument, sedm
from training.simulate.transients import QUIET, Conditions, Observed, Partners, Simulator

FloatArray = NDArray[np.float64]
FLAT = np.ones(GRID_PIXELS)
LINE = 5000.0

FLAT_ROW, LINE_ROW, HOST_ROW, FLATTENED_ROW, HALF_ROW, STAR_ROW, RED_ROW = range(7)


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    half = (CENTRES > 4500.0) & (CENTRES < 6000.0)
    library = make_library(
        [
            {"flux": FLAT, "label": "SN Ia"},
            {"flux": FLAT + 2.0 * line(LINE), "label": "SN II"},
            {"flux": FLAT + line(6000.0, 40.0), "label": "Galaxy", "source": "KC96"},
            {"flux": FLAT, "label": "SN Ia", "flattened": True},
            {"flux": np.where(half, FLAT, 0.0), "good": half, "label": "SN Ib"},
            {"flux": FLAT, "label": "Star"},
            {"flux": CENTRES / 6000.0, "label": "SN Ic"},
        ]
    )
    return Simulator(library, host_rows(library, np.arange(len(library))))


def slit_like() -> Instrument:
    return make_instrument("slit", np.arange(3500.0, 9500.0, 4.0), 1000.0)


INSTRUMENTS = {"sedm": sedm(), "slit": slit_like()}
both = pytest.mark.parametrize("name", INSTRUMENTS)


def observe(
    simulator: Simulator,
    row: int,
    redshift: float | FloatArray,
    conditions: Conditions = QUIET,
    name: str = "sedm",
    count: int = 1,
    seed: int = 0,
) -> Observed:
    return simulator.observe(
        np.full(count, row),
        np.broadcast_to(np.asarray(redshift, dtype=np.float64), (count,)),
        INSTRUMENTS[name],
        conditions,
        np.random.default_rng(seed),
    )


def centroid(observed: Observed, near: float) -> float:
    wavelength = observed.wavelength
    contrast = observed.flux[0] / np.median(observed.flux[0]) - 1.0
    weight = np.where(np.abs(wavelength - near) < 250.0, contrast, 0.0)
    return float((weight * wavelength).sum() / weight.sum())


@both
@pytest.mark.parametrize("redshift", [-0.001, 0.0, 0.0317, 0.2, 0.5])
def test_a_line_lands_at_1_plus_z(simulator: Simulator, name: str, redshift: float) -> None:
    expected = LINE * (1.0 + redshift)
    observed = observe(simulator, LINE_ROW, redshift, name=name)
    pixel = INSTRUMENTS[name].wavelength[1] - INSTRUMENTS[name].wavelength[0]
    assert centroid(observed, expected) == pytest.approx(expected, abs=0.1 * pixel)


def test_sedm_lines_are_as_wide_as_its_resolution(simulator: Simulator) -> None:
    observed = observe(simulator, LINE_ROW, 0.2)
    wavelength, centre = observed.wavelength, LINE * 1.2
    weight = np.where(np.abs(wavelength - centre) < 200.0, observed.flux[0] - 1.0, 0.0)
    weight -= np.where(weight != 0, np.median(observed.flux[0]) - 1.0, 0.0)
    sigma = np.sqrt((weight * (wavelength - centre) ** 2).sum() / weight.sum())
    pixel = wavelength[1] - wavelength[0]
    expected = np.sqrt((20.0 * 1.2) ** 2 + (centre / 100 / 2.3548) ** 2 + pixel**2 / 12)
    assert sigma == pytest.approx(expected, rel=0.03)


def test_flexure_shifts_the_axis(simulator: Simulator) -> None:
    conditions = replace(QUIET, flexure=10.0)
    shifts = [
        centroid(observe(simulator, LINE_ROW, 0.1, conditions, "slit", seed=seed), 5500.0) - 5500.0
        for seed in range(60)
    ]
    assert np.std(shifts) == pytest.approx(10.0, rel=0.35)
    assert abs(np.mean(shifts)) < 5.0


@both
@pytest.mark.parametrize("snr", [2.0, 10.0, 40.0])
def test_snr_asked_is_snr_had(simulator: Simulator, name: str, snr: float) -> None:
    conditions = replace(QUIET, snr=(snr, snr))
    observed = observe(simulator, FLAT_ROW, 0.05, conditions, name, count=200)
    np.testing.assert_allclose(observed.snr, snr)
    # The noise-free flux of this row is 1: the mean signal-to-noise over the pixels.
    had = np.sqrt(observed.ivar).mean(axis=1)
    np.testing.assert_allclose(had, snr, rtol=1e-6)
    # A median, as the runtime measures it, differs: the ends are noisier than the middle.
    median = np.median(observed.flux * np.sqrt(observed.ivar), axis=1)
    assert np.median(median) == pytest.approx(snr, rel=0.15)


@both
def test_noise_is_what_the_ivar_says(simulator: Simulator, name: str) -> None:
    conditions = replace(QUIET, snr=(8.0, 8.0))
    observed = observe(simulator, FLAT_ROW, 0.05, conditions, name, count=400)
    pull = (observed.flux - 1.0) * np.sqrt(observed.ivar)
    assert pull.mean() == pytest.approx(0.0, abs=0.02)
    assert pull.std() == pytest.approx(1.0, abs=0.02)
    # No pixel is noisier than stated.
    assert np.abs(pull.std(axis=0) - 1.0).max() < 0.2
    neighbours = np.mean(pull[:, 1:] * pull[:, :-1])
    # Extraction of the SEDM correlates neighbours: 0.4 / (1 + 0.4^2).
    assert neighbours == pytest.approx(0.345 if name == "sedm" else 0.0, abs=0.03)


def test_snr_is_log_uniform_in_its_range(simulator: Simulator) -> None:
    conditions = replace(QUIET, snr=(2.0, 50.0))
    snr = observe(simulator, FLAT_ROW, 0.0, conditions, count=1000).snr
    assert snr.min() >= 2.0
    assert snr.max() <= 50.0
    quartiles = np.quantile(np.log(snr / 2.0) / np.log(25.0), [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quartiles, [0.25, 0.5, 0.75], atol=0.06)


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_host_light_has_the_share_that_is_stated(simulator: Simulator, share: float) -> None:
    conditions = replace(QUIET, host_share=1.0, host_range=(share, share))
    mixed = observe(simulator, FLAT_ROW, 0.1, conditions)
    galaxy = observe(simulator, HOST_ROW, 0.1)
    np.testing.assert_allclose(mixed.host, share)
    np.testing.assert_allclose(mixed.flux, (1 - share) + share * galaxy.flux, atol=1e-3)
    # The host stands at the transient's redshift.
    assert mixed.wavelength[mixed.flux[0].argmax()] == pytest.approx(6600.0, abs=26.0)


def test_hosts_are_for_transients_alone(simulator: Simulator) -> None:
    conditions = replace(QUIET, host_share=1.0, host_range=(0.5, 0.5))
    for row in (STAR_ROW, HOST_ROW):
        assert np.all(observe(simulator, row, 0.01, conditions, count=20).host == 0)
    some = replace(conditions, host_share=0.4)
    host = observe(simulator, FLAT_ROW, 0.05, some, count=1000).host
    assert np.mean(host > 0) == pytest.approx(0.4, abs=0.06)


@both
def test_cuts_do_not_depend_on_the_redshift(simulator: Simulator, name: str) -> None:
    conditions = replace(QUIET, cut_share=1.0, cut_max=0.25, bad_pixels=0.04, snr=(5.0, 20.0))
    seen = [
        observe(simulator, FLAT_ROW, z, conditions, name, count=50, seed=4).ivar > 0
        for z in (0.0, 0.1, 0.4)
    ]
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[0], seen[2])


def test_cuts_are_uniform_at_both_ends(simulator: Simulator) -> None:
    conditions = replace(QUIET, cut_share=0.7, cut_max=0.25)
    z = np.random.default_rng(1).uniform(0.0, 0.3, 2000)
    good = observe(simulator, FLAT_ROW, z, conditions, count=2000).ivar > 0
    n = good.shape[1]
    first, last = good.argmax(axis=1) / n, good[:, ::-1].argmax(axis=1) / n
    for cut in (first, last):
        assert cut.max() <= 0.25 + 1 / n
        # 0.7 x the mean of a uniform distribution between 0 and a quarter.
        assert cut.mean() == pytest.approx(0.7 * 0.125, abs=0.008)
        assert abs(np.corrcoef(cut, z)[0, 1]) < 0.07
    # A cut leaves no hole.
    np.testing.assert_array_equal(
        good.sum(axis=1), n - good.argmax(axis=1) - good[:, ::-1].argmax(axis=1)
    )


def test_bad_pixels_have_no_weight(simulator: Simulator) -> None:
    conditions = replace(QUIET, bad_pixels=0.2)
    observed = observe(simulator, FLAT_ROW, 0.05, conditions, count=400)
    bad = observed.ivar == 0
    assert np.all(observed.flux[bad] == 0)
    assert np.all(observed.ivar[~bad] > 0)
    assert np.all(np.isfinite(observed.ivar))
    share = bad.mean(axis=1)
    # Half of the spectra have none, the others up to a fifth.
    assert np.mean(share == 0) == pytest.approx(0.5, abs=0.1)
    assert share.max() < 0.33
    assert share.mean() == pytest.approx(0.05, abs=0.01)


def test_pixels_beyond_the_row_have_no_weight(simulator: Simulator) -> None:
    for z in (0.0, 0.15):
        observed = observe(simulator, HALF_ROW, z)
        good = observed.ivar[0] > 0
        seen = observed.wavelength[good] / (1.0 + z)
        assert 4480.0 < seen.min() < 4530.0
        assert 5970.0 < seen.max() < 6020.0
        assert np.all(observed.flux[0][~good] == 0)
        np.testing.assert_allclose(observed.flux[0][good], 1.0, rtol=1e-3)


def test_flattened_rows_get_a_black_body(simulator: Simulator) -> None:
    flat = observe(simulator, FLAT_ROW, 0.05, count=5).flux
    curved = observe(simulator, FLATTENED_ROW, 0.05, count=40).flux
    np.testing.assert_allclose(flat, 1.0, rtol=1e-3)
    slope = curved[:, 30] / curved[:, -30]
    # Between 4000 and 20000 K, each its own.
    assert slope.min() < 0.9
    assert slope.max() > 3.0
    x = 1.4387769e8 / sedm().wavelength

    def planck(temperature: float) -> FloatArray:
        shape = sedm().wavelength ** -5.0 / np.expm1(x * 1.05 / temperature)
        return np.asarray(shape / shape.mean())

    low, high = planck(4000.0), planck(20000.0)
    assert slope.min() >= 0.99 * low[30] / low[-30]
    assert slope.max() <= 1.01 * high[30] / high[-30]


def test_reddening_dims_the_blue(simulator: Simulator) -> None:
    conditions = replace(QUIET, reddening=1.0)
    flux = observe(simulator, FLAT_ROW, 0.0, conditions, count=500).flux
    wavelength = sedm().wavelength
    magnitudes = -2.5 * np.log10(flux)
    excess = magnitudes[:, 10] - magnitudes[:, -10]
    assert np.all(excess >= -1e-3)
    # A_V is exponential with mean 1; the curve is (lambda / 5500)^-1.3.
    curve = (wavelength / 5500.0) ** -1.3
    assert excess.mean() == pytest.approx(curve[10] - curve[-10], rel=0.15)
    assert np.std(excess) == pytest.approx(np.mean(excess), rel=0.2)


def test_ripple_is_smooth_and_as_large_as_stated(simulator: Simulator) -> None:
    conditions = replace(QUIET, ripple=0.06)
    flux = observe(simulator, FLAT_ROW, 0.0, conditions, count=500).flux
    ripple = (flux - 1.0).std(axis=1)
    assert ripple.max() < 0.25
    assert 0.02 < np.sqrt(np.mean(ripple**2)) < 0.06
    assert np.abs(np.diff(flux, axis=1)).max() < 0.06


def test_sky_residuals_stand_on_sky_lines(simulator: Simulator) -> None:
    conditions = replace(QUIET, snr=(20.0, 20.0), sky_residual=8.0)
    observed = observe(simulator, FLAT_ROW, 0.0, conditions, count=400)
    pull = ((observed.flux - 1.0) * np.sqrt(observed.ivar)).std(axis=0)
    sky = sedm().sky
    assert pull[sky.argmax()] == pytest.approx(np.hypot(4.0, 1.0), rel=0.15)
    assert pull[sky < 0.01] == pytest.approx(1.0, abs=0.2)


def test_slopes_survive(simulator: Simulator) -> None:
    observed = observe(simulator, RED_ROW, 0.2)
    ratio = observed.flux[0] / observed.wavelength
    np.testing.assert_allclose(ratio / ratio.mean(), 1.0, rtol=2e-3)


def test_the_same_seed_gives_the_same_spectra(simulator: Simulator) -> None:
    one, other = (observe(simulator, LINE_ROW, 0.1, Conditions(), count=6, seed=2) for _ in "ab")
    np.testing.assert_array_equal(one.flux, other.flux)
    np.testing.assert_array_equal(one.ivar, other.ivar)
    different = observe(simulator, LINE_ROW, 0.1, Conditions(), count=6, seed=3)
    assert np.abs(different.flux - one.flux).max() > 0.01


def test_smoothing_leaves_bad_pixels_out() -> None:
    good = np.ones((1, GRID_PIXELS), dtype=bool)
    good[0, 1500:1600] = False
    flux = np.where(good, 2.0, -1e6).astype(np.float32)
    smooth = smooth_library(flux, good, 100.0)
    np.testing.assert_allclose(smooth[good], 2.0, rtol=1e-4)
    assert np.all(smooth[~good] == 0)


def test_smoothing_conserves_a_line() -> None:
    flux = line(LINE, 5.0).astype(np.float32)[None]
    smooth = smooth_library(flux, np.ones((1, GRID_PIXELS), dtype=bool), 100.0)
    x = np.log(CENTRES / LINE)
    assert smooth.sum() == pytest.approx(flux.sum(), rel=1e-4)
    assert (smooth[0] * x).sum() / smooth.sum() == pytest.approx(0.0, abs=1e-5)
    sigma = np.sqrt((smooth[0] * x**2).sum() / smooth.sum())
    assert sigma == pytest.approx(np.hypot(5.0 / LINE, 0.01 / 2.3548), rel=0.01)


# --- blends of two objects, and narrow windows ------------------------------------------

OWN, LIKE, LATE, OTHER_CLASS, SAME_OBJECT, UNDATED, PARTIAL, FLAT_LIKE, GALAXY = range(9)
BLEND = replace(QUIET, blend_share=1.0)


def blendable() -> Library:
    """SNe II at like and unlike phases, and what must never be mixed into them."""
    half = (CENTRES > 4500.0) & (CENTRES < 6000.0)
    own, other = FLAT + 1.0 * line(LINE), FLAT + 3.0 * line(LINE)
    wrong = FLAT + 5.0 * line(6500.0)
    return make_library(
        [
            {"flux": own, "label": "SN II", "object": "own", "phase": 10.0},
            {"flux": other, "label": "SN II", "object": "like", "phase": 12.0},
            {"flux": wrong, "label": "SN II", "object": "late", "phase": 40.0},
            {"flux": wrong, "label": "SN IIn", "object": "IIn", "phase": 10.0},
            {"flux": wrong, "label": "SN II", "object": "own", "phase": 10.5},
            {"flux": wrong, "label": "SN II", "object": "undated"},
            {"flux": np.where(half, wrong, 0), "good": half, "label": "SN IIb", "phase": 10.0},
            {"flux": wrong, "label": "SN II", "object": "flat", "phase": 9.0, "flattened": True},
            {"flux": wrong, "label": "Galaxy", "source": "KC96", "phase": 10.0},
        ]
    )


@pytest.fixture(scope="module")
def blending() -> Simulator:
    library = blendable()
    rows = np.arange(len(library))
    return Simulator(library, host_rows(library, rows), rows)


def test_partners_are_of_the_same_kind(blending: Simulator) -> None:
    rng = np.random.default_rng(0)
    for row, partners in (
        (OWN, {LIKE, -1}),
        (LIKE, {OWN, SAME_OBJECT}),
        # Nobody else is at a like phase, of the class, dated, or flattened alike.
        (LATE, {-1}),
        (OTHER_CLASS, {-1}),
        (UNDATED, {-1}),
        (FLAT_LIKE, {-1}),
        (GALAXY, {-1}),
    ):
        drawn = set(blending.partners.draw(np.full(200, row), rng).tolist())
        assert drawn - {-1} == partners - {-1}
        assert drawn <= {*partners, -1}


def test_subtypes_are_not_blended() -> None:
    rows = [{"flux": FLAT, "label": "SN Ia", "phase": 0.0} for _ in range(3)]
    library = replace(make_library(rows), subtype=np.array(["Ia", "Ia-91bg", "Ia"]))
    drawn = Partners(library, np.arange(3)).draw(np.arange(3).repeat(50), np.random.default_rng(0))
    assert set(drawn[:50].tolist()) == {-1, 2}
    assert set(drawn[50:100].tolist()) == {-1}


def test_partners_are_drawn_from_the_rows_alone() -> None:
    """A validation object never enters a training spectrum."""
    library = blendable()
    partners = Partners(library, np.array([OWN, LATE]))
    drawn = partners.draw(np.full(100, OWN), np.random.default_rng(0))
    assert set(drawn.tolist()) == {-1}


@both
def test_a_blend_lies_between_two_of_its_class(blending: Simulator, name: str) -> None:
    own = observe(blending, OWN, 0.1, name=name).flux[0]
    like = observe(blending, LIKE, 0.1, name=name).flux[0]
    blends = observe(blending, OWN, 0.1, BLEND, name, count=300).flux
    peak = own.argmax()
    part = (blends[:, peak] - own[peak]) / (like[peak] - own[peak])
    mixed = part > 0.01
    # Where the draw gives the object itself, nothing is mixed: two of three spectra here.
    assert np.mean(mixed) == pytest.approx(1 / 3, abs=0.09)
    np.testing.assert_allclose(part[~mixed], 0.0, atol=2e-3)
    assert part[mixed].min() == pytest.approx(0.2, abs=0.02)
    assert part[mixed].max() == pytest.approx(0.8, abs=0.02)
    # Nothing of the other rows' line, and the whole spectrum lies between the two.
    np.testing.assert_allclose(blends, own + part[:, None] * (like - own), atol=3e-3)


@pytest.mark.parametrize("redshift", [0.0, 0.05, 0.3])
def test_a_blend_keeps_the_redshift(blending: Simulator, redshift: float) -> None:
    conditions = replace(BLEND, flexure=0.0)
    for seed in range(6):
        observed = observe(blending, OWN, redshift, conditions, "slit", seed=seed)
        assert observed.redshift[0] == redshift
        expected = LINE * (1.0 + redshift)
        assert centroid(observed, expected) == pytest.approx(expected, abs=0.5)


def test_both_spectra_of_a_blend_share_the_flexure(blending: Simulator) -> None:
    """The two lines stay one line, however the axis is shifted."""
    conditions = replace(BLEND, flexure=30.0)
    for seed in range(8):
        own = observe(blending, OWN, 0.1, replace(conditions, blend_share=0.0), "slit", seed=seed)
        blend = observe(blending, OWN, 0.1, conditions, "slit", seed=seed)
        assert centroid(blend, 5500.0) == pytest.approx(centroid(own, 5500.0), abs=0.5)


def test_a_partner_that_sees_too_little_is_left_out() -> None:
    half = (CENTRES > 4500.0) & (CENTRES < 6000.0)
    library = make_library(
        [
            {"flux": FLAT, "label": "SN Ib", "phase": 0.0},
            {"flux": np.where(half, 1.0 + line(LINE), 0), "good": half, "label": "SN Ib",
             "phase": 0.0},
        ]
    )  # fmt: skip
    rows = np.arange(2)
    simulator = Simulator(library, host_rows(library, rows), rows)
    wide = observe(simulator, 0, 0.05, BLEND, count=50)
    np.testing.assert_allclose(wide.flux, 1.0, rtol=1e-3)
    # The other way round it can: the narrow one keeps its own edges.
    narrow = observe(simulator, 1, 0.05, BLEND, count=50)
    alone = observe(simulator, 1, 0.05, count=50)
    np.testing.assert_array_equal(narrow.ivar > 0, alone.ivar > 0)
    peak = alone.flux[0].argmax()
    assert narrow.flux[:, peak].min() < 0.9 * alone.flux[0, peak]


def test_without_shares_the_random_streams_are_as_before(
    blending: Simulator, simulator: Simulator
) -> None:
    """Rows to blend with change nothing, unless blends are asked for."""
    library = blending.library
    without = Simulator(library, blending.hosts)
    rows, z = np.arange(len(library)), np.full(len(library), 0.1)
    states, fluxes = [], []
    for one in (blending, without):
        rng = np.random.default_rng(5)
        fluxes.append(one.observe(rows, z, INSTRUMENTS["sedm"], Conditions(), rng).flux)
        states.append(rng.bit_generator.state)
    np.testing.assert_array_equal(*fluxes)
    assert states[0] == states[1]
    # Windows are drawn last: everything before them is the same with and without.
    full = observe(simulator, LINE_ROW, 0.1, Conditions(), count=40)
    some = observe(simulator, LINE_ROW, 0.1, Conditions(narrow_share=0.5), count=40)
    seen = some.ivar > 0
    np.testing.assert_array_equal(some.flux[seen], full.flux[seen])
    assert np.all((full.ivar > 0)[seen])


@both
def test_windows_do_not_depend_on_the_redshift(simulator: Simulator, name: str) -> None:
    conditions = replace(QUIET, narrow_share=1.0)
    seen = [
        observe(simulator, FLAT_ROW, z, conditions, name, count=50, seed=4).ivar > 0
        for z in (0.0, 0.1, 0.4)
    ]
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[0], seen[2])


def test_windows_have_the_width_and_share_asked_for(simulator: Simulator) -> None:
    conditions = replace(QUIET, narrow_share=0.3, narrow_range=(0.38, 0.7))
    wavelength = INSTRUMENTS["slit"].wavelength
    good = observe(simulator, FLAT_ROW, 0.0, conditions, "slit", count=1500).ivar > 0
    first = wavelength[good.argmax(axis=1)]
    last = wavelength[good.shape[1] - 1 - good[:, ::-1].argmax(axis=1)]
    width = np.log(last / first)
    full = np.log(wavelength[-1] / wavelength[0])
    narrow = width < full - 1e-9
    assert np.mean(narrow) == pytest.approx(0.3, abs=0.04)
    assert width[narrow].min() == pytest.approx(0.38, abs=0.005)
    assert width[narrow].max() == pytest.approx(0.7, abs=0.005)
    assert width[narrow].mean() == pytest.approx(0.54, abs=0.015)
    # Anywhere on the axis, without a hole.
    free = (full - width[narrow]).clip(min=1e-9)
    place = np.log(first[narrow] / wavelength[0]) / free
    assert place.mean() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_array_equal(
        good.sum(axis=1), good.shape[1] - good.argmax(axis=1) - good[:, ::-1].argmax(axis=1)
    )


def test_a_window_wider_than_the_axis_is_the_axis(simulator: Simulator) -> None:
    conditions = replace(QUIET, narrow_share=1.0, narrow_range=(3.0, 4.0))
    assert np.all(observe(simulator, FLAT_ROW, 0.0, conditions, count=20).ivar > 0)


def test_what_is_seen_has_no_augmentation(blending: Simulator) -> None:
    augmented = Conditions(blend_share=1.0, narrow_share=1.0, hidden_share=1.0)
    rows, z = np.arange(len(blending.library)), np.full(len(blending.library), 0.1)

    def seen(conditions: Conditions) -> Observed:
        rng = np.random.default_rng(3)
        return blending.observe(rows, z, INSTRUMENTS["sedm"], conditions, rng)

    plain, augmented_seen = seen(Conditions()), seen(augmented.as_seen())
    np.testing.assert_array_equal(augmented_seen.flux, plain.flux)
    np.testing.assert_array_equal(augmented_seen.ivar, plain.ivar)
    assert not np.array_equal(seen(augmented).flux, plain.flux)


def test_the_library_is_smoothed_once(blending: Simulator) -> None:
    library = blending.library
    made = library.at_resolution(100.0)
    np.testing.assert_array_equal(made, smooth_library(library.flux, library.good, 100.0))
    assert library.at_resolution(100.0) is made
    assert library.at_resolution(200.0) is not made
