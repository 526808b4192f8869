"""Survey and pipeline formats in FITS: wavelengths, noise, masks, names."""

from __future__ import annotations

import json
from pathlib import Path

import fits_writers as write
import numpy as np
import pytest
from fits_writers import LINE, SIGMA, line_centre
from typer.testing import CliRunner

from specinfer.cli import app
from specinfer.errors import ReadError
from specinfer.readers import ReadOptions, iter_spectra, read
from specinfer.spectrum import Spectrum
from specinfer.wavelengths import air_to_vacuum


def one(path: Path, reader: str, **options: object) -> Spectrum:
    """The only spectrum of a file, with what all of them must have."""
    spectra = read(path, **options)  # type: ignore[arg-type]
    assert len(spectra) == 1
    spectrum = spectra[0]
    assert spectrum.reader == reader
    assert spectrum.file == str(path)
    return spectrum


def assert_model(spectrum: Spectrum, tolerance: float = 0.02) -> None:
    """The line stands where it was put, and the errors are those that were written."""
    assert line_centre(spectrum.wavelength, spectrum.flux) == pytest.approx(LINE, abs=tolerance)
    assert spectrum.has_noise
    good = spectrum.good
    np.testing.assert_allclose(spectrum.sigma_array[good], SIGMA, rtol=1e-5)


# --- SDSS ---------------------------------------------------------------------


@pytest.mark.parametrize("upper", [False, True])
def test_sdss_spec(tmp_path: Path, upper: bool) -> None:
    spectrum = one(write.sdss_spec(tmp_path / "spec.fits", upper=upper), "sdss-spec")
    assert_model(spectrum)
    assert spectrum.object == "7000-57000-0012"
    assert spectrum.instrument == "BOSS"
    assert spectrum.mjd == 57000
    assert spectrum.redshift == pytest.approx(0.1234)
    assert spectrum.header["CLASS"] == "GALAXY"
    assert spectrum.header["ZWARNING"] == 4
    # The plate's position is not the object's.
    assert spectrum.header["RA"] == 150.0
    assert "DEC" not in spectrum.header
    # ivar 0 and BRIGHTSKY are unusable; NEARBADPIXEL and the or-mask are not.
    assert list(np.flatnonzero(~spectrum.good)) == [10, 20]
    # One pixel of 1e-4 dex is 69 km/s.
    assert spectrum.resolution == pytest.approx(299792.458 / (2.3548 * 69.03), rel=1e-3)


def test_sdss_v_has_no_fibre(tmp_path: Path) -> None:
    spectrum = one(write.sdss_spec(tmp_path / "s.fits", upper=True, sdss_v=True), "sdss-spec")
    assert spectrum.object == "15000-57000-4544940698"


def test_spspec_errors_are_sigma_and_axis_is_log(tmp_path: Path) -> None:
    spectrum = one(write.spspec(tmp_path / "spSpec.fit"), "spspec")
    assert_model(spectrum)
    assert spectrum.wavelength[0] == pytest.approx(10**3.58)
    assert list(np.flatnonzero(~spectrum.good)) == [5, 7]
    assert spectrum.object == "0388-51818-0077"
    assert spectrum.redshift == 0.05
    assert spectrum.header["RA"] == 10.5


def test_spplate_leaves_sky_out(tmp_path: Path) -> None:
    path = write.spplate(tmp_path / "spPlate-4055-55359.fits")
    spectra = read(path)
    assert [spectrum.row for spectrum in spectra] == [0, 2]
    assert [spectrum.object for spectrum in spectra] == ["4055-55359-0001", "4055-55359-0003"]
    assert [spectrum.header["RA"] for spectrum in spectra] == [10.0, 12.0]
    assert_model(spectra[0])
    assert list(np.flatnonzero(~spectra[0].good)) == [9]
    assert len(read(path, sky=True)) == 3


def test_the_command_line_takes_sky_fibres_on_demand(tmp_path: Path) -> None:
    path = str(write.spplate(tmp_path / "spPlate-4055-55359.fits"))
    rows = {}
    for options in ((), ("--sky",)):
        answer = CliRunner().invoke(app, ["classify", path, "--json", "--quiet", *options])
        rows[options] = [json.loads(line)["row"] for line in answer.stdout.splitlines()]
    assert rows == {(): [0, 2], ("--sky",): [0, 1, 2]}


