"""Tiny FITS files in the documented layout of each format, with one emission line.

Every spectrum is a flat continuum of `CONTINUUM` with a Gaussian line at `LINE`
(vacuum Angstrom) and errors of `SIGMA`, times a scale.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

Array = NDArray[Any]

LINE = 6000.0
CONTINUUM = 2.0
SIGMA = 0.5


def model(wavelength: Array, width: float = 15.0) -> Array:
    """Flux at vacuum wavelengths in Angstrom."""
    return CONTINUUM + 3.0 * np.exp(-0.5 * ((wavelength - LINE) / width) ** 2)


def line_centre(wavelength: Array, flux: Array, around: float = LINE) -> float:
    """Flux-weighted centre of the line above the continuum."""
    near = np.abs(wavelength - around) < 80.0
    excess = (flux - np.median(flux))[near]
    weight = excess * np.gradient(wavelength)[near]
    return float(np.sum(wavelength[near] * weight) / np.sum(weight))


def save(path: Path, hdus: Sequence[Any]) -> Path:
    """Write a list of HDUs."""
    fits.HDUList(list(hdus)).writeto(path, overwrite=True)
    return path


def as_bytes(hdus: Sequence[Any]) -> bytes:
    """The same in memory."""
    buffer = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(buffer)
    return buffer.getvalue()


def image(data: Array | None, name: str = "", **cards: Any) -> fits.ImageHDU:
    """An image extension."""
    return _with(fits.ImageHDU(data, name=name or None), cards)


def primary(data: Array | None = None, **cards: Any) -> fits.PrimaryHDU:
    """A primary HDU; underscores in the names of cards stand for hyphens if doubled."""
    return _with(fits.PrimaryHDU(data), cards)


def table(
    columns: dict[str, Array], name: str = "", units: dict[str, str] | None = None, **cards: Any
) -> fits.BinTableHDU:
    """A table with a row a pixel (1-D columns) or a row an object (2-D columns)."""
    made = []
    for key, values in columns.items():
        values = np.asarray(values)
        code = {"f4": "E", "f8": "D", "i4": "J", "i8": "K", "i2": "I"}.get(values.dtype.str[1:])
        if values.dtype.kind == "U":
            code = f"{values.dtype.itemsize // 4}A"
        elif values.dtype.kind == "b":
            code = "L"
        shape = f"{values.shape[1]}" if values.ndim == 2 else ""
        made.append(fits.Column(key, f"{shape}{code}", array=values, unit=(units or {}).get(key)))
    return _with(fits.BinTableHDU.from_columns(made, name=name or None), cards)


def _with(hdu: Any, cards: dict[str, Any]) -> Any:
    for key, value in cards.items():
        hdu.header[key.replace("__", "-").upper()] = value
    return hdu


def sdss_spec(path: Path, *, upper: bool = False, sdss_v: bool = False) -> Path:
    """spec-PLATE-MJD-FIBER, with upper- or lower-case columns."""
    loglam = np.arange(3.56, 4.0, 1e-4)
    n = loglam.size
    ivar = np.full(n, SIGMA**-2.0, dtype="f4")
    ivar[10] = 0.0
    and_mask = np.zeros(n, dtype="i4")
    and_mask[20] = 1 << 23
    and_mask[21] = 1 << 16
    or_mask = np.full(n, 1 << 23, dtype="i4")
    columns: dict[str, Array] = {
        "flux": model(10.0**loglam).astype("f4"),
        "loglam": loglam.astype("f4"),
        "ivar": ivar,
        "and_mask": and_mask,
        "or_mask": or_mask,
        "wdisp": np.full(n, 1.0, dtype="f4"),
    }
    row: dict[str, Array] = {
        "CLASS": np.array(["GALAXY"]),
        "Z": np.array([0.1234], dtype="f4"),
        "ZWARNING": np.array([4], dtype="i4"),
        "MJD": np.array([57000], dtype="i4"),
    }
    if sdss_v:
        columns["wresl"] = np.ones(n, dtype="f4")
        row |= {
            "FIELD": np.array([15000], dtype="i4"),
            "CATALOGID": np.array([4544940698], dtype="i8"),
        }
    else:
        row |= {"PLATE": np.array([7000], dtype="i4"), "FIBERID": np.array([12], dtype="i4")}
    if upper:
        columns = {key.upper(): value for key, value in columns.items()}
    cards = {"MJD": 57000, "RA": 1.0, "PLUG_RA": 150.0, "TELESCOP": "SDSS 2.5-M"}
    return save(
        path,
        [primary(**cards), table(columns, "COADD" if not upper else ""), table(row, "SPALL")],
    )


def spspec(path: Path) -> Path:
    """spSpec: rows flux, continuum-subtracted, sigma, mask, unused."""
    n = 3850
    wavelength = 10.0 ** (3.58 + 1e-4 * np.arange(n))
    flux = model(wavelength)
    mask = np.zeros(n)
    mask[5] = float(1 << 24)
    sigma = np.full(n, SIGMA)
    sigma[7] = 0.0
    data = np.stack([flux, flux - CONTINUUM, sigma, mask, np.zeros(n)]).astype("f4")
    hdu = primary(
        data,
        COEFF0=3.58,
        COEFF1=1e-4,
        CRVAL1=3.58,
        CD1_1=1e-4,
        CRPIX1=1,
        CTYPE1="LINEAR",
        DC__FLAG=1,
        MJD=51818,
        PLATEID=388,
        FIBERID=77,
        TELESCOP="SDSS 2.5-M",
        Z=0.05,
        RAOBJ=10.5,
        RA=9.0,
        NAME="0388-51792",
    )
    return save(path, [hdu])


def spplate(path: Path) -> Path:
    """spPlate: three fibres, the second on the sky."""
    n = 3850
    wavelength = 10.0 ** (3.58 + 1e-4 * np.arange(n))
    flux = np.stack([model(wavelength) * scale for scale in (1.0, 0.01, 2.0)]).astype("f4")
    ivar = np.full(flux.shape, SIGMA**-2.0, dtype="f4")
    and_mask = np.zeros(flux.shape, dtype="i4")
    and_mask[0, 9] = 1 << 24
    plug = table(
        {
            "OBJTYPE": np.array(["GALAXY", "SKY", "QSO"]),
            "FIBERID": np.array([1, 2, 3], dtype="i4"),
            "RA": np.array([10.0, 11.0, 12.0]),
        }
    )
    main = primary(flux, COEFF0=3.58, COEFF1=1e-4, PLATEID=4055, MJD=55359, CRVAL1=3.58)
    return save(path, [main, image(ivar), image(and_mask), image(and_mask), plug])


def lamost_image(path: Path) -> Path:
    """LAMOST DR1 to DR7: rows flux, ivar, wavelength, andmask, ormask."""
    n = 3900
    wavelength = 10.0 ** (3.5682 + 1e-4 * np.arange(n))
    mask = np.zeros(n)
    mask[3] = 32
    data = np.stack(
        [model(wavelength), np.full(n, SIGMA**-2.0), wavelength, mask, np.ones(n)]
    ).astype("f4")
    hdu = primary(
        data,
        COEFF0=3.5682,
        COEFF1=1e-4,
        TELESCOP="LAMOST",
        OBSID=101001,
        FIBERID=1,
        DESIG="LAMOST J220848.54-020324.3",
        Z=0.0123,
        MJD=55859,
        CLASS="STAR",
    )
    return save(path, [hdu])


def lamost_table(path: Path) -> Path:
    """LAMOST DR8 and later: one row of vectors."""
    n = 3900
    wavelength = 10.0 ** (3.5682 + 1e-4 * np.arange(n))
    mask = np.zeros(n, dtype="i2")
    mask[3] = 1
    coadd = table(
        {
            "FLUX": model(wavelength)[np.newaxis].astype("f4"),
            "IVAR": np.full((1, n), SIGMA**-2.0, dtype="f4"),
            "WAVELENGTH": wavelength[np.newaxis],
            "ANDMASK": mask[np.newaxis],
            "ORMASK": np.ones((1, n), dtype="i2"),
        },
        "COADD",
    )
    cards = {"TELESCOP": "LAMOST", "DESIG": "LAMOST J2208", "Z": 0.2, "OBSID": 7}
    return save(path, [primary(**cards), coadd])


def lamost_mrs(path: Path) -> Path:
    """LAMOST medium resolution: two arms, too short each to be a spectrum."""
    arms = []
    for name, low, high in (("COADD_B", 4950.0, 5350.0), ("COADD_R", 6300.0, 6800.0)):
        wavelength = np.arange(low, high, 0.5)
        arms.append(
            table(
                {
                    "FLUX": model(wavelength)[np.newaxis],
                    "IVAR": np.full((1, wavelength.size), 4.0),
                    "WAVELENGTH": wavelength[np.newaxis],
                },
                name,
            )
        )
    return save(path, [primary(TELESCOP="LAMOST", OBSID=8), *arms])


def fourmost(
    path: Path, *, unit: str | None = "angstrom", air: bool = False, name: str = "PHASE3SPECTRUM"
) -> Path:
    """4MOST L1 or an ESO product: one row, sigma, QUAL 0 is good."""
    wavelength = np.arange(3700.0, 9500.0, 1.0)
    n = wavelength.size
    qual = np.zeros(n, dtype="i4")
    qual[4] = 1
    scale = {"nm": 0.1, "um": 1e-4}.get(unit or "", 1.0)
    hdu = table(
        {
            "WAVE": (wavelength * scale)[np.newaxis],
            "FLUX": model(wavelength)[np.newaxis],
            "ERR_FLUX": np.full((1, n), SIGMA),
            "QUAL": qual[np.newaxis],
            "FLUX_NOSS": (model(wavelength) + 100.0)[np.newaxis],
        },
        name,
        {"WAVE": unit} if unit else {},
    )
    hdu.header["TUCD1"] = "em.wl;obs.atmos" if air else "em.wl"
    cards = {
        "INSTRUME": "4MOST",
        "OBJECT": "4MOST target",
        "MJD-OBS": 60500.5,
        "PRODCATG": "SCIENCE.SPECTRUM",
    }
    return save(path, [primary(**cards), hdu])


def onespec(
    path: Path,
    low: float = 3000.0,
    high: float = 10000.0,
    *,
    scale: float = 1.0,
    step: float = 1.0,
    target: str = "SN2026abc",
    shape: Callable[..., Array] = model,
    noise_seed: int | None = None,
) -> Path:
    """PypeIt OneSpec; mask 1 is good, wavelength 0 is padding."""
    wavelength = np.arange(low, high, step)
    n = wavelength.size
    sigma = np.full(n, SIGMA * 0.1 * scale)
    flux = shape(wavelength) * scale
    if noise_seed is not None:
        flux = flux + np.random.default_rng(noise_seed).normal(0.0, sigma)
    mask = np.ones(n + 4, dtype="i2")
    mask[-4:] = 0
    mask[6] = 0
    pad = np.zeros(4)
    columns = {
        "wave": np.concatenate([wavelength, pad]),
        "flux": np.concatenate([flux, pad]),
        "ivar": np.concatenate([sigma**-2.0, pad]),
        "sigma": np.concatenate([sigma, pad]),
        "mask": mask,
    }
    cards = {"VERSPYP": "1.17", "PYP_SPEC": "p200_ngps_r", "TARGET": target, "MJD": 60700.25}
    hdu = table(columns, "SPECTRUM", DMODCLS="OneSpec", FLUXED=True)
    return save(path, [primary(**cards), hdu])


def spec1d_table(
    name: str,
    wavelength: Array,
    flux: Array,
    sigma: float,
    *,
    fluxed: bool = True,
    optimal: bool = True,
) -> fits.BinTableHDU:
    """One extracted object of a PypeIt spec1d file."""
    n = wavelength.size
    good = np.ones(n, dtype=bool)
    good[2] = False
    zero = np.zeros(n)
    ivar = np.full(n, sigma**-2.0)
    columns: dict[str, Array] = {}
    for kind, present in (("OPT", optimal), ("BOX", True)):
        columns |= {
            f"{kind}_WAVE": wavelength,
            f"{kind}_COUNTS": flux * 100.0 if present else zero,
            f"{kind}_COUNTS_IVAR": ivar / 1e4 if present else zero,
            f"{kind}_MASK": good if present else np.zeros(n, dtype=bool),
        }
        if fluxed and present:
            columns |= {
                f"{kind}_FLAM": flux,
                f"{kind}_FLAM_IVAR": ivar,
                f"{kind}_FLAM_SIG": np.full(n, sigma),
            }
    return table(columns, name, DMODCLS="SpecObj")


def spec1d(path: Path, tables: Sequence[Any], instrument: str = "p200_dbsp_red") -> Path:
    """A PypeIt spec1d file."""
    cards = {"VERSPYP": "1.17", "PYP_SPEC": instrument, "TARGET": "SN2026abc", "MJD": 60700.25}
    return save(path, [primary(**cards), *tables])


def dbsp_spliced(path: Path) -> Path:
    """DBSP_DRP: raw arms first, NaN at the dichroic."""
    wavelength = np.arange(3500.0, 10000.0, 1.5)
    flux = model(wavelength)
    flux[(wavelength > 5600) & (wavelength < 5650)] = np.nan
    sigma = np.full(wavelength.size, SIGMA)
    arm = {"wave": wavelength[:2000], "flux": np.full(2000, 9.0), "sigma": np.ones(2000)}
    spliced = table({"wave": wavelength, "flux": flux, "sigma": sigma}, "SPLICED")
    return save(
        path,
        [primary(), table(arm, "RED", OBJECT="ZTF26aa", MJD=60000.0), table(arm, "BLUE"), spliced],
    )


def marz(path: Path, *, vacuum: bool | None, log: bool = False) -> Path:
    """Four fibres: two targets, one on the sky, one parked; CRPIX1 mid-spectrum."""
    wavelength = 3800.0 + np.arange(5000)
    flux = np.tile(model(wavelength), (4, 1))
    variance = np.full(flux.shape, SIGMA**2)
    variance[0, 3] = np.nan
    fibres = table(
        {
            "NAME": np.array(["A1", "SKY1", "A2", "PARKED"]),
            "TYPE": np.array(["P", "S", "P", "N"]),
            "RA": np.radians([10.0, 11.0, 12.0, 13.0]),
        },
        "FIBRES",
    )
    cards: dict[str, Any] = {
        "CRPIX1": 2501.0,
        "CRVAL1": 6300.0,
        "CDELT1": 1.0,
        "UTMJD": 57000.5,
        "OBJECT": "FIELD1",
    }
    if vacuum is not None:
        cards["VACUUM"] = vacuum
    hdus = [primary(flux, **cards), image(variance, "VARIANCE"), fibres]
    if log:
        hdus[0].header["LOGSCALE"] = True
        hdus.append(image(np.log10(wavelength), "WAVELENGTH"))
    return save(path, hdus)


def desi(
    path: Path,
    *,
    arms: str = "BRZ",
    targetids: Sequence[int] = (11, 12, 13),
    objtypes: Sequence[str] = ("TGT", "SKY", "TGT"),
    scales: Sequence[float] = (1, 1, 1),
    shift: float = 0.0,
) -> Path:
    """DESI coadd (or spectra, if a TARGETID stands twice); `shift` moves the R grid."""
    ranges = {"B": (3600.0, 2751), "R": (5760.0 + shift, 2326), "Z": (7520.0, 2881)}
    rows = len(targetids)
    hdus: list[Any] = [
        primary(),
        table(
            {
                "TARGETID": np.array(targetids, dtype="i8"),
                "OBJTYPE": np.array(objtypes),
                "FIBER": np.arange(rows, dtype="i4"),
                "MJD": np.full(rows, 59000.0) + np.arange(rows),
            },
            "FIBERMAP",
        ),
    ]
    for arm in arms:
        start, n = ranges[arm]
        wavelength = start + 0.8 * np.arange(n)
        flux = np.stack([model(wavelength) * scale for scale in scales]).astype("f4")
        mask = np.zeros((rows, n), dtype="u4")
        mask[0, 100] = 1
        flux[0, 100] = 999.0
        hdus += [
            image(wavelength, f"{arm}_WAVELENGTH"),
            image(flux, f"{arm}_FLUX"),
            image(np.full((rows, n), SIGMA**-2.0, dtype="f4"), f"{arm}_IVAR"),
            image(mask, f"{arm}_MASK"),
        ]
    return save(path, hdus)


def iraf_1d(path: Path, *, log: bool = False, crpix: float = 1.0, **cards: Any) -> Path:
    """IRAF 1-D, linear or log10, with CRPIX1 anywhere."""
    n = 3000
    pixel = np.arange(1, n + 1)
    if log:
        wavelength = 10.0 ** (3.6 + 1.2e-4 * (pixel - crpix))
        axis = {"CRVAL1": 3.6, "CD1_1": 1.2e-4, "CRPIX1": crpix, "DC__FLAG": 1}
    else:
        wavelength = 4000.0 + 1.8 * (pixel - crpix)
        axis = {"CRVAL1": 4000.0, "CD1_1": 1.8, "CDELT1": 1.0, "CRPIX1": crpix, "DC__FLAG": 0}
    return save(path, [primary(model(wavelength), **axis, OBJECT="SN1", **cards)])


SEDM_GRID = np.linspace(3700.0, 9300.0, 220)


def sedm(
    path: Path,
    *,
    wrong_crval: bool = False,
    n: int = 214,
    variance: str | None = "VARIANCE",
    flux: Array | None = None,
    twin: bool = False,
    **cards: Any,
) -> Path:
    """pysedm's spectrum; with the CRVAL1 of the uncut cube if `wrong_crval`."""
    wavelength = SEDM_GRID[3:-3] if n == 214 else SEDM_GRID[:n]
    values = model(wavelength, 60.0) * 1e-16 if flux is None else flux
    noise = np.full(n, (SIGMA * 1e-17) ** 2) * np.linspace(1.0, 2.0, n)
    header: dict[str, Any] = {
        "CRVAL1": 3700.0 if wrong_crval else float(wavelength[0]),
        "CDELT1": float(SEDM_GRID[1] - SEDM_GRID[0]),
        "CRPIX1": 1.0,
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL2": 3700.0,
        "INSTRUME": "SEDM-P60",
        "OBJECT": "ZTF20abwdwoa [A]",
        "NAME": "ZTF20abwdwoa",
        "MJD_OBS": 59094.3,
        "BUNIT": "erg/s/A/cm^2",
        "QUALITY": 0,
        "FLUXCAL": True,
        "PYSEDMV": "0.42.1",
        "REQ_ID": "20200901125335086",
        "RA_RATE": 0.0,
        "EXPTIME": 2250.0,
    }
    hdus: list[Any] = [primary(values, **(header | cards))]
    if variance is not None:
        hdus.append(image(noise if variance == "VARIANCE" else np.sqrt(noise), variance))
    if twin:
        lines = ["# INSTRUME: SEDM-P60", "# HISTORY: "]
        for place, value, error in zip(wavelength, values, noise, strict=True):
            lines.append(f"{place:.1f} {value:.3e} {error:.3e}")
        path.with_suffix(".txt").write_text("\n".join(lines) + "\n")
    return save(path, hdus)
