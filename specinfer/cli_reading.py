"""What a command line says of how files are read, checked before any file is."""

from __future__ import annotations

from specinfer.engine import DEVICES
from specinfer.errors import UsageError
from specinfer.readers import FORMATS, ReadOptions
from specinfer.readers.base import NOISE_KINDS
from specinfer.wavelengths import UNIT_CHOICES


def check_choices(reading: ReadOptions, device: str) -> None:
    """Refuse formats, kinds of noise, units and devices that do not exist.

    Raises
    ------
    UsageError
        ``bad_option``, with those that do.
    """
    choices = (
        ("format", reading.format, FORMATS),
        ("noise", reading.noise, NOISE_KINDS),
        ("unit", reading.unit, UNIT_CHOICES),
        ("device", device, DEVICES),
    )
    for option, value, known in choices:
        if value is not None and value not in known:
            raise UsageError("bad_option", f"--{option} {value!r} is not one of {', '.join(known)}")
