"""``specinfer batch``. Cheap to import: the work is imported when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from specinfer.cli_exit import exit_with
from specinfer.cli_options import (
    AirOption,
    DebugOption,
    DeviceOption,
    FormatOption,
    NoiseOption,
    SkyOption,
    UnitOption,
)
from specinfer.errors import UsageError

# What --columns may name.
COLUMN_KEYS = ("wavelength", "flux", "ivar", "sigma", "var", "mask", "id", "ra", "dec")


def register(app: typer.Typer) -> None:
    """Add the command to the command line.

    Parameters
    ----------
    app : typer.Typer
    """
    app.command(
        epilog="""\b
Examples:
  specinfer batch 'healpix/**/coadd-*.fits' --output answers/
  specinfer batch 'healpix/**/coadd-*.fits' --output answers/ --resume
  specinfer batch --list files.txt -o answers/ --workers 16
  specinfer batch catalogue_hats/ -o answers/ --model survey
  specinfer batch data/ -o answers/ --scheduler tcp://login1:8786
  specinfer batch --verify answers/

\b
The output is a folder of Parquet parts with _manifest.json (docs/batch.md).

\b
Exit codes:
  0  all rows were answered (--verify: nothing was altered)
  1  some rows failed; the others were answered
  2  wrong usage
  3  a problem of a model, of the installation or of the scheduler
  130  interrupted; --resume goes on
"""
    )(batch)


def batch(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...",
            help="Files, folders, HATS catalogues, or quoted patterns such as '**/coadd-*.fits'.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for the parts."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Worker processes.", show_default="one a usable core"),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Use the Dask cluster of this scheduler instead (docs/batch.md).",
            show_default=False,
        ),
    ] = None,
    chunk: Annotated[int, typer.Option(metavar="N", help="Spectra a chunk, and a part.")] = 500,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the output folder.")
    ] = False,
    verify: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Check an output against its manifest.", show_default=False
        ),
    ] = None,
    list_file: Annotated[
        str | None,
        typer.Option("--list", metavar="FILE", help="Also the files listed in FILE, one a line."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Name of a model, or its folder; auto takes survey for files of surveys, "
            "spectranet for all others, Parquet tables among them.",
            show_default="auto",
        ),
    ] = None,
    device: DeviceOption = None,
    format: FormatOption = None,
    noise: NoiseOption = None,
    unit: UnitOption = None,
    air: AirOption = None,
    sky: SkyOption = False,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=NAME,...",
            help=f"Columns of Parquet tables, of {', '.join(COLUMN_KEYS)}; name.field in a struct.",
            show_default="by their names",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Model and device, unless said here (docs/configuration.md).",
            show_default="specinfer.toml",
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="A summary as JSON on standard output.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
    debug: DebugOption = False,
) -> None:
    """Classify the spectra of a survey on many cores, into partitioned Parquet."""

    def work() -> int:
        if verify is None and scheduler is None and output is not None:
            from specinfer.batch import forking

            # Before everything else is imported here: it takes longer there.
            forking.begin()
        from specinfer.batch import command
        from specinfer.cli_report import warnings_to_lines
        from specinfer.config import load_config
        from specinfer.readers import ReadOptions

        warnings_to_lines(quiet=quiet, debug=debug)
        if verify is not None:
            if paths or output is not None:
                raise UsageError("bad_option", "--verify DIR stands alone; leave the rest out")
            return command.verify(verify, as_json=json)
        if output is None:
            raise UsageError("bad_option", "say where the parts go: --output DIR")
        settings = load_config(config)
        request = command.Request(
            paths=tuple(paths or ()),
            list_file=list_file,
            output=output,
            workers=workers,
            scheduler=scheduler,
            chunk=chunk,
            resume=resume,
            model=settings.model if model is None else model,
            device=settings.device if device is None else device,
            reading=ReadOptions(format=format, noise=noise, unit=unit, air=air, sky=sky),
            columns=_columns(columns),
            json=json,
            quiet=quiet,
        )
        return command.run(request)

    exit_with(work, debug=debug)


def _columns(text: str | None) -> dict[str, str]:
    """``wavelength=wave,flux=f`` as a mapping."""
    found: dict[str, str] = {}
    for word in (text or "").split(","):
        key, _, name = (side.strip() for side in word.partition("="))
        if key in COLUMN_KEYS and name:
            found[key] = name
        elif word.strip():
            raise UsageError(
                "bad_option",
                f"--columns {word.strip()!r} is not KEY=NAME with one of {', '.join(COLUMN_KEYS)}",
            )
    if found and not {"wavelength", "flux"} <= found.keys():
        raise UsageError("bad_option", "--columns must name wavelength and flux")
    return found
