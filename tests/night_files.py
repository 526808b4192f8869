"""Spectra as the SEDM pipeline leaves them in its night's directory: FITS and text twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from tiny_model import fake_spectrum

CARDS: dict[str, Any] = {
    "OBJECT": "ZTF26abcdefg [A]",
    "NAME": "ZTF26abcdefg",
    "INSTRUME": "SEDM-P60",
    "OBSDATE": "2026-11-21",
    "OBSTIME": "05:01:00.0",
    "MJD_OBS": 61365.2083,
    "EXPTIME": 2250.0,
    "AIRMASS": 1.117,
    "REQ_ID": "12345",
    "P60PRID": "2026-I-0001",
    "RA_RATE": 0.0,
    "DEC_RATE": 0.0,
    "QUALITY": 0,
    "FLUXCAL": True,
    "BUNIT": "erg/s/A/cm^2",
    "EXTRTYPE": "auto",
    "SNSR_NM": "E2V 2048 x 2048 (CCD 42-40)(B)",
    "OBSERVER": "O'Neill",
}
STEM = "spec_auto_robot_lstep1__crr_b_ifu20261121_05_01_00_ZTF26abcdefg"


def write_pair(
    folder: Path,
    stem: str = STEM,
    *,
    seed: int = 0,
    snr: float = 20.0,
    nan: bool = False,
    **cards: Any,
) -> tuple[Path, Path]:
    """Write a spectrum twice; the FITS file and its text twin.

    Parameters
    ----------
    folder : Path
    stem : str
    seed, snr
        See `fake_spectrum`.
    nan : bool
        The target was outside the IFU: no flux, no variance.
    **cards
        Changes of `CARDS`; None takes a card away.
    """
    spectrum = fake_spectrum(seed, snr)
    header = {key: value for key, value in (CARDS | cards).items() if value is not None}
    flux = np.full_like(spectrum.flux, np.nan) if nan else spectrum.flux
    variance = spectrum.sigma_array**2
    primary = fits.PrimaryHDU(flux)
    for key, value in header.items():
        primary.header[key] = value
    # Enough cards for several blocks, and such as a library would write in its own way.
    for number in range(90):
        primary.header[f"ENGIN{number}"] = (number * 0.1, "engineering")
    primary.header["CTYPE1"] = "RA---TAN"
    primary.header["CRVAL1"] = float(spectrum.wavelength[0])
    primary.header["CDELT1"] = float(np.diff(spectrum.wavelength)[0])
    primary.header["HISTORY"] = "cosmic rays removed"
    hdus = [primary] if nan else [primary, fits.ImageHDU(variance, name="VARIANCE")]
    path, twin = folder / f"{stem}.fits", folder / f"{stem}.txt"
    fits.HDUList(hdus).writeto(path, overwrite=True)
    data = path.read_bytes()
    # Free format: astropy would not write it like this.
    odd = b"GAIN    = 1.0E0 /e-/adu".ljust(80)
    path.write_bytes(data.replace(data[data.index(b"ENGIN7  =") :][:80], odd, 1))
    lines = [f"# {key}: {value}" for key, value in header.items()]
    lines += ["# HISTORY: cosmic rays removed", "# EMPTY: "]
    lines += [
        f"{w:.1f} {f:.3e} {v:.3e}"
        for w, f, v in zip(spectrum.wavelength, flux, variance, strict=True)
    ]
    twin.write_text("\n".join(lines) + "\n")
    return path, twin


def plain_header(path: Path) -> dict[str, str]:
    """The text header as the pipeline's uploader takes it apart."""
    header = {}
    for line in path.read_text().splitlines():
        if line[0] == "#":
            header[line.split(":", 1)[0][1:].strip()] = line.split(":", 1)[-1].strip()
    return header
