"""Fluxes, equivalent widths and signal-to-noise ratios of the main lines of a spectrum.

Emission lines are Gaussians over a straight line, by weighted least squares on the spectrum's
own pixels: their fluxes are those of the data, without the bias of a network that denoises. The
denoised spectrum (of SpecPT, or the best fit of a scan) says how wide they are where the data
cannot, and gives the equivalent widths of absorption, which noise would drown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer.preprocess import pixel_edges
from specinfer.spectrum import Spectrum

FloatArray = NDArray[np.float64]

_C = 299792.458


class Group(NamedTuple):
    """Lines that are fitted together, with one width.

    Attributes
    ----------
    lines : tuple of (str, tuple of float, tuple of float)
        Name, vacuum wavelengths (Angstrom) of its parts, and their shares of its flux.
    permitted : bool
        Whether it may be as broad as the lines of quasars.
    """

    lines: tuple[tuple[str, tuple[float, ...], tuple[float, ...]], ...]
    permitted: bool


def _one(name: str, wavelength: float) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    return name, (wavelength,), (1.0,)


# Vacuum wavelengths: NIST; those of blends in quasars: Vanden Berk et al. 2001, AJ 122, 549.
EMISSION = (
    Group((_one("Ly-alpha", 1215.67),), True),
    Group((_one("C IV", 1549.48),), True),
    Group((_one("C III]", 1908.73),), True),
    Group((_one("Mg II", 2798.75),), True),
    # A doublet that survey spectra do not resolve; its ratio is that of low densities' mean.
    Group((("[O II]", (3727.09, 3729.88), (0.45, 0.55)),), False),
    Group((_one("H-beta", 4862.68),), True),
    Group((_one("[O III] 4959", 4960.30), _one("[O III] 5007", 5008.24)), False),
    Group(
        (
            _one("[N II] 6548", 6549.86),
            _one("H-alpha", 6564.61),
            _one("[N II] 6583", 6585.27),
        ),
        True,
    ),
    Group((_one("[S II] 6716", 6718.29), _one("[S II] 6731", 6732.67)), False),
)
# Absorption: the band that is integrated and the continuum on either side, vacuum Angstrom.
# Ca H and K and Na D after Brodie & Hanes (1986, ApJ 300, 258) and Trager et al. (1998, ApJS
# 116, 1), Mg b after Trager et al., moved to vacuum.
ABSORPTION = {
    "Ca K": ((3926.0, 3944.0), (3906.0, 3924.0), (3997.0, 4012.0)),
    "Ca H": ((3961.0, 3980.0), (3906.0, 3924.0), (3997.0, 4012.0)),
    "Mg b": ((5161.6, 5194.1), (5119.1, 5162.9), (5192.8, 5207.8)),
    "Na D": ((5880.3, 5911.1), (5864.2, 5877.1), (5925.0, 5950.0)),
}
# Widths that are tried: standard deviations, km/s.
_NARROW = np.geomspace(40.0, 600.0, 18)
_BROAD = np.geomspace(40.0, 6000.0, 30)
# Where the denoised spectrum says nothing of the width; and how far from it the data may go.
_USUAL = {"GALAXY": 120.0, "QSO": 1800.0, "STAR": 120.0}
_LOOSE = 0.25
# The fit reaches so many widths, and at least so far (km/s), from the outermost lines.
_REACH, _LEAST_REACH = 6.0, 2000.0
# Fewer usable pixels than this beside the unknowns are not enough.
_SPARE = 4
# Points within a pixel at which a profile is averaged.
_WITHIN = np.array([-0.4, -0.2, 0.0, 0.2, 0.4])
# What is known of a line's place: so much of it must be covered by usable pixels.
_COVERED = 0.7


@dataclass(frozen=True)
class LineFlux:
    """One line of a spectrum.

    Attributes
    ----------
    name : str
    rest_wavelength, wavelength : float
        Vacuum Angstrom, at rest and where it stands in the spectrum.
    flux, flux_err : float or None
        Unit of the spectrum's flux times Angstrom; None for absorption bands.
    snr : float
        Of the flux, or of the equivalent width for absorption.
    equivalent_width, equivalent_width_err : float or None
        Rest-frame Angstrom; emission is positive, absorption negative. None where there is no
        continuum to compare with.
    sigma : float or None
        Standard deviation of the line, km/s, with the instrument's; None for absorption.
    """

    name: str
    rest_wavelength: float
    wavelength: float
    flux: float | None
    flux_err: float | None
    snr: float
    equivalent_width: float | None
    equivalent_width_err: float | None
    sigma: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class Denoised(NamedTuple):
    """A spectrum without its noise: `wavelength` (vacuum Angstrom) and `flux`, shape (n,)."""

    wavelength: FloatArray
    flux: FloatArray


def measure_fluxes(
    spectrum: Spectrum, denoised: Denoised, redshift: float, family: str = "GALAXY"
) -> tuple[LineFlux, ...]:
    """Measure the main lines at a redshift.

    Parameters
    ----------
    spectrum : Spectrum
        With its noise; without one the errors are those of a noise of 1.
    denoised : Denoised
        In the unit of the spectrum.
    redshift : float
    family : {"GALAXY", "QSO", "STAR"}, optional
        Stars have no emission lines here, quasars no absorption bands.

    Returns
    -------
    tuple of LineFlux
        Those that the spectrum covers, by wavelength.

    Notes
    -----
    An error is that of the noise as stated at the best width: neither that of the width nor of
    the redshift is in it.
    """
    model = np.interp(spectrum.wavelength, *denoised, left=np.nan, right=np.nan)
    found: list[LineFlux] = []
    if family != "STAR":
        for group in EMISSION:
            found += _emission(spectrum, model, group, redshift, family)
    if family != "QSO":
        for name, bands in ABSORPTION.items():
            line = _absorption(spectrum, model, name, bands, redshift)
            if line is not None:
                found.append(line)
    return tuple(sorted(found, key=lambda line: line.rest_wavelength))


def _emission(
    spectrum: Spectrum, model: FloatArray, group: Group, redshift: float, family: str
) -> list[LineFlux]:
    widths = _BROAD if group.permitted and family == "QSO" else _NARROW
    centres = np.array([w for _, parts, _ in group.lines for w in parts]) * (1.0 + redshift)
    reach = max(_REACH * _USUAL[family], _LEAST_REACH) if group.permitted else _LEAST_REACH
    low, high = centres.min() * (1 - reach / _C), centres.max() * (1 + reach / _C)
    near = (spectrum.wavelength > low) & (spectrum.wavelength < high)
    good = near & (spectrum.ivar > 0)
    if good.sum() < len(group.lines) + 2 + _SPARE or not _covers(spectrum, centres):
        return []
    wavelength, flux, ivar = (x[good] for x in (spectrum.wavelength, spectrum.flux, spectrum.ivar))
    lower, upper = pixel_edges(spectrum.wavelength)
    width = (upper - lower)[good]
    # (widths, pixels, lines + 2)
    designs = _designs(wavelength, width, group, redshift, widths)
    amplitude, chi2, covariance = _solve(designs, flux, ivar)
    # What the denoised spectrum says of the width, if it shows the lines at all.
    usual = np.log(_USUAL[family] if group.permitted else _USUAL["GALAXY"])
    shown = model[good]
    if np.isfinite(shown).all():
        guess, misfit, _ = _solve(designs, shown, ivar)
        best = int(misfit.argmin())
        strength = np.abs(guess[best, : len(group.lines)]).max()
        error = float(np.sqrt(np.diagonal(covariance[best])[: len(group.lines)]).max())
        if strength > 3.0 * error:
            usual = float(np.log(widths[best]))
    penalty = ((np.log(widths) - usual) / _LOOSE) ** 2
    k = int((chi2 + penalty).argmin())
    made = []
    for place, (name, parts, shares) in enumerate(group.lines):
        rest = float(np.dot(parts, shares))
        value = float(amplitude[k, place])
        error = float(np.sqrt(covariance[k, place, place]))
        centre = rest * (1.0 + redshift)
        level = _level(amplitude[k, -2:], wavelength, centre)
        noise = float(np.sqrt(1.0 / np.median(ivar)))
        # A continuum that is lost in the noise of its own fit gives no equivalent width.
        usable = level > 3.0 * noise / np.sqrt(len(wavelength))
        scale = level * (1.0 + redshift)
        made.append(
            LineFlux(
                name,
                rest,
                centre,
                value,
                error,
                value / error,
                value / scale if usable else None,
                error / scale if usable else None,
                float(widths[k]),
            )
        )
    return made


def _covers(spectrum: Spectrum, centres: FloatArray) -> bool:
    """Whether the pixels at all lines, out to 300 km/s, are usable."""
    lower, upper = pixel_edges(spectrum.wavelength)
    good = spectrum.ivar > 0
    for centre in centres:
        low, high = centre * (1 - 300.0 / _C), centre * (1 + 300.0 / _C)
        overlap = np.clip(np.minimum(upper, high) - np.maximum(lower, low), 0.0, None)
        if overlap[good].sum() < _COVERED * (high - low):
            return False
    return True


def _designs(
    wavelength: FloatArray,
    pixel: FloatArray,
    group: Group,
    redshift: float,
    widths: FloatArray,
) -> FloatArray:
    """Columns of the fit for every width: lines of flux 1, a constant, a slope."""
    inside = wavelength[:, None] + pixel[:, None] * _WITHIN
    columns = []
    for _, parts, shares in group.lines:
        total = np.zeros((len(widths), len(wavelength)))
        for part, share in zip(parts, shares, strict=True):
            centre = part * (1.0 + redshift)
            sigma = centre * widths / _C
            offset = (inside - centre)[None] / sigma[:, None, None]
            profile = np.exp(-0.5 * offset**2).mean(axis=2)
            total += share * profile / (np.sqrt(2.0 * np.pi) * sigma[:, None])
        columns.append(total)
    ones = np.ones((len(widths), len(wavelength)))
    return np.stack([*columns, ones, ones * _slope(wavelength)], axis=2)


def _slope(wavelength: FloatArray) -> FloatArray:
    span = max(float(np.ptp(wavelength)), 1e-9)
    return np.asarray((wavelength - wavelength.mean()) / span)


def _level(background: FloatArray, wavelength: FloatArray, centre: float) -> float:
    """The continuum at a place."""
    span = max(float(np.ptp(wavelength)), 1e-9)
    return float(background[0] + background[1] * (centre - wavelength.mean()) / span)


def _solve(
    designs: FloatArray, flux: FloatArray, ivar: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weighted least squares of every width: amplitudes, chi2, covariances."""
    weighted = designs * ivar[:, None]
    normal = np.einsum("wpi,wpj->wij", weighted, designs, optimize=True)
    right = np.einsum("wpi,p->wi", weighted, flux, optimize=True)
    # Lines that are narrower than a pixel and blended hardly differ: a little ridge.
    scale = np.sqrt(np.maximum(np.diagonal(normal, axis1=1, axis2=2), 1e-300))
    unit = normal / (scale[:, :, None] * scale[:, None, :]) + 1e-9 * np.eye(normal.shape[1])
    inverse = np.linalg.inv(unit) / (scale[:, :, None] * scale[:, None, :])
    amplitude = np.einsum("wij,wj->wi", inverse, right)
    chi2 = float((ivar * flux**2).sum()) - np.einsum("wi,wi->w", amplitude, right)
    return amplitude, chi2, inverse


