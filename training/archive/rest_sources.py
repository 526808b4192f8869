"""Where the rest-frame libraries come from: coefficients of real objects, and templates."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from training.archive.emission import with_lines
from training.archive.rebuilt import rebuild
from training.archive.rest import RestLibrary, Rows
from training.archive.subclasses import GALAXY, star_subclass

FloatArray = NDArray[np.float64]

# Rows of a subclass that are kept, at most.
_MOST = {"GALAXY": 1000, "QSO": 2500, "STAR": 400}
_SEED = 20261121
# Galaxies with lines of ours.
_EMISSION = 500
# Quasars that each broad absorption trough stands in front of.
_BEHIND = 8


def build_rest(data: Path, excluded: Iterable[tuple[int, int, int]] = ()) -> list[RestLibrary]:
    """The libraries of galaxies, quasars and stars.

    Parameters
    ----------
    data : Path
        The folder with ``archive/`` and ``templates/``.
    excluded : iterable of (plate, mjd, fiberid)
        Objects that are left out: those of the exam.
    """
    without = set(excluded)
    return [_galaxies(data, without), _quasars(data, without), _stars(data)]


def _eigen(path: Path) -> tuple[FloatArray, FloatArray]:
    """Wavelengths and eigen-spectra of a file of the SDSS pipeline."""
    with fits.open(path) as hdus:
        header, flux = hdus[0].header, np.asarray(hdus[0].data, dtype=np.float64)
    return 10.0 ** (header["COEFF0"] + header["COEFF1"] * np.arange(flux.shape[1])), flux


def _galaxies(data: Path, without: set[tuple[int, int, int]]) -> RestLibrary:
    rows = Rows("GALAXY")
    basis = _eigen(data / "templates" / "sdss_idlspec2d" / "spEigenGal-56436.fits")
    names = {
        "": "passive", "STARFORMING": "STARFORMING", "STARBURST": "STARBURST", "AGN": "AGN",
        "BROADLINE": "BROADLINE", "AGN BROADLINE": "BROADLINE",
        "STARFORMING BROADLINE": "BROADLINE",
    }  # fmt: skip
    rebuild(data, rows, basis, names, without, _MOST["GALAXY"], _SEED)
    with fits.open(data / "templates" / "desisim" / "lrg_templates_v2.1-lite.fits") as hdus:
        wavelength = np.asarray(hdus["WAVE"].data, dtype=np.float64)
        flux = np.asarray(hdus["FLUX"].data, dtype=np.float64)
        redshift = np.asarray(hdus["METADATA"].data["Z"], dtype=np.float64)
    for i, one in enumerate(flux):
        rows.add(rows.rebin(wavelength, one), "passive", f"lrg-{i}", float(redshift[i]))
    _emission_line_galaxies(rows)
    return rows.library()


def _emission_line_galaxies(rows: Rows) -> None:
    """Continua of star-forming galaxies with stronger lines, at no redshift of their own.

    The lines are ours, the object stays that of the continuum, so that none is in two parts.
    """
    rng = np.random.default_rng(_SEED)
    burst = [GALAXY.index(name) for name in ("STARFORMING", "STARBURST")]
    continua = [row for row in rows.rows if row[1] in burst]
    for j in rng.choice(len(continua), min(_EMISSION, len(continua)), replace=False):
        flux, name = continua[j][0].astype(np.float64), continua[j][4]
        rows.add(with_lines(flux, rows.first, rng), "STARBURST", name)


def _quasars(data: Path, without: set[tuple[int, int, int]]) -> RestLibrary:
    rows = Rows("QSO")
    basis = _eigen(data / "templates" / "sdss_idlspec2d" / "spEigenQSO-58596.fits")
    broad = ("BROADLINE", "STARBURST BROADLINE", "AGN BROADLINE", "STARFORMING BROADLINE")
    names = {"": "plain", **dict.fromkeys(broad, "BROADLINE")}
    rebuild(data, rows, basis, names, without, _MOST["QSO"], _SEED)
    path = data / "templates" / "redrock_archetypes" / "rrarchetype-qso.fits"
    with fits.open(path) as hdus:
        header, table = hdus[1].header, hdus[1].data
        flux = np.asarray(table["ARCHETYPE"], dtype=np.float64)
        kinds = [str(kind).strip() for kind in table["SUBTYPE"]]
    wavelength = 10.0 ** (header["CRVAL1"] + header["CDELT1"] * np.arange(flux.shape[1]))
    for i, one in enumerate(flux):
        made = rows.rebin(wavelength, one)
        rows.add(made, "BAL" if kinds[i] == "BAL" else None, f"archetype-qso-{i}")
    _broad_absorption(data, rows)
    return rows.library()


def _broad_absorption(data: Path, rows: Rows) -> None:
    """Quasars behind the troughs of real ones (desisim's templates of DR12's BAL quasars).

    Every trough stands in front of several quasars at a redshift where it can be seen; they
    are one object, the quasar with that trough, so that no trough is in two parts.
    """
    with fits.open(data / "templates" / "desisim" / "bal_templates_v3.0-lite.fits") as hdus:
        header, table = hdus[1].header, hdus[1].data
        troughs = np.asarray(table["TEMP"], dtype=np.float64)
    axis = header["CRVAL1"] + header["CDELT1"] * np.arange(troughs.shape[1])
    rng = np.random.default_rng(_SEED)
    behind = [row for row in rows.rows if 1.6 < row[2] < 3.8]
    for i, trough in enumerate(troughs):
        through = rows.rebin(axis, trough)
        for j in rng.choice(len(behind), _BEHIND, replace=False):
            flux, _, redshift, snr, _ = behind[j]
            rows.add(flux * through, "BAL", f"bal-{i}", redshift, snr)


def _stars(data: Path) -> RestLibrary:
    rows = Rows("STAR")
    templates = data / "templates"
    path = templates / "sdss_idlspec2d" / "spEigenStar-55734.fits"
    wavelength, real = _eigen(path)
    with fits.open(path) as hdus:
        names = [str(hdus[0].header[f"NAME{i}"]) for i in range(len(real))]
    typed = np.stack([rows.rebin(wavelength, one) for one in real])
    for name, one in zip(names, typed, strict=True):
        rows.add(one, star_subclass(name), f"speigenstar-{name}")
    rng = np.random.default_rng(_SEED)
    for letter in ("B", "A", "F", "G", "K", "M", "WD"):
        with fits.open(templates / "redrock" / f"rrtemplate-STAR-{letter}-v0.1.fits") as hdus:
            header, basis = hdus[0].header, np.asarray(hdus[0].data, dtype=np.float64)
            weights = np.asarray(hdus["ARCHETYPE_COEFF"].data, dtype=np.float64)
        axis = header["CRVAL1"] + header["CDELT1"] * np.arange(basis.shape[1])
        on = np.stack([rows.rebin(axis, one, sharp=True) for one in basis])
        chosen = np.sort(rng.choice(len(weights), min(_MOST["STAR"], len(weights)), replace=False))
        made = weights[chosen] @ on
        made *= np.sign(made.mean(axis=1, keepdims=True))
        for index, one in zip(chosen, made, strict=True):
            if letter in "FGK":
                subclass = star_subclass(names[_nearest(one, typed, names)])
            else:
                subclass = {"B": "A0", "A": "A0"}.get(letter, letter)
            rows.add(np.maximum(one, 0.0), subclass, f"redrock-{letter}-{index}")
    _cataclysmic(templates, rows, rng)
    return rows.library()


def _nearest(flux: FloatArray, typed: FloatArray, names: list[str]) -> int:
    """The real star, of types F to K, that fits best with a free cubic continuum.

    That is how the SDSS pipeline assigns the subclass of a star.
    """
    seen = slice(800, 5200)
    x = np.linspace(-1.0, 1.0, 4400)
    smooth = np.polynomial.legendre.legvander(x, 3).T
    best, index = np.inf, 0
    for i, (name, one) in enumerate(zip(names, typed, strict=True)):
        if name[0] not in "FGK":
            continue
        design = np.concatenate([one[None, seen], smooth])
        weights = np.linalg.lstsq(design.T, flux[seen], rcond=None)[0]
        misfit = float(((flux[seen] - weights @ design) ** 2).sum())
        if weights[0] > 0 and misfit < best:
            best, index = misfit, i
    return index


def _cataclysmic(templates: Path, rows: Rows, rng: np.random.Generator) -> None:
    """Cataclysmic variables: archetypes, and mixtures of the eigen-spectra of BOSS's CVs."""
    path = templates / "redrock_archetypes" / "rrarchetype-star.fits"
    with fits.open(path) as hdus:
        header, table = hdus[1].header, hdus[1].data
        flux = np.asarray(table["ARCHETYPE"], dtype=np.float64)
        kinds = [str(kind).strip() for kind in table["SUBTYPE"]]
    axis = header["CRVAL1"] + header["CDELT1"] * np.arange(flux.shape[1])
    for i, (one, kind) in enumerate(zip(flux, kinds, strict=True)):
        if kind.startswith("CV"):
            rows.add(rows.rebin(axis, one), "CV", f"archetype-star-{i}")
    wavelength, basis = _eigen(templates / "sdss_idlspec2d" / "spEigenCVstar-55734.fits")
    on = np.stack([rows.rebin(wavelength, one) for one in basis])
    on *= np.sign(on[:1].mean())
    spread = np.abs(on[0]).mean() / np.abs(on[1:]).mean(axis=1)
    for i in range(60):
        made = on[0] + (rng.normal(0.0, 0.25, len(on) - 1) * spread) @ on[1:]
        rows.add(np.maximum(made, 0.0), "CV", f"cv-mixture-{i}")
