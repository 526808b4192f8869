"""The OpenAPI description of the service, written by hand and checked by the tests."""

from __future__ import annotations

from typing import Any

from specinfer import __version__
from specinfer.readers import FORMATS
from specinfer.readers.base import NOISE_KINDS
from specinfer.result import SCHEMA
from specinfer.serve.drawing import FORMATS as PICTURES
from specinfer.serve.drawing import MAX_PICTURES
from specinfer.serve.spectra import MAX_SPECTRA
from specinfer.wavelengths import UNIT_CHOICES

Json = dict[str, Any]


def document() -> Json:
    """The description, an OpenAPI 3.1 document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "specinfer",
            "version": __version__,
            "description": "Classifies astronomical spectra and measures their redshifts.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}],
        "paths": {
            "/classify": {"post": _classify()},
            "/analysis/specinfer": {"get": _analysis_status(), "post": _analyse()},
            "/health": {"get": _health()},
            "/metrics": {"get": _metrics()},
            "/openapi.json": {"get": _self()},
            "/": {"get": _page("The page", "text/html")},
            "/page.css": {"get": _page("Its style", "text/css")},
            "/page.js": {"get": _page("Its program", "text/javascript")},
        },
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed if the service was given a token.",
                }
            },
            "schemas": {
                "Error": _object(
                    {
                        "error": _object(
                            {
                                "code": {"type": "string", "pattern": "^[a-z0-9_]+$"},
                                "message": {"type": "string", "minLength": 1},
                            }
                        )
                    }
                ),
                "Spectrum": _spectrum(),
                "Spectra": _object(
                    {
                        "spectra": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": MAX_SPECTRA,
                            "items": _ref("Spectrum"),
                        }
                    }
                ),
                "Result": _result(),
                "Answer": _object(
                    {
                        "specinfer": {"type": "string"},
                        "results": {"type": "array", "minItems": 1, "items": _ref("Result")},
                        "pictures": {
                            "type": ["array", "null"],
                            "items": {"oneOf": [_ref("Picture"), {"type": "null"}]},
                            "description": "One a result, null for failed ones and from the "
                            f"{MAX_PICTURES + 1}th good one on; null without the option plot.",
                        },
                    }
                ),
                "Picture": _object(
                    {
                        "format": {"enum": list(PICTURES)},
                        "data": {"type": "string", "contentEncoding": "base64"},
                    }
                ),
                "AnalysisRequest": _analysis_request(),
                "Health": _health_schema(),
            },
            "responses": {
                name: {
                    "description": words,
                    "content": {"application/json": {"schema": _ref("Error")}},
                }
                for name, words in _FAILURES.items()
            },
        },
    }


_FAILURES = {
    "400": "The request is not as described here.",
    "401": "The token is missing or wrong.",
    "403": "The callback's host, or the page that asks, is not allowed.",
    "408": "The request came too slowly.",
    "413": "The request is too large.",
    "415": "The type of the body is not known.",
    "422": "Nothing in it can be classified; error says why.",
    "429": "The queue is full: try again after Retry-After seconds.",
    "500": "A bug of specinfer.",
    "503": "A model does not work, the answer takes too long, or the service stops.",
}


def _classify() -> Json:
    options: dict[str, Json] = {
        "model": {"type": "string", "description": "Name of an installed model, or auto."},
        "redshift": {
            "type": "number",
            "exclusiveMinimum": -1,
            "exclusiveMaximum": 100,
            "description": "Known redshift: classify in the rest frame.",
        },
        "plot": {"enum": list(PICTURES), "description": "Draw pictures, too."},
        "format": {"enum": list(FORMATS), "description": "Read a file as this format."},
        "noise": {"enum": list(NOISE_KINDS), "description": "What the noise column is."},
        "unit": {"enum": list(UNIT_CHOICES), "description": "Unit of the wavelengths."},
        "air": {"enum": ["true", "false"], "description": "Whether wavelengths are in air."},
        "name": {"type": "string", "description": "Name of a file that is sent by itself."},
    }
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    return {
        "operationId": "classify",
        "summary": "Classify the spectra of a file or of arrays",
        "parameters": [
            {
                "name": name,
                "in": "query",
                "description": schema["description"],
                "schema": {k: v for k, v in schema.items() if k != "description"},
            }
            for name, schema in options.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": _object({"file": file})},
                "application/json": {"schema": {"oneOf": [_ref("Spectrum"), _ref("Spectra")]}},
                "application/octet-stream": {},
            },
        },
        "responses": _answers(
            {
                "description": "At least one spectrum was classified.",
                "content": {"application/json": {"schema": _ref("Answer")}},
            },
            *("400", "401", "403", "408", "413", "415", "422", "429", "500", "503"),
        ),
    }


def _analyse() -> Json:
    answer = _object({"status": {"const": "pending"}, "message": {"type": "string"}})
    return {
        "operationId": "analyse",
        "summary": "SkyPortal's external analysis: answered at once, result to callback_url",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("AnalysisRequest")}},
        },
        "responses": _answers(
            {
                "description": "Accepted.",
                "content": {"application/json": {"schema": answer}},
            },
            *("400", "401", "403", "408", "413", "415", "429", "500", "503"),
        ),
    }


def _analysis_status() -> Json:
    answer = _object({"status": {"const": "active"}})
    return {
        "operationId": "analysisStatus",
        "summary": "Whether the analysis service is there",
        "responses": _answers(
            {
                "description": "It is.",
                "content": {"application/json": {"schema": answer}},
            },
            "401",
        ),
    }


def _health() -> Json:
    content = {"application/json": {"schema": _ref("Health")}}
    return {
        "operationId": "health",
        "summary": "How the service does",
        "security": [{}],
        "responses": {
            "200": {"description": "It answers requests.", "content": content},
            "503": {"description": "It stops, or does not work.", "content": content},
        },
    }


def _metrics() -> Json:
    return {
        "operationId": "metrics",
        "summary": "Counters in the text format of Prometheus",
        "responses": _answers(
            {
                "description": "The counters.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            "401",
        ),
    }


def _self() -> Json:
    return {
        "operationId": "openapi",
        "summary": "This description",
        "security": [{}],
        "responses": {
            "200": {
                "description": "OpenAPI 3.1.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            }
        },
    }


def _page(summary: str, kind: str) -> Json:
    return {
        "summary": summary,
        "security": [{}],
        "responses": {
            "200": {
                "description": "For a browser.",
                "content": {kind: {"schema": {"type": "string"}}},
            }
        },
    }


def _answers(good: Json, *failures: str) -> Json:
    return {"200": good} | {
        status: {"$ref": f"#/components/responses/{status}"} for status in failures
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json, required: list[str] | None = None) -> Json:
    return {
        "type": "object",
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
        "properties": properties,
    }


def _spectrum() -> Json:
    pixels = {"type": "array", "items": {"type": ["number", "null"]}}
    return _object(
        {
            "wavelength": {"type": "array", "items": {"type": "number"}},
            "flux": {**pixels, "description": "Per unit wavelength; null for no value."},
            "ivar": {**pixels, "description": "Inverse variance; 0 for unusable pixels."},
            "sigma": {**pixels, "description": "1-sigma errors, instead of ivar."},
            "variance": {**pixels, "description": "Variances, instead of ivar."},
            "mask": {
                "type": "array",
                "items": {"type": ["boolean", "number"]},
                "description": "True marks unusable pixels.",
            },
            "unit": {"enum": list(UNIT_CHOICES), "default": "angstrom"},
            "air": {"type": "boolean", "default": False},
            "redshift": {
                "type": "number",
                "description": "Known redshift; wins over that of the query.",
            },
            "object": {"type": "string"},
            "instrument": {"type": "string"},
            "resolution": {"type": "number"},
            "mjd": {"type": "number"},
        },
        ["wavelength", "flux"],
    )


def _result() -> Json:
    text, number, whole = ({"type": [kind, "null"]} for kind in ("string", "number", "integer"))
    table, lists = {"type": ["object", "null"]}, {"type": ["array", "null"]}
    fields: Json = {
        "schema": {"const": SCHEMA},
        **dict.fromkeys(("file", "object", "instrument", "reader", "model"), text),
        "status": {"enum": ["ok", "failed"]},
        **dict.fromkeys(("class", "subtype"), text),
        "decision": {"enum": ["auto", "review", None]},
        **dict.fromkeys(("row", "n_pixels", "zwarning"), whole),
        **dict.fromkeys(("error", "probabilities", "subtype_probabilities", "models"), table),
        **dict.fromkeys(("redshift_interval", "phase_interval"), table),
        **dict.fromkeys(
            ("prediction_set", "prediction_set_by_class", "candidates", "lines"), lists
        ),
        "flags": {"type": "array", "items": {"type": "string"}},
        **dict.fromkeys(("wavelength_min", "wavelength_max", "snr", "probability"), number),
        **dict.fromkeys(("redshift", "redshift_err", "phase", "phase_err"), number),
        **dict.fromkeys(("delta_chi2", "anomaly", "reliability", "novelty"), number),
        **dict.fromkeys(("host_share", "latency_ms"), number),
    }
    schema = _object(fields)
    schema["description"] = "One spectrum; docs/result.schema.json describes every field."
    return schema


def _analysis_request() -> Json:
    inputs = {
        "type": "object",
        "required": ["spectra"],
        "properties": {
            "spectra": {
                "type": "string",
                "description": "CSV with a row a spectrum: observed_at, wavelengths, fluxes, "
                "errors, units, altdata, type...",
            },
            "redshift": {"type": "string", "description": "CSV with the object's redshift."},
            "analysis_parameters": {
                "type": "object",
                "description": "model: name of a model; fix_z: use the object's redshift.",
            },
        },
    }
    return {
        "type": "object",
        "required": ["callback_url", "inputs"],
        "properties": {
            "callback_url": {"type": "string", "format": "uri"},
            "callback_method": {"const": "POST"},
            "invalid_after": {"type": "string"},
            "analysis_resource_type": {"const": "obj"},
            "resource_id": {"type": "string"},
            "analysis_parameters": {"type": "object"},
            "inputs": inputs,
        },
    }


def _health_schema() -> Json:
    count = {"type": "integer", "minimum": 0}
    return _object(
        {
            "status": {"enum": ["ok", "stopping", "failing"]},
            "specinfer": {"type": "string"},
            "model": {"type": "string"},
            "models": {"type": "array", "items": {"type": "string"}},
            "queue": count,
            "queue_limit": count,
            "analyses": count,
            "uptime_s": {"type": "number"},
            "token_needed": {"type": "boolean"},
            "max_body": count,
        }
    )
