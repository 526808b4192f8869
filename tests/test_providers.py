"""Providers: devices are honest, TensorRT's engines are kept, standard output stays clean."""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from tiny_model import N_PIXELS, make_graph

from specinfer import caches, nvidia, providers
from specinfer.engine import Session
from specinfer.errors import DeviceError, SpecinferWarning
from specinfer.preprocess import N_CHANNELS
from specinfer.providers import Graph


@pytest.fixture(scope="module")
def model() -> bytes:
    return make_graph({"name": "tiny"})


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_device_without_driver_is_an_error_with_its_cause(
    model: bytes, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvidia, "has_driver", lambda: False)
    providers.missing_library.cache_clear()
    with pytest.raises(DeviceError, match=f"--device {device}.*--device cpu") as caught:
        Session(model, name="tiny", device=device).warm_up()
    providers.missing_library.cache_clear()
    assert caught.value.exit_code == 3


def test_missing_library_is_named(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a driver but without the CUDA libraries, the error says which is missing."""
    monkeypatch.setattr(
        providers,
        "missing_library",
        lambda device: "the library libcudnn.so.9 cannot be loaded (x)",
    )
    monkeypatch.setattr(nvidia, "has_driver", lambda: True)
    with pytest.raises(DeviceError, match=r"libcudnn\.so\.9.*pip install 'specinfer\[cuda\]'"):
        Session(model, name="tiny", device="cuda").warm_up()


def test_auto_is_silent_without_a_driver(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "missing_library", lambda device: "no NVIDIA driver")
    monkeypatch.setattr(nvidia, "has_driver", lambda: False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Session(model, name="tiny").device == "cpu"


def test_auto_warns_once_if_the_gpu_cannot_be_used(
    model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers, "missing_library", lambda device: "libcudnn.so.9 is missing")
    monkeypatch.setattr(nvidia, "has_driver", lambda: True)
    providers._warned.clear()
    first, second = Session(model, name="tiny"), Session(model, name="tiny")
    with pytest.warns(SpecinferWarning, match=r"libcudnn\.so\.9"):
        first.warm_up()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second.warm_up()
    providers._warned.clear()
    assert first.device == second.device == "cpu"


def test_provider_that_falls_back_is_an_error(
    model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime itself only logs that it runs on the CPU instead."""
    monkeypatch.setattr(providers, "missing_library", lambda device: None)
    monkeypatch.setattr(providers, "provider_list", lambda *_: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match="fell back to CPUExecutionProvider"):
        Session(model, name="tiny", device="cuda").warm_up()


def test_standard_output_is_guarded(capfd: pytest.CaptureFixture[str]) -> None:
    with providers.clean_stdout("tensorrt"):
        os.write(1, b"a banner of a library\n")
    os.write(1, b"a result\n")
    seen = capfd.readouterr()
    assert seen.out == "a result\n"
    assert "banner" in seen.err


def test_tensorrt_gets_one_profile_for_all_batches() -> None:
    made = providers.provider_list("tensorrt", {"spectrum": (2, 1024)})
    provider, settings = made[0]
    assert provider == "TensorrtExecutionProvider"
    assert settings["trt_profile_min_shapes"] == "spectrum:1x2x1024"
    assert settings["trt_profile_max_shapes"] == "spectrum:64x2x1024"
    assert settings["trt_engine_cache_enable"] == "False"
    assert [made[1][0], made[2]] == ["CUDAExecutionProvider", "CPUExecutionProvider"]


def test_cuda_is_asked_for_full_precision_and_a_quick_choice() -> None:
    provider, settings = providers.provider_list("cuda", {})[0]
    assert provider == "CUDAExecutionProvider"
    assert settings == {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


@pytest.mark.parametrize(("device", "wanted"), [("cpu", b"single"), ("cuda", b"half")])
def test_half_precision_is_for_gpus(
    monkeypatch: pytest.MonkeyPatch, device: str, wanted: bytes
) -> None:
    given = []
    monkeypatch.setattr(
        providers, "make_session", lambda graph, device: given.append(graph.on(device))
    )
    one = Session(b"single", name="x", device=device, half=b"half")
    assert one.device == device
    # Without one, every device has the same network.
    assert Session(b"single", name="x", device=device).device == device
    assert given == [wanted, b"single"]


def test_auto_takes_half_precision_where_a_gpu_works(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(providers, "missing_library", lambda name: None)
    monkeypatch.setattr(
        providers, "make_session", lambda graph, device: given.append(graph.on(device))
    )
    assert Session(b"single", name="x", half=b"half").device == "tensorrt"
    monkeypatch.setattr(providers, "missing_library", lambda name: "nothing here")
    assert Session(b"single", name="x", half=b"half").device == "cpu"
    assert given == [b"half", b"single"]


class FakeRuntime:
    """Stands for `onnxruntime.InferenceSession`: remembers what was asked, may fail."""

    def __init__(self, fails: Callable[[int], bool]) -> None:
        self.asked: list[list[Any]] = []
        self.levels: list[Any] = []
        self._fails = fails

    def __call__(self, model: bytes, options: Any, **more: Any) -> FakeRuntime:
        self.asked.append(more["providers"])
        self.levels.append(options)
        assert more["enable_fallback"] == 0
        if self._fails(len(self.asked)):
            raise RuntimeError("could not deserialize engine from cache")
        return self

    def get_providers(self) -> list[str]:
        return [self.asked[-1][0][0]]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that says it has a GPU with TensorRT."""
    monkeypatch.setenv("SPECINFER_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(providers, "missing_library", lambda device: None)
    monkeypatch.setattr(nvidia, "gpu", lambda: "NVIDIA Test 9.0")
    monkeypatch.setattr(nvidia, "tensorrt_version", lambda: "101303")


def opened(
    monkeypatch: pytest.MonkeyPatch, graph: Graph, fails: Callable[[int], bool] = lambda _: False
) -> FakeRuntime:
    """What TensorRT was asked for a network."""
    runtime = FakeRuntime(fails)
    monkeypatch.setattr(onnxruntime, "InferenceSession", runtime)
    providers.make_session(graph, "tensorrt")
    return runtime


def engines(runtime: FakeRuntime) -> Path:
    settings = runtime.asked[-1][0][1]
    assert settings["trt_engine_cache_enable"] == settings["trt_timing_cache_enable"] == "True"
    assert settings["trt_engine_cache_path"] == settings["trt_timing_cache_path"]
    return Path(settings["trt_engine_cache_path"])


@pytest.mark.usefixtures("gpu")
def test_engines_have_a_folder_for_network_gpu_and_versions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = Graph("x", b"model", shapes={"spectrum": (3, 8)})
    first = engines(opened(monkeypatch, one))
    assert first.parent == tmp_path / "tensorrt"
    assert first.is_dir()
    assert engines(opened(monkeypatch, one)) == first
    folders = {
        first,
        engines(opened(monkeypatch, Graph("x", b"other", shapes=one.shapes))),
        engines(opened(monkeypatch, Graph("x", b"model", b"half", shapes=one.shapes))),
        engines(opened(monkeypatch, Graph("x", b"model", shapes={"spectrum": (3, 9)}))),
    }
    for name in ("gpu", "tensorrt_version"):
        monkeypatch.setattr(nvidia, name, lambda: "another")
        folders.add(engines(opened(monkeypatch, one)))
    assert len(folders) == 6


@pytest.mark.usefixtures("gpu")
def test_engine_that_cannot_be_read_is_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph("x", b"model")
    damaged = engines(opened(monkeypatch, graph)) / "a.engine"
    damaged.write_bytes(b"nothing")
    runtime = opened(monkeypatch, graph, fails=lambda call: call == 1)
    assert len(runtime.asked) == 2
    assert not damaged.exists()
    # With nothing in the cache, the cache is not the reason.
    with pytest.raises(DeviceError, match="deserialize"):
        opened(monkeypatch, graph, fails=lambda call: True)


@pytest.mark.usefixtures("gpu")
def test_tensorrt_works_without_a_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for unusable in (str(tmp_path / "file"), "off"):
        monkeypatch.setenv("SPECINFER_CACHE_DIR", unusable)
        settings = opened(monkeypatch, Graph("x", b"model")).asked[0][0][1]
        assert settings["trt_engine_cache_enable"] == "False"
        assert "trt_engine_cache_path" not in settings
    # Of a GPU that cannot be named nothing is kept: another may come.
    monkeypatch.delenv("SPECINFER_CACHE_DIR")
    monkeypatch.setattr(nvidia, "gpu", lambda: None)
    settings = opened(monkeypatch, Graph("x", b"model")).asked[0][0][1]
    assert settings["trt_engine_cache_enable"] == "False"


@pytest.mark.usefixtures("gpu")
def test_auto_goes_on_to_the_next_device(monkeypatch: pytest.MonkeyPatch, model: bytes) -> None:
    """TensorRT and CUDA fail one after the other; the CPU answers, with one warning."""
    original = onnxruntime.InferenceSession
    asked = []

    def failing(content: bytes, options: Any, **more: Any) -> Any:
        first = more["providers"][0]
        asked.append(first if isinstance(first, str) else first[0])
        if asked[-1] != "CPUExecutionProvider":
            raise RuntimeError("no such device")
        return original(content, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", failing)
    monkeypatch.setattr(nvidia, "has_driver", lambda: True)
    providers._warned.clear()
    session = Session(model, name="tiny", shapes={"spectrum": (N_CHANNELS, N_PIXELS)})
    with pytest.warns(SpecinferWarning, match="tensorrt does not work here") as said:
        assert session.device == "cpu"
    providers._warned.clear()
    assert len(said) == 1
    assert asked == [
        "TensorrtExecutionProvider",
        "CUDAExecutionProvider",
        "CPUExecutionProvider",
    ]


class FakeDriver:
    """The calls of libcuda that are used, of a GPU with compute capability 9.0."""

    def __init__(self, status: int = 0) -> None:
        self.status = status

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.status

    def cuDeviceGet(self, number: Any, index: int) -> int:  # noqa: N802
        assert index == 0
        number._obj.value = 0
        return 0

    def cuDeviceGetName(self, name: Any, size: int, number: Any) -> int:  # noqa: N802
        name.value = b"NVIDIA H200"
        assert size > len(name.value)
        return 0

    def cuDeviceGetAttribute(self, value: Any, which: int, number: Any) -> int:  # noqa: N802
        value._obj.value = {75: 9, 76: 0}[which]
        return 0

    def getInferLibVersion(self) -> int:  # noqa: N802
        return 101303


def test_gpu_and_tensorrt_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda path, **_: FakeDriver())
    assert nvidia.gpu() == "NVIDIA H200 9.0"
    assert nvidia.tensorrt_version() == "101303"
    # The driver is there, the GPU is not.
    monkeypatch.setattr(ctypes, "CDLL", lambda path, **_: FakeDriver(status=100))
    assert nvidia.gpu() is None

    def missing(path: str, **_: Any) -> None:
        raise OSError(f"{path}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert nvidia.gpu() is None
    assert nvidia.tensorrt_version() is None
    assert not nvidia.has_driver()


def test_doctor_says_where_the_caches_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from specinfer import doctor

    monkeypatch.setenv("SPECINFER_CACHE_DIR", str(tmp_path / "here"))
    key = caches.network_key("0" * 64, "1.0")
    assert key is not None
    written = caches.begin_network(key)
    assert written is not None
    written.write_bytes(b"x" * 2_000_000)
    caches.finish_network(key, written)
    networks, kept = doctor._caches()
    assert networks.name == "cache networks"
    assert networks.detail == (
        f"1 files, 2.0 MB in {tmp_path / 'here' / 'networks'}; delete the folder to clear it"
    )
    assert kept.detail.startswith("0 files, 0.0 MB in")
    monkeypatch.setenv("SPECINFER_CACHE_DIR", "off")
    assert all("off" in check.detail for check in doctor._caches())
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SPECINFER_CACHE_DIR", str(tmp_path / "file"))
    assert all("not used" in check.detail for check in doctor._caches())
    assert all(check.state == "info" for check in doctor._caches())
