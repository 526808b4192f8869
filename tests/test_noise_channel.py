"""The channel of the noise, and reconstructions in the unit of the flux."""

import numpy as np
import pytest

from specinfer.noise_channel import CHANNELS, with_noise
from specinfer.preprocess import Preprocessing, prepare
from specinfer.reconstruction import compressed, restored, spread_of

CONFIG = Preprocessing(3560.0, 10380.0, 512)


def prepared(scale=1.0, noise=0.05, hole=True):
    rng = np.random.default_rng(0)
    wavelength = np.arange(3700.0, 9500.0, 2.0)
    flux = 1.0 + 0.4 * np.sin(wavelength / 300.0) + rng.normal(0.0, noise, wavelength.size)
    flux += 6.0 * np.exp(-0.5 * ((wavelength - 6563.0) / 8.0) ** 2)
    ivar = np.full(wavelength.size, noise**-2.0)
    if hole:
        ivar[900:1100] = 0.0
    return prepare(wavelength, scale * flux, ivar / scale**2, CONFIG)


def test_the_channel_says_signal_over_noise():
    made = prepared()
    channels = with_noise(made)
    assert channels.shape == (CHANNELS, 512)
    assert channels.dtype == np.float32
    np.testing.assert_array_equal(channels[:3], made.input)
    valid = made.valid
    expected = np.log1p(made.continuum * np.sqrt(made.ivar))
    np.testing.assert_allclose(channels[3][valid], expected[valid], rtol=1e-5)
    assert not channels[3][~valid].any()


def test_half_the_noise_is_twice_the_ratio():
    one, two = (with_noise(prepared(noise=noise))[3] for noise in (0.1, 0.05))
    valid = (one > 0) & (two > 0)
    ratio = np.expm1(two[valid]) / np.expm1(one[valid])
    assert np.median(ratio) == pytest.approx(2.0, rel=0.03)


def test_the_unit_of_the_flux_does_not_matter():
    np.testing.assert_allclose(
        with_noise(prepared(1e-17)), with_noise(prepared(1.0)), rtol=1e-4, atol=1e-5
    )


def test_noise_that_nobody_stated_is_zero():
    made = prepared()
    assert not with_noise(made, False)[3].any()
    # Of a batch, each by itself.
    both = prepare(np.arange(3700.0, 9500.0, 2.0), np.ones((2, 2900)), np.ones((2, 2900)), CONFIG)
    channels = with_noise(both, np.array([True, False]))
    assert channels.shape == (2, CHANNELS, 512)
    assert channels[0, 3].any()
    assert not channels[1, 3].any()


@pytest.mark.parametrize("scale", [1.0, 1e-17])
def test_a_reconstruction_comes_back_in_the_unit_of_the_flux(scale):
    made = prepared(scale)
    values = compressed(made.flux, made, CONFIG.clip)
    np.testing.assert_allclose(values, made.input[0], atol=2e-5)
    flux = restored(values, made, CONFIG.clip)
    np.testing.assert_allclose(flux[made.valid], made.flux[made.valid], rtol=1e-5)
    assert not flux[~made.valid].any()


def test_nothing_usable_gives_nothing():
    wavelength = np.arange(3700.0, 9500.0, 2.0)
    made = prepare(wavelength, np.zeros(wavelength.size), np.zeros(wavelength.size), CONFIG)
    assert np.isfinite(with_noise(made)).all()
    assert not restored(np.zeros(512), made, CONFIG.clip).any()
    assert spread_of(made).shape == (1,)
