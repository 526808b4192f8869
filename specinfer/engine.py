"""Sessions: the only module that knows onnxruntime.

onnxruntime lists CUDA and TensorRT whether or not their libraries are there, and a
session that cannot have them quietly runs on the CPU. So the libraries are looked
for first, falling back is switched off, and what a session really runs on is
compared with what was asked for.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer import nvidia
from specinfer.errors import DeviceError, ModelError, SpecinferError, SpecinferWarning, UsageError

DEVICES = ("auto", "cpu", "cuda", "tensorrt")

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_EXTRAS = {"cuda": "specinfer[cuda]", "tensorrt": "specinfer[tensorrt]"}
# The networks are small: more threads wait for each other longer than they compute.
_MAX_DEFAULT_THREADS = 4
# Spectra that a network gets at once, at most: bounds the memory on every device.
MAX_BATCH = 64

Shapes = Mapping[str, tuple[int, ...]]


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
        Threads within one operator; by default see `default_threads`.
    shapes : mapping of str to tuple of int, optional
        Shape of each input without its batch dimension (for TensorRT).
    half : bytes, optional
        The same network in half precision, which runs instead on CUDA and TensorRT.

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
        shapes: Shapes | None = None,
        half: bytes | None = None,
    ) -> None:
        if device not in DEVICES:
            raise UsageError("bad_option", f"device {device!r} is not one of {', '.join(DEVICES)}")
        if threads is not None and threads < 1:
            raise UsageError("bad_option", f"threads must be at least 1, not {threads}")
        self.name = name
        self.asked_device = device
        self.threads = threads or default_threads()
        self._shapes: Shapes = shapes or {}
        self._model = model
        self._half = half
        self._lock = threading.Lock()
        self._session: Any = None
        self._device = ""

    @property
    def session(self) -> Any:
        """The onnxruntime session, made on first use."""
        if self._session is None:
            with self._lock:
                if self._session is None:
                    models = {"cpu": self._model, "gpu": self._half or self._model}
                    self._device, session = _open(
                        models, self.name, self.asked_device, self.threads, self._shapes
                    )
                    self._session = session
                    # The session has its own copy.
                    self._model, self._half = b"", None
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
        return {
            node.name: tuple(size if isinstance(size, int) else None for size in node.shape)
            for node in self.session.get_inputs()
        }

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(node.name for node in self.session.get_outputs())

    def run(
        self, inputs: Mapping[str, NDArray[np.float32]], only: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
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
        session = self.session
        _check_inputs(inputs, self.input_shapes, self.name)
        try:
            values = session.run(None if only is None else list(only), dict(inputs))
        except Exception as error:
            raise ModelError(
                "inference_failed",
                f"model {self.name} failed on {self._device}: {_one_line(error)}; try --device cpu",
            ) from error
        answers = dict(zip(only or self.output_names, values, strict=True))
        for name, array in answers.items():
            if not np.all(np.isfinite(array)):
                raise ModelError(
                    "inference_failed",
                    f"model {self.name} answered with numbers that are not finite ({name}) "
                    f"on {self._device}; try --device cpu",
                )
        return answers

    def warm_up(self, batch: int = 1) -> None:
        """Load the network and run it once on zeros, so that the next run is at full speed."""
        zeros = {
            name: np.zeros([batch if size is None else size for size in shape], np.float32)
            for name, shape in self.input_shapes.items()
        }
        with _clean_stdout(self.device):
            self.session.run(None, zeros)


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


def _open(
    models: Mapping[str, bytes], name: str, device: str, threads: int, shapes: Shapes
) -> tuple[str, Any]:
    """The device that works, and its session; `models` are those for "cpu" and "gpu"."""
    if device != "auto":
        model = models["cpu" if device == "cpu" else "gpu"]
        return device, _make(model, name, device, threads, shapes)
    for candidate in ("tensorrt", "cuda"):
        if missing_library(candidate) is not None:
            continue
        try:
            return candidate, _make(models["gpu"], name, candidate, threads, shapes)
        except DeviceError as error:
            _warn_once(
                f"{candidate} does not work here ({_one_line(error.__cause__ or error)}); trying "
                "the next device (--device cpu to be silent)"
            )
    if nvidia.has_driver() and (missing := missing_library("cuda")) is not None:
        _warn_once(
            f"there is an NVIDIA driver, but {missing}; using the CPU "
            f"(pip install '{_EXTRAS['cuda']}' for the GPU, --device cpu to be silent)"
        )
    return "cpu", _make(models["cpu"], name, "cpu", threads, shapes)


_warned = threading.Event()


def _warn_once(message: str) -> None:
    if not _warned.is_set():
        _warned.set()
        warnings.warn(message, SpecinferWarning, stacklevel=6)


def _make(model: bytes, name: str, device: str, threads: int, shapes: Shapes) -> Any:
    import onnxruntime

    if device != "cpu" and (missing := missing_library(device)) is not None:
        # Packages of pip do not bring the driver.
        remedy = f"pip install '{_EXTRAS[device]}'" if nvidia.has_driver() else "install it"
        raise DeviceError(
            "device_unavailable",
            f"--device {device} does not work here: {missing}; {remedy}, or use --device cpu",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that spin while they wait take the cores from the preprocessing, and from
    # whatever else a telescope's machine does.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        with _clean_stdout(device):
            session = onnxruntime.InferenceSession(
                model, options, providers=_provider_list(device, shapes), enable_fallback=0
            )
    except Exception as error:
        if device == "cpu":
            raise ModelError(
                "bad_model", f"onnxruntime cannot load model {name}: {_one_line(error)}"
            ) from error
        raise DeviceError(
            "device_unavailable",
            f"--device {device} does not work here: {_one_line(error)}; use --device cpu",
        ) from error
    used = session.get_providers()[0]
    if used != _PROVIDERS[device]:
        raise DeviceError(
            "device_unavailable",
            f"--device {device} does not work here: onnxruntime fell back to {used}; "
            "use --device cpu",
        )
    return session


def _provider_list(device: str, shapes: Shapes) -> list[Any]:
    """Providers in order; operators that the first does not know go to the next."""
    cpu = _PROVIDERS["cpu"]
    if device == "cpu":
        return [cpu]
    # Full float32: TF32 has the mantissa of a half, and results would differ from the CPU's.
    cuda = (_PROVIDERS["cuda"], {"use_tf32": "0"})
    if device == "cuda":
        return [cuda, cpu]
    cache = _engine_cache()
    settings = {
        "trt_engine_cache_enable": str(cache is not None),
        "trt_timing_cache_enable": str(cache is not None),
    }
    if cache is not None:
        settings |= {"trt_engine_cache_path": str(cache), "trt_timing_cache_path": str(cache)}
    # One engine for every batch size, or TensorRT builds anew for each that it meets.
    for bound, batch in (("min", 1), ("opt", 8), ("max", MAX_BATCH)):
        if shapes:
            settings[f"trt_profile_{bound}_shapes"] = ",".join(
                f"{key}:{'x'.join(map(str, (batch, *shape)))}" for key, shape in shapes.items()
            )
    return [(_PROVIDERS["tensorrt"], settings), cuda, cpu]


def _engine_cache() -> Path | None:
    """Folder for TensorRT engines, which take seconds to minutes to build."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "specinfer"
    try:
        folder = root / "tensorrt"
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder


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
            answers[device] = _one_line(cause) if cause else error.message
        except Exception as error:  # a provider may fail in its first run
            answers[device] = _one_line(error)
        else:
            answers[device] = None
    return answers


