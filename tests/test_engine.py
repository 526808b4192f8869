"""Sessions: inputs are checked, batches are shared by threads, runs on GPUs are bound."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tiny_model import N_PIXELS, SIZES, make_graph

from specinfer import engine
from specinfer.engine import Session
from specinfer.errors import ModelError, UsageError
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


@pytest.mark.parametrize("rows", [1, 7, 8, 15, 16, 17, 40, 64])
@pytest.mark.parametrize("threads", [2, 3, 16])
def test_batch_is_shared_without_a_trace(
    model: bytes, session: Session, rows: int, threads: int
) -> None:
    spectra = np.random.default_rng(rows).normal(size=(rows, N_CHANNELS, N_PIXELS))
    inputs = {"spectrum": spectra.astype(np.float32)}
    whole = session.run(inputs)
    shared = Session(model, name="tiny", device="cpu", threads=threads).run(inputs)
    assert list(shared) == list(whole)
    assert all(np.array_equal(shared[name], whole[name]) for name in whole)


@pytest.mark.parametrize(
    ("rows", "threads", "sizes"),
    [
        (1, 4, [1]),
        (15, 4, [15]),
        (16, 4, [8, 8]),
        (33, 2, [16, 17]),
        (64, 2, [32, 32]),
        (64, 3, [21, 21, 22]),
        (64, 100, [8] * 8),
    ],
)
def test_parts(rows: int, threads: int, sizes: list[int]) -> None:
    numbers = np.arange(rows, dtype=np.float32)[:, None]
    parts = engine._parts({"a": numbers, "b": -numbers}, threads)
    assert [len(part["a"]) for part in parts] == sizes
    assert np.array_equal(np.concatenate([part["a"] for part in parts]), numbers)
    assert np.array_equal(np.concatenate([part["b"] for part in parts]), -numbers)


def test_one_spectrum_starts_no_thread(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_share", None)
    wide = Session(model, name="tiny", device="cpu", threads=8)
    assert wide.run({"spectrum": ones()})["class_logits"].shape == (1, SIZES["class_logits"])


def test_failure_in_a_part_is_that_of_the_run(model: bytes) -> None:
    spectra = ones(64)
    spectra[50] *= np.float32(3e38)
    with pytest.raises(ModelError, match="not finite"):
        Session(model, name="tiny", device="cpu", threads=4).run({"spectrum": spectra})


def test_only_the_outputs_that_are_wanted(model: bytes) -> None:
    for threads in (1, 2):
        one = Session(model, name="tiny", device="cpu", threads=threads)
        found = one.run({"spectrum": ones(32)}, only=["embedding"])
        assert {name: array.shape for name, array in found.items()} == {"embedding": (32, 8)}


def test_bound_run_answers_alike(model: bytes, session: Session) -> None:
    """What is done on GPUs, with the real binding of onnxruntime, on the CPU."""
    spectra = np.random.default_rng(1).normal(size=(3, N_CHANNELS, 2 * N_PIXELS))
    inputs = {"spectrum": spectra.astype(np.float32)[:, :, ::2]}
    assert not inputs["spectrum"].flags.c_contiguous
    bound = Session(model, name="tiny", device="cpu", threads=1)
    bound.warm_up()
    bound._device = "cuda"
    expected = session.run(inputs)
    found = bound.run(inputs)
    assert list(found) == list(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert list(bound.run(inputs, only=["embedding"])) == ["embedding"]


class FakeBinding:
    """Remembers what was bound."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def bind_cpu_input(self, name: str, array: np.ndarray) -> None:
        self.calls.append(("input", name, array.shape))

    def bind_output(self, name: str, device_type: str) -> None:
        self.calls.append(("output", name, device_type))

    def copy_outputs_to_cpu(self) -> list[np.ndarray]:
        self.calls.append(("copied",))
        return [np.zeros((20, 2), np.float32) for call in self.calls if call[0] == "output"]


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_runs_on_gpus_are_bound_and_not_shared(
    model: bytes, session: Session, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bindings: list[FakeBinding] = []

    class Bound:
        """A session that can only be run bound."""

        def __getattr__(self, name: str) -> object:
            return getattr(session.session, name)

        def run(self, *_: object) -> None:
            raise AssertionError("not bound")

        def io_binding(self) -> FakeBinding:
            bindings.append(FakeBinding())
            return bindings[-1]

        def run_with_iobinding(self, binding: FakeBinding) -> None:
            binding.calls.append(("ran",))

    monkeypatch.setattr(engine, "open_graph", lambda graph, asked: (device, Bound()))
    one = Session(model, name="tiny", device=device, threads=4)
    one.run({"spectrum": ones(20)}, only=["embedding"])
    one.warm_up(3)
    assert bindings[0].calls == [
        ("input", "spectrum", (20, N_CHANNELS, N_PIXELS)),
        ("output", "embedding", "cpu"),
        ("ran",),
        ("copied",),
    ]
    assert bindings[1].calls[0] == ("input", "spectrum", (3, N_CHANNELS, N_PIXELS))
    assert len(bindings) == 2


def test_one_session_serves_eight_threads(model: bytes) -> None:
    """Single spectra and shared batches at once; every answer is that of one thread."""
    rng = np.random.default_rng(3)
    batches = [
        rng.normal(size=(rows, N_CHANNELS, N_PIXELS)).astype(np.float32)
        for rows in [1, 2, 40, 64] * 10
    ]
    alone = Session(model, name="tiny", device="cpu", threads=1)
    expected = [alone.run({"spectrum": batch}) for batch in batches]
    shared = Session(model, name="tiny", device="cpu", threads=3)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda batch: shared.run({"spectrum": batch}), batches))
    for one, other in zip(found, expected, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in other)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_batches_are_shared_after_a_fork(model: bytes) -> None:
    """The child has the session, not its threads: it makes new ones."""
    shared = Session(model, name="tiny", device="cpu", threads=2)
    spectra = {"spectrum": ones(32)}
    expected = shared.run(spectra)["embedding"]
    child = os.fork()
    if child == 0:
        same = False
        try:
            same = np.array_equal(shared.run(spectra)["embedding"], expected)
        finally:
            os._exit(0 if same else 1)
    deadline = time.monotonic() + 20.0
    done, status = 0, 1
    while not done and time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if not done:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert (done, status) == (child, 0)
