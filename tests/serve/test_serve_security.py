"""Who may use the service, and where it may be made to connect to."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving import Served, serving

from specinfer.errors import UsageError
from specinfer.serve.callbacks import check_url
from specinfer.serve.failures import RequestFailure
from specinfer.serve.settings import TOKEN_VARIABLE, Settings, find_token

TOKEN = "a-secret-of-many-letters"
CLOSED = (("POST", "/classify"), ("GET", "/metrics"), ("GET", "/analysis/specinfer"))


@pytest.fixture(scope="module")
def guarded(tiny_root: Path):  # type: ignore[no-untyped-def]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPECINFER_MODEL_DIR", str(tiny_root))
        with serving(token=TOKEN) as running:
            yield running


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \xe9".encode()],
)
def test_without_the_token(
    guarded: Served, method: str, path: str, header: str | bytes | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = guarded.client.request(method, path, headers=headers)
    assert guarded.error(answer) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert TOKEN not in answer.text


def test_with_the_token(guarded: Served) -> None:
    headers = {"Authorization": f"bearer {TOKEN}"}
    assert guarded.client.get("/metrics", headers=headers).status_code == 200
    answer = guarded.client.get("/analysis/specinfer", headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"status": "active"})
    answer = guarded.client.post("/classify", json={}, headers=headers)
    assert guarded.error(answer) == (400, "bad_request")


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/health", "/openapi.json"])
def test_what_anybody_may_see(guarded: Served, path: str) -> None:
    assert guarded.client.get(path).status_code == 200


def test_the_token_is_not_shown(guarded: Served) -> None:
    assert guarded.client.get("/health").json()["token_needed"] is True
    assert TOKEN not in guarded.client.get("/health").text
    assert TOKEN not in repr(guarded.service.settings)


def test_headers_of_every_answer(served: Served) -> None:
    for path in ("/", "/health", "/nonesuch", "/classify"):
        headers = served.client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "access-control-allow-origin" not in headers


def test_pages_of_other_sites_are_refused(tiny: Path, served: Served) -> None:
    own = served.url
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": own + "1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ):
        answer = served.client.post("/classify", json={}, headers=headers)
        assert served.error(answer) == (403, "foreign_origin")
    assert served.client.post("/classify", json={}, headers={"Origin": own}).status_code == 400
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert served.client.get("/", headers=link).status_code == 200


def test_token_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert find_token(None) is None
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    assert find_token(path) == TOKEN
    for mode in (0o644, 0o640, 0o604):
        path.chmod(mode)
        with pytest.raises(UsageError, match="chmod 600") as refused:
            find_token(path)
        assert TOKEN not in str(refused.value)
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN + "2")
    assert find_token(None) == TOKEN + "2"
    with pytest.raises(UsageError, match="cannot be read"):
        find_token(tmp_path / "none")
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    with pytest.raises(UsageError, match="at least 16"):
        find_token(None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 70000},
        {"queue": 0},
        {"workers": 0},
        {"max_body": 10},
        {"timeout": 0.0},
        {"host": " "},
        {"token": "short"},
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Settings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_what_is_local(host: str, local: bool) -> None:
    assert Settings(host=host).is_local is local


ALLOWED = ("fritz.science", "localhost:5000", "::1")


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://fritz.science/api/x?y=1", "https://fritz.science:443/api/x?y=1"),
        ("http://Fritz.Science/api", "http://fritz.science:80/api"),
        ("https://fritz.science:443", "https://fritz.science:443/"),
        ("http://localhost:5000/api", "http://localhost:5000/api"),
        ("http://[::1]/api", "http://[::1]:80/api"),
    ],
)
def test_callbacks_that_are_allowed(url: str, wanted: str) -> None:
    assert check_url(url, ALLOWED).url == wanted


@pytest.mark.parametrize(
    "url",
    [
        "https://fritz.science.evil.example/api",
        "https://evil.example/fritz.science",
        "https://sub.fritz.science/api",
        "https://fritz.science:8443/api",
        "http://fritz.science:22/",
        "http://localhost/api",
        "http://127.0.0.1:5000/api",
        "http://2130706433:5000/api",
        "http://0x7f.1:5000/api",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:127.0.0.1]/",
    ],
)
def test_callbacks_to_other_hosts(url: str) -> None:
    with pytest.raises(RequestFailure) as refused:
        check_url(url, ALLOWED)
    assert (refused.value.status, refused.value.code) == (403, "callback_not_allowed")


@pytest.mark.parametrize(
    "url",
    [
        None,
        7,
        "",
        "fritz.science",
        "//fritz.science/",
        "ftp://fritz.science/",
        "file:///etc/passwd",
        "gopher://fritz.science/",
        "https://user@fritz.science/",
        "https://fritz.science@evil.example/",
        "https://evil.example\\@fritz.science/",
        "https://fritz.science\\.evil.example/",
        "https://fritz.science/ x",
        "https://fritz.science/\r\nHost: evil",
        "https://fritz.science/\n",
        "\thttps://fritz.science/",
        "https://fritz.science#@evil.example/",
        "https://fritz.science?x",
        "https://fritz\u3002science/",
        "https://fritz.science:99999/",
        "https://fritz.science:abc/",
        "https://[::1/",
        "https:///x",
        "https://fritz.science/" + "x" * 2000,
    ],
)
def test_callbacks_that_are_no_plain_urls(url: object) -> None:
    with pytest.raises(RequestFailure) as refused:
        check_url(url, ALLOWED)
    assert (refused.value.status, refused.value.code) == (400, "bad_callback")


def test_no_callback_without_configured_hosts() -> None:
    with pytest.raises(RequestFailure) as refused:
        check_url("https://fritz.science/", ())
    assert refused.value.status == 403
