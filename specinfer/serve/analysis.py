"""What SkyPortal asks of an external analysis service, and what it gets back.

The protocol is that of SkyPortal's ``call_external_analysis_service`` and its webhook
(2026-08): the request brings all spectra of an object as CSV; the answer goes to a URL in it.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from specinfer import __version__, result
from specinfer.errors import ReadError
from specinfer.readers import ReadOptions, flags, sedm
from specinfer.readers.columns import settle_noise
from specinfer.readers.fits_headers import facts
from specinfer.result import Classification
from specinfer.serve import python_text
from specinfer.serve.callbacks import Target, check_url
from specinfer.serve.failures import RequestFailure
from specinfer.serve.spectra import MAX_SPECTRA, Item, parse_json, too_many_spectra
from specinfer.spectrum import Spectrum

READER = "skyportal"
ORIGIN = "sedm:specinfer"
# Numbers of an answer that become annotations, which hold no text.
_ANNOTATED = ("probability", "redshift", "redshift_err", "phase", "phase_err", "novelty", "snr")
_PER_FREQUENCY = ("jy", "mjy", "ujy", "microjy", "abmag", "ab", "mag")
_YES = ("true", "t", "yes", "1", "1.0")
_MJD_OF_UNIX_EPOCH = 40587.0


@dataclass(frozen=True)
class Row:
    """One spectrum of the object, as SkyPortal knows it.

    Parameters
    ----------
    observed_at, kind, origin : str
        Time, type ("source", "host"...) and origin, as they stand in the table.
    cells : mapping of str to str
        The whole row.
    """

    observed_at: str
    kind: str
    origin: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class AnalysisRequest:
    """A request that can be answered later.

    Parameters
    ----------
    target : Target
        Where the answer goes.
    until : float or None
        Unix time after which SkyPortal does not want it.
    object : str
        The object.
    rows : tuple of Row
        Its spectra, by time.
    model : str or None
        The model that was asked for.
    redshift : float or None
        The object's redshift, if it is to be used (``fix_z``).
    """

    target: Target
    until: float | None
    object: str
    rows: tuple[Row, ...]
    model: str | None
    redshift: float | None


def parse(body: bytes, allowed: Sequence[str]) -> AnalysisRequest:
    """Check a request; everything but the numbers of the spectra.

    Parameters
    ----------
    body : bytes
        JSON.
    allowed : sequence of str
        Hosts that callbacks may go to.

    Returns
    -------
    AnalysisRequest

    Raises
    ------
    RequestFailure
        4xx, with what is wrong.
    """
    document = parse_json(body)
    if not isinstance(document, dict):
        raise _bad("the body must be an object")
    target = check_url(document.get("callback_url"), allowed)
    if str(document.get("callback_method", "POST")).upper() != "POST":
        raise _bad("callback_method must be POST")
    kind = document.get("analysis_resource_type", "obj")
    if kind != "obj":
        raise _bad("analysis_resource_type must be obj: specinfer analyses the spectra of objects")
    inputs = document.get("inputs")
    if not isinstance(inputs, dict):
        raise _bad("inputs is missing; give the service the input types spectra and redshift")
    # The real ones are among the inputs; those beside them are empty.
    parameters = inputs.get("analysis_parameters") or document.get("analysis_parameters") or {}
    if not isinstance(parameters, dict):
        raise _bad("analysis_parameters must be an object")
    model = parameters.get("model")
    if model is not None and not isinstance(model, str):
        raise _bad("model must be a text")
    fixed = str(parameters.get("fix_z", False)).strip().lower() in _YES
    return AnalysisRequest(
        target=target,
        until=_unix_time(document.get("invalid_after")),
        object=str(document.get("resource_id") or "object")[:200],
        rows=_rows(inputs.get("spectra")),
        model=model,
        redshift=_redshift(inputs.get("redshift")) if fixed else None,
    )


def items(request: AnalysisRequest) -> list[Item]:
    """The spectra of a request; a row that is none has its failure in its place."""
    found: list[Item] = []
    for row in request.rows:
        try:
            found.append(Item(_spectrum(row, request.object), redshift=request.redshift))
        except ReadError as error:
            found.append(Item(failed=result.failed(error, object=request.object)))
        except (ArithmeticError, TypeError, ValueError) as error:
            # As in a file, one damaged spectrum must not take the others with it.
            wrapped = ReadError("bad_content", f"the spectrum cannot be read: {error}")
            found.append(Item(failed=result.failed(wrapped, object=request.object)))
    return found


def success(
    request: AnalysisRequest,
    answers: Sequence[Classification],
    pictures: Sequence[bytes | None],
) -> dict[str, Any]:
    """What the callback holds: "success" if there is an answer to any spectrum.

    Parameters
    ----------
    request : AnalysisRequest
    answers : sequence of Classification
        One a row.
    pictures : sequence of (bytes or None)
        PNG, one a row; None where there is none.

    Returns
    -------
    dict
    """
    good = [answer for answer in answers if answer.ok]
    if not good:
        reason = (answers[0].error or {}).get("message", "") if answers else ""
        return failure(f"no spectrum of {request.object} can be used: {reason}")
    latest = good[-1]
    spectra = [
        {
            "observed_at": row.observed_at,
            "type": row.kind,
            "origin": row.origin,
            "result": answer.to_dict(),
        }
        for row, answer in zip(request.rows, answers, strict=True)
    ]
    plain = latest.to_dict()
    annotation = {name: plain[name] for name in _ANNOTATED if plain[name] is not None}
    plots = [
        {"format": "png", "data": base64.b64encode(picture).decode("ascii")}
        for picture in pictures
        if picture is not None
    ]
    data = {"specinfer": __version__, "object": request.object, "spectra": spectra}
    return {
        "status": "success",
        "message": _summary(latest, len(good), len(answers)),
        "analysis": {
            "plots": plots,
            "results": {"format": "json", "data": data},
            "annotations": [{"origin": ORIGIN, "data": annotation}],
        },
    }


def failure(message: str) -> dict[str, Any]:
    """What the callback holds if there is no answer."""
    return {"status": "failure", "message": " ".join(message.split())[:1000]}


def _summary(latest: Classification, good: int, total: int) -> str:
    parts = [f"{latest.class_label} (P = {latest.probability or 0.0:.2f})"]
    if latest.redshift is not None:
        error = "" if latest.redshift_err is None else f" +- {latest.redshift_err:.4f}"
        parts.append(f"z = {latest.redshift:.4f}{error}")
    if latest.decision is not None:
        parts.append(latest.decision)
    of = f"latest of {good} spectra" if good > 1 else "1 spectrum"
    bad = f", {total - good} could not be used" if total > good else ""
    return f"{', '.join(parts)}; {of}{bad}; {latest.model}"


def _rows(text: Any) -> tuple[Row, ...]:
    if not isinstance(text, str) or not text.strip():
        raise _bad("inputs.spectra is missing or empty; the object has no spectra")
    # A cell holds a whole spectrum; the body's size is limited already.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    found: list[Row] = []
    try:
        for cells in csv.DictReader(io.StringIO(text)):
            if len(found) == MAX_SPECTRA:
                raise too_many_spectra("the object has")
            known = {str(k): v for k, v in cells.items() if isinstance(v, str)}
            found.append(
                Row(
                    known.get("observed_at", "").strip()[:40],
                    known.get("type", "").strip()[:40],
                    known.get("origin", "").strip()[:200],
                    known,
                )
            )
    except csv.Error as error:
        raise _bad(f"inputs.spectra is not CSV: {error}") from None
    if not found:
        raise _bad("inputs.spectra has no rows; the object has no spectra")
    if not {"wavelengths", "fluxes"} <= set(found[0].cells):
        raise _bad("inputs.spectra lacks the columns wavelengths and fluxes")
    return tuple(sorted(found, key=lambda row: row.observed_at))


def _spectrum(row: Row, object: str) -> Spectrum:
    wavelength, flux = _numbers(row, "wavelengths"), _numbers(row, "fluxes")
    errors = _numbers(row, "errors") if row.cells.get("errors", "").strip() not in _EMPTY else None
    for name, values in (("fluxes", flux), ("errors", errors)):
        if values is not None and len(values) != len(wavelength):
            raise ReadError(
                "shape_mismatch", f"{len(wavelength)} wavelengths, but {len(values)} {name}"
            )
    units = row.cells.get("units", "").strip()
    if units.lower() in _PER_FREQUENCY:
        raise ReadError("unknown_unit", f"the flux is in {units}, not per unit wavelength")
    header = _header(row.cells.get("altdata", ""))
    is_sedm = str(header.get("INSTRUME", "")).upper().startswith("SEDM")
    found: list[str] = []
    axis: Any = wavelength
    noise: dict[str, Any] = {}
    if is_sedm:
        # Uploaded from the text file: wavelengths rounded, variances called errors.
        axis, found = sedm.relinearised(_as_array(wavelength), header)
        if errors is not None:
            found.append(flags.VARIANCE_AS_ERROR)
    else:
        found.append(flags.AIR_UNKNOWN)
    if errors is not None:
        kind = "var" if is_sedm else "sigma"
        noise, more = settle_noise(_as_array(flux), _as_array(errors), kind, ReadOptions())
        found += more
    instrument = header.get("INSTRUME")
    return Spectrum(
        axis,
        _as_array(flux),
        **noise,
        object=object,
        instrument=str(instrument)[:80] if instrument else None,
        resolution=sedm.RESOLUTION if is_sedm else None,
        mjd=_mjd(row.observed_at),
        header=facts([header], sedm.KEPT),
        flags=tuple(dict.fromkeys(found)),
        reader=READER,
    )


_EMPTY = ("", "nan", "None", "null", "[]")


def _numbers(row: Row, column: str) -> list[float]:
    try:
        return python_text.numbers(row.cells.get(column, ""))
    except ValueError as error:
        raise ReadError("bad_content", f"{column} of the spectrum: {error}") from None


def _as_array(values: list[float]) -> Any:
    import numpy as np

    return np.asarray(values, dtype=np.float64)


def _header(text: str) -> dict[str, Any]:
    """The header in ``altdata``; empty if there is none or it cannot be read."""
    if text.strip() in _EMPTY:
        return {}
    try:
        found = python_text.value(text)
    except ValueError:
        # A convenience: without it the spectrum can still be classified.
        return {}
    return {str(k).upper(): v for k, v in found.items()} if isinstance(found, dict) else {}


def _redshift(text: Any) -> float | None:
    """The redshift in the one row of a table; None where it is empty."""
    if not isinstance(text, str):
        return None
    try:
        cells = next(csv.DictReader(io.StringIO(text)), {})
        value = float(cells.get("redshift") or "nan")
    except (csv.Error, ValueError):
        return None
    return value if -1.0 < value < 100.0 else None


def _unix_time(text: Any) -> float | None:
    # SkyPortal writes what it has as text, also if it has none.
    if text in (None, "", "None"):
        return None
    moment = _moment(str(text))
    if moment is None:
        raise _bad("invalid_after must be a time such as 2026-11-21T05:00:00")
    return moment.timestamp()


def _mjd(text: str) -> float | None:
    moment = _moment(text)
    return None if moment is None else moment.timestamp() / 86400.0 + _MJD_OF_UNIX_EPOCH


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        moment.timestamp()
    except (ValueError, OverflowError):
        return None
    return moment


def _bad(message: str) -> RequestFailure:
    return RequestFailure(400, "bad_request", message)
