"""The network is loaded while modules are imported and the first file is read."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from specinfer.classifier import Classifier


def begin(model: str | None, device: str | None, threads: int | None) -> None:
    """Begin to load the network of a model, before there is a `Classifier`.

    onnxruntime reads and optimises a network without holding Python up, so the modules
    that prepare spectra and read the answer are imported at the same time. Whatever is
    wrong with model or device is left to the `Classifier`, which meets it again.

    Parameters
    ----------
    model, device, threads
        As for `Classifier`; None is the default.
    """
    from specinfer.models import DEFAULT_MODEL, load_card
    from specinfer.networks.loading import open_early
    from specinfer.providers import runtime_version

    with contextlib.suppress(Exception):
        card = load_card(DEFAULT_MODEL if model in (None, "auto") else model)
        # Imported here: imports in two threads wait for each other.
        runtime_version()
        open_early(card, device or "auto", threads)


class Background:
    """Loads the network in a thread; `wait` gives its failure to the caller.

    Parameters
    ----------
    classifier : Classifier
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._error: BaseException | None = None
        # Not a daemon: to leave while onnxruntime makes a session ends in an abort.
        self._thread = threading.Thread(target=self._load)
        self._thread.start()

    def _load(self) -> None:
        try:
            self._classifier.warm_up()
        except BaseException as error:
            self._error = error

    def wait(self) -> None:
        """Until it is loaded.

        Raises
        ------
        ModelError, DeviceError
            If it cannot be loaded.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
