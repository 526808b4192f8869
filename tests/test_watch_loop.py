"""The service, with a stand-in for the classifier."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from pathlib import Path

import pytest
from watching import NAME, Answers, Events, quick, running, until

from specinfer.errors import ModelError, SpecinferError
from specinfer.pipeline import Handled
from specinfer.sidecar import read_sidecar
from specinfer.watch import heartbeat
from specinfer.watch.journal import ASIDE, DONE, GONE, PENDING, Entry, Journal, read_entries
from specinfer.watch.loop import Service
from specinfer.watch.options import WatchOptions


def spectrum(folder: Path, number: int = 0, content: str = "SNIa 0.03", how: str = "robot") -> Path:
    path = folder / NAME.format(how=how, number=number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def entries(folder: Path) -> dict[str, Entry]:
    journal = folder / ".specinfer" / "journal.sqlite3"
    return {entry.file: entry for entry in read_entries(journal)}


def test_files_are_answered_as_they_appear(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    early = spectrum(tmp_path)
    with running(quick(tmp_path), answers, log) as service:
        until(lambda: len(log.of("answered")) == 1)
        late = spectrum(tmp_path / "20261121", 1, "SNII 0.01")
        until(lambda: len(log.of("answered")) == 2)
    assert service.code == 0
    assert answers.calls == [early, late]
    for path, name in ((early, "SNIa"), (late, "SNII")):
        document = read_sidecar(path)
        assert document is not None
        assert document["result"]["class"] == name
    found = entries(tmp_path)
    assert set(found) == {early.name, f"20261121/{late.name}"}
    entry = found[f"20261121/{late.name}"]
    assert (entry.status, entry.state, entry.class_name) == (DONE, "OK", "SNII")
    assert entry.model == "fake@1"
    assert entry.latency is not None
    assert 0.0 < entry.latency < 5.0
    assert found[early.name].latency is None  # it was there before the service


def test_a_slow_writer_is_waited_for(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    path = tmp_path / NAME.format(how="robot", number=0)
    with running(quick(tmp_path, settle=0.03), answers, log):
        with path.open("w") as file:
            for part in ("SN", "Ia", " ", "0.0", "31"):
                file.write(part)
                file.flush()
                time.sleep(0.12)
        until(lambda: log.of("answered"))
    assert len(answers.calls) == 1
    document = read_sidecar(path)
    assert document is not None
    assert document["result"]["redshift"] == 0.031


def test_nothing_is_done_twice(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    for number in range(5):
        spectrum(tmp_path, number)
    with running(quick(tmp_path), answers, log):
        until(lambda: len(log.of("answered")) == 5)
        time.sleep(0.2)
    with running(quick(tmp_path), answers, log):
        time.sleep(0.3)
    assert len(answers.calls) == 5


def test_a_file_that_changes_is_answered_again(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    with running(quick(tmp_path), answers, log):
        path = spectrum(tmp_path)
        until(lambda: len(log.of("answered")) == 1)
        path.write_text("SNII 0.02")
        until(lambda: len(log.of("answered")) == 2)
        os.utime(path)  # touched, the same content: looked at, not answered
        until(lambda: len(answers.calls) == 3)
        time.sleep(0.1)
    assert len(log.of("answered")) == 2
    assert entries(tmp_path)[path.name].class_name == "SNII"


def test_a_lost_journal_is_rebuilt_from_the_sidecars(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    for number in range(4):
        spectrum(tmp_path, number)
    with running(quick(tmp_path), answers, log):
        until(lambda: len(log.of("answered")) == 4)
    before = entries(tmp_path)
    (tmp_path / ".specinfer" / "journal.sqlite3").unlink()
    log = Events()
    with running(quick(tmp_path), answers, log):
        until(lambda: len(log.of("restored")) == 4)
    assert log.of("answered") == []
    for file, entry in entries(tmp_path).items():
        assert entry.status == DONE
        assert (entry.sha256, entry.model, entry.class_name, entry.exposure) == (
            before[file].sha256,
            before[file].model,
            before[file].class_name,
            before[file].exposure,
        )


def test_a_damaged_journal_stops_nothing(tmp_path: Path) -> None:
    state = tmp_path / ".specinfer"
    state.mkdir()
    (state / "journal.sqlite3").write_bytes(b"rubbish" * 1000)
    spectrum(tmp_path)
    log = Events()
    with running(quick(tmp_path), Answers(), log):
        until(lambda: log.of("answered"))
    assert "damaged" in log.of("journal_lost")[0]


def test_a_poison_file_is_set_aside_and_left_alone(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    bad, good = spectrum(tmp_path, 0, "bad"), spectrum(tmp_path, 1)
    with running(quick(tmp_path), answers, log):
        until(lambda: log.of("set_aside") and log.of("answered"))
        time.sleep(0.2)
    assert answers.calls.count(bad) == 3
    assert len(log.of("failed")) == 2
    assert "this is no spectrum" in log.of("set_aside")[0]
    found = entries(tmp_path)
    assert (found[bad.name].status, found[bad.name].attempts) == (ASIDE, 3)
    assert found[good.name].status == DONE
    assert bad.read_text() == "bad"
    # After a restart, too; but a file that is written anew has another chance.
    with running(quick(tmp_path), answers, log):
        time.sleep(0.2)
        assert answers.calls.count(bad) == 3
        bad.write_text("SNIa 0.03")
        until(lambda: len(log.of("answered")) == 2)


def test_pauses_between_tries_grow(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    times = []

    def answer(path: Path) -> Handled:
        times.append(time.monotonic())
        return answers(path)

    spectrum(tmp_path, 0, "bad")
    with running(quick(tmp_path, retry_first=0.1, attempts=4), answer, log):
        until(lambda: log.of("set_aside"))
    pauses = [later - sooner for sooner, later in itertools.pairwise(times)]
    for pause, least in zip(pauses, (0.1, 0.2, 0.4), strict=True):
        assert least <= pause


def test_a_bug_in_one_file_stops_nothing(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    odd, good = spectrum(tmp_path, 0, "one-word"), spectrum(tmp_path, 1)
    with running(quick(tmp_path), answers, log):
        until(lambda: log.of("set_aside") and log.of("answered"))
    assert "ValueError" in log.of("set_aside")[0]
    assert entries(tmp_path)[good.name].status == DONE
    assert odd.name in log.of("set_aside")[0]


def test_a_full_disk_sets_nothing_aside(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    answers.error = SpecinferError("not_writable", "no space left")
    path = spectrum(tmp_path)
    with running(quick(tmp_path, retry_most=0.05), answers, log):
        until(lambda: len(log.of("failed")) > 6)
        assert entries(tmp_path)[path.name].status in (PENDING, "running")
        answers.error = None
        until(lambda: log.of("answered"))
    assert log.of("set_aside") == []


def test_a_broken_model_ends_the_service(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    answers.error = ModelError("altered", "the model was altered")
    path = spectrum(tmp_path)
    with pytest.raises(ModelError):
        Service(quick(tmp_path), answers, log).run()
    assert entries(tmp_path)[path.name].status == PENDING
    answers.error = None
    with running(quick(tmp_path), answers, log):
        until(lambda: log.of("answered"))


def test_a_file_that_hangs_is_given_up(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    release = threading.Event()
    hangs = spectrum(tmp_path, 0)

    def answer(path: Path) -> Handled:
        if path == hangs:
            release.wait(20)
        return answers(path)

    good = spectrum(tmp_path, 1)
    with running(quick(tmp_path, timeout=0.1), answer, log):
        until(lambda: log.of("set_aside") and log.of("answered"))
    release.set()
    assert "more than 0.1 s" in log.of("set_aside")[0]
    assert entries(tmp_path)[good.name].status == DONE


def test_when_all_hang_the_service_ends(tmp_path: Path) -> None:
    release = threading.Event()
    for number in range(12):
        spectrum(tmp_path, number)

    def answer(path: Path) -> Handled:
        release.wait(20)
        raise AssertionError

    with pytest.raises(SpecinferError, match="look at the disk") as caught:
        Service(quick(tmp_path, timeout=0.05, jobs=4), answer, Events()).run()
    release.set()
    assert caught.value.code == "hangs"


def test_stopping_finishes_what_is_in_hand(tmp_path: Path) -> None:
    answers, log = Answers(seconds=0.4), Events()
    for number in range(3):
        spectrum(tmp_path, number)
    with running(quick(tmp_path), answers, log) as service:
        until(lambda: answers.calls)
        service.stop()
    assert service.code == 0
    assert len(answers.calls) == 1
    assert len(log.of("answered")) == 1
    (entry,) = entries(tmp_path).values()
    assert entry.status == DONE
    with running(quick(tmp_path), answers, log):
        until(lambda: len(log.of("answered")) == 3)


def test_jobs_work_at_the_same_time(tmp_path: Path) -> None:
    answers, log = Answers(seconds=0.2), Events()
    for number in range(8):
        spectrum(tmp_path, number)
    with running(quick(tmp_path, jobs=4), answers, log):
        until(lambda: len(log.of("answered")) == 8)
    assert answers.most_at_once == 4
    assert len(answers.calls) == 8


def test_what_was_in_hand_at_the_death_comes_last(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    paths = [spectrum(tmp_path, number) for number in range(4)]
    with running(quick(tmp_path), Answers(), Events()):
        pass
    journal = Journal(tmp_path / ".specinfer" / "journal.sqlite3")
    for path in paths:
        path.write_text("SNIa 0.5")
    (found,) = [one for one in _found(tmp_path) if one.path == paths[0]]
    journal.save(Entry(file=found.file, signature=found.signature))
    journal.close()
    with running(quick(tmp_path), answers, log):
        until(lambda: len(log.of("answered")) == 4)
    assert answers.calls[-1] == paths[0]
    assert log.of("resumed")


def _found(folder: Path):  # type: ignore[no-untyped-def]
    from specinfer.watch.folders import spectra

    return spectra(folder, folder, "spec_*.fits")


def test_a_new_night_is_followed_and_the_old_one_not_dropped(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    (tmp_path / "20261120").mkdir()
    with running(quick(tmp_path), answers, log):
        spectrum(tmp_path / "20261120", 0)
        until(lambda: len(log.of("answered")) == 1)
        spectrum(tmp_path / "20261121", 1)
        until(lambda: len(log.of("answered")) == 2)
        spectrum(tmp_path / "20261120", 2)  # a late extraction
        until(lambda: len(log.of("answered")) == 3)
    # What came while the service was down, to either night.
    spectrum(tmp_path / "20261120", 3)
    spectrum(tmp_path / "20261122", 4)
    with running(quick(tmp_path), answers, log):
        until(lambda: len(log.of("answered")) == 5)


def test_older_nights_are_left_alone_by_a_new_service(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    spectrum(tmp_path / "20261119", 0)
    spectrum(tmp_path / "20261120", 1)
    with running(quick(tmp_path), answers, log):
        until(lambda: log.of("answered"))
        time.sleep(0.2)
    assert [path.parent.name for path in answers.calls] == ["20261120"]


def test_disagreeing_extractions_are_reported_once(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    spectrum(tmp_path, 0, "SNIa 0.03", "robot")
    spectrum(tmp_path, 1, "SNIa 0.03", "robot")
    with running(quick(tmp_path), answers, log):
        until(lambda: len(log.of("answered")) == 2)
        spectrum(tmp_path, 1, "SNIa 0.031", "contsep")
        second = spectrum(tmp_path, 0, "Galaxy 0.03", "contsep")
        until(lambda: log.of("disagreement"))
        until(lambda: len(log.of("answered")) == 4)
        reports = log.of("disagreement")
        assert len(reports) == 1
        assert "contsep: Galaxy" in reports[0]
        assert "robot: SNIa" in reports[0]
        found = entries(tmp_path)
        assert sum(entry.disagreement is not None for entry in found.values()) == 2
        second.write_text("SNIa 0.03")
        until(lambda: len(log.of("answered")) == 5)
    assert len(log.of("disagreement")) == 1
    assert all(entry.disagreement is None for entry in entries(tmp_path).values())


def test_once_answers_what_is_there(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    for number in range(3):
        spectrum(tmp_path / "20261121", number)
    assert Service(quick(tmp_path, once=True), answers, log).run() == 0
    assert len(answers.calls) == 3
    assert Service(quick(tmp_path, once=True), answers, log).run() == 0
    assert len(answers.calls) == 3


def test_once_tries_each_file_once_and_says_what_failed(tmp_path: Path) -> None:
    answers, log = Answers(), Events()
    bad = spectrum(tmp_path, 0, "bad")
    spectrum(tmp_path, 1)
    options = quick(tmp_path, once=True, attempts=2, retry_first=100.0)
    assert Service(options, answers, log).run() == 1
    assert len(answers.calls) == 2
    assert Service(options, answers, log).run() == 1  # again, without waiting
    assert answers.calls.count(bad) == 2
    assert log.of("set_aside")
    assert Service(options, answers, log).run() == 0  # set aside: left alone


def test_once_with_an_empty_directory_ends(tmp_path: Path) -> None:
    assert Service(quick(tmp_path, once=True), Answers(), Events()).run() == 0


def test_failed_files_that_are_taken_away_are_forgotten(tmp_path: Path) -> None:
    log = Events()
    path = spectrum(tmp_path, 0, "bad")
    with running(quick(tmp_path), Answers(), log):
        until(lambda: log.of("set_aside"))
        path.unlink()
        until(lambda: log.of("gone"))
    assert entries(tmp_path)[path.name].status == GONE


def test_a_directory_that_vanishes_is_waited_for(tmp_path: Path) -> None:
    log, answers = Events(), Answers()
    watched, state = tmp_path / "watched", tmp_path / "state"
    watched.mkdir()
    with running(quick(watched, state=state), answers, log):
        until(lambda: heartbeat.read(state))
        watched.rename(tmp_path / "elsewhere")
        until(lambda: log.of("unreachable"))
        until(lambda: (heartbeat.read(state) or {})["status"] == "unreachable")
        (tmp_path / "elsewhere").rename(watched)
        spectrum(watched)
        until(lambda: log.of("answered"))
    assert len(log.of("unreachable")) == 1
    assert log.of("reachable")


def test_the_heartbeat_says_how_it_is(tmp_path: Path) -> None:
    log = Events()
    state = tmp_path / ".specinfer"
    with running(quick(tmp_path), Answers(), log, prepare=lambda: {"model": "fake@1"}):
        spectrum(tmp_path)
        until(lambda: log.of("answered"))
        until(lambda: (heartbeat.read(state) or {}).get("answers") == 1)
        beat = heartbeat.read(state)
        assert beat is not None
        assert beat["status"] == "running"
        assert beat["pid"] == os.getpid()
        assert beat["model"] == "fake@1"
        assert beat["files"] == {"done": 1}
        assert beat["last"]["state"] == "OK"
        assert beat["median_latency"] > 0
        json.dumps(beat, allow_nan=False)
        older = beat["time"]
        until(lambda: (heartbeat.read(state) or {})["time"] > older)
    beat = heartbeat.read(state)
    assert beat is not None
    assert beat["status"] == "stopped"
    assert list(state.glob(".heartbeat_*")) == []


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(address))
        server.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        night = tmp_path / "night"
        night.mkdir()
        with running(quick(night), Answers(), Events()):
            assert server.recv(100) == b"READY=1"
            assert server.recv(100) == b"WATCHDOG=1"
        heard = b""
        while heard != b"STOPPING=1":
            heard = server.recv(100)


def test_only_names_that_the_pipeline_leaves_alone_are_made(tmp_path: Path) -> None:
    before = spectrum(tmp_path)
    with running(quick(tmp_path), Answers(), log := Events()):
        until(lambda: log.of("answered"))
        during = {path.name for path in tmp_path.iterdir()}
    assert during == {before.name, ".specinfer", f"specinfer_{before.stem}.json"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval": 0.0}, {"interval": float("inf")}, {"settle": -1.0}, {"settle": float("nan")},
        {"attempts": 0}, {"jobs": 0}, {"pattern": "a/b"}, {"pattern": ""},
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(SpecinferError) as caught:
        WatchOptions(tmp_path, **wrong)  # type: ignore[arg-type]
    assert caught.value.code == "bad_option"
    assert caught.value.exit_code == 2


def test_a_state_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SpecinferError, match="--state") as caught:
        Service(quick(tmp_path, state=tmp_path / "file" / "state"), Answers(), Events()).run()
    assert caught.value.code == "no_state"
