"""`Classification`: one result, and the one place that knows the output schema.

The schema is documented in ``docs/result.schema.json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from specinfer.answers import Answer
    from specinfer.errors import SpecinferError
    from specinfer.line_fluxes import Denoised
    from specinfer.relevance import Relevance
    from specinfer.spectrum import Spectrum

SCHEMA = "specinfer.result/1"

# More digits than any measurement here has, and fewer than would differ between machines.
_DIGITS = 7


@dataclass(frozen=True, eq=False)
class Classification:
    """What specinfer says about one spectrum, or why it says nothing.

    The fields are those of the output schema, in its order (``class_name`` is written
    as ``class``). A field that no model can give is None. When `status` is "failed",
    `error` says why and everything that a model would have given is None.

    Parameters
    ----------
    file : str or None
        Path of the file, None for a spectrum made from arrays.
    row : int or None
        Row in a multi-object file.
    object, instrument, reader : str or None
        As the file states them, and the reader that read it.
    status : {"ok", "failed"}
    error : dict or None
        ``{"code", "message"}`` of a failure.
    n_pixels : int or None
        Usable pixels.
    wavelength_min, wavelength_max : float or None
        Vacuum Angstrom, of the usable pixels.
    snr : float or None
        Median signal-to-noise ratio a pixel.
    model : str or None
        ``name@version`` of the model that gave the answer.
    class_name : str or None
        The most probable class.
    probability : float or None
        Its calibrated probability.
    probabilities : dict of str to float, or None
        Of all classes.
    subtype : str or None
        The most probable subtype of that class, such as "91T" of "SN Ia".
    subtype_probabilities : dict of str to float, or None
        P(subtype | class); None for classes without subtypes.
    prediction_set : tuple of str or None
        Classes that together hold the true one with the coverage in the model's card.
    prediction_set_by_class : tuple of str or None
        The same with a threshold for every class, so that the coverage holds for each
        true class by itself; may be empty.
    redshift, redshift_err : float or None
        The error is None if the redshift was given by the user.
    redshift_interval : dict or None
        ``{"68": (low, high), "95": (low, high)}``, calibrated; None if it was given.
    phase, phase_err : float or None
        Rest-frame days from maximum light.
    phase_interval : dict or None
        As `redshift_interval`, in days.
    delta_chi2, zwarning : float, int or None
        Of a redshift scan, where the model makes one: chi2 of the next best redshift less
        that of the best, and a bit mask (see `specinfer.zwarn`).
    anomaly : float or None
        How unusual, from 0 to 1, where the model knows.
    reliability : float or None
        Calibrated probability that class and redshift are both right, where the model knows.
    flags : tuple of str
        Sorted; what the reader and the model want you to know.
    novelty : float or None
        How unlike the training spectra it is, where the model knows.
    host_share : float or None
        Estimated share of host light, 0 to 1.
    decision : {"auto", "review"} or None
        Whether it may be posted without a human; None where the model has no rule.
    candidates : tuple of dict, or None
        Up to three of ``{"class", "redshift", "score"}``.
    lines : tuple of dict, or None
        Main lines at the redshift, where they were asked for (`with_lines`): see
        `specinfer.line_fluxes.LineFlux`.
    models : dict or None
        The full answer of every model that was asked, by name.
    latency_ms : float or None
        Time for this spectrum, from arrays to answer; its share of a batch.
    spectrum : Spectrum or None
        Not in the output: what was classified.
    answer : Answer or None
        Not in the output: everything the model gave, for plots and further analysis.
    """

    file: str | None = None
    row: int | None = None
    object: str | None = None
    instrument: str | None = None
    reader: str | None = None
    status: str = "failed"
    error: Mapping[str, str] | None = None
    n_pixels: int | None = None
    wavelength_min: float | None = None
    wavelength_max: float | None = None
    snr: float | None = None
    model: str | None = None
    class_name: str | None = None
    probability: float | None = None
    probabilities: Mapping[str, float] | None = None
    subtype: str | None = None
    subtype_probabilities: Mapping[str, float] | None = None
    prediction_set: tuple[str, ...] | None = None
    prediction_set_by_class: tuple[str, ...] | None = None
    redshift: float | None = None
    redshift_err: float | None = None
    redshift_interval: Mapping[str, tuple[float, float]] | None = None
    phase: float | None = None
    phase_err: float | None = None
    phase_interval: Mapping[str, tuple[float, float]] | None = None
    delta_chi2: float | None = None
    zwarning: int | None = None
    anomaly: float | None = None
    reliability: float | None = None
    flags: tuple[str, ...] = ()
    novelty: float | None = None
    host_share: float | None = None
    decision: str | None = None
    candidates: tuple[Mapping[str, Any], ...] | None = None
    lines: tuple[Mapping[str, Any], ...] | None = None
    models: Mapping[str, Any] | None = None
    latency_ms: float | None = None
    spectrum: Spectrum | None = field(default=None, repr=False)
    answer: Answer | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.status == "ok"

    @property
    def class_label(self) -> str:
        """The class with its subtype in brackets, "SN Ia (91T)", unless that is the normal one."""
        if self.subtype in (None, "normal"):
            return self.class_name or ""
        return f"{self.class_name} ({self.subtype})"

    @property
    def embedding(self) -> NDArray[np.float32] | None:
        """What the network made of the spectrum, shape (E,), for other networks to use.

        None for a failed result. E and the numbers are those of one model version: those
        of two versions cannot be mixed.
        """
        return None if self.answer is None else self.answer.embedding

    @property
    def reconstruction(self) -> Denoised | None:
        """The spectrum without its noise, ``(wavelength, flux)``, in vacuum Angstrom and the
        spectrum's unit: the best fit of a scan, or what SpecPT makes of it.

        None for a failed result, and for models that give none.
        """
        made: Denoised | None = getattr(self.answer, "denoised", None)
        return made

    def with_lines(self) -> Classification:
        """The result with its main lines measured at its redshift.

        Returns
        -------
        Classification
            As it is if there is nothing to measure at: a failed result, no redshift, or a
            model without a reconstruction.
        """
        if self.spectrum is None or self.reconstruction is None or self.redshift is None:
            return self
        from specinfer.line_fluxes import measure_fluxes

        found = measure_fluxes(
            self.spectrum, self.reconstruction, self.redshift, self.class_name or "GALAXY"
        )
        return replace(self, lines=tuple(line.to_dict() for line in found))

    def to_dict(self) -> dict[str, Any]:
        """The result in the output schema: plain Python values, no NaN, nothing missing."""
        entries: dict[str, Any] = {"schema": SCHEMA}
        for name in FIELDS:
            entries["class" if name == "class_name" else name] = plain(getattr(self, name))
        return entries

    def to_json(self) -> str:
        """The result as one line of JSON (ASCII)."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def plot(self, ax: Any = None, relevance: Relevance | None = None) -> Any:
        """Draw the result (needs matplotlib: ``pip install 'specinfer[plot]'``).

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw the spectrum with its lines marked; without it the whole
            picture (spectrum, network input, probabilities, p(z)) is made.
        relevance : Relevance, optional
            Of `Classifier.explain`: what made the answer is drawn under the spectrum of
            the whole picture, with its features named.

        Returns
        -------
        matplotlib.axes.Axes or matplotlib.figure.Figure
        """
        from specinfer import plot

        if ax is None:
            return plot.make_figure(self, relevance)
        return plot.draw_classification(self, ax)


