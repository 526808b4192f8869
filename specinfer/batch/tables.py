"""The output schema ``specinfer.batch/1``: results as rows of a Parquet table (docs/batch.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from specinfer.result import Classification, plain

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = "specinfer.batch/1"
# Key of what a part says of itself, in the metadata of its Parquet schema.
METADATA_KEY = b"specinfer.batch"

# Columns that are fields of a result, under their names there.
_PLAIN = {
    "file": "string",
    "row": "int64",
    "object": "string",
    "instrument": "string",
    "reader": "string",
    "status": "string",
    "n_pixels": "int32",
    "wavelength_min": "double",
    "wavelength_max": "double",
    "snr": "double",
    "model": "string",
    "class": "string",
    "probability": "double",
    "subtype": "string",
    "redshift": "double",
    "redshift_err": "double",
    "phase": "double",
    "phase_err": "double",
    "delta_chi2": "double",
    "zwarning": "int64",
    "anomaly": "double",
    "reliability": "double",
    "novelty": "double",
    "host_share": "double",
    "decision": "string",
}
_LISTS = ("prediction_set", "prediction_set_by_class", "flags")
_MAPS = ("probabilities", "subtype_probabilities")
_INTERVALS = ("redshift", "phase")
_LEVELS = ("68", "95")
# Where the readers of files with many objects keep an object's place, in degrees.
_PLACES = {"desi": ("TARGET_RA", "TARGET_DEC"), "spplate": ("RA", "DEC"), "parquet": ("RA", "DEC")}


def schema() -> pa.Schema:
    """The columns, in their order, with their types."""
    import pyarrow as pa

    columns: list[tuple[str, Any]] = []
    for name, kind in _PLAIN.items():
        columns.append((name, getattr(pa, "float64" if kind == "double" else kind)()))
        if name == "object":
            columns += [("ra", pa.float64()), ("dec", pa.float64())]
        elif name == "status":
            columns += [("error_code", pa.string()), ("error_message", pa.string())]
        elif name == "probability":
            columns.append(("probabilities", pa.map_(pa.string(), pa.float64())))
        elif name == "subtype":
            columns.append(("subtype_probabilities", pa.map_(pa.string(), pa.float64())))
            columns += [(one, pa.list_(pa.string())) for one in _LISTS[:2]]
        elif name.removesuffix("_err") in _INTERVALS and name.endswith("_err"):
            columns += [(one, pa.float64()) for one in _interval_names(name.removesuffix("_err"))]
    candidate = [("class", pa.string()), ("redshift", pa.float64()), ("score", pa.float64())]
    columns += [("flags", pa.list_(pa.string())), ("candidates", pa.list_(pa.struct(candidate)))]
    return pa.schema([pa.field(name, kind) for name, kind in columns])


def to_columns(results: Sequence[Classification]) -> dict[str, list[Any]]:
    """Results as columns of plain values.

    Parameters
    ----------
    results : sequence of Classification

    Returns
    -------
    dict of str to list
        By the names of `schema`; numbers are rounded to seven digits as in all outputs.
    """
    made = {name: [getter(one) for one in results] for name, getter in _getters().items()}
    for name in _INTERVALS:
        ends = [_ends(getattr(one, f"{name}_interval")) for one in results]
        for i, column in enumerate(_interval_names(name)):
            made[column] = [values[i] for values in ends]
    places = [_place(one) for one in results]
    made["ra"], made["dec"] = [ra for ra, _ in places], [dec for _, dec in places]
    return made


def part_bytes(columns: Mapping[str, list[Any]], about: Mapping[str, Any]) -> bytes:
    """A part as the bytes of a Parquet file: the same for the same rows, whoever writes it.

    Parameters
    ----------
    columns : mapping of str to list
        As `to_columns` gives.
    about : mapping
        What the part says of itself, as JSON under `METADATA_KEY`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    said = {METADATA_KEY: json.dumps(about, sort_keys=True).encode()}
    wanted = schema()
    table = pa.table([pa.array(columns[f.name], f.type) for f in wanted], schema=wanted)
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(said), sink, compression="zstd")
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def read_about(path: str) -> dict[str, Any] | None:
    """What a part says of itself; None if it is no part."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        said = pq.read_metadata(path).metadata or {}
        about = json.loads(said.get(METADATA_KEY, b"null"))
    except (pa.ArrowException, OSError, ValueError):
        return None
    return about if isinstance(about, dict) else None


def _getters() -> dict[str, Callable[[Classification], Any]]:
    def field(name: str) -> Callable[[Classification], Any]:
        return lambda one: plain(getattr(one, name))

    def items(name: str) -> Callable[[Classification], Any]:
        return lambda one: None if (m := getattr(one, name)) is None else list(plain(m).items())

    made = {n: field("class_name" if n == "class" else n) for n in (*_PLAIN, *_LISTS)}
    made |= {name: items(name) for name in _MAPS}
    made["error_code"] = lambda one: None if one.error is None else one.error["code"]
    made["error_message"] = lambda one: None if one.error is None else _text(one.error["message"])
    made["file"] = lambda one: _text(one.file)
    made["candidates"] = lambda one: [
        {key: plain(candidate.get(key)) for key in ("class", "redshift", "score")}
        for candidate in one.candidates or ()
    ]
    return made


def _text(name: str | None) -> str | None:
    """Names of files need not be text, but columns must be."""
    if name is None:
        return None
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _interval_names(name: str) -> list[str]:
    return [f"{name}_{level}_{end}" for level in _LEVELS for end in ("low", "high")]


def _ends(interval: Mapping[str, tuple[float, float]] | None) -> list[Any]:
    if interval is None:
        return [None] * (2 * len(_LEVELS))
    return [plain(end) for level in _LEVELS for end in interval.get(level, (None, None))]


def _place(one: Classification) -> tuple[float | None, float | None]:
    names = _PLACES.get(one.reader or "")
    header = {} if one.spectrum is None else one.spectrum.header
    if names is None or not all(isinstance(header.get(name), float) for name in names):
        return None, None
    return header[names[0]], header[names[1]]
