"""Galaxies, quasars, stars and cataclysmic variables: what is not a supernova.

Real SDSS/BOSS spectra, archetypes of real stars and quasars, galaxy templates,
and spectra rebuilt from the published eigen-coefficients of real objects.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from astropy.io import fits
from numpy.typing import NDArray

from training.archive.types import Entry, object_name

_SDSS_CLASS = {"GALAXY": "Galaxy", "QSO": "AGN/QSO", "STAR": "Star"}
# How many objects are rebuilt from eigen-coefficients, a family.
_N_REBUILT = {"GALAXY": 300, "QSO": 300}
_SEED = 20261121


def sdss_entries(data: Path) -> list[Entry]:
    """The SDSS/BOSS spectra with ZWARNING = 0; visits of one object share its name."""
    table = pq.read_table(data / "archive" / "sdss_spectra.parquet").to_pylist()
    entries = []
    for row in table:
        if row["zwarning"] != 0:
            continue
        label = "CV" if row["subclass"] == "CV" else _SDSS_CLASS[row["cls"]]
        flux = np.asarray(row["flux"], dtype=np.float64)
        ivar = np.asarray(row["ivar"], dtype=np.float64)
        wavelength = 10 ** (row["loglam0"] + 1e-4 * np.arange(flux.size))
        name = object_name(row)
        entries.append(
            _entry(
                name,
                label,
                wavelength / (1.0 + row["z"]),
                np.where(ivar > 0, flux, np.nan),
                "SDSS",
                subtype=str(row["subclass"]),
                redshift=row["z"],
            )
        )
    return entries


def template_entries(data: Path) -> list[Entry]:
    """Templates and rebuilt spectra of galaxies, quasars, stars and CVs."""
    templates = data / "templates"
    return [
        *_star_templates(templates),
        *_archetypes(templates),
        *_galaxy_templates(templates),
        *_cataclysmic(templates),
        *_rebuilt(data / "archive"),
    ]


def _entry(
    name: str,
    label: str,
    wavelength: NDArray[np.float64],
    flux: NDArray[np.float64],
    source: str,
    *,
    subtype: str = "",
    redshift: float = np.nan,
    flattened: bool = False,
) -> Entry:
    return Entry(
        object=name,
        label=label,
        wavelength=wavelength,
        flux=flux,
        redshift=redshift,
        phase=np.nan,
        flattened=flattened,
        subtype=subtype or label,
        source=source,
    )


def _star_templates(templates: Path) -> list[Entry]:
    """The SDSS pipeline's star templates (Bolton et al. 2012, AJ 144, 144): real stars."""
    with fits.open(templates / "sdss_idlspec2d" / "spEigenStar-55734.fits") as hdus:
        header, flux = hdus[0].header, np.asarray(hdus[0].data, dtype=np.float64)
    wavelength = 10 ** (header["COEFF0"] + header["COEFF1"] * np.arange(flux.shape[1]))
    return [
        _entry(
            f"speigenstar-{i}",
            "Star",
            wavelength,
            flux[i],
            "spEigenStar",
            subtype=str(header[f"NAME{i}"]),
        )
        for i in range(flux.shape[0])
    ]


def _archetypes(templates: Path) -> list[Entry]:
    """redrock's archetypes: composites of real BOSS stars, CVs and quasars."""
    entries = []
    for family, label in (("star", "Star"), ("qso", "AGN/QSO")):
        path = templates / "redrock_archetypes" / f"rrarchetype-{family}.fits"
        with fits.open(path) as hdus:
            header, table = hdus[1].header, hdus[1].data
            flux = np.asarray(table["ARCHETYPE"], dtype=np.float64)
            subtypes = [str(s).strip() for s in table["SUBTYPE"]]
        axis = header["CRVAL1"] + header["CDELT1"] * np.arange(flux.shape[1])
        wavelength = 10.0**axis if axis[0] < 10 else axis
        for i, subtype in enumerate(subtypes):
            found = "CV" if subtype == "CV" else label
            entries.append(
                _entry(
                    f"archetype-{family}-{i}",
                    found,
                    wavelength,
                    flux[i],
                    "redrock-archetypes",
                    subtype=subtype,
                )
            )
    return entries


