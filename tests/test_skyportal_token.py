"""A token is found, checked, and never shown."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from specinfer.errors import UsageError
from specinfer.skyportal_token import ENVIRONMENT, Token, read_token

SECRET = "0f9b-secret-1c44"


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return path


def test_the_environment_wins_over_the_file(
    token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_token(token_file).header() == {"Authorization": f"token {SECRET}"}
    monkeypatch.setenv(ENVIRONMENT, " other ")
    assert read_token(token_file).header() == {"Authorization": "token other"}
    assert read_token(None).header() == {"Authorization": "token other"}


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o666])
def test_a_file_that_others_can_read_is_refused(token_file: Path, mode: int) -> None:
    token_file.chmod(mode)
    with pytest.raises(UsageError, match=f"chmod 600 {token_file}") as caught:
        read_token(token_file)
    assert caught.value.code == "bad_token"
    token_file.chmod(0o400)
    read_token(token_file)


def test_a_missing_token_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=ENVIRONMENT) as caught:
        read_token(None)
    assert caught.value.code == "no_token"
    with pytest.raises(UsageError, match="no token file"):
        read_token(tmp_path / "nosuch")
    with pytest.raises(UsageError, match="is not a file"):
        read_token(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UsageError, match="is not a file"):
        read_token(tmp_path / "pipe")


@pytest.mark.parametrize("content", ["", "two words", "line\nbreak", "caf\u00e9", "nul\0"])
def test_what_is_no_token_is_refused_without_being_shown(content: str) -> None:
    with pytest.raises(UsageError, match="is no token") as caught:
        Token(content, "here")
    assert not content or content not in str(caught.value)


def test_nothing_shows_a_token() -> None:
    token = Token(SECRET, "here")
    shown = [repr(token), str(token), f"{token}", f"{token!r}", "%s" % token]  # noqa: UP031
    assert all(SECRET not in one for one in shown)
    assert token.scrub(f"bad token {SECRET}!") == "bad token ***!"
    with pytest.raises(TypeError):
        pickle.dumps(token)
    assert not hasattr(token, "__dict__")
