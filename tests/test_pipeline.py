"""`handle`: one spectrum of a pipeline from file to answer, whatever is wrong with it."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits
from night_files import STEM, plain_header, write_pair
from tiny_model import write_fits_spectrum, write_model

from specinfer import Classifier, ModelError, SpecinferError, pipeline, shim
from specinfer.pipeline import Handling, handle, record_specinfer, run_specinfer
from specinfer.result import SCHEMA
from specinfer.sidecar import (
    SIDECAR_SCHEMA,
    make_sidecar,
    picture_path,
    read_sidecar,
    recall,
    sidecar_path,
)

BOTH = Handling(annotate=True)


@pytest.fixture
def classifier(tiny: Path) -> Classifier:
    return Classifier(device="cpu", threads=1)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return write_pair(tmp_path)


def state_of(path: Path) -> str | None:
    return fits.getheader(path).get("SPISTAT")


def files_and_times(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_an_answer_is_written_three_times(classifier: Classifier, pair: tuple[Path, Path]) -> None:
    path, twin = pair
    handled = handle(path, classifier, BOTH)
    assert handled.result is not None
    assert handled.state in ("OK", "ABSTAIN")
    assert (handled.annotated, handled.fresh) == (pair, True)
    assert handled.sidecar == sidecar_path(twin)
    document = read_sidecar(twin)
    assert document is not None
    assert document["schema"] == SIDECAR_SCHEMA
    assert document["result"] == handled.result.to_dict()
    assert document["result"]["schema"] == SCHEMA
    assert document["object"] == "ZTF26abcdefg"
    assert document["sha256"] == handled.sha256
    header, text = fits.getheader(path), plain_header(twin)
    assert header["SPITYPE"] == text["SPITYPE"] == document["result"]["class"]
    assert header["SPIPROB"] == float(text["SPIPROB"])
    assert header["SPIPROB"] == pytest.approx(document["result"]["probability"], abs=6e-5)
    assert header["SPIDATE"] == text["SPIDATE"] == document["date"]
    assert header["SPIMODEL"] == text["SPIMODEL"] == document["model"] == "spectranet@0.0.1"


def test_again_changes_nothing(classifier: Classifier, pair: tuple[Path, Path]) -> None:
    first = handle(pair[0], classifier, BOTH)
    before = files_and_times(pair[0].parent)
    for path in pair:
        again = handle(path, classifier, BOTH)
        assert not again.fresh
        assert again.annotated == ()
        assert (again.state, again.sha256) == (first.state, first.sha256)
        assert again.result is not None
        assert first.result is not None
        assert again.result.to_dict() == first.result.to_dict()
    assert files_and_times(pair[0].parent) == before


def test_what_other_classifiers_write_is_no_new_spectrum(
    classifier: Classifier, pair: tuple[Path, Path]
) -> None:
    path, twin = pair
    first = handle(path, classifier, BOTH)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["SNIDTYPE"] = "Ia"
        hdus[0].header["HISTORY"] = "classified"
    twin.write_text("# SNIDMATCHTYPE: Ia\n" + twin.read_text())
    again = handle(path, classifier, BOTH)
    assert (again.fresh, again.sha256) == (False, first.sha256)


def test_a_new_extraction_is_a_new_spectrum(
    classifier: Classifier, pair: tuple[Path, Path]
) -> None:
    first = handle(pair[0], classifier, BOTH)
    for changes in ({"seed": 1}, {"QUALITY": 1}):
        write_pair(pair[0].parent, **changes)
        again = handle(pair[0], classifier, BOTH)
        assert (again.fresh, again.annotated) == (True, pair)
        assert again.sha256 != first.sha256
        first = again


def test_another_model_version_is_asked_again(
    pair: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any
) -> None:
    for version in ("0.0.1", "0.0.2"):
        root = tmp_path_factory.mktemp("models")
        write_model(root, version=version)
        monkeypatch.setenv("SPECINFER_MODEL_DIR", str(root))
        handled = handle(pair[0], Classifier(device="cpu"), BOTH)
        assert (handled.fresh, handled.annotated) == (True, pair)
        assert fits.getheader(pair[0])["SPIMODEL"] == f"spectranet@{version}"


def test_overwrite_and_a_given_redshift(classifier: Classifier, pair: tuple[Path, Path]) -> None:
    handle(pair[0], classifier)
    assert handle(pair[0], classifier, Handling(overwrite=True)).fresh
    given = Handling(redshift=0.031)
    handled = handle(pair[0], classifier, given)
    assert handled.fresh
    assert handled.result is not None
    assert handled.result.redshift == 0.031
    assert not handle(pair[0], classifier, given).fresh
    assert handle(pair[0], classifier).fresh


def test_annotation_is_made_up_for_from_the_sidecar(
    classifier: Classifier, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = handle(pair[0], classifier)
    assert first.annotated == ()
    monkeypatch.setattr(pipeline, "iter_spectra", None)
    later = handle(pair[0], classifier, BOTH)
    assert (later.annotated, later.fresh) == (pair, True)
    document = read_sidecar(pair[0])
    assert document is not None
    assert plain_header(pair[1])["SPIDATE"] == document["date"]


def test_a_lost_or_damaged_sidecar_is_written_again(
    classifier: Classifier, pair: tuple[Path, Path]
) -> None:
    handle(pair[0], classifier, BOTH)
    before = [path.read_bytes() for path in pair]
    sidecar = sidecar_path(pair[0])
    for content in (None, b"", b"{", b"[]", b'{"schema": "specinfer.sidecar/1"}'):
        sidecar.unlink() if content is None else sidecar.write_bytes(content)
        assert handle(pair[0], classifier, BOTH).sidecar == sidecar
        assert read_sidecar(pair[0]) is not None
        assert [path.read_bytes() for path in pair] == before


def test_killed_before_the_sidecar(
    classifier: Classifier, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("specinfer.keeping.write_sidecar", killed)
    monkeypatch.setattr("specinfer.sidecar.now", lambda: "2026-11-21T05:10:00")
    with pytest.raises(KeyboardInterrupt):
        handle(pair[0], classifier, BOTH)
    monkeypatch.undo()
    before = [path.read_bytes() for path in pair]
    handled = handle(pair[0], classifier, BOTH)
    assert (handled.fresh, handled.annotated) == (True, ())
    assert [path.read_bytes() for path in pair] == before
    document = read_sidecar(pair[0])
    assert document is not None
    assert document["date"] == plain_header(pair[1])["SPIDATE"] == "2026-11-21T05:10:00"
    assert not handle(pair[0], classifier, BOTH).fresh


def test_headers_alone_say_that_it_was_done(
    classifier: Classifier, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = Handling(annotate=True, sidecar=False)
    first = handle(pair[0], classifier, alone)
    assert first.sidecar is None
    assert not sidecar_path(pair[0]).exists()
    monkeypatch.setattr(pipeline, "iter_spectra", None)
    again = handle(pair[1], classifier, alone)
    assert (again.fresh, again.state) == (False, first.state)
    monkeypatch.undo()
    given = Handling(annotate=True, sidecar=False, redshift=0.031)
    assert handle(pair[0], classifier, given).annotated == pair
    assert plain_header(pair[1])["SPIZ"] == "0.031000"
    assert not handle(pair[0], classifier, given).fresh


@pytest.mark.parametrize(
    ("cards", "state"),
    [
        ({"OBJECT": "STD-Feige34 [A]"}, "STD"),
        ({"OBJECT": "NGC 1275"}, "ABSTAIN"),
        ({"FLUXCAL": False}, "UNCALIBRATED"),
        ({"RA_RATE": 3.0}, "MOVING"),
        ({"QUALITY": 4}, "LOWQ"),
        ({"QUALITY": 3, "nan": True}, "LOWQ"),
        ({"QUALITY": 0, "nan": True}, "UNREADABLE"),
    ],
)
def test_every_file_ends_in_a_state(
    classifier: Classifier, tmp_path: Path, cards: dict[str, Any], state: str
) -> None:
    path, twin = write_pair(tmp_path, **cards)
    handled = handle(twin, classifier, BOTH)
    assert handled.state == state
    assert handled.reason
    assert handled.result is None or not handled.result.ok
    assert state_of(path) == plain_header(twin)["SPISTAT"] == state
    assert "SPITYPE" not in fits.getheader(path)
    document = read_sidecar(path)
    assert document is not None
    assert (document["state"], document["model"]) == (state, None)
    assert not handle(path, classifier, BOTH).fresh


def test_no_skip_and_back(classifier: Classifier, tmp_path: Path) -> None:
    path, _ = write_pair(tmp_path, OBJECT="STD-Feige34 [A]")
    assert handle(path, classifier, BOTH).state == "STD"
    asked = handle(path, classifier, Handling(annotate=True, skip=None))
    assert asked.result is not None
    assert state_of(path) == asked.state != "STD"
    # An answer that was asked for by hand is not taken back by the next round.
    assert not handle(path, classifier, BOTH).fresh
    assert state_of(path) == asked.state


def test_gates_are_for_sedm_alone(classifier: Classifier, tmp_path: Path) -> None:
    path = write_fits_spectrum(tmp_path / "spec.fits")
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["QUALITY"] = 3
        hdus[0].header["OBJECT"] = "NGC 1275"
    assert handle(path, classifier).result is not None


def test_damaged_files_end_in_a_sidecar(classifier: Classifier, tmp_path: Path) -> None:
    path, twin = write_pair(tmp_path)
    twin.unlink()
    whole = path.read_bytes()
    broken = {"empty": b"", "cut": whole[:15_000], "start": whole[:700], "noise": b"\x93x\0" * 99}
    for content in broken.values():
        path.write_bytes(content)
        handled = handle(path, classifier, Handling(annotate=True, sidecar=False))
        assert handled.state == "UNREADABLE"
        assert handled.reason
        assert handled.annotated == ()
        assert handled.sidecar is not None
        assert path.read_bytes() == content
        # The same contents are not tried for ever, new ones are.
        assert not handle(path, classifier).fresh
    path.write_bytes(whole)
    assert handle(path, classifier, BOTH).result is not None
    assert state_of(path) is not None


def test_a_damaged_fits_file_has_a_text_twin(
    classifier: Classifier, pair: tuple[Path, Path]
) -> None:
    path, twin = pair
    path.write_bytes(b"")
    handled = handle(path, classifier, BOTH)
    assert handled.result is not None
    assert handled.result.reader == "sedm-text"
    assert handled.annotated == (twin,)
    assert not handle(path, classifier, BOTH).fresh


def test_text_alone(classifier: Classifier, pair: tuple[Path, Path]) -> None:
    pair[0].unlink()
    handled = handle(pair[1], classifier, BOTH)
    assert handled.annotated == (pair[1],)
    assert handled.result is not None


@pytest.mark.parametrize("lines", [3, 10, 60])
def test_a_text_that_has_only_begun_is_left_alone(
    classifier: Classifier, pair: tuple[Path, Path], lines: int
) -> None:
    path, twin = pair
    path.unlink()
    begun = "".join(twin.read_text().splitlines(keepends=True)[:lines])
    twin.write_text(begun)
    handled = handle(twin, classifier, BOTH)
    assert (handled.state, handled.annotated) == ("UNREADABLE", ())
    assert twin.read_text() == begun
    assert handled.sidecar is not None


def test_nothing_is_written_for_what_is_not_there(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "spec_folder.fits").mkdir()
    for name in ("spec_none.fits", "spec_folder.fits"):
        handled = handle(tmp_path / name, classifier, BOTH)
        assert (handled.state, handled.sidecar, handled.sha256) == ("UNREADABLE", None, "")
    assert [path.name for path in tmp_path.iterdir()] == ["spec_folder.fits"]


def test_many_spectra_are_not_for_handle(classifier: Classifier, samples: Path) -> None:
    path = next(samples.glob("desi_coadd/coadd*.fits"), None)
    if path is None:
        pytest.skip("no DESI sample here")
    handled = handle(path, classifier, Handling(sidecar=False))
    assert handled.state == "UNREADABLE"
    assert "several spectra" in handled.reason


def test_a_time_limit(
    classifier: Classifier, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(pipeline, "_classify", lambda *_: release.wait(20))
    start = time.monotonic()
    handled = handle(pair[0], classifier, Handling(annotate=True, time_limit=0.05))
    assert time.monotonic() - start < 5
    release.set()
    assert handled.state == "UNREADABLE"
    assert "0.05 s" in handled.reason
    assert handled.annotated == ()
    assert read_sidecar(pair[0]) is not None
    monkeypatch.undo()
    # It may have been the machine's fault: the next round tries again.
    assert handle(pair[0], classifier, BOTH).result is not None


def test_a_folder_that_does_not_answer(
    classifier: Classifier, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(pipeline, "examine", lambda *_: release.wait(20))
    handled = handle(pair[0], classifier, Handling(annotate=True, time_limit=0.05))
    release.set()
    assert (handled.state, handled.sidecar, handled.sha256) == ("UNREADABLE", None, "")
    assert "look at its disk" in handled.reason


def test_bugs_stay_with_their_file(
    classifier: Classifier, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(classifier, "classify", bug)
    handled = handle(pair[0], classifier)
    assert handled.state == "UNREADABLE"
    assert "this is a bug of specinfer" in handled.reason


def test_a_broken_model_raises(
    classifier: Classifier, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ModelError("bad_model", "the model is broken")

    monkeypatch.setattr(classifier, "classify", broken)
    with pytest.raises(ModelError):
        handle(pair[0], classifier)
    assert not sidecar_path(pair[0]).exists()


def test_a_file_that_changes_while_it_is_read(
    classifier: Classifier, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = pair
    real = pipeline._classify
    turns = iter(range(2))

    def written_meanwhile(*arguments: Any) -> Any:
        answer = real(*arguments)
        if next(turns, None) is not None:
            write_pair(path.parent, seed=7)
        return answer

    monkeypatch.setattr(pipeline, "_classify", written_meanwhile)
    handled = handle(path, classifier, BOTH)
    assert handled.annotated == pair
    monkeypatch.undo()
    write_pair(path.parent, seed=7)
    fresh = handle(path, classifier, Handling(overwrite=True))
    assert fresh.result is not None
    assert handled.result is not None
    assert fresh.result.probability == handled.result.probability
    endlessly = lambda *_: (write_pair(path.parent), fresh.result)[1]  # noqa: E731
    monkeypatch.setattr(pipeline, "_classify", endlessly)
    endless = handle(path, classifier, Handling(overwrite=True, annotate=True))
    assert endless.state == "UNREADABLE"
    assert "still being written" in endless.reason
    assert endless.annotated == ()


def test_what_cannot_be_annotated_raises_after_the_sidecar(
    classifier: Classifier, pair: tuple[Path, Path]
) -> None:
    pair[1].chmod(0o444)
    before = [path.read_bytes() for path in pair]
    for _ in range(2):
        with pytest.raises(SpecinferError, match="read-only"):
            handle(pair[0], classifier, BOTH)
    assert [path.read_bytes() for path in pair] == before
    assert read_sidecar(pair[0]) is not None
    pair[1].chmod(0o644)
    assert handle(pair[0], classifier, BOTH).annotated == pair


def test_pictures(classifier: Classifier, pair: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = tmp_path / "pictures"
    drawn = handle(pair[0], classifier, Handling(plot=True, pictures=folder))
    assert drawn.picture == folder / picture_path(pair[0]).name
    assert drawn.picture.read_bytes().startswith(b"\x89PNG")
    assert not picture_path(pair[0]).exists()
    assert not handle(pair[0], classifier, Handling(plot=True, pictures=folder)).fresh
    drawn.picture.unlink()
    assert handle(pair[0], classifier, Handling(plot=True, pictures=folder)).picture is not None


def test_names_that_other_steps_pick_up_are_never_made(
    classifier: Classifier, pair: tuple[Path, Path]
) -> None:
    handle(pair[0], classifier, BOTH)
    made = {path.name for path in pair[0].parent.iterdir()} - {path.name for path in pair}
    assert made == {f"specinfer_{STEM}.json"}


def test_threads_share_a_classifier(classifier: Classifier, tmp_path: Path) -> None:
    pairs = [write_pair(tmp_path, f"spec_{seed}", seed=seed) for seed in range(8)]
    threads = [
        threading.Thread(target=handle, args=(path, classifier, BOTH))
        for path in [one for pair in pairs for one in pair]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for path, twin in pairs:
        assert state_of(path) == plain_header(twin)["SPISTAT"]
        assert fits.getheader(path)["SPIDATE"] == plain_header(twin)["SPIDATE"]


def test_sidecars_come_back_as_results(classifier: Classifier, pair: tuple[Path, Path]) -> None:
    handled = handle(pair[0], classifier)
    document = json.loads(sidecar_path(pair[0]).read_text())
    again = recall(document)
    assert again is not None
    assert again.to_dict() == document["result"]
    assert isinstance(again.flags, tuple)
    rebuilt = make_sidecar(
        pair[0],
        sha256=handled.sha256,
        gate=pipeline.judge(again),
        result=again,
        date=document["date"],
    )
    assert rebuilt == document


def test_the_shim(
    tiny: Path, pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, twin = pair
    assert run_specinfer(str(twin))
    line = record_specinfer(str(twin))
    assert line.startswith("SPECINFER RESULTS: Type=")
    assert line.count("\n") == 0
    for part in (", P=0.", ", z=0.", "+-", ", flags="):
        assert part in line
    assert state_of(path) == plain_header(twin)["SPISTAT"]
    # Done before: nothing to record, unless it is asked for.
    assert not run_specinfer(str(twin))
    assert run_specinfer(str(twin), overwrite=True)
    capsys.readouterr()
    standard, _ = write_pair(tmp_path, "spec_std", OBJECT="STD-Feige34")
    assert not run_specinfer(standard)
    assert record_specinfer(standard) == ""
    assert capsys.readouterr().err == (
        f"specinfer: {standard}: STD: a standard star (STD-Feige34)\n"
    )


def test_the_shim_never_raises(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = iter([ModelError("bad_model", "the model is\nbroken"), ValueError("odd")])

    def broken() -> Classifier:
        raise next(errors)

    monkeypatch.setattr(shim, "_classifier", broken)
    assert not run_specinfer(pair[0])
    assert not run_specinfer(pair[0])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"specinfer: {pair[0]}: the model is broken (bad_model)"
    assert "ValueError" in lines[1]
    assert record_specinfer(pair[0]) == ""
    shutil.rmtree(pair[0].parent)
    assert record_specinfer(pair[0]) == ""
