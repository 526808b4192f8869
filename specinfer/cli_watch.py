"""``specinfer watch``: cheap to import; the work is imported when it is done."""

from __future__ import annotations

from typing import Annotated

import typer

_EPILOG = """\b
Examples:
  specinfer watch /data/sedm/redux                  answers the night's spectra as they appear
  specinfer watch /data/sedm/redux --jobs 2         two spectra at a time
  specinfer watch redux/20261121 --once             answers what is there, and ends
  specinfer watch /data/sedm/redux --status         how the service is

\b
It looks at DIR and at the newest night (YYYYMMDD) in it. Answers go to specinfer_<stem>.json
beside the spectra. Journal, lock and heartbeat are in DIR/.specinfer, or where --state says
(on a local disk, if DIR is a network share). docs/watch.md has more.

\b
Exit codes:
  0  stopped by a signal; with --once: every file has an answer; with --status: it runs
  1  with --once: a file failed, or a post waits; with --status: it does not run;
     already watched; journal or lock cannot be used
  2  wrong usage
  3  a problem of a model or of the installation
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_EPILOG)(watch)


def watch(
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder of the night, or of the nights.")
    ],
    pattern: Annotated[
        str | None,
        typer.Option(help="Names of the spectra.", show_default="spec_*.fits"),
    ] = None,
    annotate: Annotated[
        bool | None,
        typer.Option(
            "--annotate/--no-annotate",
            help="Write the answers into the headers, too.",
            show_default="no",
        ),
    ] = None,
    plot: Annotated[
        bool | None,
        typer.Option("--plot/--no-plot", help="Draw a picture of each.", show_default="no"),
    ] = None,
    skyportal: Annotated[
        bool | None,
        typer.Option(
            "--skyportal/--no-skyportal",
            help="Post to the [skyportal] of the configuration.",
            show_default="no",
        ),
    ] = None,
    no_skip: Annotated[
        bool,
        typer.Option("--no-skip", help="Also standard stars, galaxies, moving, uncalibrated..."),
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Answer what is there, each file once, and end.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Say how the service of DIR is, and end.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The status as JSON.")] = False,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Spectra at a time.", show_default="1")
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(metavar="S", help="Seconds between two looks.", show_default="0.2"),
    ] = None,
    settle: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Seconds without a change before a file is read.", show_default="0.2"
        ),
    ] = None,
    attempts: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tries before a file is set aside.", show_default="5"),
    ] = None,
    no_notify: Annotated[
        bool, typer.Option("--no-notify", help="Only look; never be woken by the file system.")
    ] = False,
    state: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Of journal, lock and heartbeat.", show_default="DIR/.specinfer"
        ),
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(metavar="text|json", help="Of log lines.", show_default="text")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The configuration.", show_default="./specinfer.toml"),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Name of a model, or its folder.", show_default="auto")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda or tensorrt.", show_default="auto")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Threads that share a batch of spectra.", show_default=False
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log only what went wrong.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Answer spectra as they appear in a folder: a service that survives the night."""
    from specinfer.cli_exit import exit_with

    def work() -> int:
        from specinfer.cli_report import warnings_to_lines
        from specinfer.errors import UsageError
        from specinfer.watch import setup

        warnings_to_lines(quiet=quiet, debug=debug)
        wanted = setup.Wanted(
            directory=directory,
            config=config,
            state=state,
            pattern=pattern,
            model=model,
            device=device,
            log_format=log_format,
            interval=interval,
            settle=settle,
            attempts=attempts,
            jobs=jobs,
            threads=threads,
            annotate=annotate,
            plot=plot,
            skyportal=skyportal,
            skip=not no_skip,
            notify=not no_notify,
            once=once,
            quiet=quiet,
        )
        if json and not status:
            raise UsageError("bad_option", "--json is for --status; log lines have --log-format")
        return setup.show(wanted, as_json=json) if status else setup.run(wanted)

    exit_with(work, debug=debug)
