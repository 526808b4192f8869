"""Readers: one module a format, tried in order until one knows the file."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import IO, Any, cast

from specinfer.errors import ReadError, SpecinferWarning
from specinfer.readers.base import NOISE_KINDS, Reader, ReadOptions, Source, quiet_fits
from specinfer.spectrum import Spectrum
from specinfer.wavelengths import UNIT_CHOICES

__all__ = ["FORMATS", "SLICED", "ReadOptions", "Source", "iter_spectra", "load_reader", "read"]

# Asked in this order: the specific before the general.
FORMATS = (
    "sedm-fits",
    "desi",
    "sdss-spec",
    "spspec",
    "spplate",
    "lamost",
    "fourmost",
    "pypeit-onespec",
    "pypeit-spec1d",
    "dbsp-spliced",
    "marz",
    "table-fits",
    "iraf",
    "sedm-text",
    "osc-json",
    "snid-lnw",
    "csp",
    "lpipe",
    "table-text",
    "ascii",
)
# Those that know other files than FITS.
OF_TEXT = FORMATS[FORMATS.index("sedm-text") :]

# Readers that can read some rows of a file without the others (`ReadOptions.rows`).
SLICED = ("desi", "spplate")


def load_reader(name: str) -> Reader:
    """The reader module of a format.

    Raises
    ------
    ReadError
        If there is no such format (code ``unknown_format``).
    """
    if name not in FORMATS:
        raise ReadError(
            "unknown_format", f"there is no format {name!r}; known are: {', '.join(FORMATS)}"
        )
    module = importlib.import_module("specinfer.readers." + name.replace("-", "_"))
    return cast(Reader, module)


def iter_spectra(
    origin: str | os.PathLike[str] | bytes | IO[Any],
    options: ReadOptions | None = None,
    *,
    name: str = "",
) -> Iterator[Spectrum | ReadError]:
    """The spectra of a file one by one; a bad row gives a `ReadError` in its place.

    Parameters
    ----------
    origin : path, bytes, file object or "-"
        What to read; ``"-"`` is standard input.
    options : ReadOptions, optional
        What the user knows better than the file.
    name : str, optional
        Name used in messages instead of the path.

    Yields
    ------
    Spectrum or ReadError

    Raises
    ------
    ReadError
        If nothing in the file can be used.
    """
    options = options or ReadOptions()
    if options.noise is not None and options.noise not in NOISE_KINDS:
        raise ReadError(
            "unknown_noise", f"noise {options.noise!r} is not one of {', '.join(NOISE_KINDS)}"
        )
    if options.unit is not None and options.unit not in UNIT_CHOICES:
        raise ReadError(
            "unknown_unit", f"unit {options.unit!r} is not one of {', '.join(UNIT_CHOICES)}"
        )
    source = Source(origin, name, whole=options.rows is None)
    try:
        quiet = quiet_fits if source.is_fits else nullcontext
        with quiet():
            reader = load_reader(options.format) if options.format else _identify(source)
        if options.rows is not None and reader.NAME not in SLICED:
            raise ReadError(
                "not_sliced",
                f"recognised as {reader.NAME}, of which no single rows can be read; read all",
            )
        yield from _guarded(reader, source, options, quiet)
    finally:
        source.close()


def read(
    origin: str | os.PathLike[str] | bytes | IO[Any],
    *,
    format: str | None = None,
    noise: str | None = None,
    unit: str | None = None,
    air: bool | None = None,
    sky: bool = False,
) -> list[Spectrum]:
    """Read the spectra of one file.

    Parameters
    ----------
    origin : path, bytes, file object or "-"
        What to read; ``"-"`` is standard input.
    format : str, optional
        One of `FORMATS`, instead of recognising it from the contents.
    noise : {"ivar", "var", "sigma", "none"}, optional
        What the noise column holds, if the file does not say.
    unit : {"angstrom", "nm", "um", "m", "log10", "ln"}, optional
        Unit of the wavelengths, if the file does not say.
    air : bool, optional
        Whether wavelengths are in air, if the file does not say.
    sky : bool, optional
        Also give the sky fibres of multi-object files.

    Returns
    -------
    list of Spectrum
        At least one. Rows that cannot be used are left out with a
        `SpecinferWarning` each.

    Raises
    ------
    ReadError
        If the file holds no usable spectrum.

    Examples
    --------
    >>> from specinfer import read
    >>> spectrum = read("sn.fits")[0]  # doctest: +SKIP
    """
    options = ReadOptions(format=format, noise=noise, unit=unit, air=air, sky=sky)
    good: list[Spectrum] = []
    bad: list[ReadError] = []
    for item in iter_spectra(origin, options):
        if isinstance(item, ReadError):
            bad.append(item)
        else:
            good.append(item)
    if not good:
        raise bad[0] if bad else ReadError("no_spectra", "the file holds no spectra")
    for error in bad:
        warnings.warn(f"row {error.row}: {error}", SpecinferWarning, stacklevel=2)
    return good


def _identify(source: Source) -> Reader:
    if source.is_fits:
        source.hdus  # noqa: B018 - a damaged file is reported as such, not as unknown
    for format_name in FORMATS if source.is_fits else OF_TEXT:
        reader = load_reader(format_name)
        try:
            known = reader.identify(source)
        except ReadError:
            raise
        except Exception as error:  # cards that do not parse, and the like
            raise ReadError(
                "bad_content",
                f"the file is damaged: looking for {format_name} failed "
                f"({type(error).__name__}: {error}); fetch it again",
            ) from error
        if known:
            return reader
    raise ReadError(
        "unknown_file",
        f"{_describe(source)}; if it is a spectrum, name its format with --format or make it a "
        "table of wavelength and flux",
    )


def _describe(source: Source) -> str:
    """What was looked for and what was found instead."""
    looked = "looked for a known spectrum layout (see `specinfer classify --help`), found "
    if source.is_fits:
        # Kept out of the start-up of text files.
        from specinfer.readers.fits_headers import columns, shape

        parts = []
        try:
            for number, hdu in enumerate(source.hdus[:6]):
                names = list(columns(hdu).values())
                what = "columns " + " ".join(names[:8]) if names else f"shape {shape(hdu)}"
                parts.append(f"{hdu.name or f'HDU {number}'} ({what})")
        except Exception:  # cards that do not parse; what was found so far is named
            parts.append("a damaged extension")
        return looked + "a FITS file with " + ", ".join(parts)
    if source.is_text:
        first = source.text.strip().split("\n", 1)[0][:60]
        return looked + f"text that starts {first!r}"
    return looked + f"binary data that starts {source.head[:8]!r}"


def _guarded(
    reader: Reader,
    source: Source,
    options: ReadOptions,
    quiet: Callable[[], AbstractContextManager[None]],
) -> Iterator[Spectrum | ReadError]:
    """Run a reader; whatever a damaged file makes it raise becomes a `ReadError`."""
    iterator = iter(reader.read(source, options))
    found = False
    while True:
        try:
            with quiet():
                item = next(iterator)
        except StopIteration:
            break
        except ReadError:
            raise
        except Exception as error:  # what a damaged file can raise has no common base
            how, hint = ("recognised as", "the file is damaged, or --format is needed")
            if options.format:
                how, hint = ("read as", "leave --format out, or give another")
            raise ReadError(
                "bad_content",
                f"{how} {reader.NAME}, but reading failed "
                f"({type(error).__name__}: {error}); {hint}",
            ) from error
        found = True
        yield item
    if not found and options.rows is None:
        raise ReadError("no_spectra", f"recognised as {reader.NAME}, but it holds no spectra")