# --- LAMOST -------------------------------------------------------------------


@pytest.mark.parametrize("writer", [write.lamost_image, write.lamost_table])
def test_lamost(tmp_path: Path, writer: object) -> None:
    spectrum = one(writer(tmp_path / "spec-55859-F5902_sp01-001.fits"), "lamost")  # type: ignore[operator]
    assert_model(spectrum)
    assert list(np.flatnonzero(~spectrum.good)) == [3]
    assert spectrum.object is not None
    assert spectrum.object.startswith("LAMOST J2208")
    assert spectrum.instrument == "LAMOST"
    assert spectrum.redshift is not None


def test_lamost_medium_resolution_arms_are_joined(tmp_path: Path) -> None:
    spectrum = one(write.lamost_mrs(tmp_path / "med.fits"), "lamost")
    assert spectrum.wavelength[0] == 4950.0
    assert spectrum.wavelength[-1] == 6799.5
    assert len(spectrum) == 800 + 1000


def test_lamost_mask_of_everything_is_ignored(tmp_path: Path) -> None:
    path = write.lamost_table(tmp_path / "l.fits")
    from astropy.io import fits

    with fits.open(path, mode="update") as hdus:
        hdus[1].data["ANDMASK"][:] = 4
    spectrum = one(path, "lamost")
    assert "MASK_IGNORED" in spectrum.flags
    assert spectrum.good.all()


# --- 4MOST, ESO ----------------------------------------------------------------


@pytest.mark.parametrize("unit", ["angstrom", "nm", "um"])
def test_fourmost_units(tmp_path: Path, unit: str) -> None:
    spectrum = one(write.fourmost(tmp_path / "f.fits", unit=unit), "fourmost")
    assert_model(spectrum)
    assert spectrum.object == "4MOST target"
    assert spectrum.mjd == 60500.5
    # QUAL 0 is good; FLUX_NOSS, which is not sky-subtracted, is not used.
    assert list(np.flatnonzero(~spectrum.good)) == [4]
    assert spectrum.flux.max() < 10.0


def test_fourmost_air_by_tucd(tmp_path: Path) -> None:
    path = write.fourmost(tmp_path / "f.fits", air=True)
    spectrum = one(path, "fourmost")
    assert "AIR_FROM_HEADER" in spectrum.flags
    assert spectrum.wavelength[0] == pytest.approx(float(air_to_vacuum(np.array([3700.0]))[0]))
    # The user wins over the file.
    assert one(path, "fourmost", air=False).wavelength[0] == 3700.0


def test_fourmost_without_unit_is_an_error(tmp_path: Path) -> None:
    path = write.fourmost(tmp_path / "f.fits", unit=None)
    with pytest.raises(ReadError, match="--unit") as caught:
        read(path)
    assert caught.value.code == "no_unit"
    assert_model(one(path, "fourmost", unit="angstrom"))


# --- PypeIt, DBSP ----------------------------------------------------------------


def test_onespec_mask_and_padding(tmp_path: Path) -> None:
    spectrum = one(write.onespec(tmp_path / "coadd.fits"), "pypeit-onespec")
    assert len(spectrum) == 7000
    assert list(np.flatnonzero(~spectrum.good)) == [6]
    assert line_centre(spectrum.wavelength, spectrum.flux) == pytest.approx(LINE, abs=0.02)
    np.testing.assert_allclose(spectrum.sigma_array[spectrum.good], 0.1 * SIGMA, rtol=1e-6)
    assert spectrum.object == "SN2026abc"
    assert spectrum.instrument == "p200_ngps_r"
    assert spectrum.mjd == 60700.25


