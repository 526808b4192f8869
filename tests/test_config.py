"""The configuration: defaults, what may be in it, and errors that name the line."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from specinfer.config import Config, ConfigError, find_config, load_config, parse_config
from specinfer.config_tables import TABLES
from specinfer.gates import SkipRules

SOURCE = Path("/etc/specinfer/specinfer.toml")


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of this machine is found."""
    monkeypatch.delenv("SPECINFER_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, SOURCE)
    assert caught.value.code == "bad_config"
    assert caught.value.exit_code == 2
    return tuple(one.removeprefix(f"{SOURCE}, ") for one in caught.value.problems)


def test_no_file_and_an_empty_file_mean_the_defaults(tmp_path: Path) -> None:
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    assert load_config() == Config()
    assert load_config(empty) == Config(source=empty)
    assert Config().skyportal is None
    assert Config().serve.host == "127.0.0.1"
    assert Config().serve.max_body == 8 * 2**20


def test_all_keys_can_be_set() -> None:
    text = """
    model = "survey"
    device = "cpu"
    threads = 2
    [skip]
    galaxies = false
    [decisions]
    minimum = { "SN Ia" = 0.9 }
    hold = ["NOVEL"]
    [skyportal]
    url = "https://fritz.science/"
    token_file = "token"
    classes = { "AGN/QSO" = "AGN", CV = "" }
    group_ids = [1, 2]
    timeout = 3
    [watch]
    interval = 2
    annotate = true
    state = "/var/lib/specinfer"
    log_format = "json"
    [serve]
    port = 9000
    callback_hosts = ["fritz.science"]
    """
    config = parse_config(text, SOURCE)
    assert (config.model, config.device, config.threads) == ("survey", "cpu", 2)
    assert not config.skip.galaxies
    assert config.skip.standards
    assert config.decisions.minimum == {"SN Ia": 0.9}
    assert config.decisions.hold == ("NOVEL",)
    assert config.skyportal is not None
    assert config.skyportal.url == "https://fritz.science"
    assert config.skyportal.token_file == SOURCE.parent / "token"
    assert config.skyportal.classes == {"AGN/QSO": "AGN", "CV": ""}
    assert config.skyportal.group_ids == (1, 2)
    assert isinstance(config.skyportal.timeout, float)
    assert config.watch.interval == 2.0
    assert config.watch.state == Path("/var/lib/specinfer")
    assert config.serve.callback_hosts == ("fritz.science",)
    assert config.source == SOURCE
    with pytest.raises(FrozenInstanceError):
        config.model = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "model = 'auto'\n\ndevise = 'cpu'",
            "line 3: there is no key or table 'devise'; did you mean 'device'?",
        ),
        (
            "[watch]\njobs = 1\nintervall = 3",
            "line 3: [watch] has no key 'intervall'; did you mean 'interval'?",
        ),
        ("interval = 3", "line 1: there is no key or table 'interval'; it belongs under [watch]"),
        ("watch = 3", "line 1: watch must be a table: write [watch]"),
        ("[watch]\njobs = 1.5", "line 2: jobs must be a whole number from 1 to 256, not 1.5"),
        ("[watch]\njobs = true", "line 2: jobs must be a whole number from 1 to 256, not true"),
        ("[watch]\nsettle = nan", "line 2: settle must be a number from 0 to 3600, not nan"),
        ("[watch]\nplot = 'yes'", 'line 2: plot must be true or false, not "yes"'),
        (
            "device = 'gpu'",
            'line 1: device must be one of "auto", "cpu", "cuda", "tensorrt", not "gpu"',
        ),
        (
            "[decisions]\nminimum = {\"SN Ia\" = 0.9}\nhold = [\n 'NOVEL',\n 3]",
            "line 5: hold must be a list of names of flags; 3 does not fit",
        ),
        (
            "[decisions.minimum]\n'SN Ia' = 0.5\n'SN II' = 50",
            "line 3: minimum must be a table of classes and probabilities from 0 to 1; "
            "50 does not fit",
        ),
        ("[skyportal]\ntimeout = 1", "line 1: [skyportal] needs url: the portal, without /api"),
        ("[watch]\ninterval = 1\ninterval = 2", "line 3: this is not TOML: cannot overwrite"),
        ("[watch", "line 1: this is not TOML: expected ']'"),
        ("x = '''\n\nopen", "line 3: this is not TOML: expected"),
    ],
)
def test_an_error_names_the_line_and_the_remedy(text: str, expected: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://fritz.science", "unencrypted"),
        ("ftp://fritz.science", "https://fritz.science"),
        ("fritz.science", "https://fritz.science"),
        ("https://me:secret@fritz.science", "password"),
        ("https://fritz.science/?a=1", "end with the host"),
        ("https://fritz.science:port", "cannot be read"),
        ("http://localhost.evil.org", "unencrypted"),
        ("http://127.0.0.1@evil.org", "unencrypted"),
    ],
)
def test_a_portal_to_which_no_token_may_go_is_refused(url: str, reason: str) -> None:
    (problem,) = problems(f"[skyportal]\nurl = '{url}'")
    assert problem.startswith("line 2: url must be")
    assert reason in problem
    assert "secret" not in problem


