"""The simulated instruments: the SEDM as documented, slits within their stated limits."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the simulator draws from the library (extra 'train')")

from training.simulate.instruments import SEDM_AXIS, Instrument, make_instrument, sedm, slit


def assert_sound(instrument: Instrument) -> None:
    n = instrument.wavelength.size
    assert np.all(np.diff(instrument.wavelength) > 0)
    assert np.all(instrument.lower < instrument.wavelength)
    assert np.all(instrument.wavelength < instrument.upper)
    assert instrument.noise_shape.shape == instrument.sky.shape == (n,)
    assert np.median(instrument.noise_shape) == pytest.approx(1.0)
    assert np.all(instrument.noise_shape > 0)
    assert np.all(instrument.sky >= 0)
    assert instrument.sky.max() == pytest.approx(1.0)
    assert instrument.residues.shape[1] == n


def test_sedm_axis_is_that_of_its_files() -> None:
    instrument = sedm()
    assert_sound(instrument)
    assert instrument.wavelength.size == 214
    # CRVAL1 and CDELT1 of real files.
    assert instrument.wavelength[0] == pytest.approx(3776.7123287671147)
    np.testing.assert_allclose(np.diff(instrument.wavelength), 25.570776255704914)
    assert instrument.resolution == 100.0
    np.testing.assert_array_equal(instrument.wavelength, SEDM_AXIS)


def test_sedm_noise_rises_at_the_ends_and_on_the_sky() -> None:
    noise, wavelength = sedm().noise_shape, sedm().wavelength
    assert noise[0] > 2.5
    assert noise[-1] > 2.0
    green = np.abs(wavelength - 5577.3).argmin()
    assert noise[green] > 1.2 * noise[green - 8]


def test_sky_is_brightest_where_its_lines_are() -> None:
    instrument = make_instrument("fine", np.arange(5000.0, 6000.0, 2.0), 1500.0)
    assert instrument.wavelength[instrument.sky.argmax()] == pytest.approx(5577.3, abs=2.0)


def test_residues_stand_where_asked() -> None:
    instrument = make_instrument(
        "x", np.arange(4000.0, 9000.0, 10.0), 300.0, residues=(4860.0, 6950.0, 9500.0)
    )
    peaks = instrument.wavelength[instrument.residues.argmax(axis=1)]
    # The one beyond the axis is left out.
    np.testing.assert_allclose(peaks, [4860.0, 6950.0], atol=10.0)


def test_slits_are_within_their_limits() -> None:
    rng = np.random.default_rng(0)
    made = [slit(rng) for _ in range(200)]
    for instrument in made:
        assert_sound(instrument)
        start, end = instrument.wavelength[[0, -1]]
        assert 3200.0 <= start <= 5900.0
        assert 7000.0 - 15.0 <= end <= 10300.0
        step = instrument.wavelength[1] - start
        assert end + step >= 1.6 * start
        assert 300.0 <= instrument.resolution <= 1500.0
        assert step >= 4.0
    logs = np.log([instrument.resolution for instrument in made])
    assert np.mean(logs) == pytest.approx(0.5 * np.log(300 * 1500), abs=0.12)


def test_slits_are_reproducible() -> None:
    one, other = slit(np.random.default_rng(9)), slit(np.random.default_rng(9))
    np.testing.assert_array_equal(one.wavelength, other.wavelength)
    np.testing.assert_array_equal(one.noise_shape, other.noise_shape)