def test_spec1d_one_spectrum_an_object(tmp_path: Path) -> None:
    wavelength = np.arange(5000.0, 9000.0, 1.5)
    flux = write.model(wavelength)
    tables = [
        write.spec1d_table("SPAT0100-SLIT0120-DET01", wavelength, flux, SIGMA),
        write.spec1d_table("SPAT0140-SLIT0120-DET01", wavelength, flux, SIGMA, fluxed=False),
        write.spec1d_table("SPAT0180-SLIT0120-DET01", wavelength, flux, SIGMA, optimal=False),
    ]
    spectra = read(write.spec1d(tmp_path / "spec1d.fits", tables))
    assert [spectrum.row for spectrum in spectra] == [0, 1, 2]
    assert [spectrum.flags for spectrum in spectra] == [
        (),
        ("NOT_FLUX_CALIBRATED",),
        ("BOXCAR",),
    ]
    assert spectra[0].object == "SN2026abc/SPAT0100-SLIT0120-DET01"
    assert_model(spectra[0])
    # Counts are 100 times the flux, and so are their errors.
    np.testing.assert_allclose(spectra[1].flux, 100 * spectra[0].flux, rtol=1e-9)
    np.testing.assert_allclose(spectra[1].snr, spectra[0].snr)
    assert list(np.flatnonzero(~spectra[0].good)) == [2]


def test_spec1d_object_without_signal_is_an_error_in_its_place(tmp_path: Path) -> None:
    wavelength = np.arange(5000.0, 9000.0, 1.5)
    tables = [
        write.spec1d_table("SPAT0100-SLIT0120-DET01", wavelength, 0.0 * wavelength, SIGMA),
        write.spec1d_table("SPAT0140-SLIT0120-DET01", wavelength, write.model(wavelength), SIGMA),
    ]
    items = list(iter_spectra(write.spec1d(tmp_path / "spec1d.fits", tables)))
    assert isinstance(items[0], ReadError)
    assert items[0].row == 0
    assert isinstance(items[1], Spectrum)
    assert items[1].row == 1


