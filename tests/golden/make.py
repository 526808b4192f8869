"""``python tests/golden/make.py``: pin what the preprocessing of this version gives.

Writes ``preprocessing-VERSION.npz`` beside this file, with the input spectra and what the
networks get from them. A file that is there is never overwritten: a network was trained on
what it pins. Whoever changes the output of `specinfer.preprocess.prepare` raises its
VERSION, trains the networks again and runs this command.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.preprocess import VERSION, Preprocessing, prepare

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"
FloatArray = NDArray[np.float64]
Spectra = tuple[FloatArray, FloatArray, FloatArray]

SEDM_AXIS = np.linspace(3700.0, 9300.0, 220)[3:-3]


def golden_path(version: int = VERSION) -> Path:
    """The golden file of a version of the preprocessing."""
    return HERE / f"preprocessing-{version}.npz"


def gauss(wavelength: FloatArray, centre: float, sigma: float) -> FloatArray:
    return np.exp(-0.5 * ((wavelength - centre) / sigma) ** 2)


def planck(wavelength: FloatArray, temperature: float) -> FloatArray:
    """A black body per unit wavelength, 1 at 6000 Angstrom."""

    def shape(x: FloatArray | float) -> Any:
        return x**-5.0 / np.expm1(1.4387769e8 / (x * temperature))

    return np.asarray(shape(wavelength / 1.0) / shape(6000.0))


def supernova(wavelength: FloatArray) -> FloatArray:
    """Broad P-Cygni-like features about 1."""
    return (
        1.0
        - 0.45 * gauss(wavelength, 6150.0, 80.0)
        + 0.25 * gauss(wavelength, 6400.0, 110.0)
        - 0.30 * gauss(wavelength, 5450.0, 90.0)
        + 0.40 * gauss(wavelength, 4950.0, 150.0)
        - 0.35 * gauss(wavelength, 3950.0, 60.0)
    )


def analytic_spectra() -> dict[str, Spectra]:
    """Spectra from formulas, with seeded noise; name -> wavelength, flux, ivar."""
    rng = np.random.default_rng(20261121)
    fine = np.arange(3300.0, 9900.0, 6.0)
    ones = np.ones(fine.size)
    hot = planck(fine, 11000.0) * supernova(fine)
    narrow = planck(fine, 5000.0) * (
        1.0 + 5.0 * gauss(fine, 6563.0, 8.0) + 2.0 * gauss(fine, 5007.0, 7.0)
    )

    broken = hot + rng.normal(0.0, 0.05, fine.size)
    broken_ivar = np.full(fine.size, 400.0)
    broken_ivar[rng.random(fine.size) < 0.05] = 0.0
    broken_ivar[300:360] = 0.0
    broken[broken_ivar == 0.0] = -1e4
    broken[700] = 1e3

    zeros = np.ones(SEDM_AXIS.size)
    zeros[:20] = zeros[-15:] = zeros[100] = 0.0
    noise = rng.normal(0.0, 0.08, (3, SEDM_AXIS.size))
    return {
        "hot": (fine, hot, ones),
        "narrow_lines": (fine, narrow * 1e-17, ones * 1e36),
        "flattened": (fine, supernova(fine), ones),
        "bad_pixels": (fine, broken, broken_ivar),
        "ivar_zeros": (
            SEDM_AXIS,
            np.where(zeros > 0, supernova(SEDM_AXIS) + noise[0], 0.0),
            zeros,
        ),
        "batch": (
            SEDM_AXIS,
            np.stack([planck(SEDM_AXIS, t) for t in (4000.0, 8000.0, 20000.0)])
            * supernova(SEDM_AXIS)
            + noise,
            np.stack([np.ones(SEDM_AXIS.size), zeros, zeros[::-1]]),
        ),
    }


def example_spectra() -> dict[str, Spectra]:
    """Three of the example files, as the runtime reads them."""
    from specinfer import read

    made = {}
    for number in (1, 3, 5):
        (spectrum,) = read(next(EXAMPLES.glob(f"*SIM{number:02d}.fits")))
        made[f"example_{number}"] = (spectrum.wavelength, spectrum.flux, spectrum.ivar)
    return made


def main() -> None:
    """Write the golden file of this version."""
    path = golden_path()
    if path.is_file():
        raise SystemExit(
            f"{path.name} is there and stays: raise specinfer.preprocess.VERSION first"
        )
    config = Preprocessing()
    arrays: dict[str, Any] = {"settings": json.dumps(config.to_dict())}
    for name, (wavelength, flux, ivar) in (analytic_spectra() | example_spectra()).items():
        arrays |= {f"{name}.wavelength": wavelength, f"{name}.flux": flux, f"{name}.ivar": ivar}
        arrays[f"{name}.input"] = prepare(wavelength, flux, ivar, config).input
    np.savez_compressed(path, **arrays)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", file=sys.stderr)


if __name__ == "__main__":
    main()
