"""Sessions: what networks are run through, on any device, from any thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ModelError, SpecinferError, UsageError
from specinfer.providers import DEVICES as DEVICES
from specinfer.providers import MAX_BATCH as MAX_BATCH
from specinfer.providers import Graph, clean_stdout, one_line, open_graph

# A spectrum is prepared by one thread, which takes as long as its network: more threads
# have nothing to do, and the machine has other work.
_MAX_DEFAULT_THREADS = 4
# Rows of a batch that are worth waking a thread for.
_LEAST_PART = 8

Arrays = dict[str, NDArray[np.float32]]


def available_cpus() -> int:
    """CPUs that this process may use: containers and batch systems often allow fewer."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def default_threads() -> int:
    """Threads of a session if the user does not say: the usable CPUs, at most four."""
    return min(available_cpus(), _MAX_DEFAULT_THREADS)


class Session:
    """A loaded network; one may be used from many threads.

    Nothing is loaded before the first use.

    Parameters
    ----------
    model : bytes
        Contents of an ONNX file.
    name : str
        For messages.
    device : {"auto", "cpu", "cuda", "tensorrt"}, optional
        "auto" takes the fastest that really works here, and warns at most once. Any
        other that does not work is a `DeviceError`.
    threads : int, optional
        Threads that share a batch on the CPU; by default see `default_threads`. One
        spectrum is computed by the thread that asks.
    shapes : mapping of str to tuple of int, optional
        Shape of each input without its batch dimension (for TensorRT).
    half : bytes, optional
        The same network in half precision, which runs instead on CUDA and TensorRT.
    sha256 : str, optional
        Of `model`. If given, its optimised graph is kept in the user's cache folder, and
        loaded from there the next time.

    Raises
    ------
    UsageError
        If device or threads make no sense (code ``bad_option``).
    """

    def __init__(
        self,
        model: bytes,
        *,
        name: str,
        device: str = "auto",
        threads: int | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        half: bytes | None = None,
        sha256: str | None = None,
    ) -> None:
        if device not in DEVICES:
            raise UsageError("bad_option", f"device {device!r} is not one of {', '.join(DEVICES)}")
        if threads is not None and threads < 1:
            raise UsageError("bad_option", f"threads must be at least 1, not {threads}")
        self.name = name
        self.asked_device = device
        self.threads = threads or default_threads()
        self._graph: Graph | None = Graph(name, model, half, sha256, shapes or {})
        self._lock = threading.Lock()
        self._session: Any = None
        self._device = ""
        self._pool: tuple[int, Any] | None = None

    @property
    def session(self) -> Any:
        """The onnxruntime session, made on first use."""
        if self._session is None:
            with self._lock:
                if self._graph is not None:
                    self._device, session = open_graph(self._graph, self.asked_device)
                    self._session = session
                    # The session has its own copy.
                    self._graph = None
        return self._session

    @property
    def device(self) -> str:
        """What the network really runs on: "cpu", "cuda" or "tensorrt"."""
        _ = self.session
        return self._device

    @property
    def metadata(self) -> dict[str, str]:
        """The ``metadata_props`` of the ONNX file."""
        return dict(self.session.get_modelmeta().custom_metadata_map)

    @cached_property
    def input_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Declared shape of each input; None for a free dimension."""
        return _shapes(self.session.get_inputs())

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(node.name for node in self.session.get_outputs())

    def run(
        self, inputs: Mapping[str, NDArray[np.float32]], only: Sequence[str] | None = None
    ) -> Arrays:
        """Run the network.

        Parameters
        ----------
        inputs : mapping of str to ndarray
            float32, finite, of the shapes that the network declares.
        only : sequence of str, optional
            The outputs that are wanted; by default all.

        Returns
        -------
        dict of str to ndarray

        Raises
        ------
        ModelError
            ``bad_input`` if the inputs do not fit the network, ``inference_failed`` if it
            fails or answers with numbers that are not finite.
        """
        _ = self.session
        _check_inputs(inputs, self.input_shapes, self.name)
        try:
            answers = self._run(inputs, tuple(only or self.output_names))
        except Exception as error:
            raise ModelError(
                "inference_failed",
                f"model {self.name} failed on {self._device}: {one_line(error)}; try --device cpu",
            ) from error
        for name, array in answers.items():
            if not np.all(np.isfinite(array)):
                raise ModelError(
                    "inference_failed",
                    f"model {self.name} answered with numbers that are not finite ({name}) "
                    f"on {self._device}; try --device cpu",
                )
        return answers

    def warm_up(self, batch: int = 1) -> None:
        """Load the network and run it once on zeros, so that the next run is at full speed.

        Parameters
        ----------
        batch : int, optional
            Spectra that will come at once: memory is laid out, and on a GPU the
            algorithms are chosen, for this many.
        """
        zeros = {
            name: np.zeros([batch if size is None else size for size in shape], np.float32)
            for name, shape in self.input_shapes.items()
        }
        with clean_stdout(self.device):
            self._run(zeros, self.output_names)

    @cached_property
    def _is_divisible(self) -> bool:
        """Whether rows go in and come out: what may be given to threads in parts."""
        shapes = (*self.input_shapes.values(), *_shapes(self.session.get_outputs()).values())
        return all(shape and shape[0] is None for shape in shapes)

    def _run(self, inputs: Mapping[str, NDArray[np.float32]], names: Sequence[str]) -> Arrays:
        session = self.session
        if self._device != "cpu":
            return _run_bound(session, inputs, names)

        def compute(feed: Mapping[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
            values: list[NDArray[np.float32]] = session.run(list(names), dict(feed))
            return values

        parts = _parts(inputs, self.threads) if self.threads > 1 and self._is_divisible else []
        values = _share(compute, parts, self._helpers()) if len(parts) > 1 else compute(inputs)
        return dict(zip(names, values, strict=True))

    def _helpers(self) -> Any:
        """The threads that share batches, made for the first; a fork leaves them behind."""
        with self._lock:
            if self._pool is None or self._pool[0] != os.getpid():
                # Only who has a batch pays for the import.
                from concurrent.futures import ThreadPoolExecutor

                self._pool = os.getpid(), ThreadPoolExecutor(self.threads - 1, "specinfer")
            return self._pool[1]


def _run_bound(
    session: Any, inputs: Mapping[str, NDArray[np.float32]], names: Sequence[str]
) -> Arrays:
    """Run on a GPU: inputs go there once, only the outputs that are wanted come back.

    A binding of its own for each run: threads may share the session.
    """
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, np.ascontiguousarray(array))
    for name in names:
        binding.bind_output(name, "cpu")
    session.run_with_iobinding(binding)
    return dict(zip(names, binding.copy_outputs_to_cpu(), strict=True))


def _parts(inputs: Mapping[str, NDArray[np.float32]], threads: int) -> list[Arrays]:
    """A batch in parts for threads; one part if it is too small to be shared.

    No part is a single row: the products of one have their own code in onnxruntime, and
    answers would differ in the last bit from those of the whole batch.
    """
    rows = len(next(iter(inputs.values())))
    count = max(1, min(threads, rows // _LEAST_PART))
    edges = [rows * i // count for i in range(count + 1)]
    return [
        {name: array[start:stop] for name, array in inputs.items()}
        for start, stop in pairwise(edges)
    ]


def _share(
    compute: Callable[[Arrays], list[NDArray[np.float32]]], parts: Sequence[Arrays], pool: Any
) -> list[NDArray[np.float32]]:
    """The outputs of all parts: the first by this thread, the others by those of the pool."""
    helping = [pool.submit(compute, part) for part in parts[1:]]
    made = [compute(parts[0]), *(helper.result() for helper in helping)]
    return [np.concatenate(pieces) for pieces in zip(*made, strict=True)]


def _shapes(nodes: Sequence[Any]) -> dict[str, tuple[int | None, ...]]:
    return {
        node.name: tuple(size if isinstance(size, int) else None for size in node.shape)
        for node in nodes
    }


def _check_inputs(
    inputs: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int | None, ...]], name: str
) -> None:
    if set(inputs) != set(shapes):
        raise ModelError(
            "bad_input", f"model {name} takes {sorted(shapes)}, but was given {sorted(inputs)}"
        )
    for key, array in inputs.items():
        expected = shapes[key]
        fits = len(expected) == array.ndim and all(
            want in (None, size) for want, size in zip(expected, array.shape, strict=True)
        )
        if array.dtype != np.float32 or not fits:
            raise ModelError(
                "bad_input",
                f"model {name} takes {key} as float32 {expected}, but was given "
                f"{array.dtype} {array.shape}",
            )
        if not np.all(np.isfinite(array)):
            raise ModelError("bad_input", f"{key} for model {name} holds NaN or infinity")


def usable_devices(model: bytes, name: str) -> dict[str, str | None]:
    """Try every device with a model.

    Parameters
    ----------
    model : bytes
        Contents of an ONNX file.
    name : str
        For messages.

    Returns
    -------
    dict of str to (str or None)
        By device: None if it works, else why not.
    """
    answers: dict[str, str | None] = {}
    for device in ("cpu", "cuda", "tensorrt"):
        try:
            session = Session(model, name=name, device=device, threads=1)
            session.warm_up()
        except SpecinferError as error:
            cause = error.__cause__
            answers[device] = one_line(cause) if cause else error.message
        except Exception as error:  # a provider may fail in its first run
            answers[device] = one_line(error)
        else:
            answers[device] = None
    return answers
