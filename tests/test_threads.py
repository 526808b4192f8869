"""One Classifier used from several threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tiny_model import fake_spectrum

from specinfer import Classifier, engine


def test_answers_from_threads_are_those_of_one(tiny: Path) -> None:
    spectra = [fake_spectrum(seed) for seed in range(60)]
    expected = [result.to_dict()["probabilities"] for result in Classifier().classify_many(spectra)]
    shared = Classifier(threads=1)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(shared.classify, spectra))
    for result, wanted in zip(results, expected, strict=True):
        found = result.to_dict()["probabilities"]
        assert all(abs(found[name] - wanted[name]) < 2e-6 for name in wanted)


def test_network_is_loaded_once(tiny: Path) -> None:
    opened = []
    original = engine.open_graph

    def counting(*args):  # type: ignore[no-untyped-def]
        opened.append(threading.get_ident())
        return original(*args)

    engine.open_graph = counting
    try:
        shared = Classifier()
        barrier = threading.Barrier(6)

        def work(seed: int) -> bool:
            barrier.wait()
            return shared.classify(fake_spectrum(seed)).ok

        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(work, range(6)))
    finally:
        engine.open_graph = original
    assert len(opened) == 1
