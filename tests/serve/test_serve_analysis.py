"""SkyPortal's external analysis protocol, with a portal that takes the callbacks."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import Portal, Served, portal, serving, wait_until
from tiny_model import fake_spectrum

from specinfer import Classifier, Spectrum
from specinfer.serve import analysis, python_text
from specinfer.serve.callbacks import check_url
from specinfer.serve.failures import RequestFailure

COLUMNS = (
    *("observed_at", "wavelengths", "fluxes", "errors", "units", "altdata", "created_at"),
    *("origin", "modified", "type"),
)


def row(spectrum: Spectrum, observed_at: str, **changes: str) -> dict[str, str]:
    """A row as pandas writes it: the text of Python lists."""
    return {
        "observed_at": observed_at,
        "wavelengths": str(spectrum.wavelength.tolist()),
        "fluxes": str(spectrum.flux.tolist()),
        "errors": str(spectrum.sigma_array.tolist()),
        "type": "source",
    } | changes


def table(*rows: dict[str, str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def request_of(url: str, spectra: Any, **changes: Any) -> dict[str, Any]:
    parameters = changes.pop("parameters", {})
    redshift = changes.pop("redshift", "redshift,redshift_origin\n0.05,host\n")
    until = datetime.now(UTC) + timedelta(hours=1)
    return {
        "callback_url": url,
        "callback_method": "POST",
        "invalid_after": until.replace(tzinfo=None).isoformat(" "),
        "analysis_resource_type": "obj",
        "resource_id": "ZTF26abcdefg",
        "analysis_parameters": {},
        "inputs": {"analysis_parameters": parameters, "spectra": spectra, "redshift": redshift},
    } | changes


@pytest.fixture
def desk() -> Iterator[Portal]:
    with portal() as running:
        yield running


@pytest.fixture
def service(tiny: Path, desk: Portal) -> Iterator[Served]:
    with serving(callback_hosts=(desk.host,), callback_attempts=4) as running:
        running.service.settle = 0.05
        running.service.sender.first_pause = 0.02
        yield running


@pytest.fixture
def undrawn(service: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The service with pictures that take no time."""

    async def draw(*_: Any) -> bytes:
        return b"a picture"

    monkeypatch.setattr(service.service.drawer, "draw", draw)
    return service


def ask(service: Served, document: dict[str, Any]) -> Any:
    return service.client.post("/analysis/specinfer", json=document)


def answered(service: Served, desk: Portal, document: dict[str, Any]) -> dict[str, Any]:
    """The callback of a request that is taken."""
    answer = ask(service, document)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "pending"
    wait_until(lambda: desk.received and not service.service._analyses, 60.0)
    return desk.received[-1]


def test_get_says_active(service: Served) -> None:
    answer = service.client.get("/analysis/specinfer")
    assert (answer.status_code, answer.json()) == (200, {"status": "active"})


def test_pending_at_once_and_one_callback(service: Served, desk: Portal) -> None:
    spectra = [fake_spectrum(seed) for seed in range(3)]
    times = ["2026-11-20T05:00:00", "2026-11-18T05:00:00", "2026-11-21T05:00:00"]
    text = table(*(row(s, t) for s, t in zip(spectra, times, strict=True)))
    found = answered(service, desk, request_of(desk.url, text))
    time.sleep(0.3)
    assert len(desk.received) == 1
    assert desk.paths == ["/api/webhook/obj_analysis/secret"]
    assert found["status"] == "success"
    assert "latest of 3 spectra" in found["message"]
    parts = found["analysis"]["results"]["data"]["spectra"]
    assert found["analysis"]["results"]["format"] == "json"
    assert [part["observed_at"] for part in parts] == sorted(times)
    # The answers are those of the library, each of its own spectrum.
    own = Classifier(device="cpu", threads=1)
    for place, part in zip((1, 0, 2), parts, strict=True):
        wanted = own.classify(spectra[place]).to_dict()
        assert part["result"]["probabilities"] == pytest.approx(wanted["probabilities"], abs=2e-6)
        assert part["result"]["redshift"] == pytest.approx(wanted["redshift"], abs=1e-6)
    plots = found["analysis"]["plots"]
    assert len(plots) == 3
    assert all(plot["format"] == "png" for plot in plots)
    assert base64.b64decode(plots[0]["data"]).startswith(b"\x89PNG")
    (annotation,) = found["analysis"]["annotations"]
    assert annotation["origin"] == "sedm:specinfer"
    assert annotation["data"]["redshift"] == parts[-1]["result"]["redshift"]
    assert all(isinstance(value, float) for value in annotation["data"].values())
    assert service.service.metrics.callbacks.value(outcome="delivered") == 1


