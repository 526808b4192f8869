"""FITS files that hold no usable spectrum: one clear sentence each."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
from pathlib import Path

import fits_writers as write
import numpy as np
import pytest
from astropy.io import fits
from fits_writers import LINE, line_centre

from specinfer.errors import ReadError
from specinfer.readers import iter_spectra, read


def refusal(path: Path) -> ReadError:
    """The error of a file, which must be one sentence for people."""
    with pytest.raises(ReadError) as caught:
        list(iter_spectra(path))
    assert "Traceback" not in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("part", [0.2, 0.6, 0.97])
def test_truncated(tmp_path: Path, part: float) -> None:
    whole = write.sdss_spec(tmp_path / "spec.fits").read_bytes()
    path = tmp_path / "cut.fits"
    path.write_bytes(whole[: int(part * len(whole))])
    error = refusal(path)
    assert error.code == "bad_fits"
    assert "truncated" in error.message


def test_truncated_within_the_header_of_an_extension(tmp_path: Path) -> None:
    main = write.primary(write.model(4000.0 + 2.0 * np.arange(2000)), CRVAL1=4000.0, CDELT1=2.0)
    whole = write.as_bytes([main, write.image(np.ones(2000), "VARIANCE")])
    path = tmp_path / "cut.fits"
    path.write_bytes(whole[: 2880 + 17280 + 300])
    # Without this check the spectrum would be read without its noise.
    assert refusal(path).code == "bad_fits"


def test_missing_padding_is_not_truncation(tmp_path: Path) -> None:
    main = write.primary(write.model(4000.0 + 2.0 * np.arange(2000)), CRVAL1=4000.0, CDELT1=2.0)
    whole = write.as_bytes([main])
    path = tmp_path / "s.fits"
    path.write_bytes(whole[: 2880 + 16000])
    assert len(read(path)[0]) == 2000


def test_empty_and_junk(tmp_path: Path) -> None:
    empty = tmp_path / "spec_auto_notfluxcal_failed.fits"
    empty.write_bytes(b"")
    assert refusal(empty).code == "empty_file"
    junk = tmp_path / "junk.fits"
    junk.write_bytes(bytes(range(256)) * 40)
    assert refusal(junk).code
    header_only = tmp_path / "header.fits"
    header_only.write_bytes(b"SIMPLE  =                    T" + b"\xff" * 5000)
    assert refusal(header_only).code == "bad_fits"


def test_images_and_cubes(tmp_path: Path) -> None:
    for shape, what in (((512, 600), "600 x 512"), ((40, 30, 20), "20 x 30 x 40")):
        hdu = write.primary(np.ones(shape), CTYPE1="RA---TAN", CRVAL1=150.0, CDELT1=1e-4)
        error = refusal(write.save(tmp_path / "image.fits", [hdu]))
        assert error.code == "not_a_spectrum"
        assert what in error.message


def test_no_axis(tmp_path: Path) -> None:
    error = refusal(write.save(tmp_path / "s.fits", [write.primary(np.ones(3000))]))
    assert error.code == "no_wavelengths"
    pixels = write.primary(np.ones(3000), CRVAL1=1.0, CDELT1=1.0, DC__FLAG=-1)
    assert refusal(write.save(tmp_path / "s.fits", [pixels])).code == "no_wavelengths"
    radio = write.primary(np.ones(3000), CRVAL1=1.4e9, CDELT1=1e4, CTYPE1="FREQ")
    assert refusal(write.save(tmp_path / "s.fits", [radio])).code == "no_wavelengths"


def test_empty_primary_alone(tmp_path: Path) -> None:
    assert refusal(write.save(tmp_path / "s.fits", [write.primary()])).code == "unknown_file"


def test_all_nan_and_zero_ivar(tmp_path: Path) -> None:
    nan = write.primary(np.full(3000, np.nan), CRVAL1=4000.0, CDELT1=1.5)
    assert refusal(write.save(tmp_path / "s.fits", [nan])).code == "no_good_pixels"
    main = write.primary(np.ones(3000), CRVAL1=4000.0, CDELT1=1.5)
    path = write.save(tmp_path / "s.fits", [main, write.image(np.zeros(3000), "IVAR")])
    assert refusal(path).code == "no_good_pixels"


def test_outside_the_optical(tmp_path: Path) -> None:
    hdu = write.primary(np.ones(3000), CRVAL1=20000.0, CDELT1=1.5)
    assert refusal(write.save(tmp_path / "s.fits", [hdu])).code == "out_of_range"


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)],
)
def test_compressed_files_read_as_their_contents(
    tmp_path: Path, suffix: str, compress: object
) -> None:
    plain = write.sdss_spec(tmp_path / "spec.fits")
    packed = tmp_path / f"spec.fits{suffix}"
    packed.write_bytes(compress(plain.read_bytes()))  # type: ignore[operator]
    np.testing.assert_array_equal(read(packed)[0].flux, read(plain)[0].flux)
    packed.write_bytes(packed.read_bytes()[:-2000])
    assert refusal(packed).code == "bad_compression"


def test_fz_reads_as_its_contents(tmp_path: Path) -> None:
    """fpack moves the primary image into the first extension."""
    wavelength = 4000.0 + 2.0 * np.arange(2500)
    packed = fits.CompImageHDU(write.model(wavelength).astype("f4"), compression_type="GZIP_1")
    packed.header["CRVAL1"] = 4000.0
    packed.header["CDELT1"] = 2.0
    packed.header["OBJECT"] = "SN1"
    spectrum = read(write.save(tmp_path / "s.fits.fz", [write.primary(), packed]))[0]
    assert spectrum.object == "SN1"
    assert line_centre(spectrum.wavelength, spectrum.flux) == pytest.approx(LINE, abs=0.02)


def test_odd_header_cards_do_not_matter(tmp_path: Path) -> None:
    """Cards that astropy complains about when it parses them."""
    path = write.iraf_1d(tmp_path / "s.fits")
    raw = bytearray(path.read_bytes())
    end = raw.index(b"END" + b" " * 77)
    odd = b"OBJNAME = 'no closing quote".ljust(80) + b"EXPTIME = 1.2.3 garbage".ljust(80)
    raw[end : end + 240] = odd + b"END".ljust(80)
    path.write_bytes(bytes(raw))
    assert read(path)[0].object == "SN1"


WRITERS = (
    write.sdss_spec,
    write.spspec,
    write.spplate,
    write.lamost_image,
    write.lamost_table,
    write.fourmost,
    write.onespec,
    write.dbsp_spliced,
    write.desi,
    write.iraf_1d,
    write.sedm,
)


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
def test_damaged_bytes_give_an_error_or_a_spectrum(tmp_path: Path, writer: object) -> None:
    """Whatever is overwritten in the headers, nothing but a `ReadError` comes out."""
    path = writer(tmp_path / "spec.fits")  # type: ignore[operator]
    whole = np.frombuffer(path.read_bytes(), dtype="u1")
    blocks = [
        start
        for start in range(0, whole.size, 2880)
        if np.all((whole[start : start + 2880] >= 32) & (whole[start : start + 2880] < 127))
    ]
    rng = np.random.default_rng(3)
    for _ in range(15):
        damaged = whole.copy()
        where = rng.choice(blocks) + rng.integers(0, 2880, 8)
        damaged[where] = rng.integers(32, 127, 8)
        with contextlib.suppress(ReadError):
            list(iter_spectra(damaged.tobytes()))
