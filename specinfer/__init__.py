"""specinfer: classify astronomical spectra and measure their redshifts, without PyTorch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specinfer.annotation import annotate
    from specinfer.classifier import Classifier, classify
    from specinfer.errors import (
        DeviceError,
        ModelError,
        ReadError,
        SpecinferError,
        SpecinferWarning,
        UsageError,
    )
    from specinfer.readers import read
    from specinfer.readers.join import join
    from specinfer.result import Classification
    from specinfer.spectrum import Spectrum

__version__ = "0.1.0"

__all__ = [
    "Classification",
    "Classifier",
    "DeviceError",
    "ModelError",
    "ReadError",
    "SpecinferError",
    "SpecinferWarning",
    "Spectrum",
    "UsageError",
    "__version__",
    "annotate",
    "classify",
    "join",
    "read",
]

# Imported on first use, so that `specinfer --help` does not wait for numpy.
_HOMES = {
    "Classification": "specinfer.result",
    "Classifier": "specinfer.classifier",
    "annotate": "specinfer.annotation",
    "classify": "specinfer.classifier",
    "read": "specinfer.readers",
    "join": "specinfer.readers.join",
    "Spectrum": "specinfer.spectrum",
    "DeviceError": "specinfer.errors",
    "ModelError": "specinfer.errors",
    "ReadError": "specinfer.errors",
    "SpecinferError": "specinfer.errors",
    "SpecinferWarning": "specinfer.errors",
    "UsageError": "specinfer.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'specinfer' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
