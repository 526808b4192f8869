"""The command line. Thin, and cheap to import: the work is imported when it is done."""

from __future__ import annotations

import signal
import sys
import textwrap
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from specinfer import (
    __version__,
    cli_batch,
    cli_config,
    cli_night,
    cli_serve,
    cli_skyportal,
    cli_watch,
)
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
from specinfer.cli_start import (
    LeanCommand,
    LeanGroup,
    hold_garbage,
    leave,
    one_blas_thread,
    only,
)

# As in specinfer.readers.FORMATS, which would import numpy; a test keeps them the same.
FORMAT_NAMES = (
    "sedm-fits desi sdss-spec spspec spplate lamost fourmost pypeit-onespec pypeit-spec1d "
    "dbsp-spliced marz table-fits iraf sedm-text osc-json snid-lnw csp lpipe table-text ascii"
)


def _indented(words: str) -> str:
    return textwrap.fill(
        words, 72, break_on_hyphens=False, initial_indent="  ", subsequent_indent="  "
    )


app = typer.Typer(
    name="specinfer",
    cls=LeanGroup,
    help="Classify astronomical spectra and measure their redshifts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Help in plain text: it is there at once, without importing rich.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point of the ``specinfer`` command."""
    # A batch system's "terminate" keeps the results made so far, like Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    one_blas_thread()
    arguments = sys.argv[1:]
    # Of the commands, the one that is run for every spectrum.
    quick = arguments[:1] == ["classify"]
    if quick:
        hold_garbage()
    try:
        only(app, arguments)()
    except KeyboardInterrupt:  # before a command has begun
        sys.exit(130)
    except SystemExit as end:
        if quick and isinstance(end.code, int):
            leave(end.code)
        raise


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"specinfer {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@app.command(
    cls=LeanCommand,
    epilog=f"""\b
Examples:
  specinfer classify spec.fits
  specinfer classify --json 'night/*.fits' > night.jsonl
  specinfer classify night/ --output night.csv --plot pictures/
  specinfer classify night/ -o night.jsonl --embedding night.npy
  specinfer classify --annotate 'night/spec_*.fits'
  specinfer classify coadd-main-dark-9144.fits -o answers.jsonl
  specinfer classify spec-0266-51630-0001.fits --lines
  specinfer classify --join NGPS_u.fits NGPS_g.fits NGPS_r.fits NGPS_i.fits
  cat spec.txt | specinfer classify - --redshift 0.031

\b
Formats:
{_indented(FORMAT_NAMES)}

\b
Flags of an answer:
  LOW_SNR, LITTLE_COVERAGE  less signal or wavelength range than the model wants
  Z_AMBIGUOUS               no clear mode of p(z); the modes are in candidates
  Z_GIVEN, Z_CONFLICT       the redshift was given; p(z) excludes it
  NOVEL                     unlike all spectra that the model was trained on
  HOST_DOMINATED            a transient with much host light
  UNRELIABLE, SMALL_DELTA_CHI2, NO_SIGNAL...
                            warnings of survey spectra: docs/survey.md

\b
Exit codes:
  0  every file was answered or skipped
  1  at least one file failed; the others were answered
  2  wrong usage
  3  a problem of a model or of the installation
""",
)
def classify(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, folders (the files directly inside with a known ending), quoted "
            "patterns such as 'night/**/*.fits', or - for standard input.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Name of a model (see `specinfer models`), or its folder; auto takes survey for "
            "files of SDSS, BOSS, DESI, 4MOST and LAMOST, spectranet for all others.",
            show_default="auto",
        ),
    ] = None,
    redshift: Annotated[
        float | None,
        typer.Option(
            "--redshift", "-z", metavar="Z", help="Known redshift: classify in the rest frame."
        ),
    ] = None,
    format: FormatOption = None,
    noise: NoiseOption = None,
    unit: UnitOption = None,
    air: AirOption = None,
    sky: SkyOption = False,
    json: Annotated[
        bool, typer.Option("--json", help="JSON Lines, also on a terminal; the default in a pipe.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the results to FILE (.jsonl, .json or .csv) instead of a pipe.",
        ),
    ] = None,
    embedding: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.npy",
            help="Write the embeddings, one float32 row a result (NaN for failed ones).",
        ),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|DIR",
            help="Draw a picture, with what made the answer: to FILE (.png, .pdf, .svg), or one "
            "a spectrum into DIR.",
        ),
    ] = None,
    lines: Annotated[
        bool,
        typer.Option(
            "--lines",
            help="Measure the main lines at the redshift (models survey, gasnet3, specpt).",
        ),
    ] = False,
    annotate: Annotated[
        bool,
        typer.Option(
            "--annotate",
            help="Write the answer into the header of each file and of its FITS or text twin "
            "(keys SPI*; docs/sedm.md).",
        ),
    ] = False,
    sidecar: Annotated[
        bool,
        typer.Option("--sidecar", help="Write the answer beside each file: specinfer_NAME.json."),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Also annotate what this model has annotated."),
    ] = False,
    no_skip: Annotated[
        bool,
        typer.Option(
            "--no-skip",
            help="Also classify SEDM's standard stars, galaxies, uncalibrated and moving "
            "targets, QUALITY 3 and 4, which --annotate and --sidecar skip.",
        ),
    ] = False,
    top: Annotated[int, typer.Option(metavar="K", help="Show the K best classes.")] = 3,
    device: DeviceOption = None,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Threads that share a batch of spectra.", show_default=False
        ),
    ] = None,
    files_from: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Also the files listed in FILE (- is standard input)."),
    ] = None,
    join: Annotated[
        bool, typer.Option("--join", help="All files are channels of one object: join them.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Model, device, threads and what is skipped, unless said here "
            "(docs/configuration.md).",
            show_default="specinfer.toml",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(metavar="N", help="Spectra classified at a time.")
    ] = 64,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, no warnings; failures are said.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Classify spectra: a table on a terminal, JSON Lines in a pipe."""

    def work() -> int:
        from specinfer.cli_report import warnings_to_lines
        from specinfer.config_place import find_config

        warnings_to_lines(quiet=quiet, debug=debug)
        if find_config(config) is None and (paths or files_from):
            # Nothing but the command line counts, so the network can be loaded while all
            # that follows is imported.
            from specinfer.cli_loading import begin

            begin(model, device, threads)

        from specinfer.cli_classify import Job, run
        from specinfer.config import load_config
        from specinfer.readers import ReadOptions

        settings = load_config(config)
        job = Job(
            paths=tuple(paths or ()),
            files_from=files_from,
            join=join,
            model=settings.model if model is None else model,
            redshift=redshift,
            reading=ReadOptions(format=format, noise=noise, unit=unit, air=air, sky=sky),
            json=json,
            output=output,
            embedding=embedding,
            plot=plot,
            lines=lines,
            annotate=annotate,
            sidecar=sidecar,
            overwrite=overwrite,
            skip=None if no_skip else settings.skip.rules(),
            top=top,
            device=settings.device if device is None else device,
            threads=settings.threads if threads is None else threads,
            batch_size=batch_size,
            quiet=quiet,
            debug=debug,
        )
        return run(job)

    exit_with(work, debug=debug)


@app.command(
    epilog="""\b
Examples:
  specinfer models
  specinfer models spectranet
  specinfer models --verify
"""
)
def models(
    name: Annotated[
        str | None, typer.Argument(help="Show the card of this model.", show_default=False)
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check that no model or card was altered.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON, also on a terminal.")] = False,
    debug: DebugOption = False,
) -> None:
    """List the models, show the card of one, or check them."""

    def work() -> int:
        from specinfer.cli_models import run

        return run(name, verify=verify, as_json=json)

    exit_with(work, debug=debug)


@app.command(epilog="\b\nExamples:\n  specinfer doctor\n  specinfer doctor --json")
def doctor(
    json: Annotated[bool, typer.Option("--json", help="JSON, also on a terminal.")] = False,
    debug: DebugOption = False,
) -> None:
    """Check the installation: versions, devices that work, models, a timed self-test."""

    def work() -> int:
        from specinfer.doctor import run

        return run(as_json=json)

    exit_with(work, debug=debug)


cli_batch.register(app)
cli_watch.register(app)
cli_night.register(app)
cli_skyportal.register(app)
cli_serve.register(app)
cli_config.register(app)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