def _absorption(
    spectrum: Spectrum,
    model: FloatArray,
    name: str,
    bands: Sequence[tuple[float, float]],
    redshift: float,
) -> LineFlux | None:
    """Equivalent width of a band of the denoised spectrum, with the error of the data."""
    (low, high), *sides = [(a * (1.0 + redshift), b * (1.0 + redshift)) for a, b in bands]
    wavelength = spectrum.wavelength
    lower, upper = pixel_edges(wavelength)
    usable = (spectrum.ivar > 0) & np.isfinite(model)
    levels, errors, places = [], [], []
    for start, end in sides:
        here = usable & (wavelength >= start) & (wavelength <= end)
        if not here.any():
            return None
        levels.append(float(model[here].mean()))
        errors.append(float(np.sqrt((1.0 / spectrum.ivar[here]).sum()) / here.sum()))
        places.append(float(wavelength[here].mean()))
    overlap = np.clip(np.minimum(upper, high) - np.maximum(lower, low), 0.0, None)
    here = usable & (overlap > 0)
    if overlap[here].sum() < _COVERED * (high - low):
        return None
    part = (wavelength[here] - places[0]) / (places[1] - places[0])
    continuum: FloatArray = levels[0] + part * (levels[1] - levels[0])
    if not (continuum > 0).all():
        return None
    # Missing pixels are taken to be like the others.
    stretch = (high - low) / overlap[here].sum()
    width = stretch * float(((1.0 - model[here] / continuum) * overlap[here]).sum())
    noise = float(np.sqrt(((overlap[here] / continuum) ** 2 / spectrum.ivar[here]).sum()))
    around = float(np.hypot(errors[0], errors[1])) / 2.0 / float(np.mean(continuum)) * (high - low)
    error = float(np.hypot(stretch * noise, around))
    scale = 1.0 + redshift
    centre = 0.5 * (low + high)
    return LineFlux(
        name,
        centre / scale,
        centre,
        None,
        None,
        -width / error,
        -width / scale,
        error / scale,
        None,
    )