def test_ngps_slices_are_one_source(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    tables = []
    for number, (scale, shift) in enumerate(((0.3, 0.0), (1.0, 0.7), (0.25, 1.3))):
        wavelength = np.arange(5600.0, 7900.0, 2.0) + shift
        flux = scale * write.model(wavelength) + rng.normal(0, 0.02, wavelength.size)
        tables.append(
            write.spec1d_table(f"SPAT010{number}-SLIT010{number}-DET01", wavelength, flux, 0.02)
        )
    spectrum = one(write.spec1d(tmp_path / "s.fits", tables, "p200_ngps_r"), "pypeit-spec1d")
    assert spectrum.object == "SN2026abc"
    assert "SLICES_JOINED" in spectrum.flags
    assert line_centre(spectrum.wavelength, spectrum.flux) == pytest.approx(LINE, abs=0.5)
    # The scale is that of the brightest slice, and the others add to its S/N.
    assert np.median(spectrum.flux) == pytest.approx(write.CONTINUUM, rel=0.01)
    assert 100.0 < spectrum.snr < 100.0 * np.sqrt(1.0 + 0.3**2 + 0.25**2) + 2.0


def test_dbsp_reads_the_spliced_arms(tmp_path: Path) -> None:
    spectrum = one(write.dbsp_spliced(tmp_path / "ZTF26aa.fits"), "dbsp-spliced")
    assert_model(spectrum)
    assert spectrum.object == "ZTF26aa"
    dichroic = (spectrum.wavelength > 5600) & (spectrum.wavelength < 5650)
    assert not spectrum.good[dichroic].any()
    assert spectrum.good[~dichroic].all()


# --- Marz -----------------------------------------------------------------------


def test_marz_missing_vacuum_is_air(tmp_path: Path) -> None:
    spectra = read(write.marz(tmp_path / "m.fits", vacuum=None))
    assert [spectrum.object for spectrum in spectra] == ["A1", "A2"]
    assert [spectrum.row for spectrum in spectra] == [0, 2]
    expected = float(air_to_vacuum(np.array([LINE]))[0])
    centre = line_centre(spectra[0].wavelength, spectra[0].flux, expected)
    assert centre == pytest.approx(expected, abs=0.02)
    assert spectra[0].flags == ("AIR_ASSUMED",)
    assert spectra[0].header["RA"] == pytest.approx(10.0)
    assert not spectra[0].good[3]
    assert_model(read(write.marz(tmp_path / "m.fits", vacuum=None), air=False)[0])


@pytest.mark.parametrize("log", [False, True])
def test_marz_vacuum(tmp_path: Path, log: bool) -> None:
    path = write.marz(tmp_path / "m.fits", vacuum=True, log=log)
    spectra = read(path)
    assert_model(spectra[0])
    assert spectra[0].flags == ()
    assert spectra[0].wavelength[0] == pytest.approx(3800.0)
    assert len(read(path, sky=True)) == 4


# --- DESI -----------------------------------------------------------------------


def test_desi_arms_are_averaged_by_ivar(tmp_path: Path) -> None:
    spectra = read(write.desi(tmp_path / "coadd.fits"))
    assert [spectrum.object for spectrum in spectra] == ["11", "13"]
    assert [spectrum.row for spectrum in spectra] == [0, 2]
    spectrum = spectra[0]
    assert len(spectrum) == 7781
    np.testing.assert_allclose(np.diff(spectrum.wavelength), 0.8, rtol=1e-9)
    assert line_centre(spectrum.wavelength, spectrum.flux) == pytest.approx(LINE, abs=0.02)
    # Two arms have twice the inverse variance of one.
    overlap = (spectrum.wavelength > 5760) & (spectrum.wavelength < 5790)
    np.testing.assert_allclose(spectrum.ivar[overlap], 2 * SIGMA**-2.0, rtol=1e-5)
    np.testing.assert_allclose(spectrum.ivar[200:1000], SIGMA**-2.0, rtol=1e-5)
    # A masked pixel is not used.
    assert spectrum.flux.max() < 10.0
    assert not spectrum.good[100]
    assert spectrum.header["TARGETID"] == 11
    assert len(read(tmp_path / "coadd.fits", sky=True)) == 3


def test_desi_exposures_are_averaged_per_target(tmp_path: Path) -> None:
    path = write.desi(
        tmp_path / "spectra.fits",
        targetids=(21, 22, 21),
        objtypes=("TGT", "TGT", "TGT"),
        scales=(1.0, 1.0, 3.0),
    )
    spectra = read(path)
    assert [spectrum.object for spectrum in spectra] == ["21", "22"]
    assert spectra[0].flags == ("EXPOSURES_COADDED",)
    assert spectra[0].mjd == 59001.0
    np.testing.assert_allclose(spectra[0].ivar[200:1000], 2 * SIGMA**-2.0, rtol=1e-5)
    np.testing.assert_allclose(spectra[0].flux[200:1000], 4.0, rtol=1e-5)


def test_desi_missing_arm_is_flagged(tmp_path: Path) -> None:
    spectrum = read(write.desi(tmp_path / "c.fits", arms="RZ"))[0]
    assert spectrum.flags == ("MISSING_ARM",)
    assert spectrum.header["MISSING_ARMS"] == "B"
    with pytest.raises(ReadError) as caught:
        read(write.desi(tmp_path / "c.fits", arms=""))
    assert caught.value.code == "no_arms"


def test_desi_arms_on_different_grids(tmp_path: Path) -> None:
    spectrum = read(write.desi(tmp_path / "c.fits", shift=0.3))[0]
    assert np.all(np.diff(spectrum.wavelength) > 0)
    assert line_centre(spectrum.wavelength, spectrum.flux) == pytest.approx(LINE, abs=0.02)


# --- the samples, byte for byte -----------------------------------------------------


def test_all_sdss_samples(samples: Path) -> None:
    paths = sorted((samples / "sdss_spec").glob("*.fits"))
    assert paths
    for path in paths:
        spectrum = one(path, "sdss-spec")
        plate, night, fibre = path.stem.split("-")[1:]
        assert spectrum.object == f"{plate}-{night}-{fibre}"
        assert spectrum.mjd == float(night)
        assert spectrum.redshift is not None
        np.testing.assert_allclose(np.diff(np.log10(spectrum.wavelength)), 1e-4, atol=1e-6)


def test_sdss_sample_lines_stand_at_the_catalogue_redshift(samples: Path) -> None:
    # A broad-line galaxy: [O III] 5008.240 in vacuum.
    spectrum = read(samples / "sdss_spec" / "spec-3655-55240-0660.fits")[0]
    assert spectrum.redshift == pytest.approx(0.0517163, abs=1e-6)
    assert spectrum.redshift is not None
    rest = spectrum.to_rest_frame(spectrum.redshift)
    near = np.abs(rest.wavelength - 5008.24) < 15
    assert rest.wavelength[near][np.argmax(rest.flux[near])] == pytest.approx(5008.24, abs=1.5)


def test_all_desi_samples(samples: Path) -> None:
    rows = {}
    for path in sorted((samples / "desi_coadd").glob("*coadd*.fits")):
        items = list(iter_spectra(path))
        rows[path.name] = len(items)
        for item in items:
            if isinstance(item, ReadError):
                # The one fibre of the samples without a single usable pixel.
                assert (path.name, item.row) == ("quasarnp_test_coadd.fits", 11)
                assert item.code == "no_good_pixels"
            else:
                assert len(item) == 7781
                assert item.wavelength[0] == pytest.approx(3600.0)
                assert item.wavelength[-1] == pytest.approx(9824.0)
    assert sum(rows.values()) == 5 + 1 + 2 + 1 + 25


@pytest.mark.parametrize("name", ["4-80613-thru20210324", "special-dark-27247"])
def test_redrock_file_names_the_coadd(samples: Path, name: str) -> None:
    path = samples / "desi_coadd" / f"redrock-{name}.fits"
    with pytest.raises(ReadError, match=f"coadd-{name}.fits") as caught:
        read(path)
    assert caught.value.code == "redshift_catalogue"


def test_desi_samples_without_an_arm(samples: Path) -> None:
    spectra = read(samples / "broken" / "desi_missing_b_color.fits")
    assert len(spectra) == 2
    assert all("MISSING_ARM" in spectrum.flags for spectrum in spectra)
    with pytest.raises(ReadError) as caught:
        read(samples / "broken" / "desi_missing_z_color.fits")
    assert caught.value.code == "no_arms"


def test_all_marz_samples(samples: Path) -> None:
    paths = sorted((samples / "marz").glob("*.fits"))
    assert len(paths) == 8
    count = 0
    for path in paths:
        for spectrum in read(path):
            count += 1
            assert spectrum.reader == "marz"
            assert spectrum.instrument == "AAOMEGA-2dF"
            assert ("Air" in path.name) == ("AIR_ASSUMED" in spectrum.flags)
    assert count == 10


def test_marz_samples_agree_in_air_and_vacuum(samples: Path) -> None:
    # The same spectrum, once by a header in air and once by vacuum wavelengths.
    air = read(samples / "marz" / "emlLinearSkyAirNoHelio.fits")[0]
    linear = read(samples / "marz" / "emlLinearVacuumNoHelio.fits")[0]
    log = read(samples / "marz" / "emlLogVacuumNoHelio.fits")[0]
    np.testing.assert_allclose(air.wavelength, linear.wavelength, atol=0.01)
    np.testing.assert_allclose(log.wavelength, linear.wavelength, atol=1e-4)
    np.testing.assert_array_equal(air.flux, linear.flux)


# --- options ------------------------------------------------------------------------


def test_options_win_over_the_file(tmp_path: Path) -> None:
    path = write.sdss_spec(tmp_path / "spec.fits")
    assert not one(path, "sdss-spec", noise="none").has_noise
    as_sigma = one(path, "sdss-spec", noise="sigma")
    np.testing.assert_allclose(as_sigma.sigma_array[100], SIGMA**-2.0, rtol=1e-5)
    air = one(path, "sdss-spec", air=True)
    assert air.wavelength[0] == pytest.approx(10**3.56 * 1.00028, rel=1e-5)


@pytest.mark.parametrize(
    "name", ["desi", "spplate", "lamost", "fourmost", "pypeit-onespec", "marz", "iraf"]
)
def test_wrong_format_is_a_clear_error(tmp_path: Path, name: str) -> None:
    path = write.sdss_spec(tmp_path / "spec.fits")
    with pytest.raises(ReadError, match="--format") as caught:
        list(iter_spectra(path, ReadOptions(format=name)))
    assert caught.value.code