@pytest.mark.parametrize("url", ["http://localhost:5000", "http://127.0.0.1:1/x", "http://[::1]:1"])
def test_this_machine_may_be_reached_without_encryption(url: str) -> None:
    config = parse_config(f"[skyportal]\nurl = '{url}'", SOURCE)
    assert config.skyportal is not None
    assert config.skyportal.url == url


def test_skip_rules_are_those_of_the_gates() -> None:
    assert Config().skip.rules() == SkipRules()
    skip = parse_config("[skip]\ngalaxies = false\nquality = false", SOURCE).skip
    assert skip.rules() == SkipRules(galaxies=False, quality=False)


def test_all_problems_are_told_in_the_order_of_the_file() -> None:
    found = problems("[watch]\njobs = 0\nplot = 1\n[serve]\nport = 70000\n[skip]\ncomets = true")
    assert [one.split(":")[0] for one in found] == ["line 2", "line 3", "line 5", "line 7"]
    with pytest.raises(ConfigError, match=r"line 2: .* \(3 more: specinfer config check\)"):
        parse_config("[watch]\njobs = 0\nplot = 1\n[serve]\nport = 70000\n[skip]\nx = 1", SOURCE)


def test_where_the_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "named", "given"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "specinfer.toml").write_text(f"model = '{name}'")
    monkeypatch.chdir(tmp_path / "here")
    assert load_config().model == "here"
    monkeypatch.setenv("SPECINFER_CONFIG", str(tmp_path / "named/specinfer.toml"))
    assert load_config().model == "named"
    assert load_config(tmp_path / "given/specinfer.toml").model == "given"
    monkeypatch.setenv("SPECINFER_CONFIG", "")
    assert find_config() == Path("specinfer.toml")


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"no configuration file nosuch.toml; give") as caught:
        load_config(Path("nosuch.toml"))
    assert caught.value.code == "config_not_found"
    monkeypatch.setenv("SPECINFER_CONFIG", "other.toml")
    with pytest.raises(ConfigError, match=r"other.toml \(named by SPECINFER_CONFIG\)"):
        load_config()
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load_config(tmp_path)
    assert caught.value.code == "config_unreadable"
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"model = 'auto'\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin.toml, line 2: .* not UTF-8"):
        load_config(latin)
    (tmp_path / "large.toml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="larger than"):
        load_config(tmp_path / "large.toml")


def test_defaults_pass_their_own_checks() -> None:
    for of in [Config, *TABLES.values()]:
        for one in fields(of):
            if "kind" in one.metadata and isinstance(one.default, (str, int, float)):
                value = one.metadata["kind"].parse(one.default, SOURCE.parent)
                assert value == one.default, one.name
                assert type(value) is type(one.default), one.name