def test_bare_nan_and_an_empty_error_column(undrawn: Served, desk: Portal) -> None:
    spectrum = fake_spectrum(1)
    fluxes = spectrum.flux.tolist()
    fluxes[:20] = [math.nan] * 20
    text = table(row(spectrum, "2026-11-20", fluxes=str(fluxes), errors=""))
    assert "[nan, nan, " in text
    found = answered(undrawn, desk, request_of(desk.url, text))
    (part,) = found["analysis"]["results"]["data"]["spectra"]
    assert part["result"]["n_pixels"] == len(spectrum) - 20


def test_sedm_errors_are_variances(tiny: Path) -> None:
    spectrum = fake_spectrum(2)
    variance = spectrum.sigma_array**2
    rounded = [round(float(x), 1) for x in spectrum.wavelength]
    header = "{'INSTRUME': 'SEDM-P60', 'OBJECT': 'ZTF26abcdefg', 'QUALITY': 0, 'X': nan}"
    cells = {"wavelengths": str(rounded), "errors": str(variance.tolist()), "altdata": header}
    document = request_of("http://a/", table(row(spectrum, "2026-11-20T12:00:00", **cells)))
    (item,) = analysis.items(analysis.parse(json.dumps(document).encode(), ("a",)))
    assert item.spectrum is not None
    found = item.spectrum
    np.testing.assert_allclose(found.ivar, spectrum.ivar, rtol=1e-9)
    # The axis before it was rounded.
    np.testing.assert_allclose(found.wavelength, spectrum.wavelength, atol=0.01)
    assert {"VARIANCE_AS_ERROR", "AXIS_FROM_STANDARD_GRID"} <= set(found.flags)
    assert found.instrument == "SEDM-P60"
    assert found.mjd == pytest.approx(61364.5)
    assert found.header["QUALITY"] == 0


def test_redshift_only_if_it_is_asked_for(undrawn: Served, desk: Portal) -> None:
    text = table(row(fake_spectrum(1), "2026-11-20"))
    found = answered(undrawn, desk, request_of(desk.url, text, parameters={"fix_z": "True"}))
    result = found["analysis"]["results"]["data"]["spectra"][0]["result"]
    assert result["redshift"] == 0.05
    assert "Z_GIVEN" in result["flags"]
    desk.received.clear()
    document = request_of(desk.url, text, parameters={"fix_z": "True"}, redshift='redshift\n""\n')
    found = answered(undrawn, desk, document)
    assert "Z_GIVEN" not in found["analysis"]["results"]["data"]["spectra"][0]["result"]["flags"]


def test_one_bad_spectrum_among_good(undrawn: Served, desk: Portal) -> None:
    good = fake_spectrum(1)
    rows = [
        row(good, "2026-11-19"),
        row(good, "2026-11-20", fluxes="__import__('os').system('false')"),
        row(good, "2026-11-21", units="Jy"),
    ]
    found = answered(undrawn, desk, request_of(desk.url, table(*rows)))
    results = [part["result"] for part in found["analysis"]["results"]["data"]["spectra"]]
    assert [result["status"] for result in results] == ["ok", "failed", "failed"]
    assert [r["error"]["code"] for r in results[1:]] == ["bad_content", "unknown_unit"]
    assert "2 could not be used" in found["message"]


def test_nothing_usable_is_a_failure(service: Served, desk: Portal) -> None:
    text = table(row(fake_spectrum(1), "2026-11-19", fluxes="[1.0, 2.0]"))
    found = answered(service, desk, request_of(desk.url, text))
    assert set(found) == {"status", "message"}
    assert found["status"] == "failure"
    assert "ZTF26abcdefg" in found["message"]


def test_retries_until_the_portal_is_back(undrawn: Served, desk: Portal) -> None:
    desk.statuses = [500, 503]
    text = table(row(fake_spectrum(1), "2026-11-19"))
    answered(undrawn, desk, request_of(desk.url, text))
    assert len(desk.received) == 3
    assert desk.received[0] == desk.received[2]
    assert undrawn.service.metrics.callbacks.value(outcome="delivered") == 1


def test_a_refusal_is_not_repeated(undrawn: Served, desk: Portal) -> None:
    desk.statuses = [400]
    answered(undrawn, desk, request_of(desk.url, table(row(fake_spectrum(1), "2026-11-19"))))
    time.sleep(0.2)
    assert len(desk.received) == 1
    assert undrawn.service.metrics.callbacks.value(outcome="refused") == 1


def test_redirects_are_not_followed(undrawn: Served, desk: Portal) -> None:
    with portal() as elsewhere:
        desk.statuses, desk.location = [307], elsewhere.url
        answered(undrawn, desk, request_of(desk.url, table(row(fake_spectrum(1), "2026-11-19"))))
        assert elsewhere.received == []
    assert undrawn.service.metrics.callbacks.value(outcome="refused") == 1


def test_a_portal_that_stays_away_is_given_up(undrawn: Served, desk: Portal) -> None:
    desk.statuses = [500] * 10
    answered(undrawn, desk, request_of(desk.url, table(row(fake_spectrum(1), "2026-11-19"))))
    assert len(desk.received) == 4
    assert undrawn.service.metrics.callbacks.value(outcome="failed") == 1


