"""GaSNet-III: galaxies, quasars and stars by learned eigen-spectra and a redshift scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from specinfer import zwarn
from specinfer.engine import MAX_BATCH, Session
from specinfer.errors import ModelError, ReadError
from specinfer.models import ModelCard
from specinfer.networks.loading import check_session, open_session
from specinfer.networks.spectranet_answer import Candidate
from specinfer.networks.survey_answer import SurveyAnswer
from specinfer.preparing import prepare_many
from specinfer.preprocess import N_CHANNELS, Preprocessing
from specinfer.scan_card import FamilyBlock, ScanCard
from specinfer.spectrum import Spectrum
from specinfer.survey_card import CombinationCard
from specinfer.zfind import Found, Search, find
from specinfer.zfit import Fit
from specinfer.zgrid import Gridded, to_grid
from specinfer.zscan import Family, Scanner

FloatArray = NDArray[np.float64]

_COEFFICIENTS = "coefficients"
# Below this degeneracy D the best redshift is not the only one.
_D_LIMIT = 0.002
_NO_EMBEDDING = np.zeros(0, np.float32)


class GasNet3:
    """A loaded GaSNet-III; one may be used from many threads.

    Parameters
    ----------
    session : Session
        Of the card's ``model.onnx``.
    card : ScanCard
    """

    def __init__(self, session: Session, card: ScanCard) -> None:
        self.session = session
        self.card = card
        self.config = Preprocessing.from_dict(card.preprocessing)
        self.limits = limits_of(card)

    @cached_property
    def checked_session(self) -> Session:
        """The session, once it is known to be the one that the card describes.

        Raises
        ------
        ModelError
            ``card_altered``, or ``bad_model`` if inputs or outputs are not those of a
            GaSNet-III.
        """
        needed = {_COEFFICIENTS, *(block.output for block in self.card.families)}
        check_session(self.session, self.card, needed, "GaSNet-III")
        return self.session

    @cached_property
    def scanners(self) -> tuple[Scanner, ...]:
        """One a family, with the eigen-spectra of the ONNX file."""
        zeros = np.zeros((1, N_CHANNELS, self.config.n_pixels), np.float32)
        made = self.checked_session.run({self.card.input_name: zeros})
        return tuple(
            Scanner(
                _family(block, made[block.output]), self.card.additive, self.card.multiplicative
            )
            for block in self.card.families
        )

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
            If the model itself cannot be used.
        """
        known = list(redshifts) if redshifts is not None else [None] * len(spectra)
        _ = self.scanners
        embeddings = self._encode(spectra)
        answers: list[SurveyAnswer | ReadError] = []
        for spectrum, redshift, embedding in zip(spectra, known, embeddings, strict=True):
            made = self.search(spectrum, redshift)
            if not isinstance(made, ReadError):
                answers.append(self.answer(spectrum, *made, redshift, embedding))
            else:
                answers.append(made)
        return answers

    def search(
        self,
        spectrum: Spectrum,
        redshift: float | None = None,
        windows: Mapping[str, Sequence[tuple[float, float]]] | None = None,
        data: Gridded | None = None,
    ) -> tuple[Gridded, Found] | ReadError:
        """The scan alone.

        Parameters
        ----------
        spectrum : Spectrum
        redshift : float, optional
            The known one.
        windows : mapping of str to sequence of (float, float), optional
            Redshifts to look at, by family; they do not overlap. Families without an entry
            are not looked at. By default every family everywhere.
        data : Gridded, optional
            The spectrum on the grid, if an earlier search made it.

        Returns
        -------
        (Gridded, Found) or ReadError
            ``bad_redshift`` if no family can have the known redshift.
        """
        if data is None:
            data = to_grid(spectrum.wavelength, spectrum.flux, spectrum.ivar)
        searches = [Search(one) for one in self.scanners]
        if redshift is not None:
            searches = [
                Search(one.scanner, (redshift, redshift))
                for one in searches
                if one.scanner.family.redshift_min <= redshift <= one.scanner.family.redshift_max
            ]
        elif windows is not None:
            searches = [
                Search(one.scanner, window)
                for one in searches
                for window in windows.get(one.scanner.family.name, ())
            ]
        if not searches:
            return ReadError(
                "bad_redshift",
                f"no family of {self.card.label} can have a redshift of {redshift}",
            )
        return data, find(data, searches, spectrum.resolution)

    def _encode(self, spectra: Sequence[Spectrum]) -> list[NDArray[np.float32]]:
        """The encoders' coefficients of every spectrum."""
        made: list[NDArray[np.float32]] = []
        for start in range(0, len(spectra), MAX_BATCH):
            some = prepare_many(spectra[start : start + MAX_BATCH], self.config)
            inputs = np.stack([one.input for one in some])
            answers = self.checked_session.run(
                {self.card.input_name: inputs}, only=(_COEFFICIENTS,)
            )
            made += list(answers[_COEFFICIENTS])
        return made

    def answer(
        self,
        spectrum: Spectrum,
        data: Gridded,
        found: Found,
        redshift: float | None = None,
        embedding: NDArray[np.float32] = _NO_EMBEDDING,
    ) -> SurveyAnswer:
        """What a scan means.

        Parameters
        ----------
        spectrum : Spectrum
        data, found : Gridded, Found
            Of `search`.
        redshift : float, optional
            The known one.
        embedding : ndarray, shape (E,), optional
        """
        best = found.fits[0]
        probabilities = self._probabilities(found)
        evidence = zwarn.evidence_of(found, data)
        mask = zwarn.zwarning(found, data, self.limits, spectrum.resolution, evidence)
        if redshift is not None:
            mask &= ~zwarn.OF_A_SEARCH
        anomaly, reasons = self._anomaly(found, mask)
        ranked = tuple(sorted(probabilities, key=lambda name: -probabilities[name]))
        least = self.card.set_threshold
        raised = {
            **dict.fromkeys(zwarn.names(mask), True),
            "LOW_SNR": not spectrum.snr >= self.card.low_snr,
            "Z_GIVEN": redshift is not None,
        }
        return SurveyAnswer(
            probabilities=probabilities,
            prediction_set=tuple(name for name in ranked if probabilities[name] >= least)
            or ranked[:1],
            subtype=None,
            subtype_probabilities=None,
            redshift=best.redshift if redshift is None else float(redshift),
            redshift_err=self.error(best) if redshift is None else None,
            zwarning=mask,
            anomaly=anomaly,
            anomaly_reasons=reasons,
            flags=tuple(name for name, is_set in raised.items() if is_set),
            candidates=_candidates(found, self.card.temperature),
            found=found,
            data=data,
            embedding=embedding,
            given=redshift,
            evidence=evidence,
        )

    def _probabilities(self, found: Found) -> dict[str, float]:
        """P(family): the likelihoods of the best fit of each, softened."""
        chi2 = {name: found.lowest.get(name, np.inf) for name in self.card.classes}
        values = np.array(list(chi2.values()))
        weights = np.exp(-0.5 * (values - values.min()) / self.card.temperature)
        weights /= weights.sum()
        return {name: float(w) for name, w in zip(chi2, weights, strict=True)}

    def error(self, best: Fit) -> float:
        """The calibrated 1-sigma error of a fit's redshift."""
        block = next(one for one in self.card.families if one.name == best.family)
        floor = block.error_floor(best.redshift) * (1.0 + best.redshift)
        return float(np.hypot(block.error_scale * best.redshift_err, floor))

    def _anomaly(self, found: Found, mask: int) -> tuple[float, tuple[str, ...]]:
        """How unusual, from 0 to 1, and why."""
        best = found.fits[0]
        reduced = best.chi2 / max(best.n_pixels, 1)
        # 0 at a reduced chi2 of 1, a half at the limit that 1 % of usual spectra exceed.
        excess = max(reduced - 1.0, 0.0) / max(self.card.chi2_limit - 1.0, 1e-3)
        misfit = excess / (1.0 + excess)
        reasons = []
        if excess > 1.0:
            reasons.append("CHI2")
        ambiguous = found.degeneracy < _D_LIMIT
        if ambiguous:
            reasons.append("DEGENERATE")
        doubts = [name for name in ("SKYLINE_DRIVEN", "NO_SIGNAL") if name in zwarn.names(mask)]
        reasons += doubts
        score = 1.0 - (1.0 - misfit) * (0.5 if ambiguous else 1.0) * 0.5 ** len(doubts)
        return float(score), tuple(reasons)


