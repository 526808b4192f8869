"""What every model's answer has, whatever the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from specinfer.engine import Session
    from specinfer.errors import ReadError
    from specinfer.models import ModelCard
    from specinfer.networks.spectranet_answer import Candidate
    from specinfer.spectrum import Spectrum


class Answer(Protocol):
    """An answer, as `specinfer.result.ok` turns it into a result; None is not known."""

    @property
    def class_name(self) -> str:
        """The most probable class."""

    @property
    def probability(self) -> float:
        """Its probability."""

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Of all classes."""

    @property
    def subtype(self) -> str | None:
        """The most probable subtype of the class."""

    @property
    def subtype_probabilities(self) -> Mapping[str, float] | None:
        """Of all subtypes of the class."""

    @property
    def redshift(self) -> float | None:
        """The best redshift, or the given one; None for what has none."""

    @property
    def redshift_err(self) -> float | None:
        """Its 1-sigma error."""

    @property
    def flags(self) -> tuple[str, ...]:
        """What to know before it is believed."""

    @property
    def embedding(self) -> NDArray[np.float32]:
        """What the network made of the spectrum, shape (E,)."""

    @property
    def candidates(self) -> Sequence[Candidate]:
        """The best pairs of class and redshift, best first."""

    def to_dict(self, version: str) -> dict[str, Any]:
        """All of it, for the ``models`` block; with a list of ``candidates``."""


class Network(Protocol):
    """A loaded model, as the classifier uses it."""

    @property
    def card(self) -> ModelCard:
        """Its card."""

    @property
    def checked_session(self) -> Session:
        """Its session, known to be the one of the card."""

    def predict(
        self, spectra: Sequence[Spectrum], redshifts: Sequence[float | None] | None = None
    ) -> Sequence[Answer | ReadError]:
        """Answers in the order of the spectra."""
