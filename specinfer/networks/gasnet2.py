"""GaSNet-II: subclass and redshift of a survey spectrum by one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer import pdf
from specinfer.engine import MAX_BATCH, Session
from specinfer.errors import ModelError, ReadError
from specinfer.models import ModelCard
from specinfer.networks.loading import check_session, open_session
from specinfer.networks.spectranet_answer import Candidate, Intervals
from specinfer.preprocess import Prepared, Preprocessing, prepare
from specinfer.spectrum import Spectrum
from specinfer.subclass_card import NO_SIGNAL, SubclassCard

FloatArray = NDArray[np.float64]
_MODES = 3
# Families that are less probable give no candidates beside better ones.
_UNLIKELY = 1e-3


@dataclass(frozen=True, eq=False)
class SubclassAnswer:
    """What GaSNet-II says about one spectrum.

    Attributes
    ----------
    probabilities : dict of str to float
        Of the families, and of NO_SIGNAL.
    prediction_set : tuple of str
        Families that together hold the true one with the card's coverage.
    redshift, redshift_err : float or None
        Median of p(z | family), half its 68 % interval; None for NO_SIGNAL.
    redshift_interval : dict or None
    candidates : tuple of Candidate
        The best pairs of family and mode of its p(z).
    flags : tuple of str
    embedding : ndarray, shape (E,), float32
    novelty : float or None
        Minus ln of the evidence for all classes together (Liu et al. 2020, NeurIPS 33, 21464).
    class_probabilities : dict of str to float
        Of every subclass, and of NO_SIGNAL, as the card names them.
    ln1z : ndarray, shape (NZ,)
    family_pdfs : dict of str to ndarray, shape (NZ,)
        p(z | family), a probability a bin.
    still_families : tuple of str
        Families whose redshift is always close to 0.
    wavelength : ndarray, shape (P,)
        The network's grid.
    prepared : Prepared
    """

    probabilities: dict[str, float]
    prediction_set: tuple[str, ...]
    redshift: float | None
    redshift_err: float | None
    redshift_interval: Intervals | None
    candidates: tuple[Candidate, ...]
    flags: tuple[str, ...]
    embedding: NDArray[np.float32]
    novelty: float
    class_probabilities: dict[str, float]
    ln1z: FloatArray
    family_pdfs: dict[str, FloatArray]
    still_families: tuple[str, ...]
    wavelength: FloatArray
    prepared: Prepared

    @property
    def class_name(self) -> str:
        """The most probable family."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        """Probability of `class_name`."""
        return self.probabilities[self.class_name]

    @property
    def subtype(self) -> str | None:
        """The most probable subclass of the family; None for NO_SIGNAL."""
        of_class = self.subtype_probabilities
        return max(of_class, key=of_class.__getitem__) if of_class else None

    @property
    def subtype_probabilities(self) -> dict[str, float] | None:
        """P(subclass | family); None for NO_SIGNAL."""
        return None if self.class_name == NO_SIGNAL else self.subtypes(self.class_name)

    def subtypes(self, family: str) -> dict[str, float]:
        """P(subclass | family)."""
        start = f"{family} "
        inside = {
            name.removeprefix(start): p
            for name, p in self.class_probabilities.items()
            if name.startswith(start)
        }
        total = max(sum(inside.values()), 1e-300)
        return {name: p / total for name, p in inside.items()}

    def to_dict(self, version: str) -> dict[str, Any]:
        """The answer for the ``models`` block of a result."""
        return {
            "version": version,
            "class": self.class_name,
            "probability": self.probability,
            "probabilities": self.probabilities,
            "prediction_set": list(self.prediction_set),
            "subtype": self.subtype,
            "subtype_probabilities": self.subtype_probabilities,
            "redshift": self.redshift,
            "redshift_err": self.redshift_err,
            "redshift_interval": self.redshift_interval,
            "class_probabilities": self.class_probabilities,
            "novelty": self.novelty,
            "flags": sorted(self.flags),
            "candidates": [
                {"class": c.class_name, "redshift": c.redshift, "score": c.score}
                for c in self.candidates
            ],
        }


class GasNet2:
    """A loaded GaSNet-II; one may be used from many threads.

    Parameters
    ----------
    session : Session
        Of the card's ``model.onnx``.
    card : SubclassCard
    """

    def __init__(self, session: Session, card: SubclassCard) -> None:
        self.session = session
        self.card = card
        self.config = Preprocessing.from_dict(card.preprocessing)
        self.ln1z = card.redshift_bins.centres
        self.still = tuple(name for name, head in card.heads.items() if head.output is None)

    @cached_property
    def checked_session(self) -> Session:
        """The session, once it is known to be the one that the card describes.

        Raises
        ------
        ModelError
            ``card_altered``, or ``bad_model`` if inputs or outputs are not those of a
            GaSNet-II.
        """
        heads = {head.output for head in self.card.heads.values() if head.output}
        check_session(self.session, self.card, {"class_logits", "embedding", *heads}, "GaSNet-II")
        return self.session

    def predict(
        self,
        spectra: Sequence[Spectrum],
        redshifts: Sequence[float | None] | None = None,
    ) -> list[SubclassAnswer | ReadError]:
        """Classify spectra.

        Parameters
        ----------
        spectra : sequence of Spectrum
        redshifts : sequence of (float or None), optional
            Known redshifts: families that exclude them lose their probability.

        Returns
        -------
        list of (SubclassAnswer or ReadError)
            In the order of `spectra`. An answer does not depend on what else is in the list.

        Raises
        ------
        ModelError, DeviceError
            If the network itself cannot be used.
        """
        known = list(redshifts) if redshifts is not None else [None] * len(spectra)
        made = [prepare(one.wavelength, one.flux, one.ivar, self.config) for one in spectra]
        answers: list[SubclassAnswer | ReadError] = []
        for start in range(0, len(spectra), MAX_BATCH):
            part = made[start : start + MAX_BATCH]
            raw = self.checked_session.run(
                {self.card.input_name: np.stack([one.input for one in part])}
            )
            for i, prepared in enumerate(part):
                row = {name: values[i] for name, values in raw.items()}
                place = start + i
                answers.append(self._answer(row, prepared, spectra[place], known[place]))
        return answers

    def distributions(
        self, raw: Mapping[str, NDArray[np.float32]], known: float | None = None
    ) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Calibrated P(class), shape (n_classes,), and p(z | family) by family."""
        p_class = pdf.softmax(raw["class_logits"], self.card.class_temperature)
        pdfs = {}
        for name, head in self.card.heads.items():
            if head.output is None:
                spread = max(head.spread, 0.3 * self.card.redshift_bins.step)
                p = np.exp(-0.5 * (self.ln1z / spread) ** 2)
                pdfs[name] = p / p.sum()
            else:
                pdfs[name] = pdf.softmax(raw[head.output], head.temperature)
        if known is not None:
            # Bayes: P(family | z) ~ P(family) p(z | family).
            weight = np.ones(len(p_class))
            for name, p in pdfs.items():
                density = float(np.interp(np.log1p(known), self.ln1z, p))
                weight[list(self.card.columns(name))] = max(density, 1e-6)
            p_class = p_class * weight / (p_class * weight).sum()
        return p_class, pdfs

    def _answer(
        self,
        raw: Mapping[str, NDArray[np.float32]],
        prepared: Prepared,
        spectrum: Spectrum,
        known: float | None,
    ) -> SubclassAnswer | ReadError:
        card = self.card
        if not prepared.valid.any():
            return ReadError(
                "out_of_range",
                f"no usable pixel of {spectrum.wavelength[0]:.0f}-{spectrum.wavelength[-1]:.0f} A "
                f"falls on the grid of {card.label}",
            )
        p_class, pdfs = self.distributions(raw, known)
        families = {name: float(p_class[list(card.columns(name))].sum()) for name in card.families}
        ranked = sorted(families, key=lambda name: -families[name])
        best = ranked[0]
        redshift, error, interval = self._redshift(best, pdfs, known)
        novelty = -float(np.logaddexp.reduce(raw["class_logits"].astype(np.float64)))
        flags = {
            "LOW_SNR": not spectrum.snr >= card.low_snr,
            "LITTLE_COVERAGE": float(prepared.coverage) < card.min_coverage,
            "NO_SIGNAL": best == NO_SIGNAL,
            "NOVEL": novelty > card.novelty_limit,
            "Z_GIVEN": known is not None,
        }
        kept = tuple(name for name in ranked if families[name] >= card.set_threshold)
        return SubclassAnswer(
            probabilities=families,
            prediction_set=kept or (best,),
            redshift=redshift,
            redshift_err=error,
            redshift_interval=interval,
            candidates=self._candidates(ranked, families, pdfs, known),
            flags=tuple(name for name, is_set in flags.items() if is_set),
            embedding=raw["embedding"],
            novelty=novelty,
            class_probabilities={
                name: float(p) for name, p in zip(card.classes, p_class, strict=True)
            },
            ln1z=self.ln1z,
            family_pdfs=pdfs,
            still_families=self.still,
            wavelength=self.config.wavelength,
            prepared=prepared,
        )

    def _redshift(
        self, family: str, pdfs: Mapping[str, FloatArray], known: float | None
    ) -> tuple[float | None, float | None, Intervals | None]:
        """Redshift, error and intervals of a family."""
        if known is not None:
            return float(known), None, None
        head = self.card.heads.get(family)
        if head is None:
            return None, None, None
        if head.output is None:
            return 0.0, head.spread, None
        p = pdfs[family]
        value = float(np.expm1(pdf.quantile(p, self.ln1z, 0.5)))
        ends = {
            key: tuple(
                float(np.expm1(end)) for end in pdf.central_interval(p, self.ln1z, head.levels[key])
            )
            for key in head.levels
        }
        low, high = ends["68"]
        intervals: Intervals = {key: (pair[0], pair[1]) for key, pair in ends.items()}
        return value, 0.5 * (high - low), intervals

    def _candidates(
        self,
        ranked: Sequence[str],
        families: Mapping[str, float],
        pdfs: Mapping[str, FloatArray],
        known: float | None,
    ) -> tuple[Candidate, ...]:
        """The best pairs of family and redshift."""
        pairs: list[Candidate] = []
        for name in ranked:
            if name not in pdfs or (pairs and families[name] < _UNLIKELY):
                continue
            if known is not None:
                pairs.append(Candidate(name, float(known), families[name]))
                continue
            modes = pdf.modes(pdfs[name], self.ln1z, count=_MODES, half_width=0.01)
            pairs += [
                Candidate(name, float(np.expm1(centre)), families[name] * float(mass))
                for centre, mass in zip(modes.centre, modes.mass, strict=True)
                if mass > 0
            ]
        return tuple(sorted(pairs, key=lambda pair: -pair.score)[:_MODES])


def load(card: ModelCard, *, device: str = "auto", threads: int | None = None) -> GasNet2:
    """Load a GaSNet-II whose files are those that were published.

    Parameters
    ----------
    card : ModelCard
    device, threads
        See `specinfer.engine.Session`.

    Returns
    -------
    GasNet2

    Raises
    ------
    ModelError
        If the model or its card was altered, or is of another kind.
    """
    if not isinstance(card, SubclassCard):
        raise ModelError("unknown_family", f"model {card.label} is not a GaSNet-II")
    return GasNet2(open_session(card, device, threads), card)
