"""Whether the NVIDIA driver and the CUDA and TensorRT libraries can be loaded.

Asking the dynamic loader takes microseconds; asking onnxruntime for a session that
then fails takes much longer and prints banners.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path

# Version of libcufft, which counts on its own, by version of CUDA.
_CUFFT = {12: "libcufft.so.11", 13: "libcufft.so.12"}
# Of the driver's CUdevice_attribute.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76


def has_driver() -> bool:
    """Whether the NVIDIA driver is installed."""
    return _load("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1") is None


def gpu() -> str | None:
    """Name and compute capability of the GPU that is used, such as "NVIDIA A100 8.0".

    Returns
    -------
    str or None
        None without a driver or a GPU that answers.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        number, name = ctypes.c_int(), ctypes.create_string_buffer(256)
        major, minor = ctypes.c_int(), ctypes.c_int()
        # Each answers 0 if it worked. The first GPU is the one that onnxruntime takes.
        failed = (
            driver.cuInit(0)
            or driver.cuDeviceGet(ctypes.byref(number), 0)
            or driver.cuDeviceGetName(name, len(name), number)
            or driver.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, number)
            or driver.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, number)
        )
    except (OSError, AttributeError):
        return None
    if failed:
        return None
    return f"{name.value.decode(errors='replace')} {major.value}.{minor.value}"


def tensorrt_version() -> str | None:
    """Version of the TensorRT library that is loaded, such as "101303"; None without one."""
    library = "nvinfer_10.dll" if sys.platform == "win32" else "libnvinfer.so.10"
    for path in [library, *_pip_libraries(library)]:
        try:
            return str(int(ctypes.CDLL(path).getInferLibVersion()))
        except (OSError, AttributeError):
            continue
    return None


def missing_library(cuda_major: int, *, tensorrt: bool = False) -> str | None:
    """The first library that the CUDA (or TensorRT) provider needs and cannot have.

    Parameters
    ----------
    cuda_major : int
        CUDA version that onnxruntime was built for.
    tensorrt : bool, optional
        Also look for TensorRT 10.

    Returns
    -------
    str or None
        What cannot be loaded and why; None if everything can. The libraries stay
        loaded, so that onnxruntime finds those that pip installed.
    """
    wanted = [f"lib{name}.so.{cuda_major}" for name in ("cudart", "cublasLt", "cublas")]
    if cuda_major in _CUFFT:
        wanted.append(_CUFFT[cuda_major])
    wanted.append("libcudnn.so.9")
    if tensorrt:
        wanted.append("libnvinfer.so.10")
    for library in wanted:
        problem = _load(library)
        if problem is not None:
            return f"the library {library} cannot be loaded ({problem})"
    return None


def _load(library: str) -> str | None:
    """Load a shared library from the system or from pip's NVIDIA packages; None if it worked."""
    mode = getattr(ctypes, "RTLD_GLOBAL", 0)
    problem = ""
    for path in [library, *_pip_libraries(library)]:
        try:
            ctypes.CDLL(path, mode=mode)
        except OSError as error:
            problem = " ".join(str(error).split())
        else:
            return None
    return problem


def _pip_libraries(library: str) -> list[str]:
    """Where pip's NVIDIA wheels put a library: nvidia/*/lib or tensorrt_libs."""
    found: list[Path] = []
    for package, pattern in (("nvidia", "*/lib"), ("tensorrt_libs", "")):
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError):
            continue
        for root in (spec.submodule_search_locations or []) if spec else []:
            found += sorted(Path(root).glob(f"{pattern}/{library}" if pattern else library))
    return [str(path) for path in found]
