"""What a reader gets and gives: `Source`, `ReadOptions`, and the reader protocol."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from specinfer.errors import ReadError
from specinfer.spectrum import Spectrum

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

NOISE_KINDS = ("ivar", "var", "sigma", "none")

_MAGIC: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
}


@dataclass(frozen=True)
class ReadOptions:
    """What the user said about a file, which wins over what the file says.

    Parameters
    ----------
    format : str, optional
        Name of the reader to use instead of asking each.
    noise : {"ivar", "var", "sigma", "none"}, optional
        What the noise column or extension holds.
    unit : str, optional
        Unit of the wavelengths (see `specinfer.wavelengths.to_angstrom`).
    air : bool, optional
        True: wavelengths are in air; False: they are not, whatever the file says.
    sky : bool
        Also yield the sky fibres of multi-object files.
    rows : tuple of int, optional
        ``(start, stop)``: only these rows of a multi-object file, and of the file only the
        bytes that they need. An object whose spectra stand in several rows belongs to the
        first of them. Only the readers of `specinfer.readers.SLICED` can do that.
    """

    format: str | None = None
    noise: str | None = None
    unit: str | None = None
    air: bool | None = None
    sky: bool = False
    rows: tuple[int, int] | None = None


class Source:
    """The bytes of one file, opened lazily in the form that a reader wants.

    gzip, bzip2 and xz contents are decompressed by their magic bytes.

    Parameters
    ----------
    origin : path, bytes, binary or text file object, or "-"
        Where the bytes come from; ``"-"`` is standard input.
    name : str, optional
        Name used in messages and results.
    whole : bool, optional
        False: FITS files that are not compressed stay on the disk, and what a reader wants
        of them is read when it wants it. Only for files that nobody writes meanwhile.

    Raises
    ------
    ReadError
        ``not_found``, ``is_directory``, ``not_readable``, ``empty_file`` or
        ``bad_compression``.
    """

    def __init__(
        self,
        origin: str | os.PathLike[str] | bytes | IO[Any],
        name: str = "",
        *,
        whole: bool = True,
    ) -> None:
        self.path: Path | None = None
        self._whole = whole
        self._data: bytes | None = None
        self._hdus: HDUList | None = None
        if isinstance(origin, bytes):
            self.name = name or "<bytes>"
            self._data = origin
        elif isinstance(origin, (str, os.PathLike)) and os.fspath(origin) == "-":
            self.name = name or "-"
            self._data = sys.stdin.buffer.read()
        elif isinstance(origin, (str, os.PathLike)):
            self.path = Path(origin)
            self.name = name or os.fspath(origin)
            self._check_path(self.path)
        elif hasattr(origin, "read"):
            content = origin.read()
            self.name = name or str(getattr(origin, "name", "<stream>"))
            self._data = content.encode() if isinstance(content, str) else content
        else:
            raise ReadError("not_found", f"cannot read a spectrum from {type(origin).__name__}")
        if self.data_is_empty:
            raise ReadError(
                "empty_file", "the file is empty (0 bytes); the extraction probably failed"
            )

    @staticmethod
    def _check_path(path: Path) -> None:
        try:
            if path.is_dir():
                raise ReadError("is_directory", "this is a directory; give its files")
            with path.open("rb"):
                pass
        except FileNotFoundError:
            raise ReadError("not_found", "no such file; check the path") from None
        except PermissionError:
            raise ReadError(
                "not_readable", "no permission to read the file; check its mode and owner"
            ) from None
        except OSError as error:
            raise ReadError("not_readable", f"cannot open the file: {error.strerror}") from None

    @property
    def data_is_empty(self) -> bool:
        if self._data is not None:
            return not self._data
        return self.path is not None and self.path.stat().st_size == 0

    @cached_property
    def head(self) -> bytes:
        """The first 4096 bytes of the (decompressed) contents."""
        if self._data is None and self.path is not None:
            with self.path.open("rb") as handle:
                start = handle.read(4096)
            if not start.startswith(tuple(_MAGIC)):
                return start
        return self.data[:4096]

    @cached_property
    def data(self) -> bytes:
        """The whole (decompressed) contents."""
        raw = self._data if self._data is not None else b""
        if self._data is None and self.path is not None:
            try:
                raw = self.path.read_bytes()
            except OSError as error:
                raise ReadError("not_readable", f"cannot read: {error.strerror}") from None
        for magic, decompress in _MAGIC.items():
            if raw.startswith(magic):
                try:
                    return decompress(raw)
                except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
                    raise ReadError(
                        "bad_compression", f"the compressed file is damaged: {error}"
                    ) from None
        return raw

    @cached_property
    def text(self) -> str:
        """The contents as text (UTF-8, else Latin-1), with universal newlines."""
        try:
            decoded = self.data.decode("utf-8-sig")
        except UnicodeDecodeError:
            decoded = self.data.decode("latin-1")
        return decoded.replace("\r\n", "\n").replace("\r", "\n")

    @property
    def is_fits(self) -> bool:
        """Whether the contents start like a FITS file."""
        return self.head.startswith(b"SIMPLE  =")

    @property
    def is_text(self) -> bool:
        """Whether the start of the contents looks like text."""
        return b"\x00" not in self.head

    @property
    def suffix(self) -> str:
        """Lower-case file suffix, compression suffixes left out."""
        name = self.name.lower()
        for ending in (".gz", ".bz2", ".xz", ".fz"):
            name = name.removesuffix(ending)
        return Path(name).suffix

    @property
    def hdus(self) -> HDUList:
        """The opened FITS file; raises `ReadError` ``bad_fits`` if it is damaged."""
        if self._hdus is None:
            # Heavy, and not needed for text files.
            from astropy.io import fits

            file = self._file()
            try:
                with quiet_fits():
                    hdus = fits.open(file, memmap=False, lazy_load_hdus=False)
                    _check_length(hdus, file)
            except ReadError:
                file.close()
                raise
            except Exception as error:  # astropy's errors have no common base
                file.close()
                raise ReadError(
                    "bad_fits", f"the FITS file is truncated or damaged: {error}"
                ) from None
            self._hdus = hdus
        return self._hdus

    def _file(self) -> IO[bytes]:
        """The contents of a FITS file, in memory unless they may stay on the disk."""
        if not self._whole and self.path is not None:
            file = self.path.open("rb")
            # What is compressed can only be read from its beginning to its end.
            if file.read(6) == b"SIMPLE":
                file.seek(0)
                if hasattr(os, "posix_fadvise"):
                    # Rows lie apart: reading ahead fetches three times what is wanted.
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                return file
            file.close()
        return io.BytesIO(self.data)

    def close(self) -> None:
        """Close the FITS file, if it was opened."""
        if self._hdus is not None:
            self._hdus.close()
            self._hdus = None


@contextmanager
def quiet_fits() -> Iterator[None]:
    """Silence astropy's remarks about odd header cards, which no reader depends on.

    Headers are parsed card by card when they are used, so the remarks may come at
    any time while a FITS file is read.
    """
    from astropy.utils.exceptions import AstropyWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        yield


def _check_length(hdus: HDUList, file: IO[bytes]) -> None:
    """Refuse a FITS file that ends early: astropy would give what is left of it."""
    broken = next((n for n, hdu in enumerate(hdus) if not hasattr(hdu, "fileinfo")), None)
    if broken is not None:
        raise ReadError("bad_fits", f"the header of HDU {broken} is damaged; copy the file again")
    last = hdus[-1]
    place = last.fileinfo()
    # The padding after the last extension may be missing. The size of a compressed
    # image is that of the pixels, so only its padded length in the file is known.
    compressed = type(last).__name__ == "CompImageHDU"
    length = max(place["datSpan"] - 2879, 0) if compressed else last.size
    needed = place["datLoc"] + length
    size = file.seek(0, os.SEEK_END)
    if size < needed:
        raise ReadError(
            "bad_fits",
            f"the FITS file is truncated ({size} of {needed} bytes); copy it again",
        )
    file.seek(place["datLoc"] + place["datSpan"])
    if file.read(8) == b"XTENSION":
        # Another extension begins here, but astropy gave up on its header.
        raise ReadError(
            "bad_fits",
            f"the FITS file is truncated or damaged after HDU {len(hdus) - 1}; copy it again",
        )


class Reader(Protocol):
    """A module of `specinfer.readers` that reads one format."""

    NAME: str
    DESCRIPTION: str

    def identify(self, source: Source) -> bool:
        """Whether this reader knows the file; cheap, and never raises."""

    def read(self, source: Source, options: ReadOptions) -> Iterable[Spectrum | ReadError]:
        """The spectra of the file; a bad row of a multi-object file gives a `ReadError`.

        A file that holds nothing usable raises `ReadError`.
        """
