"""The spectra that are timed: the examples of the checkout, each time with other noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.machine import ROOT
from specinfer import Spectrum, read
from specinfer.errors import UsageError

# Noise on top of what is there, in its own sigma: enough that nothing is the same spectrum.
JITTER = 0.5
FOLDERS = {"sedm": ROOT / "examples", "survey": ROOT / "examples" / "survey"}


def examples(kind: str, folder: Path | None = None) -> list[Spectrum]:
    """The example spectra of SEDM or of a survey, in the order of their names.

    Parameters
    ----------
    kind : {"sedm", "survey"}
    folder : Path, optional
        Take all ``spec*.fits`` of this one instead.

    Raises
    ------
    UsageError
        ``no_input`` if there are none.
    """
    where = folder or FOLDERS[kind]
    paths = sorted(where.glob("spec*.fits"))
    if not paths:
        raise UsageError("no_input", f"{where} holds no spec*.fits; run from a full checkout")
    return [spectrum for path in paths for spectrum in read(path)]


def noisy(
    spectra: Sequence[Spectrum], count: int, *, noise: float = JITTER, seed: int = 0
) -> list[Spectrum]:
    """`count` spectra, by turns of those given, each with a little more noise of its own.

    Parameters
    ----------
    spectra : sequence of Spectrum
        With known noise.
    count : int
    noise : float, optional
        How much is added, in sigma of each pixel; the stated noise is larger by as much.
    seed : int, optional

    Returns
    -------
    list of Spectrum
        Reader, resolution and all other facts stay, so that they go to the same model.
    """
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        one = spectra[index % len(spectra)]
        sigma = np.where(one.good, one.sigma_array, 0.0)
        flux = one.flux + noise * sigma * rng.standard_normal(sigma.size)
        made.append(replace(one, flux=flux, ivar=one.ivar / (1.0 + noise**2)))
    return made


def rebuilt(one: Spectrum) -> Spectrum:
    """The same spectrum checked anew from its arrays, as whoever has arrays does."""
    return Spectrum(
        one.wavelength, one.flux, ivar=one.ivar, resolution=one.resolution, reader=one.reader
    )
