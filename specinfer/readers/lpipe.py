"""Keck LRIS spectra that LPipe wrote as text."""

from __future__ import annotations

from collections.abc import Iterator

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.columns import Layout, choose, to_spectrum
from specinfer.readers.text_lines import described_text, has_rows, header_facts, header_lines, parse
from specinfer.spectrum import Spectrum

NAME = "lpipe"
DESCRIPTION = "Keck LRIS text of LPipe: wavelength (air), flux, sky, error"


def identify(source: Source) -> bool:
    """Whether the header names a version of LPipe, or the columns are LPipe's."""
    if not has_rows(source):
        return False
    lines = header_lines(source)
    return "LPIPEVER" in header_facts(lines) or any(
        "sky_flux" in line and "flux_unc" in line for line in lines[-3:]
    )


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The spectrum of the file.

    The third column is the sky and the fourth the error; a last column ``flag`` marks
    bad pixels. Wavelengths are in air unless the header says vacuum.

    Flags: ``AIR_ASSUMED`` if the header does not say air, and those of
    `specinfer.readers.columns`.

    Raises
    ------
    ReadError
        ``no_numbers``, ``ragged_rows``, ``wrong_format`` if there are fewer than two columns.
    """
    table = parse(source)
    layout = choose(table.names)
    if layout is not None:
        pixels = table.columns
    else:
        # Older files have no line of names, but the same columns.
        n = table.values.shape[1]
        pixels = {str(index): table.values[:, index] for index in range(n)}
        noise = "3" if n > 3 else None
        layout = Layout("0", "1", noise, "sigma" if noise else "none", None, None, None)
    air, flags = table.air, []
    if air is None:
        # LPipe always calibrates in air.
        air = True
        if options.air is None:
            flags.append(flag.AIR_ASSUMED)
    spectrum = to_spectrum(
        pixels,
        layout,
        options,
        known=described_text(source, NAME, table.header),
        unit=table.unit,
        air=air,
        sentinels=True,
    )
    if flags:
        kept = [name for name in spectrum.flags if name != flag.AIR_FROM_HEADER]
        spectrum = spectrum.replace(flags=(*flags, *kept))
    yield spectrum