def _galaxy_templates(templates: Path) -> list[Entry]:
    """Kinney-Calzetti galaxies (Kinney et al. 1996, ApJ 467, 38) and DESI's LRG models."""
    entries = []
    for path in sorted((templates / "superfit_gal").glob("*-unsmoothed.dat")):
        table = np.loadtxt(path)
        entries.append(
            _entry(f"kc-{path.stem.split('-')[0]}", "Galaxy", table[:, 0], table[:, 1], "KC96")
        )
    quasar = np.loadtxt(templates / "superfit_gal" / "sdssquasar.asc")
    entries.append(
        _entry("sdss-composite-quasar", "AGN/QSO", quasar[:, 0], quasar[:, 1], "VandenBerk2001")
    )
    with fits.open(templates / "desisim" / "lrg_templates_v2.1-lite.fits") as hdus:
        flux = np.asarray(hdus["FLUX"].data, dtype=np.float64)
        wavelength = np.asarray(hdus["WAVE"].data, dtype=np.float64)
    entries += [
        _entry(f"lrg-{i}", "Galaxy", wavelength, flux[i], "desisim-LRG")
        for i in range(0, flux.shape[0], 10)
    ]
    return entries


def _cataclysmic(templates: Path) -> list[Entry]:
    """Cataclysmic variables: mixtures of the eigen-spectra of BOSS CVs.

    The first eigen-spectrum plus a small part of the others, in eight fixed
    proportions: there is no public set of coefficients.
    """
    entries = []
    rng = np.random.default_rng(_SEED)
    with fits.open(templates / "redrock" / "rrtemplate-STAR-CV-v0.1.fits") as hdus:
        header, basis = hdus[0].header, np.asarray(hdus[0].data, dtype=np.float64)
    wavelength = header["CRVAL1"] + header["CDELT1"] * np.arange(basis.shape[1])
    rebinned = basis[:, : basis.shape[1] // 20 * 20].reshape(basis.shape[0], -1, 20).mean(axis=2)
    wavelength = wavelength[: rebinned.shape[1] * 20].reshape(-1, 20).mean(axis=1)
    for i in range(8):
        weights = np.concatenate([[1.0], rng.normal(0.0, 0.25, basis.shape[0] - 1)])
        flux = weights @ rebinned
        if flux.mean() < 0:
            flux = -flux
        entries.append(_entry(f"cv-mixture-{i}", "CV", wavelength, flux, "redrock-CV"))
    with fits.open(templates / "sdss_idlspec2d" / "spEigenCVstar-55734.fits") as hdus:
        header, flux = hdus[0].header, np.asarray(hdus[0].data, dtype=np.float64)
    axis = 10 ** (header["COEFF0"] + header["COEFF1"] * np.arange(flux.shape[1]))
    entries.append(
        _entry("speigencv-0", "CV", axis, flux[0] * np.sign(flux[0].mean()), "spEigenCV")
    )
    return entries


def _rebuilt(archive: Path) -> list[Entry]:
    """Galaxies and quasars from GaSNet-III's eigen-spectra and coefficients of real objects.

    These have their continuum subtracted and unit rms (Zhong et al. 2024,
    arXiv:2412.21130); a contrast to the continuum, which the coefficients do not
    hold, is drawn.
    """
    eigen = np.load(archive / "gasnet3_eigenspectra.npz")
    table = pq.read_table(archive / "gasnet3_objects.parquet")
    families = np.array(table["cls"].to_pylist())
    redshift = table["z"].to_numpy()
    snr = table["sn_median"].to_numpy()
    rng = np.random.default_rng(_SEED)
    entries = []
    for family, count in _N_REBUILT.items():
        rows = np.flatnonzero((families == family) & (snr > 5.0))
        chosen = np.sort(rng.choice(rows, size=min(count, rows.size), replace=False))
        basis = eigen[f"{family}_eigenspectra"]
        loglam = eigen[f"{family}_loglam_rest"]
        for row in chosen:
            weights = np.asarray(table["coefficients"][int(row)].as_py(), dtype=np.float64)
            shape = weights @ basis
            # Only what the real object's own spectrum showed is constrained.
            seen = (10**loglam * (1 + redshift[row]) > 3800) & (
                10**loglam * (1 + redshift[row]) < 9200
            )
            if seen.sum() < 800 or not np.isfinite(shape[seen]).all():
                continue
            shape = shape[seen] / max(float(shape[seen].std()), 1e-9)
            contrast = rng.uniform(0.06, 0.3) if family == "GALAXY" else rng.uniform(0.15, 0.6)
            entries.append(
                _entry(
                    f"gasnet3-{family.lower()}-{row}",
                    _SDSS_CLASS[family],
                    10 ** loglam[seen],
                    np.maximum(1.0 + contrast * shape, 0.05),
                    "gasnet3-rebuilt",
                    redshift=float(redshift[row]),
                    flattened=True,
                )
            )
    return entries
