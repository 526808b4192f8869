"""``specinfer skyportal``: post by hand; the work is imported when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from specinfer.cli_exit import exit_with

_EPILOG = """\b
Examples:
  specinfer skyportal --dry-run 20261121/         what would be posted of a night
  specinfer skyportal spec_..._ZTF20abwdwoa.fits  post one answer
  specinfer skyportal                             go on with what waits; show what was refused
  specinfer skyportal --retry                     try again what was refused

\b
The portal is the [skyportal] of the configuration (docs/configuration.md), the token in the
environment variable SPECINFER_SKYPORTAL_TOKEN or in its token_file. docs/skyportal.md has more.

\b
Exit codes:
  0  all is at the portal
  1  something was refused, or still waits
  2  wrong usage or configuration, no token
  3  the token is refused
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_EPILOG)(skyportal)


def skyportal(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILES]...",
            help="Spectra or their sidecars (specinfer_*.json), or folders of them.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be posted; post nothing.")
    ] = False,
    outbox: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The outbox: the journal of specinfer watch (its --state).",
            show_default=".specinfer/journal.sqlite3 beside the first of the files",
        ),
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try again what was refused or given up.")
    ] = False,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to try what gets no answer.", min=0)
    ] = 60.0,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The configuration file.", show_default=False),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Post answers to SkyPortal (Fritz) by hand, from their sidecars; each once."""

    def work() -> int:
        from specinfer.posting import Posting, run

        return run(
            Posting(
                paths=tuple(paths or ()),
                dry_run=dry_run,
                outbox=outbox,
                retry=retry,
                patience=patience,
                config=config,
            )
        )

    exit_with(work, debug=debug)
