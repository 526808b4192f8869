"""Caches only save time: answers are the same with, without, and with a damaged one."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tiny_model import N_PIXELS, make_graph

from specinfer import caches
from specinfer.engine import Session
from specinfer.errors import ModelError
from specinfer.models import find_models, load_card, read_model
from specinfer.preprocess import N_CHANNELS

HASH = "0" * 64
SPECTRA = np.random.default_rng(0).normal(size=(5, N_CHANNELS, N_PIXELS)).astype(np.float32)

pytestmark = pytest.mark.skipif(
    caches._processor() is None, reason="networks are kept on Linux alone"
)


@pytest.fixture(scope="module")
def model() -> bytes:
    return make_graph({"name": "tiny"})


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of networks, which is not there yet."""
    monkeypatch.setenv("SPECINFER_CACHE_DIR", str(tmp_path / "caches"))
    return tmp_path / "caches" / "networks"


def answers(model: bytes, sha256: str | None = HASH) -> dict[str, np.ndarray]:
    return Session(model, name="tiny", device="cpu", threads=1, sha256=sha256).run(
        {"spectrum": SPECTRA}
    )


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def levels(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Filled with whether each session was made from a graph that is optimised already."""
    original, seen = onnxruntime.InferenceSession, []

    def watched(content: bytes, options: onnxruntime.SessionOptions, **more: object) -> object:
        none = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        seen.append(options.graph_optimization_level == none)
        return original(content, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", watched)
    return seen


def test_second_session_comes_from_the_cache(
    model: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = answers(model, None)
    assert not folder.exists()
    seen = levels(monkeypatch)
    first = answers(model)
    assert len(list(folder.iterdir())) == 1
    second = answers(model)
    assert seen == [False, True]
    assert same(plain, first)
    assert same(plain, second)
    kept = Session(b"never read", name="tiny", device="cpu", sha256=HASH)
    assert kept.metadata == {"name": "tiny"}
    assert kept.input_shapes == {"spectrum": (None, N_CHANNELS, N_PIXELS)}


@pytest.mark.parametrize("name", ["spectranet", "gasnet2", "gasnet3", "specpt"])
@pytest.mark.usefixtures("folder")
def test_shipped_networks_answer_alike(name: str) -> None:
    if name not in find_models():
        pytest.skip(f"{name} is not installed")
    card = load_card(name)
    with np.load(card.folder / "golden.npz") as golden:
        inputs = {card.input_name: golden[card.input_name]}
    made = [
        Session(read_model(card), name=name, device="cpu", threads=1, sha256=key)
        for key in (None, card.sha256, card.sha256)
    ]
    found = [session.run(inputs) for session in made]
    assert same(found[0], found[1])
    assert same(found[0], found[2])
    assert made[2].metadata == made[0].metadata
    assert made[2].output_names == made[0].output_names


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "no network"])
def test_damaged_file_is_made_again(
    model: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    expected = answers(model)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    middle = len(whole) // 2
    content = {
        "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "cut": whole[:middle],
        "emptied": b"",
        "no network": b"not an ONNX file",
    }[damage]
    path.write_bytes(content)
    if damage == "no network":
        # Even with a name that fits.
        key = path.name.split("-")[0]
        path.rename(path.with_name(caches._network_name(key, content)))
    seen = levels(monkeypatch)
    assert same(answers(model), expected)
    assert seen[-1] is False
    (again,) = folder.iterdir()
    assert (again.name, again.read_bytes()) == (path.name, whole)


def test_what_the_key_depends_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = {caches.network_key(HASH, "1.0"), caches.network_key("1" * 64, "1.0")}
    keys.add(caches.network_key(HASH, "1.1"))
    cpu = tmp_path / "cpuinfo"
    text = "processor\t: 0\nmodel name\t: A\ncpu MHz\t\t: {}\nflags\t\t: avx {}\n\nprocessor\t: 1\n"
    monkeypatch.setattr(caches, "_CPU_FILE", str(cpu))

    def key(clock: int, more: str) -> str | None:
        cpu.write_text(text.format(clock, more))
        caches._processor.cache_clear()
        return caches.network_key(HASH, "1.0")

    slow = key(1000, "avx2")
    assert slow == key(4000, "avx2")
    keys |= {slow, key(4000, "avx2 avx512f")}
    assert len(keys) == 5
    # A processor of which nothing is known: nothing is kept.
    cpu.write_text("processor\t: 0\n\n")
    caches._processor.cache_clear()
    assert caches.network_key(HASH, "1.0") is None
    caches._processor.cache_clear()


@pytest.mark.parametrize("trouble", ["off", "file", "writable by others", "disk"])
def test_trouble_with_the_folder_fails_nothing(
    model: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    expected = answers(model, None)
    top = folder.parent
    if trouble == "off":
        monkeypatch.setenv("SPECINFER_CACHE_DIR", "off")
    elif trouble == "file":
        top.write_text("no folder")
    elif trouble == "writable by others":
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    else:
        original = onnxruntime.InferenceSession

        def full(content: bytes, options: onnxruntime.SessionOptions, **more: object) -> object:
            if options.optimized_model_filepath:
                raise RuntimeError("No space left on device")
            return original(content, options, **more)

        monkeypatch.setattr(onnxruntime, "InferenceSession", full)
    assert same(answers(model), expected)
    assert not folder.is_dir() or list(folder.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_folders_are_the_users_alone(folder: Path, model: bytes) -> None:
    answers(model)
    for path in (folder.parent, folder):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_broken_network_is_still_an_error(folder: Path) -> None:
    with pytest.raises(ModelError, match="cannot load model tiny"):
        answers(b"no network")
    assert list(folder.iterdir()) == []


def test_oldest_networks_make_room(folder: Path, model: bytes) -> None:
    for number in range(20):
        key = f"{number:024x}"
        path = caches.begin_network(key)
        assert path is not None
        path.write_bytes(b"network")
        os.utime(path, (number, number))
        caches.finish_network(key, path)
    left = sorted(path.name[:24] for path in folder.iterdir())
    assert left == [f"{number:024x}" for number in range(4, 20)]
    assert caches.usage()[0] == caches.Usage("networks", folder, 16, 16 * 7)


def test_engine_folders_make_room(folder: Path) -> None:
    made = [caches.engine_folder("gpu", str(number)) for number in range(3)]
    assert all(path is not None and path.is_dir() for path in made)
    assert caches.engine_folder("gpu", "0") == made[0]
    # "a", "bc" is not "ab", "c".
    assert caches.engine_folder("a", "bc") != caches.engine_folder("ab", "c")
    for number, path in enumerate(made):
        assert path is not None
        (path / "x.engine").write_bytes(b"engine")
        os.utime(path, (number, number))
    caches._make_room(folder.parent / "tensorrt", 3)
    assert [path is not None and path.exists() for path in made] == [False, False, True]


def test_many_at_once(model: bytes, folder: Path) -> None:
    """Threads, as processes would, fill the cache together: all answer, one file stays."""
    expected = answers(model, None)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: answers(model), range(16)))
    assert all(same(one, expected) for one in found)
    assert len(list(folder.iterdir())) == 1


def test_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPECINFER_CACHE_DIR", str(tmp_path))
    assert caches.root() == tmp_path
    monkeypatch.setenv("SPECINFER_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert caches.root() == tmp_path / "specinfer"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert caches.root() == tmp_path / ".cache" / "specinfer"

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert caches.root() is None
    assert caches.folder("networks") is None
