"""The real SDSS/BOSS spectra: noise donors, validation and the exam of the survey networks.

Split by object: visits of one object (one `thing_id`) stay together. Spectra whose pipeline
redshift carries a warning are in no part but that of the noise donors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from specinfer.zgrid import STEP
from training.archive.split import PARTS, read_split, split_hash
from training.archive.types import object_name
from training.paths import ROOT

SPLIT = ROOT / "training" / "splits" / "sdss-1.json"
# Shares of donors, validation and test: few objects are at hand, and the exam needs most.
_SHARES = (0.25, 0.25, 0.5)


@dataclass(frozen=True, eq=False)
class SdssSpectrum:
    """One visit of one object.

    Attributes
    ----------
    object : str
    family, subclass : str
        GALAXY, QSO or STAR, and the pipeline's subclass.
    redshift, snr : float
        Of the pipeline (Bolton et al. 2012, AJ 144, 144); the truth here.
    zwarning : int
    wavelength, flux, ivar : ndarray, shape (n,)
        Vacuum Angstrom; 1e-17 erg/s/cm2/Angstrom; ivar is 0 where unusable.
    """

    object: str
    family: str
    subclass: str
    redshift: float
    snr: float
    zwarning: int
    wavelength: NDArray[np.float64]
    flux: NDArray[np.float64]
    ivar: NDArray[np.float64]


def read_sdss(data: Path) -> list[SdssSpectrum]:
    """All of ``sdss_spectra.parquet``, in its order."""
    rows = pq.read_table(data / "archive" / "sdss_spectra.parquet").to_pylist()
    return [_spectrum(row) for row in rows]


def make_sdss_split(
    spectra: Sequence[SdssSpectrum], seed: int, seen: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """25/25/50 by object, stratified by family.

    Parameters
    ----------
    spectra : sequence of SdssSpectrum
    seed : int
    seen : frozenset of str
        Objects that were looked at before there was a split: they go to validation.

    Returns
    -------
    dict
        As `training.archive.split.make_split`; "train" holds the noise donors.
    """
    by_family: dict[str, set[str]] = defaultdict(set)
    sure = {s.object for s in spectra if s.zwarning == 0}
    for spectrum in spectra:
        if spectrum.object in sure:
            by_family[spectrum.family].add(spectrum.object)
    rng = np.random.default_rng(seed)
    parts: dict[str, dict[str, list[str]]] = {part: {} for part in PARTS}
    for family in sorted(by_family):
        names = sorted(by_family[family])
        rng.shuffle(names)
        # Those that were seen first: they fill up validation, then the donors.
        names.sort(key=lambda name: name not in seen)
        counts = [round(share * len(names)) for share in _SHARES[:2]]
        parts["validation"][family] = sorted(names[: counts[1]])
        parts["train"][family] = sorted(names[counts[1] : sum(counts)])
        parts["test"][family] = sorted(names[sum(counts) :])
    unsure = {s.object for s in spectra} - sure
    parts["train"]["zwarning"] = sorted(unsure)
    return {"seed": seed, "seen": sorted(seen), "parts": parts, "sha256": split_hash(parts)}


def part_of(spectra: Sequence[SdssSpectrum], part: str) -> list[SdssSpectrum]:
    """The spectra of a part; for validation and test those without a warning only."""
    split = read_split(SPLIT)
    names = {name for family in split["parts"][part].values() for name in family}
    return [s for s in spectra if s.object in names and (part == "train" or s.zwarning == 0)]


def _spectrum(row: dict[str, Any]) -> SdssSpectrum:
    flux = np.asarray(row["flux"], dtype=np.float64)
    return SdssSpectrum(
        object=object_name(row),
        family=row["cls"],
        subclass=row["subclass"],
        redshift=float(row["z"]),
        snr=float(row["sn_median"]),
        zwarning=int(row["zwarning"]),
        wavelength=10 ** (row["loglam0"] + STEP * np.arange(flux.size)),
        flux=flux,
        ivar=np.asarray(row["ivar"], dtype=np.float64),
    )
