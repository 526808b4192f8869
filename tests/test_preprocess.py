"""Preprocessing: what it gives is pinned, and what it does to a spectrum is physics.

The golden file is made by ``python tests/golden/make.py``, and made anew only when
`specinfer.preprocess.VERSION` was raised: networks were trained on what it pins.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from specinfer.continuum import fit_continuum, masked_median
from specinfer.preprocess import (
    N_CHANNELS,
    VERSION,
    Prepared,
    Preprocessing,
    log_edges,
    pixel_edges,
    prepare,
    resample,
)

GOLDEN = Path(__file__).resolve().parent / "golden"
sys.path.insert(0, str(GOLDEN))
from make import SEDM_AXIS, gauss, golden_path, planck, supernova  # noqa: E402

FloatArray = NDArray[np.float64]
CONFIG = Preprocessing()
FINE_AXIS = np.arange(3300.0, 9900.0, 6.0)
AXES = {"sedm": SEDM_AXIS, "fine": FINE_AXIS}
CASES = (
    "hot",
    "narrow_lines",
    "flattened",
    "bad_pixels",
    "ivar_zeros",
    "batch",
    "example_1",
    "example_3",
    "example_5",
)


def noisy_supernova(wavelength: FloatArray, seed: int = 0) -> FloatArray:
    noise = np.random.default_rng(seed).normal(0.0, 0.03, wavelength.size)
    return supernova(wavelength) + noise


def prepared(wavelength: FloatArray, flux: FloatArray) -> Prepared:
    return prepare(wavelength, flux, np.ones_like(flux), CONFIG)


def rms(values: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def overlapping(wavelength: FloatArray, index: int) -> NDArray[np.bool_]:
    """Grid pixels that overlap an input pixel."""
    lower, upper = pixel_edges(wavelength)
    return (CONFIG.edges[1:] > lower[index]) & (CONFIG.edges[:-1] < upper[index])


# --- golden ---------------------------------------------------------------------------


def test_golden_file_is_of_this_version() -> None:
    path = golden_path()
    assert path.is_file(), "raised VERSION? run `python tests/golden/make.py`"
    with np.load(path) as data:
        assert json.loads(str(data["settings"])) == CONFIG.to_dict()
        assert json.loads(str(data["settings"]))["version"] == VERSION
        assert {name.split(".")[0] for name in data.files} == {*CASES, "settings"}


def test_shipped_networks_were_trained_on_this_version() -> None:
    cards = list(Path(__file__).resolve().parents[1].glob("exported_models/*/card.json"))
    assert cards
    for card in cards:
        raw = json.loads(card.read_text())
        # A combination prepares spectra as its members do.
        if "members" not in raw:
            assert raw["preprocessing"]["version"] == VERSION


@pytest.mark.parametrize("case", CASES)
def test_prepared_input_is_the_golden_one(case: str) -> None:
    with np.load(golden_path()) as data:
        wavelength, flux, ivar, expected = (
            data[f"{case}.{part}"] for part in ("wavelength", "flux", "ivar", "input")
        )
    answer = prepare(wavelength, flux, ivar, CONFIG).input
    assert answer.dtype == np.float32
    assert answer.shape == (*flux.shape[:-1], N_CHANNELS, CONFIG.n_pixels)
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5)


# --- the grid ------------------------------------------------------------------------


def test_grid_is_logarithmic() -> None:
    np.testing.assert_allclose(np.diff(np.log(CONFIG.edges)), CONFIG.step, rtol=1e-9)
    np.testing.assert_allclose(np.diff(np.log(CONFIG.wavelength)), CONFIG.step, rtol=1e-9)
    assert CONFIG.edges[[0, -1]] == pytest.approx([3000.0, 11000.0])
    # Between a resolution element of the SEDM (R ~ 100) and one of R = 1500.
    assert 1 / 1500 < CONFIG.step < 1 / 100


def test_settings_survive_a_card() -> None:
    settings = Preprocessing(wavelength_max=10000.0, n_pixels=512)
    assert Preprocessing.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize(
    "change", [{"version": VERSION + 1}, {"version": None}, {"smoothing": 3.0}]
)
def test_settings_of_other_versions_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="preprocessing"):
        Preprocessing.from_dict(CONFIG.to_dict() | change)


def test_pixels_do_not_stretch_over_gaps() -> None:
    wavelength = np.concatenate([np.arange(4000.0, 5000.0, 2.0), np.arange(6000.0, 7000.0, 3.0)])
    lower, upper = pixel_edges(wavelength)
    last = int(np.searchsorted(wavelength, 5500.0)) - 1
    assert upper[last] == pytest.approx(wavelength[last] + 1.0)
    assert lower[last + 1] == pytest.approx(wavelength[last + 1] - 1.5)
    assert np.all(lower < wavelength)
    assert np.all(upper > wavelength)
    assert np.all(upper[:-1] <= lower[1:] + 1e-9)


# --- resampling ----------------------------------------------------------------------


@pytest.mark.parametrize(("axis", "sigma"), [("sedm", 35.0), ("fine", 10.0)])
@pytest.mark.parametrize("centre", [4102.3, 5006.8, 6562.8, 8000.1])
def test_a_line_stays_where_it_was(axis: str, sigma: float, centre: float) -> None:
    wavelength = AXES[axis]
    flux = gauss(wavelength, centre, sigma)
    answer = resample(wavelength, flux, np.ones_like(flux), CONFIG.edges)
    weight = answer.flux * np.diff(CONFIG.edges)
    centroid = float((weight * CONFIG.wavelength).sum() / weight.sum())
    assert abs(np.log(centroid / centre)) / CONFIG.step < 0.1


@pytest.mark.parametrize("axis", AXES)
def test_flux_is_conserved(axis: str) -> None:
    wavelength = AXES[axis]
    flux = np.random.default_rng(1).normal(1.0, 0.5, wavelength.size)
    answer = resample(wavelength, flux, np.ones_like(flux), CONFIG.edges)
    lower, upper = pixel_edges(wavelength)
    integral = np.concatenate([[0.0], np.cumsum(flux * (upper - lower))])
    inside = np.flatnonzero(answer.valid)[1:-1]
    for first, last in ((inside[0], inside[-1]), (inside[50], inside[60]), (inside[7], inside[7])):
        expected = np.diff(
            np.interp(CONFIG.edges[[first, last + 1]], [*lower, upper[-1]], integral)
        )[0]
        part = slice(first, last + 1)
        got = (answer.flux * np.diff(CONFIG.edges))[part].sum()
        assert got == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("step", [0.7, 6.0, 25.57])
def test_noise_is_what_the_ivar_says(step: float) -> None:
    rng = np.random.default_rng(2)
    wavelength = np.arange(3600.0, 9400.0, step)
    sigma = 0.5 + (wavelength - 3600.0) / 2000.0
    flux = rng.normal(0.0, 1.0, (300, wavelength.size)) * sigma
    answer = resample(wavelength, flux, np.broadcast_to(sigma**-2.0, flux.shape), CONFIG.edges)
    chi2 = (answer.flux**2 * answer.ivar).mean(axis=0)[answer.valid[0]]
    # Each pixel on its own: 300 draws give 0.08; the mean is much tighter.
    assert chi2.mean() == pytest.approx(1.0, abs=0.02)
    assert np.abs(chi2 - 1.0).max() < 0.45


def test_chi2_of_independent_pixels() -> None:
    """Output pixels made of four whole input pixels each share no noise."""
    rng = np.random.default_rng(3)
    edges = log_edges(4000.0, 8000.0, 2000)
    wavelength = 0.5 * (edges[1:] + edges[:-1])
    sigma = rng.uniform(0.5, 2.0, wavelength.size)
    lower, upper = pixel_edges(wavelength)
    coarse = np.concatenate([lower[::4], upper[-1:]])
    flux = rng.normal(0.0, 1.0, wavelength.size) * sigma
    answer = resample(wavelength, flux, sigma**-2.0, coarse)
    assert answer.valid.all()
    width = (upper - lower).reshape(-1, 4)
    variance = (width**2 * sigma.reshape(-1, 4) ** 2).sum(axis=1) / width.sum(axis=1) ** 2
    np.testing.assert_allclose(answer.ivar, 1.0 / variance, rtol=1e-6)
    chi2 = (answer.flux**2 * answer.ivar).sum()
    # 500 degrees of freedom: sigma of chi2 is sqrt(1000).
    assert abs(chi2 - 500.0) < 4.0 * np.sqrt(1000.0)


@pytest.mark.parametrize("axis", AXES)
def test_bad_pixels_spread_no_further_than_they_reach(axis: str) -> None:
    wavelength = AXES[axis]
    flux, ivar = noisy_supernova(wavelength), np.full(wavelength.size, 900.0)
    whole = resample(wavelength, flux, ivar, CONFIG.edges)
    index = wavelength.size // 2
    hole_flux, hole_ivar = flux.copy(), ivar.copy()
    hole_flux[index], hole_ivar[index] = 1e6, 0.0
    hole = resample(wavelength, hole_flux, hole_ivar, CONFIG.edges)
    hit = overlapping(wavelength, index)
    assert 1 <= hit.sum() <= 9
    np.testing.assert_array_equal(hole.valid[~hit], whole.valid[~hit])
    np.testing.assert_allclose(hole.flux[~hit], whole.flux[~hit], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(hole.ivar[~hit], whole.ivar[~hit], rtol=1e-8)
    # What is left inside has the flux of its neighbours, never that of the bad pixel.
    assert np.all(np.abs(hole.flux) < 3.0)
    lower, upper = pixel_edges(wavelength)
    inside = (CONFIG.edges[:-1] >= lower[index]) & (CONFIG.edges[1:] <= upper[index])
    assert not hole.valid[inside].any()
    assert np.all(hole.ivar[~hole.valid] == 0)
    assert np.all(hole.flux[~hole.valid] == 0)


def test_values_of_bad_pixels_do_not_matter() -> None:
    wavelength, flux = SEDM_AXIS, noisy_supernova(SEDM_AXIS)
    ivar = np.ones_like(flux)
    ivar[[0, 50, 51, 120, 213]] = 0.0
    answers = []
    for value in (0.0, -1e30, 7.0):
        filled = np.where(ivar > 0, flux, value)
        answers.append(prepare(wavelength, filled, ivar, CONFIG).input)
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])


def test_nothing_usable_gives_zeros() -> None:
    flux = np.ones(SEDM_AXIS.size)
    answer = prepare(SEDM_AXIS, flux, np.zeros_like(flux), CONFIG)
    assert answer.coverage == 0.0
    assert not answer.valid.any()
    assert np.all(answer.input == 0)


def test_coverage_is_the_share_of_the_grid() -> None:
    answer = prepared(SEDM_AXIS, supernova(SEDM_AXIS))
    lower, upper = pixel_edges(SEDM_AXIS)
    expected = np.log(upper[-1] / lower[0]) / np.log(11000.0 / 3000.0)
    assert float(answer.coverage) == pytest.approx(expected, abs=2 / CONFIG.n_pixels)
    np.testing.assert_array_equal(answer.input[1], answer.valid)


# --- continuum and normalisation -----------------------------------------------------


def test_masked_median_is_the_median() -> None:
    rng = np.random.default_rng(4)
    values, valid = rng.normal(size=(6, 31)), rng.random((6, 31)) < 0.5
    valid[0] = False
    valid[1] = True
    expected = [0.0, *(np.median(v[m]) for v, m in zip(values[1:], valid[1:], strict=True))]
    np.testing.assert_allclose(masked_median(values, valid), expected)


@pytest.mark.parametrize("slope", [-0.8, 0.0, 0.8])
def test_continuum_of_a_straight_line_is_the_line(slope: float) -> None:
    x = (np.arange(CONFIG.n_pixels) + 0.5) / CONFIG.n_pixels - 0.5
    line = 1.0 + slope * x
    valid = np.ones(CONFIG.n_pixels, dtype=bool)
    valid[:100] = valid[500:600] = False
    answer = fit_continuum(np.where(valid, line, 0.0), valid, CONFIG)
    np.testing.assert_allclose(answer[valid], line[valid], rtol=2e-3)


def test_continuum_is_positive_whatever_the_flux() -> None:
    rng = np.random.default_rng(5)
    flux = rng.normal(-0.3, 1.0, (4, SEDM_AXIS.size))
    answer = prepared(SEDM_AXIS, flux)
    assert np.all(answer.continuum > 0)
    assert np.all(np.isfinite(answer.input))


def test_a_flattened_template_passes_as_it_is() -> None:
    answer = prepared(FINE_AXIS, supernova(FINE_AXIS))
    inside = answer.valid & (CONFIG.wavelength > 3800) & (CONFIG.wavelength < 9000)
    assert answer.continuum[inside] == pytest.approx(1.0, abs=0.15)
    contrast = np.interp(CONFIG.wavelength, FINE_AXIS, supernova(FINE_AXIS)) - 1.0
    assert np.corrcoef(contrast[inside], answer.input[0][inside])[0, 1] > 0.95


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("factor", [1e-17, 1e5, 3.7])
def test_units_do_not_matter(axis: str, factor: float) -> None:
    wavelength = AXES[axis]
    flux, ivar = noisy_supernova(wavelength), np.full(wavelength.size, 900.0)
    one = prepare(wavelength, flux, ivar, CONFIG)
    other = prepare(wavelength, flux * factor, ivar / factor**2, CONFIG)
    np.testing.assert_allclose(other.input, one.input, rtol=0, atol=2e-6)
    np.testing.assert_allclose(other.flux, one.flux * factor, rtol=1e-9)
    np.testing.assert_allclose(other.ivar, one.ivar / factor**2, rtol=1e-9)
    np.testing.assert_allclose(other.continuum, one.continuum * factor, rtol=1e-9)


# Measured: the rms change over the rms of the prepared flux is 0.17 (4000 K), 0.10
# (8000 K) and 0.25 (sedm) to 0.35 (fine, a slope of a factor of 33) at 20000 K.
@pytest.mark.parametrize(("temperature", "bound"), [(4000.0, 0.2), (8000.0, 0.12), (20000.0, 0.4)])
@pytest.mark.parametrize("axis", AXES)
def test_a_smooth_slope_changes_little(axis: str, temperature: float, bound: float) -> None:
    wavelength = AXES[axis]
    flat = noisy_supernova(wavelength)
    tilted = flat * planck(wavelength, temperature)
    assert np.ptp(np.log(planck(wavelength, temperature))) > 1.0
    one, other = prepared(wavelength, flat), prepared(wavelength, tilted)
    a, b = one.input[0][one.valid], other.input[0][one.valid]
    assert rms(a - b) < bound * rms(a)
    assert np.corrcoef(a, b)[0, 1] > 0.94


@pytest.mark.parametrize("axis", AXES)
def test_smooth_light_on_top_makes_features_shallow(axis: str) -> None:
    """As much featureless light again halves the depth, and changes little else."""
    wavelength = AXES[axis]
    flux = noisy_supernova(wavelength)
    alone = prepared(wavelength, flux)
    diluted = prepared(wavelength, flux + 1.0)
    depth, shallow = (np.unique(made.input[2][made.valid]) for made in (alone, diluted))
    assert depth.size == shallow.size == 1
    assert float(depth[0] - shallow[0]) == pytest.approx(np.log(2.0), abs=0.03)
    assert np.all(alone.input[2][~alone.valid] == 0)
    change = (diluted.input[0] - alone.input[0])[alone.valid]
    assert rms(change) < 0.05 * rms(alone.input[0][alone.valid])


@pytest.mark.parametrize("level", [1e-12, 1e6])
def test_the_depth_is_bounded(level: float) -> None:
    flux = 1.0 + level * np.abs(np.random.default_rng(8).normal(size=FINE_AXIS.size))
    answer = prepared(FINE_AXIS, flux)
    assert np.abs(answer.input[2]).max() < 5.0


def outlier_effect(axis: str, factor: float) -> float:
    """rms change of all other pixels by one cosmic ray, over the rms of the prepared flux."""
    wavelength = AXES[axis]
    flux = noisy_supernova(wavelength)
    clean = prepared(wavelength, flux)
    index = wavelength.size // 2
    flux[index] *= factor
    struck = prepared(wavelength, flux)
    assert np.all(np.isfinite(struck.input))
    others = clean.valid & ~overlapping(wavelength, index)
    change = struck.input[0][others] - clean.input[0][others]
    return rms(change) / rms(clean.input[0][others])


# Measured: 0.009 on the SEDM's axis and 0.003 on the fine one, at any height.
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("factor", [3.0, 30.0, 1e3, 1e6])
def test_a_cosmic_ray_does_not_rescale_the_rest(axis: str, factor: float) -> None:
    assert outlier_effect(axis, factor) < 0.02


def test_strong_values_are_compressed_and_keep_their_order() -> None:
    flux = 1.0 + 0.02 * np.random.default_rng(6).normal(size=FINE_AXIS.size)
    heights = (1.0, 3.0, 9.0)
    for position, height in zip((300, 550, 800), heights, strict=True):
        flux[position - 2 : position + 3] += height
    answer = prepared(FINE_AXIS, flux)
    peaks = [answer.input[0][overlapping(FINE_AXIS, p)].max() for p in (300, 550, 800)]
    assert peaks[0] < peaks[1] < peaks[2] < 40.0
    # The bulk of the pixels has a robust standard deviation of one.
    values = answer.input[0][answer.valid]
    assert 1.4826 * np.median(np.abs(values)) == pytest.approx(1.0, abs=0.05)


# --- batches and redshifts -----------------------------------------------------------


@pytest.mark.parametrize("axis", AXES)
def test_alone_is_as_in_a_batch(axis: str) -> None:
    wavelength = AXES[axis]
    rng = np.random.default_rng(7)
    flux = np.stack([noisy_supernova(wavelength, seed) for seed in range(5)])
    flux[1] *= 1e-17
    flux[2] = 1e9 * flux[2][::-1]
    ivar = (rng.random(flux.shape) > 0.1).astype(np.float64)
    ivar[4] = 0.0
    batch = prepare(wavelength, flux, ivar, CONFIG)
    for row in range(5):
        alone = prepare(wavelength, flux[row], ivar[row], CONFIG)
        np.testing.assert_allclose(batch.input[row], alone.input, rtol=0, atol=1e-6)
        np.testing.assert_allclose(batch.flux[row], alone.flux, rtol=1e-12)
        assert float(batch.coverage[row]) == float(alone.coverage)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("pixels", [1, 8, 37, 60])
def test_a_redshift_is_a_shift(axis: str, pixels: int) -> None:
    wavelength = AXES[axis]
    flux = noisy_supernova(wavelength)
    rest = prepared(wavelength, flux)
    moved = prepared(wavelength * np.exp(pixels * CONFIG.step), flux)
    np.testing.assert_array_equal(moved.valid[pixels:], rest.valid[:-pixels])
    difference = moved.input[0, pixels:] - rest.input[0, :-pixels]
    # Multiples of the continuum's blocks of eight pixels are exact; measured 0.04 between.
    assert np.abs(difference).max() < (1e-5 if pixels % 8 == 0 else 0.06)


@pytest.mark.parametrize("redshift", [0.013, 0.05, 0.2371])
def test_a_line_moves_by_the_right_number_of_pixels(redshift: float) -> None:
    index = np.arange(CONFIG.n_pixels)
    centroids = []
    for z in (0.0, redshift):
        centre = 5500.0 * (1.0 + z)
        flux = 1.0 + 0.5 * gauss(FINE_AXIS, centre, 12.0 * (1.0 + z))
        line = np.maximum(prepared(FINE_AXIS, flux).input[0], 0.0)
        line[np.abs(np.log(CONFIG.wavelength / centre)) > 0.01] = 0.0
        centroids.append(float((line * index).sum() / line.sum()))
    shift = centroids[1] - centroids[0]
    assert shift == pytest.approx(np.log1p(redshift) / CONFIG.step, abs=0.1)
