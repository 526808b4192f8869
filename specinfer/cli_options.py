"""Options that several commands have: how files are read, and on what is computed."""

from __future__ import annotations

from typing import Annotated

import typer

FormatOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Read as this format (see classify --help), instead of recognising it.",
    ),
]
NoiseOption = Annotated[
    str | None,
    typer.Option(metavar="KIND", help="What the noise column is: ivar, var, sigma, none."),
]
UnitOption = Annotated[
    str | None,
    typer.Option(help="Unit of the wavelengths: angstrom, nm, um, m, log10, ln."),
]
AirOption = Annotated[
    bool | None,
    typer.Option(
        "--air/--vacuum",
        help="Wavelengths are in air / in vacuum.",
        show_default="as the file says",
    ),
]
SkyOption = Annotated[
    bool, typer.Option("--sky", help="Also the sky fibres of files with many objects.")
]
DeviceOption = Annotated[
    str | None, typer.Option(help="auto, cpu, cuda or tensorrt.", show_default="auto")
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
