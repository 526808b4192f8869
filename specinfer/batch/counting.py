"""How many spectra a file holds, from its headers alone."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from specinfer import fits_cards

PARQUET_MAGIC = b"PAR1"
_FITS_MAGIC = b"SIMPLE"
# What a header must be asked for; the others, hundreds in a fibre map, are not parsed.
_WANTED = (b"BITPIX", b"NAXIS", b"PCOUNT", b"GCOUNT", b"GROUPS", b"EXTNAME", b"XTENSION", b"COEFF")
_DESI_FLUX = tuple(f"{arm}_FLUX" for arm in ("B", "R", "Z", "BR", "RZ", "BRZ"))
# Nothing that comes later decides how a file is cut, and damaged files must end somewhere.
_MOST_HDUS = 40
_MOST_BLOCKS = 2000
_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


@dataclass(frozen=True, slots=True)
class Count:
    """What is known of a file before its spectra are read.

    Parameters
    ----------
    rows : int
        Spectra, as far as headers tell: 1 for what is not known to hold several.
    sliced : bool
        Whether a worker can read some of the rows alone.
    groups : tuple of int
        Rows of each row group of a Parquet file; empty for others.
    """

    rows: int = 1
    sliced: bool = False
    groups: tuple[int, ...] = ()

    @property
    def is_table(self) -> bool:
        """Whether it is a Parquet file."""
        return bool(self.groups)


def count(path: str) -> Count:
    """Look at a file's headers.

    Parameters
    ----------
    path : str

    Returns
    -------
    Count
        That of one spectrum for a file that is damaged: reading it will say how.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    with open(path, "rb") as file:
        head = file.read(6)
        if head.startswith(PARQUET_MAGIC):
            return _parquet(path)
        if head == _FITS_MAGIC:
            return _fits(file)
    for magic, opener in _OPENERS.items():
        if head.startswith(magic):
            try:
                with opener(path, "rb") as packed:
                    if packed.read(6) == _FITS_MAGIC:
                        return Count(_fits(packed).rows)
            except (OSError, EOFError, ValueError, lzma.LZMAError):
                pass
    return Count()


def _fits(file: IO[bytes]) -> Count:
    first: dict[str, Any] | None = None
    for header in _headers(file):
        if header.get("EXTNAME") in _DESI_FLUX and header.get("NAXIS") == 2:
            return Count(_axis(header, 2), sliced=True)
        if first is None:
            first = header
            if header.get("NAXIS") not in (0, 2):
                return Count()
        elif first.get("NAXIS") == 2:
            # spPlate has its errors next, in the shape of its spectra.
            same = all(header.get(f"NAXIS{i}") == first.get(f"NAXIS{i}") for i in (1, 2))
            plate = "COEFF0" in first and "COEFF1" in first and header.get("NAXIS") == 2 and same
            return Count(_axis(first, 2), sliced=plate)
    return Count()


def _axis(header: dict[str, Any], number: int) -> int:
    length = header.get(f"NAXIS{number}")
    return length if isinstance(length, int) and length > 0 else 1


def _headers(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """What is wanted of the headers of a FITS file, one by one, until one is damaged."""
    place = 0
    for _ in range(_MOST_HDUS):
        try:
            file.seek(place)
            cards: list[bytes] = []
            for _ in range(_MOST_BLOCKS):
                block = file.read(fits_cards.BLOCK)
                place += fits_cards.BLOCK
                if len(block) < fits_cards.BLOCK:
                    return
                some = [block[i : i + fits_cards.CARD] for i in range(0, len(block), 80)]
                cards += [card for card in some if card.startswith(_WANTED)]
                if any(card.rstrip() == b"END" for card in some):
                    break
            header = fits_cards.values(cards)
            yield header
            place += fits_cards.padded(fits_cards.data_size(cards))
        except (OSError, EOFError, KeyError, TypeError, ValueError):
            return


def _parquet(path: str) -> Count:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        footer = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return Count()
    groups = tuple(footer.row_group(i).num_rows for i in range(footer.num_row_groups))
    # An empty table has no groups, and is one all the same.
    return Count(footer.num_rows, sliced=True, groups=groups or (0,))
