"""SpecPT: class, redshift and a denoised spectrum by a transformer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from specinfer.engine import MAX_BATCH, Session
from specinfer.errors import ModelError, ReadError
from specinfer.models import ModelCard
from specinfer.networks.gasnet2 import GasNet2
from specinfer.networks.gasnet2_answer import SubclassAnswer
from specinfer.networks.loading import check_session, open_session
from specinfer.networks.specpt_answer import SpecPTAnswer
from specinfer.noise_channel import CHANNELS, with_noise
from specinfer.preprocess import Prepared, prepare
from specinfer.reconstruction import restored
from specinfer.specpt_card import SpecPTCard
from specinfer.spectrum import Spectrum

FloatArray = NDArray[np.float64]
# Beyond so many sigma a pixel counts no more: sky, spikes and telluric bands are nobody's.
_MOST_SIGMA = 5.0
# From where on an anomaly is named.
_ANOMALOUS = 0.5


def misfit(flux: FloatArray, ivar: FloatArray, model: FloatArray) -> FloatArray:
    """How badly a model fits, whatever a few pixels say.

    Parameters
    ----------
    flux, ivar, model : ndarray, shape (..., n)

    Returns
    -------
    ndarray, shape (...)
        Mean square of the residuals in sigma, each at most 5, over usable pixels; 0 where
        there are none.
    """
    usable = ivar > 0
    pull = np.abs(flux - model) * np.sqrt(np.where(usable, ivar, 0.0))
    square = np.minimum(pull, _MOST_SIGMA) ** 2
    return np.asarray(square.sum(axis=-1) / np.maximum(usable.sum(axis=-1), 1))


class SpecPT(GasNet2):
    """A loaded SpecPT; one may be used from many threads.

    Parameters
    ----------
    session : Session
        Of the card's ``model.onnx``.
    card : SpecPTCard
    """

    card: SpecPTCard

    def __init__(self, session: Session, card: SpecPTCard) -> None:
        super().__init__(session, card)

    @cached_property
    def checked_session(self) -> Session:
        """The session, once it is known to be the one that the card describes.

        Raises
        ------
        ModelError
            ``card_altered``, or ``bad_model`` if inputs or outputs are not those of a SpecPT.
        """
        heads = {head.output for head in self.card.heads.values() if head.output}
        outputs = {"class_logits", "embedding", self.card.reconstruction, *heads}
        check_session(self.session, self.card, outputs, "SpecPT", channels=CHANNELS)
        return self.session

    def predict(
        self,
        spectra: Sequence[Spectrum],
        redshifts: Sequence[float | None] | None = None,
    ) -> list[SubclassAnswer | ReadError]:
        """Classify and denoise spectra.

        Parameters
        ----------
        spectra : sequence of Spectrum
        redshifts : sequence of (float or None), optional
            Known redshifts: families that exclude them lose their probability.

        Returns
        -------
        list of (SpecPTAnswer or ReadError)
            In the order of `spectra`. An answer does not depend on what else is in the list.

        Raises
        ------
        ModelError, DeviceError
            If the network itself cannot be used.
        """
        known = list(redshifts) if redshifts is not None else [None] * len(spectra)
        answers: list[SubclassAnswer | ReadError] = []
        for start in range(0, len(spectra), MAX_BATCH):
            some = spectra[start : start + MAX_BATCH]
            part = [prepare(one.wavelength, one.flux, one.ivar, self.config) for one in some]
            inputs = [with_noise(*pair) for pair in zip(part, map(_said, some), strict=True)]
            raw = self.checked_session.run({self.card.input_name: np.stack(inputs)})
            found = self._answers(raw, part, some, known[start : start + MAX_BATCH])
            values = raw[self.card.reconstruction]
            answers += [
                answer
                if isinstance(answer, ReadError)
                else self._with_reconstruction(answer, row, made, one)
                for answer, row, made, one in zip(found, values, part, some, strict=True)
            ]
        return answers

    def _with_reconstruction(
        self,
        answer: SubclassAnswer,
        values: NDArray[np.float32],
        prepared: Prepared,
        spectrum: Spectrum,
    ) -> SpecPTAnswer:
        card = self.card
        flux = restored(values, prepared, self.config.clip)
        residual: float | None = None
        reasons: tuple[str, ...] = ()
        score = 0.5 if "NOVEL" in answer.flags else 0.0
        if score:
            reasons = ("NOVEL",)
        if spectrum.has_noise:
            residual = float(misfit(prepared.flux, prepared.ivar, flux))
            # 0 for the usual misfit, 0.5 for that of one in a hundred, 1 for twice as far.
            far = np.log(max(residual, 1e-9) / card.usual_misfit)
            far /= np.log(card.high_misfit / card.usual_misfit)
            part = float(np.clip(0.5 * far, 0.0, 1.0))
            if part >= _ANOMALOUS:
                reasons = (*reasons, "BAD_FIT")
            score = 1.0 - (1.0 - score) * (1.0 - part)
        fields = {name: getattr(answer, name) for name in answer.__dataclass_fields__}
        return SpecPTAnswer(
            **fields,
            reconstructed=flux,
            misfit=residual,
            anomaly=score,
            anomaly_reasons=reasons,
        )


def _said(spectrum: Spectrum) -> bool:
    """Whether the noise was stated."""
    return spectrum.has_noise


def load(card: ModelCard, *, device: str = "auto", threads: int | None = None) -> SpecPT:
    """Load a SpecPT whose files are those that were published.

    Parameters
    ----------
    card : ModelCard
    device, threads
        See `specinfer.engine.Session`.

    Returns
    -------
    SpecPT

    Raises
    ------
    ModelError
        If the model or its card was altered, or is of another kind.
    """
    if not isinstance(card, SpecPTCard):
        raise ModelError("unknown_family", f"model {card.label} is not a SpecPT")
    return SpecPT(open_session(card, device, threads, channels=CHANNELS), card)
