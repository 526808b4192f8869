"""Survey spectra by two models together: a network proposes, a scan decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial

import numpy as np

from specinfer import zwarn
from specinfer.engine import Session
from specinfer.errors import ModelError, ReadError
from specinfer.models import ModelCard
from specinfer.networks import gasnet2, gasnet3
from specinfer.networks.gasnet2 import GasNet2
from specinfer.networks.gasnet2_answer import SubclassAnswer
from specinfer.networks.gasnet3 import GasNet3, limits_of
from specinfer.networks.spectranet_answer import Candidate
from specinfer.networks.survey_answer import SurveyAnswer
from specinfer.spectrum import Spectrum
from specinfer.subclass_card import NO_SIGNAL
from specinfer.survey_card import CombinationCard
from specinfer.zfind import Found, with_fits
from specinfer.zfit import fit
from specinfer.zgrid import Gridded
from specinfer.zscan import Curve
from specinfer.zweigh import FloatArray, Opinion, chances

Windows = dict[str, list[tuple[float, float]]]


class SurveyCombination:
    """GaSNet-II and GaSNet-III together; one may be used from many threads.

    The network's classes and modes of p(z | family) say where the scan looks first. If what
    it finds there is not likely enough to be right, it looks everywhere.

    Parameters
    ----------
    network : GasNet2
    scan : GasNet3
    card : CombinationCard
    """

    def __init__(self, network: GasNet2, scan: GasNet3, card: CombinationCard) -> None:
        self.network = network
        self.scan = scan
        self.card = card
        # Milder than those of the scan alone: what they let pass still has to be reliable.
        self.limits = limits_of(card)

    @cached_property
    def checked_session(self) -> Session:
        """The network's session, once it and the eigen-spectra are those of their cards.

        Raises
        ------
        ModelError
            As the members do.
        """
        _ = self.scan.scanners
        return self.network.checked_session

    def predict(
        self,
        spectra: Sequence[Spectrum],
        redshifts: Sequence[float | None] | None = None,
    ) -> list[SurveyAnswer | ReadError]:
        """Classify spectra and measure their redshifts.

        Parameters
        ----------
        spectra : sequence of Spectrum
        redshifts : sequence of (float or None), optional
            Known redshifts: only the families are compared there.

        Returns
        -------
        list of (SurveyAnswer or ReadError)
            In the order of `spectra`. An answer does not depend on what else is in the list.

        Raises
        ------
        ModelError, DeviceError
            If a model cannot be used.
        """
        known = list(redshifts) if redshifts is not None else [None] * len(spectra)
        # What is known is used once: by the scan.
        proposals = self.network.predict(spectra)
        return [
            proposal if isinstance(proposal, ReadError) else self._answer(*one, proposal)
            for one, proposal in zip(zip(spectra, known, strict=True), proposals, strict=True)
        ]

    def windows(self, proposal: SubclassAnswer) -> Windows:
        """Where the network says that the scan should look, by family."""
        limits, made = self.card.windows, {}
        for name in proposal.family_pdfs:
            if proposal.probabilities[name] < limits.least_family:
                continue
            family = next(one for one in self.scan.card.families if one.name == name)
            ends = np.log1p([family.redshift_min, family.redshift_max])
            if name in proposal.still_families:
                made[name] = [(family.redshift_min, family.redshift_max)]
                continue
            found = proposal.modes(name, limits.modes)
            centres = [
                float(centre)
                for rank, (centre, mass) in enumerate(zip(found.centre, found.mass, strict=True))
                if rank == 0 or mass >= limits.least_mode
            ]
            made[name] = _merged(centres, limits.half_width, float(ends[0]), float(ends[1]))
        return made

    def search(
        self, spectrum: Spectrum, proposal: SubclassAnswer, redshift: float | None = None
    ) -> tuple[Gridded, Found, FloatArray, str] | ReadError:
        """Scan where the network says, and everywhere if that is not enough.

        Returns
        -------
        data : Gridded
        found : Found
        chances : ndarray, shape (n_fits,)
            Probability that each fit has the right class and redshift.
        searched : {"windows", "everywhere"}
        """
        opinion = opinion_of(proposal)
        first = None if redshift is not None else self.in_windows(spectrum, proposal)
        if first is not None:
            p = self._chances(first, opinion, spectrum.snr)
            if p.max() >= self.card.windows.enough:
                return *first, p, "windows"
        made = self.everywhere(spectrum, first, redshift)
        if isinstance(made, ReadError):
            return made
        return *made, self._chances(made, opinion, spectrum.snr), "everywhere"

    def in_windows(
        self, spectrum: Spectrum, proposal: SubclassAnswer
    ) -> tuple[Gridded, Found] | None:
        """The scan where the network says; None where it says nothing."""
        windows = self.windows(proposal)
        if not windows:
            return None
        made = self.scan.search(spectrum, windows=windows)
        return None if isinstance(made, ReadError) else made

    def everywhere(
        self,
        spectrum: Spectrum,
        first: tuple[Gridded, Found] | None,
        redshift: float | None = None,
    ) -> tuple[Gridded, Found] | ReadError:
        """The scan of every redshift, with what was found in windows before.

        What the network proposes stays a candidate, however many minima are lower.
        """
        made = self.scan.search(spectrum, redshift, data=None if first is None else first[0])
        if isinstance(made, ReadError) or first is None:
            return made
        data, found = made
        return data, with_fits(found, first[1].fits)

    def _chances(self, made: tuple[Gridded, Found], opinion: Opinion, snr: float) -> FloatArray:
        data, found = made
        return chances(self.card.weights, found, data, opinion, snr)[0]

    def _answer(
        self, spectrum: Spectrum, redshift: float | None, proposal: SubclassAnswer
    ) -> SurveyAnswer | ReadError:
        outcome = self.search(spectrum, proposal, redshift)
        if isinstance(outcome, ReadError):
            return outcome
        data, found, p, searched = outcome
        alone = self.scan.answer(spectrum, data, found, redshift)
        families = _families(found, p, self.card.classes)
        best = max(families, key=families.__getitem__)
        place = max(
            (i for i, one in enumerate(found.fits) if one.family == best), key=lambda i: p[i]
        )
        answer = alone
        if place > 0:
            chosen = self._first(found, place, data, spectrum, redshift)
            answer = self.scan.answer(spectrum, data, chosen, redshift)
        order = [place, *(i for i in range(len(p)) if i != place)]
        reliability = float(p[place])
        mask = zwarn.zwarning(answer.found, data, self.limits, spectrum.resolution, answer.evidence)
        if redshift is not None:
            mask &= ~zwarn.OF_A_SEARCH
        if proposal.class_name == NO_SIGNAL and redshift is None:
            mask |= zwarn.mask(NO_SIGNAL)
        if reliability < self.card.least_reliability:
            mask |= zwarn.mask("UNRELIABLE")
        subtypes = proposal.subtypes(best)
        ranked = sorted(families, key=lambda name: -families[name])
        kept = tuple(name for name in ranked if families[name] >= self.card.set_threshold)
        novel = "NOVEL" in proposal.flags
        news = ("NOVEL",) if novel else ()
        return replace(
            answer,
            probabilities=families,
            prediction_set=kept or (best,),
            subtype=max(subtypes, key=subtypes.__getitem__),
            subtype_probabilities=subtypes,
            zwarning=mask,
            anomaly=1.0 - (1.0 - answer.anomaly) * (0.5 if novel else 1.0),
            anomaly_reasons=(*answer.anomaly_reasons, *news),
            flags=tuple({*answer.flags} - {*zwarn.BITS} | {*zwarn.names(mask), *news}),
            embedding=proposal.embedding,
            candidates=tuple(
                Candidate(found.fits[i].family, found.fits[i].redshift, float(p[i])) for i in order
            )[:3],
            reliability=reliability,
            novelty=proposal.novelty,
            searched=searched,
            scan_everywhere=None if searched == "everywhere" else partial(self._curves, spectrum),
            parts={
                self.network.card.name: proposal.to_dict(self.network.card.version),
                self.scan.card.name: replace(alone, searched=searched).to_dict(
                    self.scan.card.version
                ),
            },
        )

    def _curves(self, spectrum: Spectrum) -> dict[str, Curve]:
        made = self.scan.search(spectrum)
        assert not isinstance(made, ReadError)
        return made[1].curves

    def _first(
        self, found: Found, place: int, data: Gridded, spectrum: Spectrum, redshift: float | None
    ) -> Found:
        """The same with another fit first, done to the end."""
        one = found.fits[place]
        if redshift is None:
            scanner = next(s for s in self.scan.scanners if s.family.name == one.family)
            one = fit(scanner, data, one.redshift, spectrum.resolution)
        others = [other for i, other in enumerate(found.fits) if i != place]
        return found._replace(fits=(one, *others))


def opinion_of(proposal: SubclassAnswer) -> Opinion:
    """What the network says, as the weights want it."""
    moving = {
        name: p for name, p in proposal.family_pdfs.items() if name not in proposal.still_families
    }
    return Opinion(
        proposal.probabilities,
        proposal.probabilities.get(NO_SIGNAL, 0.0),
        proposal.ln1z,
        moving,
    )


def _families(found: Found, p: FloatArray, names: Sequence[str]) -> dict[str, float]:
    """P(family): of its fits, given that one of them is right."""
    made = dict.fromkeys(names, 0.0)
    for one, chance in zip(found.fits, p, strict=True):
        made[one.family] += float(chance)
    total = sum(made.values())
    return {name: chance / total for name, chance in made.items()}


def _merged(
    centres: Sequence[float], half: float, low: float, high: float
) -> list[tuple[float, float]]:
    """Windows of redshift around places in ln(1+z) within limits; those that touch are one."""
    merged: list[tuple[float, float]] = []
    for centre in sorted(np.clip(centres, low, high)):
        start, stop = max(centre - half, low), min(centre + half, high)
        if merged and start <= merged[-1][1] + 0.2 * half:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((start, stop))
    return [(float(np.expm1(a)), float(np.expm1(b))) for a, b in merged]


def load(card: ModelCard, *, device: str = "auto", threads: int | None = None) -> SurveyCombination:
    """Load a combination and its members.

    Parameters
    ----------
    card : ModelCard
    device, threads
        See `specinfer.engine.Session`.

    Returns
    -------
    SurveyCombination

    Raises
    ------
    ModelError
        If a member or its card was altered, or is of another kind.
    """
    if not isinstance(card, CombinationCard):
        raise ModelError("unknown_family", f"model {card.label} is not a combination")
    return SurveyCombination(
        gasnet2.load(card.network, device=device, threads=threads),
        gasnet3.load(card.scan, device=device, threads=threads),
        card,
    )