# The fields of the schema, in its order.
FIELDS = tuple(f.name for f in fields(Classification) if f.name not in ("spectrum", "answer"))


# What only some models give.
_OF_SOME = (
    "prediction_set", "prediction_set_by_class", "redshift_interval", "phase", "phase_err",
    "phase_interval", "delta_chi2", "zwarning", "anomaly", "reliability", "novelty", "host_share",
    "decision",
)  # fmt: skip


def ok(spectrum: Spectrum, answer: Answer, *, model: str, latency_ms: float) -> Classification:
    """A result with an answer.

    Parameters
    ----------
    spectrum : Spectrum
    answer : Answer
    model : str
        ``name@version``.
    latency_ms : float

    Returns
    -------
    Classification
    """
    name, _, version = model.partition("@")
    block = answer.to_dict(version)
    return Classification(
        **_facts(spectrum),
        status="ok",
        model=model,
        class_name=answer.class_name,
        probability=answer.probability,
        probabilities=answer.probabilities,
        subtype=answer.subtype,
        subtype_probabilities=answer.subtype_probabilities,
        redshift=answer.redshift,
        redshift_err=answer.redshift_err,
        **{name: getattr(answer, name, None) for name in _OF_SOME},
        flags=tuple(sorted({*spectrum.flags, *answer.flags})),
        candidates=tuple(block["candidates"]),
        models={name: block, **getattr(answer, "parts", {})},
        latency_ms=latency_ms,
        spectrum=spectrum,
        answer=answer,
    )


def failed(
    error: SpecinferError,
    *,
    spectrum: Spectrum | None = None,
    file: str | None = None,
    row: int | None = None,
    object: str | None = None,
) -> Classification:
    """A result that says why there is none.

    Parameters
    ----------
    error : SpecinferError
    spectrum : Spectrum, optional
        What could not be classified, if it could at least be read.
    file, row, object : optional
        Where the error is, if there is no spectrum.

    Returns
    -------
    Classification
    """
    facts = _facts(spectrum) if spectrum is not None else {}
    where = {"file": file, "row": row, "object": object}
    facts |= {key: value for key, value in where.items() if value is not None}
    flags = tuple(sorted(set(spectrum.flags))) if spectrum is not None else ()
    return Classification(
        **facts,
        status="failed",
        error={"code": error.code, "message": error.message},
        flags=flags,
        spectrum=spectrum,
    )


def _facts(spectrum: Spectrum) -> dict[str, Any]:
    good = spectrum.wavelength[spectrum.good]
    return {
        "file": spectrum.file,
        "row": spectrum.row,
        "object": spectrum.object,
        "instrument": spectrum.instrument,
        "reader": spectrum.reader,
        "n_pixels": int(good.size),
        "wavelength_min": float(good[0]),
        "wavelength_max": float(good[-1]),
        "snr": spectrum.snr,
    }


def plain(value: Any) -> Any:
    """Plain JSON values: numpy scalars converted, floats rounded, NaN and infinity to None."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value
