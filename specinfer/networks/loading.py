"""Opening a model's session, and checking that its graph is the one of its card."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection
from pathlib import Path

from specinfer.engine import Session
from specinfer.errors import ModelError
from specinfer.models import ModelCard, check_metadata, read_half, read_model
from specinfer.preprocess import N_CHANNELS, Preprocessing


def open_session(
    card: ModelCard, device: str, threads: int | None, channels: int = N_CHANNELS
) -> Session:
    """The session of a card's ``model.onnx``, whose hash is checked.

    `channels` are those of the input. What `open_early` began is taken over.

    Raises
    ------
    ModelError
        If the model was altered.
    """
    early = _early.pop((card.model_path, card.sha256, device, threads, channels), None)
    return early or _session(card, device, threads, channels)


def open_early(card: ModelCard, device: str, threads: int | None) -> None:
    """Begin to open, in a thread, what `open_session` will soon be asked for.

    Raises
    ------
    ModelError
        If the model was altered.
    """
    if card.networks != (card,):
        # A combination of models opens those that it needs.
        return
    channels = int(card.raw["inputs"][0]["shape"][1])
    session = _session(card, device, threads, channels)

    def load() -> None:
        # Who asks for the session meets the failure again, and says it.
        with contextlib.suppress(Exception):
            _ = session.session

    _early[card.model_path, card.sha256, device, threads, channels] = session
    # Not a daemon: to leave while onnxruntime makes a session ends in an abort.
    threading.Thread(target=load).start()


# Sessions that nobody has asked for yet.
_early: dict[tuple[Path, str, str, int | None, int], Session] = {}


def _session(card: ModelCard, device: str, threads: int | None, channels: int) -> Session:
    n_pixels = Preprocessing.from_dict(card.preprocessing).n_pixels
    return Session(
        read_model(card),
        name=card.label,
        device=device,
        threads=threads,
        shapes={card.input_name: (channels, n_pixels)},
        half=None if device == "cpu" else read_half(card),
        sha256=card.sha256,
    )


def check_session(
    session: Session,
    card: ModelCard,
    outputs: Collection[str],
    kind: str,
    channels: int = N_CHANNELS,
) -> None:
    """Check that a session is the one that a card describes.

    Parameters
    ----------
    session : Session
    card : ModelCard
    outputs : collection of str
        Those that the graph must have.
    kind : str
        What it should be, such as "SpectraNet".
    channels : int, optional
        Of the input.

    Raises
    ------
    ModelError
        ``card_altered``, or ``bad_model`` if inputs or outputs are of another kind.
    """
    check_metadata(card, session.metadata)
    n_pixels = Preprocessing.from_dict(card.preprocessing).n_pixels
    shape = session.input_shapes.get(card.input_name)
    missing = set(outputs) - set(session.output_names)
    if shape is None or shape[1:] != (channels, n_pixels) or missing:
        raise ModelError(
            "bad_model",
            f"{card.model_path} does not have the inputs and outputs of a {kind}; "
            "export it again or reinstall specinfer",
        )