@pytest.mark.parametrize("text", [None, "None", "", "2036-01-01", "2036-01-01T00:00:00+00:00"])
def test_times_that_skyportal_writes(text: str | None) -> None:
    document = request_of("http://a/", GOOD) | {"invalid_after": text}
    until = analysis.parse(json.dumps(document).encode(), ("a",)).until
    assert until == (None if text in (None, "None", "") else 2082758400.0)


def test_nothing_is_sent_after_its_time(undrawn: Served, desk: Portal) -> None:
    document = request_of(desk.url, table(row(fake_spectrum(1), "2026-11-19")))
    document["invalid_after"] = "2020-01-01 00:00:00"
    assert ask(undrawn, document).status_code == 200
    wait_until(lambda: undrawn.service.metrics.callbacks.value(outcome="expired") == 1, 60.0)
    assert desk.received == []


def test_stop_sends_what_was_accepted(tiny: Path, desk: Portal) -> None:
    with serving(callback_hosts=(desk.host,), grace=60.0) as service:
        document = request_of(desk.url, table(row(fake_spectrum(1), "2026-11-19")))
        assert ask(service, document).status_code == 200
    assert [found["status"] for found in desk.received] == ["success"]


GOOD = table(row(fake_spectrum(1), "2026-11-19"))


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"callback_url": "http://127.0.0.1:1/"}, 403, "callback_not_allowed"),
        ({"callback_url": None}, 400, "bad_callback"),
        ({"callback_method": "GET"}, 400, "bad_request"),
        ({"analysis_resource_type": "candidate"}, 400, "bad_request"),
        ({"invalid_after": "tomorrow"}, 400, "bad_request"),
        ({"inputs": None}, 400, "bad_request"),
        ({"inputs": {"spectra": ""}}, 400, "bad_request"),
        ({"inputs": {"spectra": "a,b\n1,2\n"}}, 400, "bad_request"),
        ({"inputs": {"spectra": "wavelengths,fluxes\n"}}, 400, "bad_request"),
        ({"inputs": {"spectra": 7}}, 400, "bad_request"),
        (
            {"inputs": {"spectra": GOOD, "analysis_parameters": {"model": "none"}}},
            400,
            "unknown_model",
        ),
        ({"inputs": {"spectra": GOOD, "analysis_parameters": {"model": 1}}}, 400, "bad_request"),
        (
            {"inputs": {"spectra": "wavelengths,fluxes\n" + "1,2\n" * 65}},
            413,
            "too_many_spectra",
        ),
    ],
)
def test_bad_requests(
    service: Served, desk: Portal, changes: dict[str, Any], status: int, code: str
) -> None:
    answer = ask(service, request_of(desk.url, GOOD) | changes)
    assert service.error(answer) == (status, code)
    assert desk.received == []


def test_parse_keeps_the_secret_to_itself() -> None:
    target = check_url("https://fritz.science/api/webhook/secret", ("fritz.science",))
    assert "secret" not in target.host


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[1.0, 2.5e-17, -3]", [1.0, 2.5e-17, -3.0]),
        ("[nan, inf, -inf, None]", [math.nan, math.inf, -math.inf, math.nan]),
        ("[1. 2.\n 3.]", [1.0, 2.0, 3.0]),
        ("array([1., 2.], dtype=float32)", [1.0, 2.0]),
        ("[np.float64(1.5), np.float64(nan)]", [1.5, math.nan]),
        ("[]", []),
    ],
)
def test_lists_of_numbers(text: str, wanted: list[float]) -> None:
    np.testing.assert_array_equal(python_text.numbers(text), wanted)


@pytest.mark.parametrize(
    "text", ["", "1, 2", "[1, 2", "[1, x]", "[1, ..., 2]", "[open('/etc/passwd')]", "[1_0]"]
)
def test_what_is_no_list_of_numbers(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        python_text.numbers(text)


def test_dictionaries_of_python_and_json() -> None:
    text = "{'A': 1, 'B': [1.5, None, (True,)], \"it's\": 'a\\'b\\n', 'D': {}, 'E': nan}"
    found = python_text.value(text)
    assert math.isnan(found.pop("E"))
    assert found == {"A": 1.0, "B": [1.5, None, [True]], "it's": "a'b\n", "D": {}}
    assert python_text.value('{"A": null, "B": true}') == {"A": None, "B": True}


@pytest.mark.parametrize(
    "text",
    ["", "{", "{'a'}", "{'a': }", "f()", "[1 2]", "1 2", "lambda: 0", "[" * 1000, "{'a': b.c}"],
)
def test_what_is_no_value(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        python_text.value(text)


def test_a_request_needs_json(service: Served) -> None:
    answer = service.client.post("/analysis/specinfer", content=b"x")
    assert service.error(answer) == (415, "unsupported_type")
    with pytest.raises(RequestFailure):
        analysis.parse(b"[]", ())
