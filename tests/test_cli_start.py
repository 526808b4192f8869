"""Starting and ending quickly changes nothing that a command does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from tiny_model import write_fits_spectrum
from typer.testing import CliRunner

from specinfer import Classifier, cli_start
from specinfer.cli import app
from specinfer.cli_loading import begin
from specinfer.cli_start import LeanCommand, LeanGroup, only
from specinfer.config import Config
from specinfer.models import load_card
from specinfer.networks import loading


def upper(value: str | None) -> str | None:
    return None if value is None else value.upper()


def small_app(lean: bool) -> tuple[typer.Typer, list[dict[str, Any]]]:
    """An application with a parameter of every kind, and what its command was called with."""
    made: list[dict[str, Any]] = []
    small = typer.Typer(cls=LeanGroup if lean else None, rich_markup_mode=None)

    @small.callback()
    def root(loud: Annotated[bool, typer.Option("--loud")] = False) -> None:
        made.append({"loud": loud})

    @small.command(cls=LeanCommand if lean else None)
    def work(
        paths: Annotated[list[str] | None, typer.Argument()] = None,
        name: Annotated[str | None, typer.Option()] = None,
        kind: Annotated[str, typer.Option()] = "usual",
        shout: Annotated[str | None, typer.Option(callback=upper)] = None,
        many: Annotated[list[str] | None, typer.Option()] = None,
        number: Annotated[int, typer.Option()] = 3,
        z: Annotated[float | None, typer.Option("-z")] = None,
        air: Annotated[bool | None, typer.Option("--air/--vacuum")] = None,
        config: Annotated[Path | None, typer.Option()] = None,
        quiet: Annotated[bool, typer.Option("--quiet")] = False,
    ) -> None:
        made.append(dict(locals()) | {"made": None})

    @small.command()
    def other() -> None:
        made.append({"other": True})

    return small, made


@pytest.mark.parametrize(
    "line",
    [
        "work",
        "work a.fits",
        "work a.fits b.fits --name x --kind y --many 1 --many 2",
        "--loud work - --number 7 -z 0.1 --air",
        "work --vacuum --quiet --config x.toml --shout softly",
        "work --number 3.5",
        "work -z far",
        "work --nonesuch",
        "work --name",
        "work --help",
        "--help",
        "nonesuch",
        "other",
    ],
)
def test_a_lean_command_gets_what_any_command_gets(line: str) -> None:
    outcomes = []
    for lean in (False, True):
        small, made = small_app(lean)
        result = CliRunner().invoke(small, line.split())
        typed = [{key: (value, type(value)) for key, value in one.items()} for one in made]
        outcomes.append((result.exit_code, result.output, typed))
    assert outcomes[0] == outcomes[1]


def test_only_the_command_asked_for() -> None:
    whole = len(app.registered_commands), len(app.registered_groups)
    lean = only(app, ["classify", "x.fits"])
    assert len(lean.registered_commands) == 1
    assert lean.registered_groups == []
    assert (len(app.registered_commands), len(app.registered_groups)) == whole
    for arguments in ([], ["--help"], ["nonesuch"], ["watch"], ["--version"]):
        assert only(app, arguments) is app or len(only(app, arguments).registered_commands) == 1
    for arguments in (["classify", "--help"], ["classify", "--nonesuch"], ["classify", "--top"]):
        one, all_of = (CliRunner().invoke(a, arguments) for a in (only(app, arguments), app))
        assert (one.exit_code, one.output) == (all_of.exit_code, all_of.output)


def left(code: str) -> subprocess.CompletedProcess[str]:
    script = f"import atexit, sys, threading\nfrom specinfer.cli_start import leave\n{code}"
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )


def test_leaving_does_what_is_to_be_done_at_exit() -> None:
    ended = left(
        "atexit.register(print, 'registered')\n"
        "sys.stdout.write('printed ')\n"
        "leave(7)\n"
        "print('still here')"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "printed registered\n", "")


def test_leaving_waits_for_threads_and_profilers() -> None:
    late = (
        "import time\n"
        "threading.Thread(target=lambda: (time.sleep(0.2), print('done'))).start()\n"
        "leave(7)\n"
        "sys.exit(5)"
    )
    assert (left(late).returncode, left(late).stdout) == (5, "done\n")
    traced = "sys.setprofile(lambda *_: None)\nleave(7)\nsys.exit(5)"
    assert left(traced).returncode == 5


def test_garbage_is_collected_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import gc

    calls: list[str] = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append("freeze"))
    cli_start.collect_garbage()
    assert calls == []
    try:
        cli_start.hold_garbage()
        assert not gc.isenabled()
        cli_start.collect_garbage()
        assert gc.isenabled()
    finally:
        gc.enable()
    assert calls == ["freeze"]


def test_a_classifier_takes_over_the_session_that_was_begun(tiny: Path) -> None:
    begin(None, None, None)
    card = load_card("spectranet")
    ((key, session),) = loading._early.items()
    assert key[:2] == (card.model_path, card.sha256)
    classifier = Classifier()
    assert loading._early == {}
    assert classifier.network("spectranet").checked_session is session


@pytest.mark.parametrize("name", ["spectranet", "gasnet2", "gasnet3", "specpt"])
def test_what_is_begun_is_what_each_model_asks_for(name: str) -> None:
    begin(name, "cpu", 1)
    begun = list(loading._early.values())
    classifier = Classifier(name, "cpu", 1)
    assert loading._early == {}
    assert [classifier.network(name).checked_session] == begun


def test_a_combination_of_models_begins_its_own() -> None:
    begin("survey", "cpu", 1)
    assert loading._early == {}


def test_what_was_begun_for_others_is_not_taken(tiny: Path) -> None:
    begin(None, None, 1)
    begun = next(iter(loading._early.values()))
    try:
        assert Classifier(threads=2).network("spectranet").checked_session is not begun
        assert Classifier(device="cpu").network("spectranet").checked_session is not begun
    finally:
        loading._early.clear()


@pytest.mark.parametrize(
    ("model", "device"), [("nonesuch", None), (None, "abacus"), ("/nowhere/at/all", "cpu")]
)
def test_beginning_leaves_all_complaints_to_the_classifier(
    tiny: Path, model: str | None, device: str | None
) -> None:
    begin(model, device, None)
    assert loading._early == {}


def test_a_network_is_begun_only_for_what_no_configuration_can_change(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What `begin` takes where there is no configuration is what that says then.
    defaults = Config()
    assert (defaults.model, defaults.device, defaults.threads) == ("auto", "auto", None)
    begun: list[tuple[Any, ...]] = []
    monkeypatch.setattr("specinfer.cli_loading.begin", lambda *job: begun.append(job))
    monkeypatch.chdir(tmp_path)
    path = str(write_fits_spectrum(tmp_path / "a.fits"))
    runner = CliRunner()
    assert runner.invoke(app, ["classify", path, "--threads", "1"]).exit_code == 0
    assert begun == [(None, None, 1)]
    Path("specinfer.toml").write_text("threads = 1\n")
    assert runner.invoke(app, ["classify", path]).exit_code == 0
    assert runner.invoke(app, ["classify"]).exit_code == 2
    assert len(begun) == 1


def test_an_altered_model_is_refused_as_ever(tmp_path: Path) -> None:
    from tiny_model import write_model

    folder = write_model(tmp_path / "models")
    path = write_fits_spectrum(tmp_path / "a.fits")
    model = folder / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    ended = subprocess.run(
        [sys.executable, "-m", "specinfer", "classify", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"SPECINFER_MODEL_DIR": str(tmp_path / "models")},
    )
    assert ended.returncode == 3
    assert ended.stderr.count("\n") == 1
    assert "(model_altered)" in ended.stderr


def test_numpy_computes_in_the_thread_that_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"OMP_NUM_THREADS": "3"}
    monkeypatch.setattr(os, "environ", environment)
    cli_start.one_blas_thread()
    assert environment["OPENBLAS_NUM_THREADS"] == "1"
    # What the user says counts.
    assert environment["OMP_NUM_THREADS"] == "3"
