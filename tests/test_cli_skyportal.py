"""``specinfer skyportal``: posting by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sidecar_documents import STEM, document
from typer.testing import CliRunner

from benchmarks.portal import Portal
from specinfer.cli import app

pytest.importorskip("httpx", reason="needs specinfer[skyportal]")
OBJECTS = ("ZTF26a", "ZTF26b")


@pytest.fixture
def portal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    """A portal that knows two spectra, a configuration for it, and the answers."""
    monkeypatch.delenv("SPECINFER_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    night = tmp_path / "20261121"
    night.mkdir()
    with Portal() as portal:
        for name in OBJECTS:
            put_answer(night, document(name))
            portal.add_spectrum(name, STEM.format(name) + ".txt")
        (tmp_path / "specinfer.toml").write_text(
            f'[skyportal]\nurl = "{portal.url}"\nrate = 500\ntimeout = 2\nretry_first = 0.05\n'
        )
        monkeypatch.setenv("SPECINFER_SKYPORTAL_TOKEN", portal.token)
        yield portal


def put_answer(night: Path, sidecar: dict[str, Any], picture: bool = True) -> Path:
    stem = sidecar["file"].removesuffix(".fits")
    if picture:
        (night / f"specinfer_{stem}.png").write_bytes(b"png")
    path = night / f"specinfer_{stem}.json"
    path.write_text(json.dumps(sidecar))
    return path


def run(*arguments: str) -> tuple[int, str, list[str]]:
    """Exit code, standard output, lines of standard error."""
    result = CliRunner().invoke(app, ["skyportal", *arguments])
    return result.exit_code, result.stdout, result.stderr.splitlines()


def test_a_night_is_posted_once(portal: Portal) -> None:
    words = "6 posts are at the portal, 0 wait, 0 were refused or given up, 0 are held back\n"
    assert run("20261121") == (0, words, [])
    assert Path("20261121/.specinfer/journal.sqlite3").is_file()
    assert run("20261121") == (0, words, [])
    Path("20261121/.specinfer/journal.sqlite3").unlink()
    assert run("20261121") == (0, words, [])
    assert portal.duplicates() == []
    assert len(portal.comments) == len(portal.annotations) == len(portal.classifications) == 2


def test_one_answer_by_its_spectrum_or_sidecar(portal: Portal) -> None:
    stem = STEM.format("ZTF26a")
    assert run(f"20261121/{stem}.fits")[0] == 0
    assert run(f"20261121/{stem}.txt", f"20261121/specinfer_{stem}.json")[0] == 0
    assert [one["obj_id"] for one in portal.classifications] == ["ZTF26a"]


def test_a_dry_run_needs_nothing_and_posts_nothing(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPECINFER_SKYPORTAL_TOKEN")
    put_answer(Path("20261121"), document("ZTF26c", **{"class": "Star"}), picture=False)
    put_answer(Path("20261121"), document("ZTF26d", state="LOWQ"))
    code, shown, errors = run("--dry-run", "20261121")
    assert code == 0
    assert len(shown.splitlines()) == 7
    assert f"ZTF26a: POST {portal.url}/api/classification" in shown
    assert errors == [
        "specinfer: ZTF26c: the class is held back: Star has no name in the portal's taxonomy",
        f"specinfer: {STEM.format('ZTF26d')}.fits: nothing to post (LOWQ)",
    ]
    assert portal.requests == []
    assert not Path("20261121/.specinfer").exists()


def test_what_is_refused_is_said_and_tried_again_by_request(portal: Portal) -> None:
    portal.lacking = {"Classify"}
    code, shown, errors = run("20261121")
    assert code == 1
    assert "4 posts are at the portal, 0 wait, 2 were refused" in shown
    assert len(errors) == 2
    assert "ZTF26a: classification refused" in errors[0]
    assert "lacks the right" in errors[0]
    portal.lacking = set()
    assert run("20261121")[0] == 1
    assert run("--retry", "--outbox", "20261121/.specinfer/journal.sqlite3")[0] == 0
    assert len(portal.classifications) == 2


def test_what_waits_is_said(portal: Portal) -> None:
    portal.spectra.clear()
    code, shown, errors = run("--patience", "0.2", "20261121")
    assert code == 1
    assert "2 posts are at the portal, 4 wait" in shown
    assert all("no spectrum spec_auto_robot" in line for line in errors)


def test_a_refused_token_ends_it_at_once(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECINFER_SKYPORTAL_TOKEN", "not-this-one")
    code, _, errors = run("20261121")
    assert code == 3
    assert "give a token that the portal knows" in errors[0]
    assert not any("not-this-one" in line for line in errors)
    assert run("--debug", "20261121")[0] == 3


def test_what_cannot_be_posted_is_one_line(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("empty").mkdir()
    Path("20261121/specinfer_x.json").write_text("{")
    for arguments, words in (
        (("nosuch.fits",), "no answer to post: specinfer_nosuch.json is not there"),
        (("empty",), "no specinfer_*.json is in it"),
        (("20261121/x.fits",), "specinfer_x.json is none of this version"),
        ((), "there is no outbox"),
        (("--config", "nosuch.toml"), "no configuration file nosuch.toml"),
    ):
        code, shown, errors = run(*arguments)
        assert code in (1, 2)
        assert (shown, len(errors)) == ("", 1)
        assert words in errors[0]
    Path("20261121/specinfer_x.json").unlink()
    monkeypatch.delenv("SPECINFER_SKYPORTAL_TOKEN")
    code, _, errors = run("20261121")
    assert code == 2
    assert "set SPECINFER_SKYPORTAL_TOKEN" in errors[0]
    assert not Path("20261121/.specinfer").exists()
    Path("specinfer.toml").write_text("")
    assert "names no portal" in run("20261121")[2][0]
