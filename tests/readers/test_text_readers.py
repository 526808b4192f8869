"""Spectra as text: SEDM, LPipe, and published files of all text formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fits_writers import LINE, SEDM_GRID, line_centre, model
from text_writers import FLUX, SIGMA, SKY, WAVELENGTH, check, error, one

from specinfer.errors import ReadError
from specinfer.readers import read
from specinfer.wavelengths import vacuum_to_air

# SEDM.

PIXELS = SEDM_GRID[3:-3]
SEDM_SIGMA = 1e-17 * np.linspace(0.4, 0.8, 214)
SEDM_HEADER = """\
# SIMPLE: True
# NAXIS1: 214
# CDELT1: 25.570776255704914
# CRVAL1: 3776.7123287671147
# CRPIX1: 1
# CTYPE1: RA---TAN
# EXPTIME: 2250.0
# INSTRUME: SEDM-P60
# MJD_OBS: 59094.31236
# OBJECT: ZTF20abwdwoa [A]
# EMAIL:
# IMGTYPE: Science
# REQ_ID: 20200901125335086
# RA_RATE: 0.0
# BUNIT: erg/s/A/cm^2
# QUALITY: 0
# FLUXCAL: True
# PYSEDMV: 0.42.1
# HISTORY: SEDMr.Debias run on Wed Sep  2 01:08:58 2020
# SNIDMATCHTYPE: Ia
# SNIDMATCHREDSHIFT: 0.1259
"""


def sedm_text(header: str = SEDM_HEADER, third: Any = SEDM_SIGMA**2, flux: Any = None) -> str:
    """What pysedm writes: ``%.1f %.3e %.3e``, the third column the variance."""
    flux = 1e-16 * model(PIXELS, 60.0) if flux is None else flux
    table = zip(PIXELS, flux, third, strict=True)
    return header + "".join(f"{w:.1f} {f:.3e} {v:.3e}\n" for w, f, v in table)


def test_sedm() -> None:
    spectrum = one(sedm_text(), "sedm-text")
    # The column is rounded to 0.1 Angstrom, the header is not.
    np.testing.assert_allclose(spectrum.wavelength, PIXELS, rtol=1e-9)
    assert spectrum.flags == ("AXIS_FROM_HEADER",)
    np.testing.assert_allclose(spectrum.sigma_array, SEDM_SIGMA, rtol=1e-3)
    assert line_centre(spectrum.wavelength, spectrum.flux) == pytest.approx(LINE, abs=1.0)
    assert (spectrum.object, spectrum.instrument) == ("ZTF20abwdwoa", "SEDM-P60")
    assert (spectrum.mjd, spectrum.resolution) == (59094.31236, 100.0)
    # What another classifier found is no fact.
    assert spectrum.redshift is None
    header = spectrum.header
    assert header["REQ_ID"] == "20200901125335086"
    assert (header["QUALITY"], header["FLUXCAL"], header["RA_RATE"]) == (0, True, 0.0)
    assert (header["IMGTYPE"], header["BUNIT"]) == ("Science", "erg / (s cm2 Angstrom)")


def test_sedm_wrong_crval1() -> None:
    """pysedm 0.42: the header starts at 3700, the column at 3776.7, and the column is right."""
    wrong = SEDM_HEADER.replace("3776.7123287671147", "3700.0")
    spectrum = one(sedm_text(wrong), "sedm-text")
    assert spectrum.flags == ("AXIS_FROM_STANDARD_GRID",)
    np.testing.assert_allclose(spectrum.wavelength, PIXELS, rtol=1e-9)


def test_sedm_windows_newlines() -> None:
    lines = sedm_text().replace("\n", "\r\n")
    right = one(sedm_text())
    spectrum = one(lines, "sedm-text")
    np.testing.assert_array_equal(spectrum.flux, right.flux)
    assert spectrum.header == right.header


def test_sedm_variance_that_is_nan_or_constant() -> None:
    nan = SEDM_SIGMA**2
    nan = np.where(np.arange(214) < 3, np.nan, nan)
    assert np.flatnonzero(~one(sedm_text(third=nan)).good).tolist() == [0, 1, 2]
    constant = one(sedm_text(third=np.full(214, 1e-34)))
    assert constant.flags == ("AXIS_FROM_HEADER", "CONSTANT_VARIANCE")
    none = one(sedm_text(third=np.full(214, np.nan)))
    assert not none.has_noise
    assert "NOISE_ALL_ZERO" in none.flags


@pytest.mark.parametrize("constant", [False, True])
def test_sedm_variance_called_error(constant: bool) -> None:
    """The copy on Fritz has a line of names, and calls the variance an error."""
    third = np.full(214, 2.5e-35) if constant else SEDM_SIGMA**2
    fritz = sedm_text(SEDM_HEADER + "# wavelength flux error\n", third)
    spectrum = one(fritz, "sedm-text")
    np.testing.assert_allclose(spectrum.sigma_array, np.sqrt(third), rtol=1e-3)
    assert "VARIANCE_AS_ERROR" in spectrum.flags
    assert ("CONSTANT_VARIANCE" in spectrum.flags) == constant


def test_sedm_error_that_is_one() -> None:
    header = SEDM_HEADER + "# wavelength flux error\n"
    spectrum = one(sedm_text(header, SEDM_SIGMA), "sedm-text")
    np.testing.assert_allclose(spectrum.sigma_array, SEDM_SIGMA, rtol=1e-3)
    assert "VARIANCE_AS_ERROR" not in spectrum.flags
    told = one(sedm_text(third=SEDM_SIGMA), noise="sigma")
    np.testing.assert_allclose(told.sigma_array, SEDM_SIGMA, rtol=1e-3)


def test_sedm_outside_the_ifu() -> None:
    header = SEDM_HEADER.replace("QUALITY: 0", "QUALITY: 3")
    caught = error(sedm_text(header, flux=np.full(214, np.nan)))
    assert caught.code == "no_good_pixels"
    assert "outside the IFU" in caught.message


def test_sedm_sample(samples: Path) -> None:
    """A real file; its flux was scrambled before publication."""
    path = samples / "sedm" / "ZTF20abwdwoa_20200902_P60_v1.ascii"
    (spectrum,) = read(path)
    assert spectrum.reader == "sedm-text"
    assert len(spectrum) == 214
    np.testing.assert_allclose(spectrum.wavelength, PIXELS, rtol=1e-9)
    assert spectrum.wavelength[[0, -1]] == pytest.approx([3776.712, 9223.288], abs=1e-3)
    # First and last rows: 9.9988e-16 2.484e-31 and 9.9901e-17 7.135e-34.
    assert spectrum.flux[[0, -1]] == pytest.approx([9.9988e-16, 9.9901e-17])
    assert spectrum.sigma_array[[0, -1]] ** 2 == pytest.approx([2.484e-31, 7.135e-34])
    assert spectrum.flags == ("AXIS_FROM_HEADER",)
    assert (spectrum.object, spectrum.instrument) == ("ZTF20abwdwoa", "SEDM-P60")
    assert spectrum.mjd == pytest.approx(59094.31236)
    assert spectrum.redshift is None
    expected = {
        **{"OBJECT": "ZTF20abwdwoa [A]", "NAME": "ZTF20abwdwoa", "OBJRA": "00:04:30.234"},
        **{"REQ_ID": "20200901125335086", "QUALITY": 0, "FLUXCAL": True, "POSOK": True},
        **{"EXTRTYPE": "auto_robot", "IMGTYPE": "Science", "PYSEDMV": "0.27.3"},
        **{"EXPTIME": 2250.0, "AIRMASS": 1.117, "P60PRID": "2018A-BCS", "EDGECUTL": 3},
    }
    assert {key: spectrum.header[key] for key in expected} == expected


# LPipe.

LPIPE_HEADER = """\
# OBJECT  = 'SN1     '           / User-specified object name
# INSTRUME= 'LRIS+LRISBLUE'      / Camera
# LPIPEVER= '2020.06 '           / LPipe version number
# MJD     =        59107.4007100 / Mean julian date at start
# AIRMASS =              1.79770 / Approximate av. airmass
# HISTORY Processed by lrisprepare
"""
LPIPE_AIR = "# COMMENT Wavelengths are Angstroms in air\n"
LPIPE_NAMES = "##   wavelen         flux     sky_flux     flux_unc  xpixel    ypixel   flag\n"


def lpipe_rows(flag: Any = None) -> str:
    air = vacuum_to_air(WAVELENGTH)
    flag = np.zeros(1201) if flag is None else flag
    table = zip(air, FLUX, SKY, SIGMA, range(1201), flag, strict=True)
    return "".join(
        f"{w:11.4f} {f:.8e} {s:.5e} {e:.8e} {x:7d} 103.97 {int(b)}\n" for w, f, s, e, x, b in table
    )


def test_lpipe() -> None:
    """Air becomes vacuum, the sky is left alone, the fourth column is the error."""
    spectrum = one(LPIPE_HEADER + LPIPE_AIR + LPIPE_NAMES + lpipe_rows(), "lpipe")
    check(spectrum)
    assert spectrum.flags == ("AIR_FROM_HEADER",)
    assert (spectrum.object, spectrum.instrument, spectrum.mjd) == (
        *("SN1", "LRIS+LRISBLUE"),
        59107.40071,
    )
    assert spectrum.header["AIRMASS"] == 1.7977


def test_lpipe_without_its_words() -> None:
    """Old files say neither air nor the names of the columns."""
    spectrum = one(LPIPE_HEADER + lpipe_rows(), "lpipe")
    check(spectrum)
    assert spectrum.flags == ("AIR_ASSUMED",)
    vacuum = one(LPIPE_HEADER + lpipe_rows(), air=False)
    np.testing.assert_allclose(vacuum.wavelength, vacuum_to_air(WAVELENGTH), rtol=1e-7)
    assert vacuum.flags == ()
    check(one(LPIPE_NAMES + lpipe_rows(), "lpipe"))


def test_lpipe_flagged_pixels() -> None:
    flag = (WAVELENGTH > 5000.0) & (WAVELENGTH < 5100.0)
    spectrum = one(LPIPE_HEADER + LPIPE_NAMES + lpipe_rows(flag), "lpipe")
    np.testing.assert_array_equal(spectrum.good, ~flag)


def test_lpipe_sample(samples: Path) -> None:
    (spectrum,) = read(samples / "ascii_headers" / "ZTF20abpuxna_20200915_Keck1_v1.ascii")
    assert spectrum.reader == "lpipe"
    # 5117 rows from 3087.6265 to 10306.432 Angstrom in air, 199 of them flagged.
    assert (len(spectrum), int(spectrum.good.sum())) == (5117, 5117 - 199)
    air = vacuum_to_air(spectrum.wavelength[[0, -1]])
    assert air == pytest.approx([3087.6265, 10306.432], abs=1e-4)
    # The last row is good: flux 9.99152e-16, sky 7.54203e-16, error 1.83965e-17.
    assert spectrum.flux[-1] == pytest.approx(9.99152e-16)
    assert spectrum.sigma_array[-1] == pytest.approx(1.83965e-17)
    assert spectrum.flags == ("AIR_FROM_HEADER",)
    assert (spectrum.object, spectrum.instrument) == ("ZTF20abpuxna", "LRIS+LRISBLUE")
    assert spectrum.mjd == pytest.approx(59107.40071)
    assert spectrum.header["EXPTIME"] == 600.003
    assert spectrum.header["DEC"] == "+27:10:54.8"


# Published files, as they came. The numbers were read off the files by eye.


@pytest.mark.parametrize(
    ("name", "reader", "pixels", "good", "span", "noise"),
    [
        ("ascii_headers/ZTF20abucjsa_20200909_LT_v1.ascii", "ascii", 433, 433, (4020.0, 7994.4), 0),
        (
            *("ascii_headers/ZTF20abwdwoa_20200917_Keck1_v1.ascii", "ascii"),
            *(5678, 5678, (3328.97, 10055.7), 0),
        ),
        ("flm_bsnip/sn1989a-19890427-o1i1.flm", "ascii", 2776, 2776, (3450.0, 9000.0), 0),
        ("flm_bsnip/sn1999ac-19990309-red3.flm", "ascii", 1851, 1851, (5050.0, 8750.0), 0),
        (
            *("flm_bsnip/sn2002bf-20020311-ui-corrected.flm", "ascii"),
            *(3551, 3551, (3300.0, 10400.0), 0),
        ),
        ("flm_bsnip/sn2003lc-20040117-ui.flm", "ascii", 3492, 3492, (3418.0, 10400.0), 0),
        ("flm_bsnip/sn2006ax-20060322.396-ui.flm", "ascii", 3591, 3591, (3320.0, 10500.0), 0),
        ("flm_bsnip/sn2007co-20070807.277-ui.flm", "ascii", 3613, 3613, (3326.0, 10550.0), 0),
        # The first flux is 0, for there is none.
        (
            *("flm_bsnip2/ASASSN-15mc-20150916-br.ms.flm", "ascii"),
            *(11825, 11824, (3102.38354, 10326.53223), 0),
        ),
        # The third column is a step from 0.988302 to 1: no error.
        ("flm_bsnip2/sn2009dc-20090723.234-ui.flm", "ascii", 3641, 3641, (3480.0, 10760.0), 0),
        ("flm_bsnip2/sn2010v-20100507.456-ui.flm", "ascii", 3194, 3194, (3488.0, 9874.0), 0),
        ("flm_bsnip2/sn2014dg-20141118.371-ui.flm", "ascii", 3501, 3501, (3500.0, 10500.0), 1),
        # All errors are 0, so none is known.
        ("flm_cfa/sn1993ac-19931016.49-mmt.flm", "ascii", 2579, 2579, (3150.0, 8172.65), 0),
        ("flm_cfa/sn1998eb-19980919.49-fast.flm", "ascii", 2548, 2548, (3720.0, 7540.5), 1),
        ("flm_cfa/sn2001bf-20010517.48-fast.flm", "ascii", 2548, 2548, (3720.0, 7540.5), 1),
        ("flm_cfa/sn2003D-20030112.44-fast.flm", "ascii", 2548, 2548, (3720.0, 7540.5), 1),
        ("flm_cfa/sn2005am-20050503.15-fast.flm", "ascii", 2672, 2672, (3485.0, 7411.37), 1),
        # Four errors are NaN, near 6715 Angstrom.
        ("flm_cfa/sn2007F-20070415.31-fast.flm", "ascii", 2680, 2676, (3479.0, 7417.13), 1),
        ("superfit/sn1989b.p03.dat", "ascii", 1412, 1412, (3452.5, 6980.0), 0),
        ("superfit/sn1991ar.u16.dat", "ascii", 1471, 1471, (3865.19158, 9662.97896), 0),
        ("superfit/sn1994I.p01.dat", "ascii", 2678, 2677, (3701.41763, 7624.41423), 0),
        ("superfit/sn1998bu.m02.dat", "ascii", 2683, 2683, (3605.63208, 7536.62600), 0),
        ("superfit/sn1999em.p75.dat", "ascii", 1300, 1300, (3505.0, 10000.0), 0),
        ("superfit/sn2002cx.m02.dat", "ascii", 2548, 2548, (3632.95441, 7364.05719), 1),
        ("skyportal/ZTF21aaqjmps_spec.csv", "table-text", 433, 433, (4020.0, 7994.4), 0),
        ("skyportal/zac_spec.dat", "table-text", 1800, 1800, (3402.86, 9099.86), 1),
        (
            *("tns/SN2021urb_2021-08-06_00-00-00_Keck1_LRIS_TNS.flm", "table-text"),
            *(5735, 5735, (3352.185126, 10147.697365), 1),
        ),
    ],
)
def test_samples(
    samples: Path,
    name: str,
    reader: str,
    pixels: int,
    good: int,
    span: tuple[float, float],
    noise: int,
) -> None:
    (spectrum,) = read(samples / name)
    assert spectrum.reader == reader
    assert (len(spectrum), int(spectrum.good.sum())) == (pixels, good)
    assert spectrum.wavelength[[0, -1]] == pytest.approx(span, abs=1e-5)
    assert spectrum.has_noise == bool(noise)
    assert "AIR_UNKNOWN" in spectrum.flags


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("flm_cfa/sn1998eb-19980919.49-fast.flm", 1.2522476e-16, 1.8882415e-17),
        ("flm_cfa/sn2007F-20070415.31-fast.flm", 9.0785634e-17, 1.6094256e-17),
        ("flm_bsnip2/sn2014dg-20141118.371-ui.flm", 0.0977930, 0.0513950),
        ("superfit/sn2002cx.m02.dat", 1.3683299, 0.16506386),
        ("skyportal/zac_spec.dat", 5.507403e-17, 3.813601e-18),
        ("tns/SN2021urb_2021-08-06_00-00-00_Keck1_LRIS_TNS.flm", 4.2534047e-3, 3.6562487e-3),
    ],
)
def test_errors_of_the_samples(samples: Path, name: str, first: float, last: float) -> None:
    """Their third column is the 1-sigma error, whether it is called so or not."""
    (spectrum,) = read(samples / name)
    assert spectrum.sigma_array[[0, -1]] == pytest.approx([first, last])
    named = spectrum.reader == "table-text"
    assert ("NOISE_GUESSED_SIGMA" in spectrum.flags) != named


def test_fortran_sample(samples: Path) -> None:
    """8.2418520775143D-14 and 7.4398E-14 at the ends."""
    (spectrum,) = read(samples / "superfit" / "sn1989b.p03.dat")
    assert spectrum.flux[[0, -1]] == pytest.approx([8.2418520775143e-14, 7.4397055152008e-14])


def test_facts_of_the_samples(samples: Path) -> None:
    (sprat,) = read(samples / "ascii_headers" / "ZTF20abucjsa_20200909_LT_v1.ascii")
    assert (sprat.object, sprat.instrument) == ("ZTF20abucjsa", "SPRAT")
    # DATE-OBS 2020-09-09T23:10:24.199; the MJD of this header is 118203.9 and wrong.
    assert sprat.mjd == pytest.approx(59101.96556, abs=1e-5)
    (snifs,) = read(samples / "skyportal" / "zac_spec.dat")
    assert (snifs.object, snifs.instrument, snifs.mjd) == ("2021zac", "SNIFS", 59475.616424)
    assert snifs.header["RA"] == "08:20:57.09"
    (tns,) = read(samples / "tns" / "SN2021urb_2021-08-06_00-00-00_Keck1_LRIS_TNS.flm")
    assert (tns.object, tns.instrument, tns.mjd) == ("2021urb", "LRIS", 59432.0)
    assert tns.header["DEC"] == pytest.approx(9.184083333)


def test_two_instruments_in_one_sample(samples: Path) -> None:
    first, second = read(samples / "skyportal" / "spec.csv")
    assert (len(first), len(second)) == (1197, 1854)
    assert first.wavelength[0] == pytest.approx(3315.61709372)
    assert second.wavelength[[0, -1]] == pytest.approx([3444.645, 9137.498])
    assert second.flux[-1] == pytest.approx(1.274121e-17)
    assert (first.row, second.row) == (0, 1)
    assert "SPLIT_BY_COLUMN" in first.flags


def test_broken_sample(samples: Path) -> None:
    """Wavelengths of 400 to 649 without a unit: they may be nanometres, but nobody says so."""
    path = samples / "broken" / "skyportal_spectrum_with_nan.txt"
    with pytest.raises(ReadError, match="--unit nm") as caught:
        read(path)
    assert caught.value.code == "no_unit"
    (spectrum,) = read(path, unit="nm")
    assert spectrum.wavelength[[0, -1]] == pytest.approx([4000.0, 6490.0])
    # Line 70 is "469 nan".
    assert spectrum.wavelength[~spectrum.good].tolist() == [4690.0]