def limits_of(card: ScanCard | CombinationCard) -> zwarn.Limits:
    """The limits of the warnings that a card gives.

    Raises
    ------
    ModelError
        ``bad_card`` if it gives one that there is not.
    """
    try:
        return zwarn.Limits(**card.limits)
    except TypeError as error:
        path = card.folder / "card.json"
        raise ModelError("bad_card", f"{path} has wrong limits: {error}") from None


def _family(block: FamilyBlock, spectra: NDArray[np.float32]) -> Family:
    rows = np.asarray(spectra, dtype=np.float64)
    if len(rows) != len(block.typical):
        raise ModelError(
            "bad_model", f"{block.output} has {len(rows)} rows, the card {len(block.typical)}"
        )
    return Family(
        block.name,
        rows,
        block.first,
        block.redshift_min,
        block.redshift_max,
        block.resolution,
        np.array(block.typical),
        np.array(block.moments),
        block.binning,
    )


def _candidates(found: Found, temperature: float) -> tuple[Candidate, ...]:
    """The best fits with their shares of the likelihood."""
    chi2 = np.array([one.chi2 for one in found.fits])
    weights = np.exp(-0.5 * (chi2 - chi2.min()) / temperature)
    shares = weights / weights.sum()
    pairs = zip(found.fits, shares, strict=True)
    return tuple(Candidate(one.family, one.redshift, float(w)) for one, w in pairs)[:3]


def load(card: ModelCard, *, device: str = "auto", threads: int | None = None) -> GasNet3:
    """Load a GaSNet-III whose files are those that were published.

    Parameters
    ----------
    card : ModelCard
    device, threads
        See `specinfer.engine.Session`.

    Returns
    -------
    GasNet3

    Raises
    ------
    ModelError
        If the model or its card was altered, or is of another kind.
    """
    if not isinstance(card, ScanCard):
        raise ModelError("unknown_family", f"model {card.label} is not a GaSNet-III")
    return GasNet3(open_session(card, device, threads), card)
