"""Arms, channels and exposures joined into one spectrum."""

from __future__ import annotations

from pathlib import Path

import fits_writers as write
import numpy as np
import pytest
from fits_writers import line_centre

from specinfer.errors import ReadError
from specinfer.readers import read
from specinfer.readers.join import coadd, common_grid, join
from specinfer.spectrum import Spectrum


def spectrum(
    low: float, high: float, step: float = 2.0, *, scale: float = 1.0, sigma: float = 0.1
) -> Spectrum:
    wavelength = np.arange(low, high, step)
    noise = np.full(wavelength.size, sigma * scale)
    return Spectrum(wavelength, write.model(wavelength) * scale, sigma=noise, object="X")


def test_two_exposures_on_one_grid_double_the_ivar() -> None:
    a, b = spectrum(4000, 8000, sigma=0.1), spectrum(4000, 8000, sigma=0.2)
    joined = join([a, b])
    np.testing.assert_array_equal(joined.wavelength, a.wavelength)
    np.testing.assert_allclose(joined.ivar, a.ivar + b.ivar)
    np.testing.assert_allclose(joined.flux, a.flux)
    assert joined.flags == ("JOINED",)


def test_weights_are_inverse_variances() -> None:
    wavelength = np.arange(4000.0, 8000.0, 2.0)
    ones = np.ones(wavelength.size)
    a = Spectrum(wavelength, 1.0 * ones, ivar=1.0 * ones)
    b = Spectrum(wavelength, 2.0 * ones, ivar=3.0 * ones)
    joined = join([a, b], match_scale=False)
    np.testing.assert_allclose(joined.flux, (1.0 + 2.0 * 3.0) / 4.0)


def test_pixels_outside_the_overlap_are_untouched() -> None:
    a, b = spectrum(4000, 6200, 2.0), spectrum(6000.7, 9000, 3.0)
    joined = join([b, a])
    blue = joined.wavelength < 5995
    np.testing.assert_array_equal(joined.wavelength[blue], a.wavelength[a.wavelength < 5995])
    np.testing.assert_array_equal(joined.flux[blue], a.flux[a.wavelength < 5995])
    red = joined.wavelength > 6210
    np.testing.assert_array_equal(joined.flux[red], b.flux[b.wavelength > 6210])
    assert np.all(np.diff(joined.wavelength) > 0)
    # Information in the overlap is the sum of both, to the pixels at its ends.
    inside = (joined.wavelength > 6010) & (joined.wavelength < 6190)
    density = joined.ivar[inside].sum() / 180.0
    expected = 0.1**-2.0 * (1 / 2.0 + 1 / 3.0)
    assert density == pytest.approx(expected, rel=0.05)


def test_a_line_in_the_overlap_of_different_grids_stays_where_it_was() -> None:
    joined = join([spectrum(4000, 6150.3, 2.0), spectrum(5850.9, 9000, 3.1)])
    assert line_centre(joined.wavelength, joined.flux) == pytest.approx(write.LINE, abs=0.05)


@pytest.mark.parametrize("scale", [0.3, 7.0, 1e-17])
def test_channels_of_different_scale(scale: float) -> None:
    a, b = spectrum(4000, 6400), spectrum(6200, 9000, scale=scale)
    joined = join([a, b])
    assert "CHANNELS_RESCALED" in joined.flags
    # No step: the continuum has one level, that of the first.
    np.testing.assert_allclose(joined.flux[joined.wavelength > 6100], write.CONTINUUM, rtol=1e-2)
    # Signal to noise does not depend on the scale.
    np.testing.assert_allclose(joined.ivar[-10:], a.ivar[:10], rtol=1e-6)
    assert np.median(join([a, b], match_scale=False).flux[-100:]) == pytest.approx(
        scale * write.CONTINUUM
    )


def test_gap_between_channels_stays_a_gap() -> None:
    joined = join([spectrum(4000, 5500), spectrum(7000, 9000)])
    assert np.diff(joined.wavelength).max() == pytest.approx(1502.0)
    assert len(joined) == 750 + 1000


