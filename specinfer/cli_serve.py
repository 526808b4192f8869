"""``specinfer serve``. Cheap to import: the work is imported when it is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from specinfer.cli_exit import exit_with
from specinfer.errors import SpecinferError


class _MissingError(SpecinferError):
    """An optional package is missing."""

    exit_code = 3


def register(app: typer.Typer) -> None:
    """Add the command to the command line.

    Parameters
    ----------
    app : typer.Typer
    """
    app.command(
        epilog="""\b
Examples:
  specinfer serve
  specinfer serve --port 9000 --token-file ~/.config/specinfer/token
  specinfer serve --callback-host fritz.science
  curl -F file=@spec.fits http://127.0.0.1:8765/classify

\b
Routes (docs/serve.md):
  /                     page: drop a file, see picture and table
  /classify             POST a file or JSON arrays
  /analysis/specinfer   SkyPortal's external analysis protocol
  /health /metrics /openapi.json

\b
Exit codes:
  0  ended by SIGTERM or Ctrl-C, with everything in hand answered
  1  the address cannot be used
  2  wrong usage
  3  a problem of a model or of the installation
"""
    )(serve)


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen at.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port; 0 takes a free one.", show_default="8765")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Ask for the bearer token in FILE (mode 600), or in SPECINFER_SERVE_TOKEN.",
            show_default=False,
        ),
    ] = None,
    callback_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST[:PORT]",
            help="Analyses may be sent to this host; may be repeated.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model for requests that name none.", show_default="auto"),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda or tensorrt.", show_default="auto")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", help="Threads that share a batch of spectra.", show_default="1"),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", help="Requests worked on at once.", show_default="1"),
    ] = None,
    queue: Annotated[
        int | None,
        typer.Option(metavar="N", help="Requests that may wait; more get 429.", show_default="64"),
    ] = None,
    max_body: Annotated[
        int | None,
        typer.Option(metavar="BYTES", help="Largest request.", show_default="8388608"),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="A request may take so long to arrive, and again to be answered.",
            show_default="30",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Configuration; options win over it.",
            show_default="specinfer.toml, if there is one",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Log warnings and errors only.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Log more; show tracebacks.")] = False,
) -> None:
    """Classify over HTTP: a page, a JSON API, and SkyPortal's analysis service."""

    def work() -> int:
        from specinfer.cli_report import warnings_to_lines

        _require("starlette", "uvicorn", "httpx", "python_multipart")
        warnings_to_lines(quiet=quiet, debug=debug)
        from specinfer.serve.run import run

        options = {
            "host": host,
            "port": port,
            "callback_hosts": tuple(callback_host) if callback_host else None,
            "model": model,
            "device": device,
            "threads": threads,
            "workers": jobs,
            "queue": queue,
            "max_body": max_body,
            "timeout": timeout,
        }
        return run(_settings(config, token_file, options), quiet=quiet, debug=debug)

    exit_with(work, debug=debug)


def _settings(config: Path | None, token_file: Path | None, options: dict[str, Any]) -> Any:
    """The configuration with what the command line says over it."""
    from specinfer.config import load_config
    from specinfer.serve.settings import Settings, find_token

    found = load_config(config)
    table = found.serve
    settings = Settings(
        host=table.host,
        port=table.port,
        model=found.model,
        device=found.device,
        threads=found.threads,
        workers=table.jobs,
        queue=table.queue,
        max_body=table.max_body,
        timeout=table.timeout,
        callback_hosts=table.callback_hosts,
        callback_timeout=table.callback_timeout,
        callback_attempts=table.callback_attempts,
        token=find_token(token_file or table.token_file),
    )
    return replace(settings, **{k: v for k, v in options.items() if v is not None})


def _require(*names: str) -> None:
    from importlib.util import find_spec

    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise _MissingError(
            "no_server",
            f"the service needs {', '.join(missing)}: pip install 'specinfer[serve]'",
        )
