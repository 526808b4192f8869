"""``specinfer config show`` and ``check``."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from astropy.io import fits
from tiny_model import write_fits_spectrum
from typer.testing import CliRunner

from specinfer.cli import app
from specinfer.config import Config, parse_config
from specinfer.config_text import config_text

FULL = """
model = "spectranet"
threads = 3
[decisions]
minimum = { "SN Ia" = 0.9, CV = 1 }
hold = ["NOVEL", "a \\"quoted\\" one"]
[skyportal]
url = "https://fritz.science"
token_file = "folder with spaces/token"
classes = { "AGN/QSO" = "QSO" }
[watch]
interval = 0.5
state = "/var/lib/specinfer"
[serve]
callback_hosts = ["fritz.science", "127.0.0.1"]
"""


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration and no token of this machine is found."""
    for name in ("SPECINFER_CONFIG", "SPECINFER_SKYPORTAL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> tuple[int, str, list[str]]:
    """Exit code, standard output, lines of standard error."""
    result = CliRunner().invoke(app, ["config", *arguments])
    return result.exit_code, result.stdout, result.stderr.splitlines()


@pytest.mark.parametrize("text", ["", FULL])
def test_what_is_shown_reads_as_the_same_configuration(text: str, tmp_path: Path) -> None:
    source = tmp_path / "specinfer.toml"
    source.write_text(text)
    code, shown, errors = run("show")
    assert (code, errors) == (0, [])
    assert shown.startswith("# specinfer.toml\n")
    original = parse_config(text, Path("specinfer.toml"))
    assert parse_config(shown, Path("specinfer.toml")) == original
    assert parse_config(config_text(original), Path("specinfer.toml")) == original


def test_defaults_are_shown_without_a_file_and_as_json() -> None:
    _, shown, _ = run("show")
    assert shown.startswith("# the defaults: there is no file\n")
    assert tomllib.loads(shown)["watch"]["pattern"] == "spec_*.fits"
    assert "# [skyportal]" in shown
    code, shown, _ = run("show", "--json")
    document = json.loads(shown)
    assert code == 0
    assert document["skyportal"] is None
    assert document["skip"]["quality"] is True
    assert set(document) == set(vars(Config()))


def test_a_configuration_in_order_is_said(tiny: Path, tmp_path: Path) -> None:
    assert run("check") == (0, "the defaults are in order\n", [])
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o600)
    (tmp_path / "specinfer.toml").write_text(
        'model = "spectranet"\n[skyportal]\nurl = "https://fritz.science"\n'
        'token_file = "token"\n[watch]\nskyportal = true\nstate = "new/state"\n'
        '[serve]\ntoken_file = "token"\n[decisions]\nminimum = { "SN Ia" = 0.9 }\n'
    )
    assert run("check") == (0, "specinfer.toml is in order\n", [])


def test_all_problems_are_lines_of_their_own(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[watch]\njobs = 0\n[serve]\nhots = 'x'\n")
    code, shown, errors = run("check", "--config", str(other))
    assert (code, shown) == (2, "")
    assert errors == [
        f"specinfer: {other}, line 2: jobs must be a whole number from 1 to 256, not 0",
        f"specinfer: {other}, line 4: [serve] has no key 'hots'; did you mean 'host'?",
    ]
    code, _, errors = run("show", "--config", str(other))
    assert code == 2
    assert errors[0].endswith("not 0 (1 more: specinfer config check) (bad_config)")


def test_what_cannot_work_here_is_found_with_its_line(tiny: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o644)
    (tmp_path / "specinfer.toml").write_text(
        'model = "nosuch"\n'
        "[decisions.minimum]\n"
        '"SN Ia" = 0.9\n'
        '"SN Iax" = 0.9\n'
        "[skyportal]\n"
        'url = "https://fritz.science"\n'
        'token_file = "token"\n'
        'classes = { "Nova" = "Nova" }\n'
        "retry_first = 700\n"
        "[watch]\n"
        'state = "token/state"\n'
        "[serve]\n"
        'token_file = "absent"\n'
    )
    code, _, errors = run("check")
    assert code == 2
    starts = [
        ("line 1", "nosuch"),
        ("line 4", "no model has a class 'SN Iax'"),
        ("line 7", "chmod 600"),
        ("line 8", "no model has a class 'Nova'"),
        ("line 9", "retry_first"),
        ("line 11", "cannot be made or written to"),
        ("line 13", "no token file"),
    ]
    assert len(errors) == len(starts)
    for error, (line, words) in zip(errors, starts, strict=True):
        assert error.startswith(f"specinfer: specinfer.toml, {line}: ")
        assert words in error
        assert "secret" not in error


def test_posting_needs_a_portal_and_a_token(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "specinfer.toml"
    path.write_text("[watch]\nskyportal = true\n")
    (error,) = run("check")[2]
    assert "line 2: there is nowhere to post" in error
    path.write_text("\n[skyportal]\nurl = 'https://fritz.science'\n")
    (error,) = run("check")[2]
    assert "line 2: there is no token" in error
    path.write_text("[skyportal]\nurl = 'https://fritz.science'\ndry_run = true\n")
    assert run("check")[0] == 0


def test_a_missing_file_is_one_line() -> None:
    for command in ("show", "check"):
        code, shown, errors = run(command, "--config", "nosuch.toml")
        assert (code, shown, len(errors)) == (2, "", 1)
        assert "nosuch.toml" in errors[0]


def classify(*arguments: str) -> tuple[int, str, list[str]]:
    result = CliRunner().invoke(app, ["classify", *arguments])
    return result.exit_code, result.stdout, result.stderr.splitlines()


def test_classify_follows_the_configuration_and_the_command_line_wins(
    tiny: Path, tmp_path: Path
) -> None:
    spectrum = str(write_fits_spectrum(tmp_path / "spec_1.fits", 1))
    path = tmp_path / "specinfer.toml"
    path.write_text('model = "nosuch"\n')
    code, shown, (error,) = classify(spectrum)
    assert (code, shown) == (3, "")
    assert "nosuch" in error
    assert classify("--model", "spectranet", spectrum)[0] == 0
    path.write_text('[watch]\njobs = "many"\n')
    code, _, (error,) = classify(spectrum)
    assert code == 2
    assert "specinfer.toml, line 2: jobs must be" in error
    other = tmp_path / "other.toml"
    other.write_text('model = "spectranet"\nthreads = 1\n')
    assert classify("--config", str(other), spectrum)[0] == 0


def test_classify_skips_what_the_configuration_says(tiny: Path, tmp_path: Path) -> None:
    source = Path(__file__).parents[1] / "examples"
    name = next(source.glob("spec_*SIM01.fits")).name
    (tmp_path / name).write_bytes((source / name).read_bytes())
    fits.setval(tmp_path / name, "OBJECT", value="NGC 1275")
    code, shown, _ = classify("--sidecar", "--json", name)
    assert code == 0
    assert json.loads(shown)["error"]["code"] == "skipped"
    (tmp_path / "specinfer.toml").write_text("[skip]\ngalaxies = false\n")
    assert json.loads(classify("--sidecar", "--json", name)[1])["status"] == "ok"
