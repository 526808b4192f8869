"""SpectraNet: class, redshift and phase of a transient from one spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer.engine import MAX_BATCH, Session
from specinfer.errors import ModelError, ReadError
from specinfer.models import ModelCard, SpectraNetCard
from specinfer.networks.loading import check_session, open_session
from specinfer.networks.spectranet_answer import Candidate, SpectraNetAnswer
from specinfer.networks.spectranet_outputs import Interpreter, keep_possible, possible_redshifts
from specinfer.preparing import prepare_many
from specinfer.preprocess import Prepared, Preprocessing
from specinfer.relevance import Relevance, explain
from specinfer.spectrum import Spectrum

__all__ = [
    "Candidate",
    "SpectraNet",
    "SpectraNetAnswer",
    "keep_possible",
    "load",
    "possible_redshifts",
]

_OUTPUTS = ("class_logits", "redshift_logits", "phase_logits", "embedding")


class SpectraNet:
    """A loaded SpectraNet; one may be used from many threads.

    Parameters
    ----------
    session : Session
        Of the card's ``model.onnx``.
    card : SpectraNetCard
    """

    def __init__(self, session: Session, card: SpectraNetCard) -> None:
        self.session = session
        self.card = card
        self.config = Preprocessing.from_dict(card.preprocessing)
        self.interpreter = Interpreter(card)

    @cached_property
    def checked_session(self) -> Session:
        """The session, once it is known to be the one that the card describes.

        Raises
        ------
        ModelError
            ``card_altered``, or ``bad_model`` if inputs or outputs are not those of a
            SpectraNet.
        """
        check_session(self.session, self.card, {*_OUTPUTS, *self.card.output_names}, "SpectraNet")
        return self.session

    def prepare(self, spectrum: Spectrum, redshift: float | None = None) -> Prepared:
        """A spectrum on the network's grid, in the rest frame if a redshift is given.

        Raises
        ------
        ReadError
            ``out_of_range`` if nothing of it falls on the grid; ``bad_redshift``.
        """
        outcome = self._prepare_many([spectrum], [redshift])[0]
        if isinstance(outcome, ReadError):
            raise outcome
        return outcome

    def predict(
        self,
        spectra: Sequence[Spectrum],
        redshifts: Sequence[float | None] | None = None,
    ) -> list[SpectraNetAnswer | ReadError]:
        """Classify spectra.

        Parameters
        ----------
        spectra : sequence of Spectrum
        redshifts : sequence of (float or None), optional
            Known redshifts, one a spectrum; None where it is to be estimated.

        Returns
        -------
        list of (SpectraNetAnswer or ReadError)
            In the order of `spectra`. A spectrum that cannot be prepared has an error in
            its place. An answer does not depend on what else is in the list.

        Raises
        ------
        ModelError, DeviceError
            If the network itself cannot be used.
        """
        known = list(redshifts) if redshifts is not None else [None] * len(spectra)
        answers: list[SpectraNetAnswer | ReadError] = []
        for start in range(0, len(spectra), MAX_BATCH):
            part = slice(start, start + MAX_BATCH)
            answers += self._predict_batch(spectra[part], known[part])
        return answers

    def run(self, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The raw outputs for prepared spectra.

        Parameters
        ----------
        inputs : ndarray, shape (n, 3, P), float32
            As `Prepared.input`; any number of them.

        Returns
        -------
        dict of str to ndarray, shape (n, size)
            By the names in the card.

        Raises
        ------
        ModelError, DeviceError
            If the network itself cannot be used.
        """
        session, name = self.checked_session, self.card.input_name
        # No device gets more at once than it was prepared for.
        parts = [
            session.run({name: inputs[start : start + MAX_BATCH]})
            for start in range(0, len(inputs), MAX_BATCH)
        ]
        if len(parts) == 1:
            return parts[0]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def explain(self, answer: SpectraNetAnswer) -> Relevance:
        """Which parts of the spectrum made the answer, by hiding them one after the other.

        Parameters
        ----------
        answer : SpectraNetAnswer
            Of this network.

        Returns
        -------
        Relevance
            See `specinfer.relevance`.

        Raises
        ------
        ModelError, DeviceError
            If the network itself cannot be used.
        """
        return explain(answer, self.interpreter, self.run, self.config.step)

    def _predict_batch(
        self, spectra: Sequence[Spectrum], redshifts: Sequence[float | None]
    ) -> list[SpectraNetAnswer | ReadError]:
        blind = self._blind_rows(redshifts)
        made = self._prepare_many(
            [*spectra, *(spectra[i] for i in blind)], [*redshifts, *(None for _ in blind)]
        )
        own, as_observed = made[: len(spectra)], dict(zip(blind, made[len(spectra) :], strict=True))
        outcomes: list[_Row | ReadError] = []
        inputs: list[NDArray[np.float32]] = []
        for index, prepared in enumerate(own):
            if isinstance(prepared, ReadError):
                outcomes.append(prepared)
                continue
            place, blind_place = len(inputs), None
            inputs.append(prepared.input)
            observed = as_observed.get(index)
            # Where it cannot be prepared as observed there is nothing to check.
            if isinstance(observed, Prepared):
                blind_place = len(inputs)
                inputs.append(observed.input)
            outcomes.append(_Row(prepared, place, blind_place))
        # A model that cannot be used is said even where no spectrum can.
        _ = self.checked_session
        numbers = self.interpreter.numbers(self.run(np.stack(inputs))) if inputs else []
        return [
            row
            if isinstance(row, ReadError)
            else self.interpreter.answer(
                numbers[row.own],
                row.prepared,
                spectrum,
                redshift,
                None if row.blind is None else numbers[row.blind],
                self.config.wavelength,
            )
            for row, spectrum, redshift in zip(outcomes, spectra, redshifts, strict=True)
        ]

    def _blind_rows(self, redshifts: Sequence[float | None]) -> list[int]:
        """Spectra whose given redshift is to be checked against what they say themselves."""
        if self.card.trust.conflict_level is None:
            return []
        return [index for index, redshift in enumerate(redshifts) if redshift is not None]

    def _prepare_many(
        self, spectra: Sequence[Spectrum], redshifts: Sequence[float | None]
    ) -> list[Prepared | ReadError]:
        """As `prepare`, with spectra on the same pixels prepared together."""
        moved: list[Spectrum | ReadError] = []
        for spectrum, redshift in zip(spectra, redshifts, strict=True):
            try:
                moved.append(spectrum if redshift is None else spectrum.to_rest_frame(redshift))
            except ReadError as error:
                moved.append(error)
        good = [one for one in moved if isinstance(one, Spectrum)]
        made = iter(prepare_many(good, self.config))
        outcomes: list[Prepared | ReadError] = []
        for one in moved:
            if isinstance(one, ReadError):
                outcomes.append(one)
                continue
            prepared = next(made)
            outcomes.append(prepared if prepared.valid.any() else self._out_of_range(one))
        return outcomes

    def _out_of_range(self, spectrum: Spectrum) -> ReadError:
        return ReadError(
            "out_of_range",
            f"no usable pixel of {spectrum.wavelength[0]:.0f}-{spectrum.wavelength[-1]:.0f} A "
            f"falls on the grid of {self.card.label} "
            f"({self.config.wavelength_min:.0f}-{self.config.wavelength_max:.0f} A)",
        )


class _Row(NamedTuple):
    """A prepared spectrum, where its input stands in the batch, and the one as observed."""

    prepared: Prepared
    own: int
    blind: int | None


def load(card: ModelCard, *, device: str = "auto", threads: int | None = None) -> SpectraNet:
    """Load a SpectraNet whose files are those that were published.

    Parameters
    ----------
    card : ModelCard
    device, threads
        See `specinfer.engine.Session`.

    Returns
    -------
    SpectraNet

    Raises
    ------
    ModelError
        If the model or its card was altered, or is of another kind.
    """
    if not isinstance(card, SpectraNetCard):
        raise ModelError("unknown_family", f"model {card.label} is not a SpectraNet")
    return SpectraNet(open_session(card, device, threads), card)
