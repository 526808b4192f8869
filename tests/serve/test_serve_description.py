"""What the service says of itself: OpenAPI, health, metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from serving import Served
from tiny_model import fake_spectrum

from specinfer.serve import app, openapi
from specinfer.serve.metrics import Counter, Histogram
from specinfer.serve.spectra import JSON_KEYS

DOCS = Path(__file__).resolve().parents[2] / "docs"
ARRAYS = {
    "wavelength": fake_spectrum().wavelength.tolist(),
    "flux": fake_spectrum().flux.tolist(),
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document()


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A schema that stands for itself, with those that it refers to."""
    return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}


def every_reference(part: Any) -> set[str]:
    if isinstance(part, list):
        return {found for one in part for found in every_reference(one)}
    if not isinstance(part, dict):
        return set()
    own = {part["$ref"]} if "$ref" in part else set()
    return own.union(*(every_reference(one) for one in part.values()))


def test_references_lead_somewhere_and_schemas_are_schemas(document: dict[str, Any]) -> None:
    for reference in every_reference(document):
        part: Any = document
        for key in reference.removeprefix("#/").split("/"):
            part = part[key]
    for one in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(one)


def test_it_is_valid_openapi(document: dict[str, Any]) -> None:
    validator = pytest.importorskip(
        "openapi_spec_validator", reason="openapi-spec-validator is not installed"
    )
    validator.validate(document)


def test_every_route_is_described_and_no_other(document: dict[str, Any], served: Served) -> None:
    assert set(document["paths"]) == set(app.PATHS)
    assert served.client.get("/openapi.json").json() == json.loads(json.dumps(document))
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            answer = served.client.request(method, path)
            assert answer.status_code not in (404, 405), f"{method} {path}"
            assert str(answer.status_code) in one["responses"]


def test_every_option_and_key_is_described(document: dict[str, Any]) -> None:
    options = {one["name"] for one in document["paths"]["/classify"]["post"]["parameters"]}
    assert options == set(app.OPTIONS)
    assert set(document["components"]["schemas"]["Spectrum"]["properties"]) == set(JSON_KEYS)


def test_the_result_is_that_of_the_schema(document: dict[str, Any]) -> None:
    wanted = json.loads((DOCS / "result.schema.json").read_text())
    found = document["components"]["schemas"]["Result"]
    assert set(found["properties"]) == set(wanted["properties"])
    assert set(found["required"]) == set(wanted["required"])
    for name, one in found["properties"].items():
        for key in ("type", "const"):
            if key in one and key in wanted["properties"][name]:
                assert one[key] == wanted["properties"][name][key], name


def test_answers_are_as_described(tiny: Path, document: dict[str, Any], served: Served) -> None:
    assert jsonschema.Draft202012Validator(schema(document, "Spectrum")).is_valid(ARRAYS)
    good = served.client.post("/classify", params={"plot": "svg"}, json=ARRAYS)
    jsonschema.validate(good.json(), schema(document, "Answer"))
    bad = served.client.post("/classify", json={})
    jsonschema.validate(bad.json(), schema(document, "Error"))
    health = served.client.get("/health")
    jsonschema.validate(health.json(), schema(document, "Health"))
    assert health.json()["status"] == "ok"
    assert "spectranet" in health.json()["models"]


SAMPLE = re.compile(r'[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? (\d+(\.\d+)?(e-?\d+)?)')


def test_metrics_are_what_prometheus_reads(tiny: Path, served: Served) -> None:
    before = served.service.metrics.spectra.value(status="ok", model="spectranet@0.0.1")
    assert served.client.post("/classify", json=ARRAYS).status_code == 200
    answer = served.client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.endswith("\n")
    kinds: dict[str, str] = {}
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            assert SAMPLE.fullmatch(line), line
            name = re.sub(r"_(bucket|sum|count)$", "", re.split(r"[{ ]", line)[0])
            assert name in kinds or re.split(r"[{ ]", line)[0] in kinds
    assert kinds["specinfer_http_request_seconds"] == "histogram"
    line = f'specinfer_spectra_total{{model="spectranet@0.0.1",status="ok"}} {int(before) + 1}'
    assert line in answer.text


def test_histogram_is_cumulative() -> None:
    histogram = Histogram("h", "help", (1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value, route="/")
    assert histogram.lines()[2:] == [
        'h_bucket{route="/",le="1"} 2',
        'h_bucket{route="/",le="2"} 3',
        'h_bucket{route="/",le="+Inf"} 4',
        'h_sum{route="/"} 12',
        'h_count{route="/"} 4',
    ]


def test_labels_are_escaped() -> None:
    counter = Counter("c", "help")
    assert counter.lines()[-1] == "c 0"
    counter.add(path='a"b\\c\nd')
    assert counter.lines()[-1] == r'c{path="a\"b\\c\nd"} 1'


def test_unknown_paths_are_counted_together(served: Served) -> None:
    for number in range(5):
        served.client.get(f"/scan/{number}")
    assert "/scan" not in served.client.get("/metrics").text
