"""Which device works on this machine, and the onnxruntime session on it.

onnxruntime lists CUDA and TensorRT whether or not their libraries are there, and a
session that cannot have them quietly runs on the CPU. So the libraries are looked
for first, falling back is switched off, and what a session really runs on is
compared with what was asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from specinfer import caches, nvidia
from specinfer.errors import DeviceError, ModelError, SpecinferWarning

DEVICES = ("auto", "cpu", "cuda", "tensorrt")
# Spectra that a network gets at once, at most: bounds the memory on every device.
MAX_BATCH = 64

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_EXTRAS = {"cuda": "specinfer[cuda]", "tensorrt": "specinfer[tensorrt]"}


@dataclass(frozen=True)
class Graph:
    """A network as it is given to onnxruntime.

    Parameters
    ----------
    name : str
        For messages.
    model : bytes
        Contents of an ONNX file.
    half : bytes, optional
        The same in half precision, which runs instead on CUDA and TensorRT.
    sha256 : str, optional
        Of `model`, if its optimised graph may be kept in the cache.
    shapes : mapping of str to tuple of int, optional
        Shape of each input without its batch dimension (for TensorRT).
    """

    name: str
    model: bytes = field(repr=False)
    half: bytes | None = field(default=None, repr=False)
    sha256: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def on(self, device: str) -> bytes:
        """What runs on a device."""
        return self.model if device == "cpu" else self.half or self.model


def open_graph(graph: Graph, device: str) -> tuple[str, Any]:
    """The device that works, and the session on it.

    Parameters
    ----------
    graph : Graph
    device : {"auto", "cpu", "cuda", "tensorrt"}
        "auto" takes the first that works of TensorRT, CUDA and the CPU.

    Returns
    -------
    (str, onnxruntime.InferenceSession)

    Raises
    ------
    DeviceError
        ``device_unavailable``: the device that was asked for does not work here.
    ModelError
        ``bad_model`` if onnxruntime cannot load the network on the CPU.
    """
    if device != "auto":
        return device, make_session(graph, device)
    for candidate in ("tensorrt", "cuda"):
        if missing_library(candidate) is not None:
            continue
        try:
            return candidate, make_session(graph, candidate)
        except DeviceError as error:
            _warn_once(
                f"{candidate} does not work here ({one_line(error.__cause__ or error)}); trying "
                "the next device (--device cpu to be silent)"
            )
    if nvidia.has_driver() and (missing := missing_library("cuda")) is not None:
        _warn_once(
            f"there is an NVIDIA driver, but {missing}; using the CPU "
            f"(pip install '{_EXTRAS['cuda']}' for the GPU, --device cpu to be silent)"
        )
    return "cpu", make_session(graph, "cpu")


_warned = threading.Event()


def _warn_once(message: str) -> None:
    if not _warned.is_set():
        _warned.set()
        warnings.warn(message, SpecinferWarning, stacklevel=6)


def make_session(graph: Graph, device: str) -> Any:
    """The session on one device that is not "auto"; see `open_graph` for errors."""
    if device == "cpu":
        return _on_cpu(graph)
    if (missing := missing_library(device)) is not None:
        # Packages of pip do not bring the driver.
        remedy = f"pip install '{_EXTRAS[device]}'" if nvidia.has_driver() else "install it"
        raise DeviceError(
            "device_unavailable",
            f"--device {device} does not work here: {missing}; {remedy}, or use --device cpu",
        )
    try:
        session = _on_gpu(graph, device)
    except Exception as error:
        raise DeviceError(
            "device_unavailable",
            f"--device {device} does not work here: {one_line(error)}; use --device cpu",
        ) from error
    used = session.get_providers()[0]
    if used != _PROVIDERS[device]:
        raise DeviceError(
            "device_unavailable",
            f"--device {device} does not work here: onnxruntime fell back to {used}; "
            "use --device cpu",
        )
    return session


def _on_cpu(graph: Graph) -> Any:
    """A session on the CPU, from the optimised graph of the last time if there is one."""
    import onnxruntime

    key = None
    if graph.sha256 is not None:
        build = f"{onnxruntime.__version__} {onnxruntime.get_build_info()}"
        key = caches.network_key(graph.sha256, build)
    if key is not None:
        known = caches.find_network(key)
        if known is not None:
            with contextlib.suppress(Exception):
                return _session(known, [_PROVIDERS["cpu"]], optimise=False)
        written = caches.begin_network(key)
        if written is not None:
            try:
                session = _session(graph.model, [_PROVIDERS["cpu"]], save=written)
            except Exception:
                # A full disk, say. If it was the network, the next attempt says so.
                written.unlink(missing_ok=True)
            else:
                caches.finish_network(key, written)
                return session
    try:
        return _session(graph.model, [_PROVIDERS["cpu"]])
    except Exception as error:
        raise ModelError(
            "bad_model", f"onnxruntime cannot load model {graph.name}: {one_line(error)}"
        ) from error


def _on_gpu(graph: Graph, device: str) -> Any:
    engines = _engines(graph) if device == "tensorrt" else None
    providers = provider_list(device, graph.shapes, engines)
    with clean_stdout(device):
        try:
            return _session(graph.on(device), providers)
        except Exception:
            # An engine that cannot be read is built again; without one, that was not it.
            if engines is None or not caches.empty(engines):
                raise
            return _session(graph.on(device), providers)


def _session(
    model: bytes, providers: list[Any], *, optimise: bool = True, save: Path | None = None
) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Threads within an operator wait for each other longer than these networks compute; a
    # batch is shared out by `Session` instead (docs/engine.md has the figures).
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if save is not None:
        options.optimized_model_filepath = str(save)
    return onnxruntime.InferenceSession(model, options, providers=providers, enable_fallback=0)


def provider_list(
    device: str, shapes: Mapping[str, tuple[int, ...]], engines: Path | None = None
) -> list[Any]:
    """Providers in order; operators that the first does not know go to the next.

    Parameters
    ----------
    device : {"cuda", "tensorrt"}
    shapes : mapping of str to tuple of int
        See `Graph`.
    engines : Path, optional
        Where TensorRT keeps the engines that it builds.
    """
    cpu = _PROVIDERS["cpu"]
    # Full float32: TF32 has the mantissa of a half, and results would differ from the CPU's.
    # The exhaustive search for a convolution, which is the default, would be done anew for
    # every size of batch, and may choose otherwise in the next process.
    cuda = (_PROVIDERS["cuda"], {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})
    if device == "cuda":
        return [cuda, cpu]
    settings = {
        "trt_engine_cache_enable": str(engines is not None),
        "trt_timing_cache_enable": str(engines is not None),
    }
    if engines is not None:
        settings |= {"trt_engine_cache_path": str(engines), "trt_timing_cache_path": str(engines)}
    return [(_PROVIDERS["tensorrt"], settings | _profiles(shapes)), cuda, cpu]


def _profiles(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """One engine for every batch size, or TensorRT builds anew for each that it meets."""
    if not shapes:
        return {}
    return {
        f"trt_profile_{bound}_shapes": ",".join(
            f"{key}:{'x'.join(map(str, (batch, *shape)))}" for key, shape in shapes.items()
        )
        for bound, batch in (("min", 1), ("opt", 8), ("max", MAX_BATCH))
    }


def _engines(graph: Graph) -> Path | None:
    """Folder of the engines, which take seconds to minutes to build and fit one GPU."""
    import onnxruntime

    gpu, version = nvidia.gpu(), nvidia.tensorrt_version()
    if gpu is None or version is None:
        return None
    model = hashlib.sha256(graph.on("tensorrt")).hexdigest()
    shapes = repr(sorted(_profiles(graph.shapes).items()))
    return caches.engine_folder(model, gpu, version, str(onnxruntime.__version__), shapes)


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
        with clean_stdout(device):
            onnxruntime.preload_dlls()
        return None
    version = str(getattr(onnxruntime, "cuda_version", "") or "13.0")
    return nvidia.missing_library(int(version.split(".")[0]), tensorrt=device == "tensorrt")


@contextlib.contextmanager
def clean_stdout(device: str) -> Iterator[None]:
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


def one_line(error: BaseException) -> str:
    """An error of onnxruntime as one short line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."
