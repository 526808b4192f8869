"""Parquet tables with a spectrum a row, alone or as the leaves of a HATS catalogue.

Wavelength, flux and noise are columns of lists, or lists in one struct column (as nested-pandas
and LSDB write it), or one column with a list of structs. Which is which is told by the names, as
in all tables, or by the user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from specinfer.batch.plan import Piece
from specinfer.errors import ReadError
from specinfer.readers.base import ReadOptions
from specinfer.readers.columns import Layout, choose, to_spectrum
from specinfer.spectrum import Spectrum

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "parquet"
# Rows decoded at a time.
_ROWS = 64
_NOISE = ("ivar", "sigma", "var")
# Columns that are carried, by the name under which they are known here.
_FACTS = {
    "id": (
        *("object_id", "objectid", "objid", "targetid", "specobjid", "obsid", "source_id"),
        *("catalogid", "id", "object", "name"),
    ),
    "ra": ("ra", "target_ra", "plug_ra", "raj2000", "ra_deg"),
    "dec": ("dec", "target_dec", "plug_dec", "dej2000", "decj2000", "dec_deg"),
    "instrument": ("instrument", "survey", "telescope"),
}


@dataclass(frozen=True)
class TableLayout:
    """Where the spectra of a table are.

    Parameters
    ----------
    layout : Layout
        Names of the arrays, without that of the struct around them.
    within : str or None
        The struct column, if they are in one.
    facts : mapping of str to str
        Columns by "id", "ra", "dec" and "instrument", those that are there.
    """

    layout: Layout
    within: str | None
    facts: Mapping[str, str]

    @property
    def columns(self) -> list[str]:
        """Columns of the file that must be read."""
        arrays = self.layout.used
        if self.within is not None:
            arrays = (self.within,)
        return list(dict.fromkeys([*arrays, *self.facts.values()]))


def iter_table(
    piece: Piece, named: Mapping[str, str], options: ReadOptions
) -> Iterator[Spectrum | ReadError]:
    """The spectra of some rows of a row group.

    Parameters
    ----------
    piece : Piece
        With a row group.
    named : mapping of str to str
        Columns that the user names; empty to go by their names.
    options : ReadOptions

    Yields
    ------
    Spectrum or ReadError
        An error for a row that cannot be used.

    Raises
    ------
    ReadError
        ``bad_table`` if the file is damaged, ``no_columns`` if it has no spectra.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    start, stop = piece.start or 0, piece.stop or 0
    try:
        with pq.ParquetFile(piece.path, pre_buffer=False, buffer_size=1 << 20) as file:
            table = find_layout(file.schema_arrow, named)
            place = 0
            for batch in file.iter_batches(
                _ROWS, row_groups=[piece.group], columns=table.columns, use_threads=False
            ):
                first, last = max(start - place, 0), min(stop - place, batch.num_rows)
                if first < last:
                    row = piece.offset + place + first
                    yield from _spectra(
                        batch.slice(first, last - first), table, piece, row, options
                    )
                place += batch.num_rows
                if place >= stop:
                    break
    except (pa.ArrowException, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise ReadError(
            "bad_table", f"the Parquet file is damaged: {said}; copy it again"
        ) from None


def find_layout(schema: pa.Schema, named: Mapping[str, str]) -> TableLayout:
    """Which columns of a table hold what.

    Raises
    ------
    ReadError
        ``no_columns``, with what is there.
    """
    import pyarrow.types as kinds

    lists: list[str] = []
    structs: dict[str, list[str]] = {}
    for column in schema:
        kind = column.type
        if _is_list(kind) and not kinds.is_struct(kind.value_type):
            lists.append(column.name)
            continue
        inner = kind.value_type if _is_list(kind) else kind
        if kinds.is_struct(inner):
            fields = [inner.field(i) for i in range(inner.num_fields)]
            structs[column.name] = [f.name for f in fields if _is_list(kind) or _is_list(f.type)]
    facts = _facts(schema, named)
    if named:
        return replace(_by_user(named, lists, structs), facts=facts)
    layout = choose(lists)
    if layout is not None:
        return TableLayout(layout, None, facts)
    for name, names in structs.items():
        if (layout := choose(names)) is not None:
            return TableLayout(layout, name, facts)
    raise ReadError(
        "no_columns",
        "the table has no columns of lists that are wavelength and flux by their names (it has "
        f"{', '.join(schema.names[:12])}); name them with --columns wavelength=...,flux=...",
    )


def _by_user(
    named: Mapping[str, str], lists: list[str], structs: Mapping[str, list[str]]
) -> TableLayout:
    within: set[str | None] = set()
    names: dict[str, str] = {}
    for key in ("wavelength", "flux", *_NOISE, "mask"):
        if key not in named:
            continue
        outer, dot, inner = named[key].partition(".")
        if named[key] in lists:
            names[key] = named[key]
            within.add(None)
        elif dot and inner in structs.get(outer, ()):
            names[key] = inner
            within.add(outer)
        else:
            raise ReadError(
                "no_columns",
                f"the table has no column of lists {named[key]!r} (it has "
                f"{', '.join([*lists, *structs][:12])}); correct --columns",
            )
    if len(within) > 1:
        raise ReadError(
            "no_columns", "wavelength, flux and noise must be in one struct, or in none"
        )
    kind = next((one for one in _NOISE if one in names), "none")
    # A name such as loglam says by itself that it is a logarithm.
    known = choose([names["wavelength"], "flux"])
    layout = Layout(
        wave=names["wavelength"],
        flux=names["flux"],
        noise=names.get(kind),
        noise_kind=kind,
        mask=names.get("mask"),
        log=known.log if known else None,
        suffix=known.suffix if known else None,
    )
    return TableLayout(layout, within.pop(), {})


def _facts(schema: pa.Schema, named: Mapping[str, str]) -> dict[str, str]:
    by_name: dict[str, str] = {}
    for name in schema.names:
        by_name.setdefault(name.lower(), name)
    found = {}
    for fact, names in _FACTS.items():
        column = named.get(fact) or next((by_name[n] for n in names if n in by_name), None)
        if column is not None and column in schema.names:
            found[fact] = column
        elif fact in named:
            raise ReadError("no_columns", f"the table has no column {column!r}; correct --columns")
    return found


def _spectra(
    batch: pa.RecordBatch, table: TableLayout, piece: Piece, row: int, options: ReadOptions
) -> Iterator[Spectrum | ReadError]:
    arrays = {name: _lists(batch, table.within, name) for name in table.layout.used}
    facts: dict[str, list[Any]] = {fact: [None] * batch.num_rows for fact in _FACTS}
    facts |= {fact: batch.column(name).to_pylist() for fact, name in table.facts.items()}
    for i in range(batch.num_rows):
        name = None if facts["id"][i] is None else str(facts["id"][i])
        header = {
            key.upper(): float(facts[key][i])
            for key in ("ra", "dec")
            if isinstance(facts[key][i], (int, float))
        }
        instrument = facts["instrument"][i]
        known = {
            "file": piece.path,
            "reader": NAME,
            "row": row + i,
            "object": name,
            "instrument": None if instrument is None else str(instrument),
            "header": header,
        }
        try:
            pixels = {column: read(i) for column, read in arrays.items()}
            lengths = {column: values.size for column, values in pixels.items()}
            if len(set(lengths.values())) > 1:
                said = ", ".join(f"{column} has {size}" for column, size in lengths.items())
                raise ReadError("shape_mismatch", f"the lists differ in length: {said} values")
            yield to_spectrum(pixels, table.layout, options, known=known)
        except ReadError as error:
            yield ReadError(error.code, error.message, row=row + i, object=name)


def _lists(batch: pa.RecordBatch, within: str | None, name: str) -> Callable[[int], NDArray[Any]]:
    """The array of a row, by the row's number in the batch."""
    import pyarrow.types as kinds

    column = batch.column(within or name)
    if within is not None and kinds.is_struct(column.type):
        # Rows without a struct have no lists, which flatten knows and field does not.
        column = column.flatten()[column.type.get_field_index(name)]
    column = _plain_list(column)
    ends = column.offsets.to_numpy()
    values = column.values
    if kinds.is_struct(values.type):
        values = values.field(name)
    every = values.to_numpy(zero_copy_only=False)
    if every.dtype == object:
        raise ReadError("no_columns", f"the lists in {name} hold no numbers; correct --columns")
    ranges = list(pairwise(ends.tolist()))
    there = column.is_valid().to_numpy(zero_copy_only=False)

    def read(i: int) -> NDArray[Any]:
        first, last = ranges[i]
        return np.asarray(every[first:last]) if there[i] else every[:0]

    return read


def _is_list(kind: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def _plain_list(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.types as kinds

    if kinds.is_fixed_size_list(column.type):
        return column.cast(pa.list_(column.type.value_type))
    return column
