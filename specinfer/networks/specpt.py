"""SpecPT: class, redshift and a denoised spectrum by a transformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from specinfer.engine import Session
from specinfer.errors import ModelError, ReadError
from specinfer.models import ModelCard
from specinfer.networks.gasnet2 import GasNet2
from specinfer.networks.gasnet2_answer import SubclassAnswer
from specinfer.networks.loading import open_session
from specinfer.networks.specpt_answer import SpecPTAnswer
from specinfer.noise_channel import CHANNELS, with_noise
from specinfer.preprocess import Prepared
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

    kind = "SpecPT"
    channels = CHANNELS

    def __init__(self, session: Session, card: SpecPTCard) -> None:
        super().__init__(session, card)
        self.more_outputs = (card.reconstruction,)

    def _input(self, prepared: Prepared, spectrum: Spectrum) -> NDArray[np.float32]:
        return with_noise(prepared, spectrum.has_noise)

    def _answers(
        self,
        raw: Mapping[str, NDArray[np.float32]],
        prepared: Sequence[Prepared],
        spectra: Sequence[Spectrum],
        known: Sequence[float | None],
    ) -> list[SubclassAnswer | ReadError]:
        found = super()._answers(raw, prepared, spectra, known)
        values = raw[self.card.reconstruction]
        return [
            answer
            if isinstance(answer, ReadError)
            else self._with_reconstruction(answer, row, made, one)
            for answer, row, made, one in zip(found, values, prepared, spectra, strict=True)
        ]

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
