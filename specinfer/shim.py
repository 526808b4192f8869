"""The two functions that the SEDM pipeline calls of each of its classifiers.

In the manner of its own modules: `run_specinfer` does the work on a file and says if there
is something to record, `record_specinfer` gives the line for the night's summary. Neither
raises: what goes wrong is one line on standard error.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from specinfer.classifier import Classifier
    from specinfer.result import Classification


def run_specinfer(spec_file: str | os.PathLike[str], overwrite: bool = False) -> bool:
    """Classify a spectrum and write the answer into its headers and its sidecar.

    Every file ends in a state (SPISTAT), so that the next run does not try again. A file is
    given up after 60 s.

    Parameters
    ----------
    spec_file : path
        ``spec_*.txt`` or ``spec_*.fits``; the other one is found beside it.
    overwrite : bool, optional
        Also where it was done before.

    Returns
    -------
    bool
        Whether it was classified now, so that there is something to record. False for
        skipped and unusable spectra, for those that were done before, and after a failure.
    """
    from specinfer.errors import SpecinferError
    from specinfer.pipeline import Handling, handle

    try:
        handled = handle(spec_file, _classifier(), Handling(annotate=True, overwrite=overwrite))
    except SpecinferError as error:
        _say(spec_file, f"{error.message} ({error.code})")
        return False
    except Exception as error:  # the pipeline behind it must go on
        _say(spec_file, f"{type(error).__name__}: {error}; this is a bug of specinfer")
        return False
    if handled.reason:
        _say(spec_file, f"{handled.state}: {handled.reason}")
    answered = handled.result is not None and handled.result.ok
    return handled.fresh and answered


def record_specinfer(spec_file: str | os.PathLike[str]) -> str:
    """The answer as one line for the night's summary.

    Parameters
    ----------
    spec_file : path
        As for `run_specinfer`, which has written the answer into the file already.

    Returns
    -------
    str
        ``SPECINFER RESULTS: Type=SN Ia, P=0.998, z=0.0476+-0.0021, flags=-``; empty if
        there is none.
    """
    from specinfer.sidecar import read_sidecar, recall

    try:
        document = read_sidecar(spec_file)
        result = None if document is None else recall(document)
        if document is None or result is None or not result.ok:
            return ""
        return summary(document["state"], result)
    except Exception as error:  # as above
        _say(spec_file, f"{type(error).__name__}: {error}; this is a bug of specinfer")
        return ""


def summary(state: str, result: Classification) -> str:
    """An answer as one line, for people and for grep."""
    redshift = "-" if result.redshift is None else f"{result.redshift:.4f}"
    if result.redshift_err is not None:
        redshift += f"+-{result.redshift_err:.4f}"
    flags = ",".join(result.flags) or "-"
    seen = "" if state == "OK" else f", state={state}"
    return (
        f"SPECINFER RESULTS: Type={result.class_name}, P={result.probability:.3f}, "
        f"z={redshift}, flags={flags}{seen}"
    )


def _classifier() -> Classifier:
    """The classifier that `specinfer.classify` shares, loaded with the first file."""
    from specinfer.classifier import shared_classifier

    return shared_classifier()


def _say(spec_file: str | os.PathLike[str], text: str) -> None:
    line = " ".join(f"specinfer: {os.fspath(spec_file)}: {text}".split())
    encoding = sys.stderr.encoding or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr)
