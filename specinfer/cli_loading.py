"""The network is loaded while the first file is read."""

from __future__ import annotations

import threading

from specinfer.classifier import Classifier


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