def test_bad_pixels_of_one_are_filled_by_the_other() -> None:
    a, b = spectrum(4000, 8000), spectrum(4000, 8000)
    mask = np.zeros(len(a), dtype=bool)
    mask[500:600] = True
    joined = join([a.replace(mask=mask), b])
    assert joined.good.all()
    np.testing.assert_allclose(joined.ivar[500:600], b.ivar[500:600])
    half = join([a.replace(mask=mask), b.replace(mask=mask)])
    assert not half.good[500:600].any()


def test_order_does_not_matter_for_the_axis() -> None:
    parts = [spectrum(4000, 5600), spectrum(5400, 7200), spectrum(7000, 9000)]
    first = join(parts)
    last = join([parts[0], parts[2], parts[1]])
    np.testing.assert_array_equal(first.wavelength, last.wavelength)
    np.testing.assert_allclose(first.flux, last.flux)


def test_without_noise() -> None:
    wavelength = np.arange(4000.0, 8000.0, 2.0)
    plain = Spectrum(wavelength, write.model(wavelength))
    both = join([plain, plain])
    assert not both.has_noise
    np.testing.assert_allclose(both.flux, plain.flux)
    mixed = join([plain, spectrum(6000, 9000)])
    assert not mixed.has_noise
    assert "NOISE_DROPPED" in mixed.flags


def test_names_and_facts() -> None:
    a = spectrum(4000, 6000).replace(header={"A": 1}, file="a.fits", mjd=None)
    b = spectrum(5800, 9000).replace(header={"A": 2, "B": 3}, file="b.fits", mjd=60000.0)
    joined = join([a, b])
    assert dict(joined.header) == {"A": 1, "B": 3, "JOINED_FILES": ["a.fits", "b.fits"]}
    assert joined.mjd == 60000.0
    assert joined.object == "X"
    assert "NAMES_DIFFER" in join([a, b.replace(object="Y")]).flags


def test_one_and_none() -> None:
    a = spectrum(4000, 6000)
    assert join([a]) is a
    with pytest.raises(ReadError) as caught:
        join([])
    assert caught.value.code == "nothing_to_join"


def test_ngps_channels(tmp_path: Path) -> None:
    """Four OneSpec files of one object; one channel is off by 20 %."""
    channels = {"u": (3100, 4360), "g": (4170, 5900), "r": (5610, 7940), "i": (7600, 10400)}
    scales = {"u": 1.0, "g": 1.0, "r": 1.2, "i": 1.0}
    parts = [
        read(
            write.onespec(tmp_path / f"{name}.fits", low, high, scale=scales[name], noise_seed=low)
        )[0]
        for name, (low, high) in channels.items()
    ]
    joined = join(parts)
    assert joined.wavelength[0] == 3100
    assert joined.wavelength[-1] == 10399
    assert joined.object == "SN2026abc"
    assert "CHANNELS_RESCALED" in joined.flags
    for low, high in ((3200, 4000), (4500, 5500), (6300, 7500), (8000, 10000)):
        level = np.median(joined.flux[(joined.wavelength > low) & (joined.wavelength < high)])
        assert level == pytest.approx(write.CONTINUUM, rel=0.01)
    assert line_centre(joined.wavelength, joined.flux) == pytest.approx(write.LINE, abs=0.5)


def test_common_grid() -> None:
    grid = 3600 + 0.8 * np.arange(100)
    found = common_grid([grid[:60], grid[40:] + 1e-6])
    assert found is not None
    union, indices = found
    np.testing.assert_allclose(union, grid, atol=1e-5)
    np.testing.assert_array_equal(indices[1], np.arange(40, 100))
    assert common_grid([grid[:60], grid[40:] + 0.3]) is None


def test_coadd_leaves_bad_pixels_out() -> None:
    index = np.arange(3)
    flux, ivar = coadd(
        3,
        [index, index],
        [np.array([1.0, np.nan, 5.0]), np.array([3.0, 2.0, 6.0])],
        [np.array([1.0, 1.0, 0.0]), np.array([1.0, 2.0, -1.0])],
    )
    np.testing.assert_allclose(flux, [2.0, 2.0, np.nan])
    np.testing.assert_allclose(ivar, [2.0, 2.0, 0.0])
