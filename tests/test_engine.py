"""Sessions: inputs are checked, devices are honest, standard output stays clean."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from tiny_model import N_PIXELS, SIZES, make_graph

from specinfer import engine, nvidia
from specinfer.engine import Session
from specinfer.errors import DeviceError, ModelError, SpecinferWarning, UsageError
from specinfer.preprocess import N_CHANNELS


@pytest.fixture(scope="module")
def model() -> bytes:
    return make_graph({"name": "tiny"})


@pytest.fixture(scope="module")
def session(model: bytes) -> Session:
    return Session(model, name="tiny", device="cpu", threads=1)


def ones(batch: int = 1) -> np.ndarray:
    return np.ones((batch, N_CHANNELS, N_PIXELS), np.float32)


def test_runs(session: Session) -> None:
    answers = session.run({"spectrum": ones(3)})
    assert {name: array.shape for name, array in answers.items()} == {
        name: (3, size) for name, size in SIZES.items()
    }
    assert session.device == "cpu"
    assert session.metadata == {"name": "tiny"}
    assert session.input_shapes == {"spectrum": (None, N_CHANNELS, N_PIXELS)}


def test_loads_only_when_used() -> None:
    broken = Session(b"no network", name="broken", device="cpu")
    with pytest.raises(ModelError, match="cannot load model broken") as caught:
        broken.warm_up()
    assert caught.value.code == "bad_model"


@pytest.mark.parametrize(
    "inputs",
    [
        {"spectrum": ones().astype(np.float64)},
        {"spectrum": ones()[:, :, :-1]},
        {"spectrum": ones()[0]},
        {"flux": ones()},
        {"spectrum": np.full((1, 2, N_PIXELS), np.nan, np.float32)},
        {"spectrum": np.full((1, 2, N_PIXELS), np.inf, np.float32)},
    ],
    ids=["float64", "length", "dimensions", "name", "nan", "inf"],
)
def test_wrong_inputs_are_refused(session: Session, inputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(ModelError) as caught:
        session.run(inputs)
    assert caught.value.code == "bad_input"


def test_overflow_in_the_network_is_an_error(session: Session) -> None:
    with pytest.raises(ModelError, match="not finite") as caught:
        session.run({"spectrum": ones() * np.float32(3e38)})
    assert caught.value.code == "inference_failed"


@pytest.mark.parametrize("options", [{"device": "abacus"}, {"threads": 0}])
def test_wrong_options(model: bytes, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Session(model, name="tiny", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_device_without_driver_is_an_error_with_its_cause(
    model: bytes, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvidia, "has_driver", lambda: False)
    engine.missing_library.cache_clear()
    with pytest.raises(DeviceError, match=f"--device {device}.*--device cpu") as caught:
        Session(model, name="tiny", device=device).warm_up()
    engine.missing_library.cache_clear()
    assert caught.value.exit_code == 3


def test_missing_library_is_named(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a driver but without the CUDA libraries, the error says which is missing."""
    monkeypatch.setattr(
        engine, "missing_library", lambda device: "the library libcudnn.so.9 cannot be loaded (x)"
    )
    monkeypatch.setattr(nvidia, "has_driver", lambda: True)
    with pytest.raises(DeviceError, match=r"libcudnn\.so\.9.*pip install 'specinfer\[cuda\]'"):
        Session(model, name="tiny", device="cuda").warm_up()


def test_auto_is_silent_without_a_driver(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "missing_library", lambda device: "no NVIDIA driver")
    monkeypatch.setattr(nvidia, "has_driver", lambda: False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Session(model, name="tiny").device == "cpu"


def test_auto_warns_once_if_the_gpu_cannot_be_used(
    model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "missing_library", lambda device: "libcudnn.so.9 is missing")
    monkeypatch.setattr(nvidia, "has_driver", lambda: True)
    engine._warned.clear()
    first, second = Session(model, name="tiny"), Session(model, name="tiny")
    with pytest.warns(SpecinferWarning, match=r"libcudnn\.so\.9"):
        first.warm_up()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second.warm_up()
    engine._warned.clear()
    assert first.device == second.device == "cpu"


def test_provider_that_falls_back_is_an_error(
    model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime itself only logs that it runs on the CPU instead."""
    monkeypatch.setattr(engine, "missing_library", lambda device: None)
    monkeypatch.setattr(engine, "_provider_list", lambda device, shapes: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match="fell back to CPUExecutionProvider"):
        Session(model, name="tiny", device="cuda").warm_up()


def test_standard_output_is_guarded(capfd: pytest.CaptureFixture[str]) -> None:
    with engine._clean_stdout("tensorrt"):
        os.write(1, b"a banner of a library\n")
    os.write(1, b"a result\n")
    seen = capfd.readouterr()
    assert seen.out == "a result\n"
    assert "banner" in seen.err


def test_usable_devices(model: bytes) -> None:
    found = engine.usable_devices(model, "tiny")
    assert list(found) == ["cpu", "cuda", "tensorrt"]
    assert found["cpu"] is None


def test_threads_follow_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert engine.available_cpus() == 1
    assert engine.default_threads() == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    assert engine.default_threads() == 4


def test_tensorrt_gets_one_profile_for_all_batches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    provider, settings = engine._provider_list("tensorrt", {"spectrum": (2, 1024)})[0]
    assert provider == "TensorrtExecutionProvider"
    assert settings["trt_profile_min_shapes"] == "spectrum:1x2x1024"
    assert settings["trt_profile_max_shapes"] == "spectrum:64x2x1024"


@pytest.mark.parametrize(("device", "wanted"), [("cpu", b"single"), ("cuda", b"half")])
def test_half_precision_is_for_gpus(
    monkeypatch: pytest.MonkeyPatch, device: str, wanted: bytes
) -> None:
    given = []
    monkeypatch.setattr(engine, "_make", lambda model, *_: given.append(model))
    one = Session(b"single", name="x", device=device, half=b"half")
    assert one.device == device
    # Without one, every device has the same network.
    assert Session(b"single", name="x", device=device).device == device
    assert given == [wanted, b"single"]


def test_auto_takes_half_precision_where_a_gpu_works(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(engine, "missing_library", lambda name: None)
    monkeypatch.setattr(engine, "_make", lambda model, *_: given.append(model))
    assert Session(b"single", name="x", half=b"half").device == "tensorrt"
    monkeypatch.setattr(engine, "missing_library", lambda name: "nothing here")
    assert Session(b"single", name="x", half=b"half").device == "cpu"
    assert given == [b"half", b"single"]
