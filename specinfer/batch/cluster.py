"""Dask: processes of this machine, or a scheduler that is running elsewhere."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from specinfer.batch import forking
from specinfer.errors import SpecinferError

# Of a cluster of our own: a chunk is given up as a suspect when so many workers died in it.
ALLOWED_DEATHS = 2
_CONNECT_S = 30.0


class NoSchedulerError(SpecinferError):
    """There is no Dask, or none that answers."""

    exit_code = 3


def require() -> None:
    """Check that the extra is installed.

    Raises
    ------
    NoSchedulerError
        ``no_batch``.
    """
    missing = [name for name in ("dask", "distributed", "pyarrow") if find_spec(name) is None]
    if missing:
        raise NoSchedulerError(
            "no_batch",
            f"specinfer batch needs {', '.join(missing)}: pip install 'specinfer[batch]'",
        )


@contextlib.contextmanager
def client_of(scheduler: str | None, workers: int) -> Iterator[Any]:
    """A client of the scheduler at an address, or of local processes.

    Parameters
    ----------
    scheduler : str or None
        Address; None starts processes on this machine, which listen to it alone.
    workers : int
        How many processes, one thread each.

    Yields
    ------
    distributed.Client

    Raises
    ------
    NoSchedulerError
        ``no_scheduler`` if none answers at the address, ``no_workers`` if the processes
        cannot be started.
    """
    import dask

    settings: dict[str, Any] = {
        "distributed.admin.log-format": "%(message)s",
        "logging": {"distributed": "critical", "tornado": "critical", "asyncio": "critical"},
        "distributed.scheduler.allowed-failures": ALLOWED_DEATHS,
        "distributed.diagnostics.nvml": False,
        # Its samples of the stack, a hundred a second, are looked at by nobody here.
        "distributed.worker.profile.enabled": False,
        # Neither is the pulse of each process, fifty times a second, which the workers pay for.
        "distributed.admin.tick.interval": "1s",
        # Dask serves pages even without its dashboard; there are none here.
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
        "distributed.nanny.pre-spawn-environ": forking.ENVIRONMENT,
        "distributed.worker.multiprocessing-method": forking.METHOD,
    }
    with dask.config.set(settings):
        # Reads the settings when it is imported.
        distributed: Any = import_module("distributed")

        # What a user has to know is said here in one line; tracebacks of Dask are for nobody.
        for name in ["asyncio", *logging.root.manager.loggerDict]:
            if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
        with contextlib.ExitStack() as stack:
            if scheduler is None:
                cluster = _local(workers)
                stack.callback(_quietly, cluster.close, timeout=10)
                where: Any = cluster
            else:
                where = scheduler
            try:
                client = distributed.Client(
                    where, timeout=_CONNECT_S, set_as_default=False, name="specinfer"
                )
            except (OSError, ValueError, TimeoutError) as error:
                raise NoSchedulerError(
                    "no_scheduler",
                    f"no Dask scheduler answers at {scheduler} ({_brief(error)}); start one "
                    "(docs/batch.md) and give its address, such as tcp://host:8786",
                ) from None
            stack.callback(_quietly, client.close, timeout=10)
            yield client


def _local(workers: int) -> Any:
    distributed: Any = import_module("distributed")
    try:
        return distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            worker_dashboard_address=None,
            # Dask would stop or restart workers by their share of the machine's memory.
            memory_limit=0,
            silence_logs=logging.CRITICAL,
            preload=["specinfer.batch.in_worker"],
            # Whoever may talk to a scheduler may run programs on it, and other users of this
            # machine could: keys of this run alone keep them away.
            security=True if find_spec("cryptography") else None,
            env=forking.THREADS,
        )
    except (OSError, RuntimeError, TimeoutError) as error:
        raise NoSchedulerError(
            "no_workers",
            f"{workers} worker processes cannot be started ({_brief(error)}); try fewer --workers",
        ) from None


def _quietly(close: Any, **options: Any) -> None:
    """At the end nothing that fails matters any more."""
    with contextlib.suppress(Exception):
        close(**options)


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
