"""Measured lines as a table for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from specinfer.cli_output import print_table, spectrum_name
from specinfer.result import Classification

_HEADER = ("Spectrum", "Line", "Wavelength", "S/N", "Flux", "EW (rest, A)", "Sigma (km/s)")
# Lines that are not there are not worth a row on a terminal; JSON has them all.
_LEAST_SNR = 3.0


class LineTable:
    """The lines of each result on a terminal, those with a signal-to-noise ratio of 3 and more.

    A sink like those of `specinfer.cli_output`; printed in pieces so that memory stays bounded.
    """

    _PIECE = 400

    def __init__(self) -> None:
        self._rows: list[list[str]] = []

    def write(self, results: Sequence[Classification]) -> None:
        """Keep the rows; print when there are many."""
        for result in results:
            if result.lines is not None:
                self._rows += line_rows(result)
        if len(self._rows) >= self._PIECE:
            self.close()

    def close(self) -> None:
        """Print the rows that are left."""
        if self._rows:
            print_table(_HEADER, self._rows)
            self._rows = []


def line_rows(result: Classification) -> list[list[str]]:
    """The lines of one result as cells; its name stands in the first row alone."""
    rows: list[list[str]] = []
    for line in result.lines or ():
        if abs(line["snr"]) < _LEAST_SNR:
            continue
        rows.append(
            [
                "" if rows else spectrum_name(result),
                str(line["name"]),
                f"{line['wavelength']:.1f}",
                f"{line['snr']:.1f}",
                _measured(line["flux"], line["flux_err"]),
                _measured(line["equivalent_width"], line["equivalent_width_err"]),
                "" if line["sigma"] is None else f"{line['sigma']:.0f}",
            ]
        )
    return rows or [[spectrum_name(result), "none", "", "", "", "", ""]]


def _measured(value: float | None, error: float | None) -> str:
    """ "12.3 ± 0.4": digits down to the second of the error; powers of ten for fluxes in cgs."""
    if value is None or error is None or not error > 0:
        return ""
    if not 1e-3 < error < 1e5:
        return f"{value:.2e} ± {error:.1e}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"
