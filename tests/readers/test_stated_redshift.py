"""A header's redshift is a fact; its codes for "unknown" are none, in any format."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits

from specinfer.readers import read
from specinfer.readers.fits_headers import possible_redshift

WAVELENGTH = np.linspace(4000.0, 8000.0, 300)
FLUX = 1.0 + 0.1 * np.sin(WAVELENGTH / 90.0)


def as_text(redshift: float, names: str) -> bytes:
    rows = "\n".join(f"{w:.2f} {f:.4f} 0.02" for w, f in zip(WAVELENGTH, FLUX, strict=True))
    return f"# REDSHIFT: {redshift}\n{names}{rows}\n".encode()


def as_fits(redshift: float) -> bytes:
    primary = fits.PrimaryHDU()
    primary.header["REDSHIFT"] = redshift
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("wavelength", "D", array=WAVELENGTH, unit="Angstrom"),
            fits.Column("flux", "D", array=FLUX),
        ]
    )
    content = io.BytesIO()
    fits.HDUList([primary, table]).writeto(content)
    return content.getvalue()


@pytest.mark.parametrize(
    ("stated", "fact"), [(0.05, 0.05), (-0.001, -0.001), (-1.0, None), (-999.0, None)]
)
def test_codes_for_unknown_are_no_redshift(stated: float, fact: float | None) -> None:
    contents = {
        "ascii": as_text(stated, ""),
        "table-text": as_text(stated, "# wavelength flux sigma\n"),
        "table-fits": as_fits(stated),
    }
    for name, content in contents.items():
        (spectrum,) = read(content)
        assert spectrum.reader == name
        assert spectrum.redshift == (None if fact is None else pytest.approx(fact)), name


def test_no_redshift_stays_none() -> None:
    assert possible_redshift(None) is None
