"""``specinfer config show`` and ``check``; the work is imported when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from specinfer.cli_exit import exit_with

_EPILOG = """\b
The file is the one named by --config, else by the environment variable SPECINFER_CONFIG, else
specinfer.toml in the working directory. docs/configuration.md describes its keys.
"""
_FILE = typer.Option("--config", metavar="FILE", help="The configuration file.", show_default=False)
_DEBUG = typer.Option("--debug", help="Show tracebacks.")

commands = typer.Typer(
    help="Show or check the configuration.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=_EPILOG,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="config")


@commands.command(epilog=_EPILOG)
def show(
    config: Annotated[Path | None, _FILE] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON instead of TOML.")] = False,
    debug: Annotated[bool, _DEBUG] = False,
) -> None:
    """Print the whole configuration, defaults included, as TOML that can be edited."""

    def work() -> int:
        from specinfer.config import load_config
        from specinfer.config_text import config_dict, config_text

        found = load_config(config)
        if json:
            from specinfer.cli_output import dump_json

            dump_json(config_dict(found))
        else:
            source = "the defaults: there is no file" if found.source is None else found.source
            typer.echo(f"# {source}\n{config_text(found)}", nl=False)
        return 0

    exit_with(work, debug=debug)


@commands.command(epilog=_EPILOG)
def check(
    config: Annotated[Path | None, _FILE] = None,
    debug: Annotated[bool, _DEBUG] = False,
) -> None:
    """Check the configuration, and the models, tokens and folders that it names."""

    def work() -> int:
        from specinfer.cli_report import say
        from specinfer.config import ConfigError, load_config
        from specinfer.config_check import check_config

        try:
            found = load_config(config)
            problems = check_config(found)
        except ConfigError as error:
            problems = list(error.problems)
        for problem in problems:
            say(f"specinfer: {problem}")
        if problems:
            return 2
        source = "the defaults are" if found.source is None else f"{found.source} is"
        typer.echo(f"{source} in order")
        return 0

    exit_with(work, debug=debug)
