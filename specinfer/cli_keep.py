"""`specinfer classify --annotate` and `--sidecar`: skip what is skipped, write answers down."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from specinfer.classifier import Classifier
from specinfer.errors import ReadError, SpecinferError
from specinfer.examine import Examined, examine
from specinfer.handling import Handling
from specinfer.pipeline import record
from specinfer.replacing import sweep
from specinfer.result import Classification, failed
from specinfer.sidecar import sidecar_path

if TYPE_CHECKING:
    from specinfer.cli_classify import Job

# Code of a result that is none because its spectrum was skipped: no failure.
SKIPPED = "skipped"


class Keeper:
    """Writes the answers of one run into headers and sidecars.

    Parameters
    ----------
    classifier : Classifier
        That answers.
    job : Job
        Its options.
    """

    def __init__(self, classifier: Classifier, job: Job) -> None:
        self._classifier = classifier
        self._handling = Handling(
            annotate=job.annotate,
            sidecar=job.sidecar,
            overwrite=job.overwrite,
            skip=job.skip,
            redshift=job.redshift,
        )
        self._examined: dict[str, Examined] = {}
        self._done: set[str] = set()
        self._folders: set[str] = set()

    def look(self, path: str) -> Classification | None:
        """Look at a file before it is read.

        Parameters
        ----------
        path : str

        Returns
        -------
        Classification or None
            A failed result with the code ``skipped`` if it is not to be classified.
        """
        folder = os.path.dirname(path) or "."
        if folder not in self._folders:
            self._folders.add(folder)
            sweep(Path(folder))
        examined = examine(path, self._handling.skip)
        self._examined[path] = examined
        skip = examined.gate
        if skip is None or skip.state == "UNREADABLE":
            return None
        error = ReadError(SKIPPED, f"{skip.state}: {skip.reason}; --no-skip classifies it")
        return failed(error, file=path, object=examined.object)

    def write(self, answer: Classification) -> SpecinferError | None:
        """Write a result down; the failure, if there was one.

        Parameters
        ----------
        answer : Classification
            Of a file that was looked at.

        Returns
        -------
        SpecinferError or None
            Once a spectrum.
        """
        path = answer.file or ""
        examined = self._examined.get(path)
        if examined is None:
            return None
        # Answers come in the order of the files; a file of many objects has several.
        for earlier in list(self._examined):
            if earlier == path:
                break
            del self._examined[earlier]
        # Where both twins are given, the first of them answers for the spectrum.
        spectrum = os.path.realpath(sidecar_path(path))
        if spectrum in self._done:
            return None
        self._done.add(spectrum)
        try:
            record(examined, answer, self._classifier, self._handling)
        except SpecinferError as error:
            return error
        return None