def runtime_version() -> str:
    """Version of onnxruntime."""
    import onnxruntime

    return str(onnxruntime.__version__)


@lru_cache(maxsize=4)
def missing_library(device: str) -> str | None:
    """What a device lacks on this machine, without the cost of a failing session.

    Parameters
    ----------
    device : {"cuda", "tensorrt"}

    Returns
    -------
    str or None
        Why the device cannot work; None if its libraries can all be loaded. They then
        stay loaded, so that onnxruntime finds those that pip installed.
    """
    import onnxruntime

    if _PROVIDERS[device] not in onnxruntime.get_available_providers():
        return f"this build of onnxruntime ({onnxruntime.__version__}) has no {device} provider"
    if not nvidia.has_driver():
        return "no NVIDIA driver (libcuda) was found"
    if sys.platform == "win32":
        with _clean_stdout(device):
            onnxruntime.preload_dlls()
        return None
    version = str(getattr(onnxruntime, "cuda_version", "") or "13.0")
    return nvidia.missing_library(int(version.split(".")[0]), tensorrt=device == "tensorrt")


@contextlib.contextmanager
def _clean_stdout(device: str) -> Iterator[None]:
    """Send what a provider's C code prints on standard output to standard error.

    Results alone belong on standard output. The CPU provider prints nothing, so for
    it the file descriptors, which all threads share, are left alone.
    """
    if device == "cpu":
        yield
        return
    try:
        sys.stdout.flush()
        saved = os.dup(1)
    except (OSError, ValueError, AttributeError):
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def _one_line(error: BaseException) -> str:
    """An error of onnxruntime as one short line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."
