"""From command line and configuration to a service that runs."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specinfer.errors import UsageError
from specinfer.watch.options import STATE_FOLDER, WatchOptions

if TYPE_CHECKING:
    from specinfer.classifier import Classifier
    from specinfer.config import Config
    from specinfer.watch.delivery import Delivery
    from specinfer.watch.log import Log


@dataclass(frozen=True)
class Wanted:
    """What the command line says; None leaves it to the configuration.

    Parameters
    ----------
    directory : str
    config, state, pattern, model, device, log_format : str, optional
    interval, settle : float, optional
    attempts, jobs, threads : int, optional
    annotate, plot, skyportal : bool, optional
    skip, notify : bool
        False for ``--no-skip`` and ``--no-notify``.
    once, quiet : bool
    """

    directory: str
    config: str | None = None
    state: str | None = None
    pattern: str | None = None
    model: str | None = None
    device: str | None = None
    log_format: str | None = None
    interval: float | None = None
    settle: float | None = None
    attempts: int | None = None
    jobs: int | None = None
    threads: int | None = None
    annotate: bool | None = None
    plot: bool | None = None
    skyportal: bool | None = None
    skip: bool = True
    notify: bool = True
    once: bool = False
    quiet: bool = False


def configured(wanted: Wanted) -> Config:
    """The configuration, with what the command line says in its place.

    Raises
    ------
    UsageError
        If the configuration has an error, or ``--skyportal`` has nowhere to post.
    """
    from specinfer.config import load_config

    config = load_config(None if wanted.config is None else Path(wanted.config))
    said = {
        name: value
        for name in (
            "pattern", "interval", "settle", "attempts", "jobs", "annotate", "plot", "skyportal",
            "log_format",
        )
        if (value := getattr(wanted, name)) is not None
    }  # fmt: skip
    if wanted.state is not None:
        said["state"] = Path(wanted.state)
    config = replace(config, watch=replace(config.watch, **said))
    for name in ("model", "device", "threads"):
        if (value := getattr(wanted, name)) is not None:
            config = replace(config, **{name: value})
    if config.watch.skyportal and config.skyportal is None:
        raise UsageError(
            "no_portal",
            "there is nowhere to post to: write a table [skyportal] with a url into specinfer.toml "
            "(see docs/configuration.md), or leave --skyportal out",
        )
    return config


def options_of(wanted: Wanted, config: Config) -> WatchOptions:
    """How the directory is watched.

    Raises
    ------
    UsageError
        See `WatchOptions`.
    """
    watch = config.watch
    return WatchOptions(
        directory=Path(wanted.directory),
        state=watch.state,
        pattern=watch.pattern,
        interval=watch.interval,
        settle=watch.settle,
        attempts=watch.attempts,
        retry_first=watch.retry_first,
        retry_most=watch.retry_most,
        jobs=watch.jobs,
        heartbeat=watch.heartbeat,
        notify=wanted.notify,
        once=wanted.once,
    )


def run(wanted: Wanted) -> int:
    """Watch a directory until a signal ends it.

    Parameters
    ----------
    wanted : Wanted

    Returns
    -------
    int
        Exit code.

    Raises
    ------
    SpecinferError
        See `specinfer.watch.loop.Service.run`; `UsageError` for what does not fit together.
    """
    stopper = _Stopper()
    config = configured(wanted)
    options = options_of(wanted, config)

    from specinfer.classifier import Classifier
    from specinfer.pipeline import Handled, Handling, handle
    from specinfer.watch.log import Log
    from specinfer.watch.loop import Service

    handling = Handling(
        annotate=config.watch.annotate,
        plot=config.watch.plot,
        skip=config.skip.rules() if wanted.skip else None,
    )
    log = Log(config.watch.log_format, "warning" if wanted.quiet else "info")
    made: list[Classifier] = []

    def prepare() -> dict[str, Any]:
        made.append(Classifier(config.model, config.device, _threads(config)))
        _warm_up(made[0])
        return {"model": _label(made[0])}

    def answer(path: Path) -> Handled:
        return handle(path, made[0], handling)

    delivery = _delivery(config, options, log) if config.watch.skyportal else None
    service = Service(options, answer, log, prepare=prepare, delivery=delivery)
    stopper.service = service
    return service.run()


def show(wanted: Wanted, *, as_json: bool) -> int:
    """Print how the service of a directory is.

    Returns
    -------
    int
        0 if it runs, else 1.
    """
    from specinfer.watch import status

    config = configured(replace(wanted, skyportal=False))
    directory = Path(wanted.directory)
    if not directory.is_dir() and config.watch.state is None:
        raise UsageError("no_directory", f"{directory} is not a directory; name the watched one")
    found = status.look(directory, config.watch.state or directory / STATE_FOLDER)
    if as_json:
        print(json.dumps(found))
    else:
        print("\n".join(status.lines(found)))
    return 0 if status.is_well(found) else 1


class _Stopper:
    """Ends the service when a signal says so: what is in hand is finished, the code is 0.

    A second Ctrl-C does not wait.
    """

    def __init__(self) -> None:
        self.service: Any = None
        self._asked = False
        signal.signal(signal.SIGTERM, self)
        signal.signal(signal.SIGINT, self)

    def __call__(self, number: int, _: object) -> None:
        if self.service is None or (self._asked and number == signal.SIGINT):
            # Nothing is in hand yet; or somebody has no patience.
            sys.exit(0 if not self._asked else 130)
        self._asked = True
        self.service.stop()


def _threads(config: Config) -> int | None:
    """Threads of the network: several spectra at a time share the processors."""
    if config.threads is not None or config.watch.jobs == 1:
        return config.threads
    return max(1, (os.cpu_count() or 1) // config.watch.jobs)


def _warm_up(classifier: Classifier) -> None:
    """Load all that the first spectrum would else wait for."""
    import importlib

    import numpy as np

    from specinfer.spectrum import Spectrum

    classifier.warm_up()
    for name in ("astropy.io.fits", "specinfer.sidecar", "specinfer.annotation"):
        importlib.import_module(name)
    made_up = Spectrum(wavelength=np.linspace(3800, 9200, 200), flux=np.linspace(1.0, 2.0, 200))
    classifier.classify(made_up)


def _label(classifier: Classifier) -> str:
    from specinfer.classifier import DEFAULT_MODEL

    name = DEFAULT_MODEL if classifier.model == "auto" else classifier.model
    return str(classifier.network(name).card.label)


def _delivery(config: Config, options: WatchOptions, log: Log) -> Delivery:
    """Who posts.

    Raises
    ------
    SpecinferError
        If there is no token, or httpx is not installed.
    """
    from specinfer.skyportal_outcome import DryRun, Sender
    from specinfer.watch.delivery import Delivery
    from specinfer.watch.journal import FILE_NAME

    portal = config.skyportal
    assert portal is not None  # `configured` has seen to it
    client: Sender
    if portal.dry_run:
        client = DryRun(portal, lambda line: log.info("dry_run", line))
    else:
        from specinfer.skyportal import SkyPortal

        client = SkyPortal(portal)
    database = options.state_folder / FILE_NAME
    return Delivery(database, client, portal, config.decisions, log)
