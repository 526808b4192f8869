"""The output schema: every field, always, in order, and nothing that JSON cannot hold."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from tiny_model import CLASSES, fake_spectrum

from specinfer import Classification, Classifier, ReadError
from specinfer.result import FIELDS, failed

SCHEMA_FILE = Path(__file__).resolve().parents[1] / "docs" / "result.schema.json"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return dict(json.loads(SCHEMA_FILE.read_text()))


@pytest.fixture
def result(tiny: Path) -> Classification:
    return Classifier().classify(fake_spectrum(1, object="SN 1", instrument="SEDM-P60"))


def check(record: dict[str, Any], schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema).validate(record)


def test_schema_itself_is_valid(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)


def test_ok_result_fits_the_schema(result: Classification, schema: dict[str, Any]) -> None:
    record = result.to_dict()
    check(record, schema)
    assert list(record) == list(schema["properties"])
    assert record["status"] == "ok"
    assert record["object"] == "SN 1"
    assert record["n_pixels"] == 214
    assert record["wavelength_min"] == pytest.approx(3776.71)
    assert record["probability"] == max(record["probabilities"].values())
    assert list(record["probabilities"]) == CLASSES
    assert sum(record["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)


def test_given_redshift_fits_the_schema(tiny: Path, schema: dict[str, Any]) -> None:
    record = Classifier().classify(fake_spectrum(1), 0.05).to_dict()
    check(record, schema)
    assert record["redshift"] == 0.05
    assert record["redshift_err"] is None
    assert record["flags"] == ["Z_GIVEN"]


def test_failed_result_fits_the_schema(schema: dict[str, Any]) -> None:
    error = ReadError("empty_file", "the file is empty", row=3, object="a")
    record = failed(error, file="x.fits", row=error.row, object=error.object).to_dict()
    check(record, schema)
    assert record["error"] == {"code": "empty_file", "message": "the file is empty"}
    assert (record["file"], record["row"], record["object"]) == ("x.fits", 3, "a")
    assert record["class"] is None
    assert record["flags"] == []


def test_failed_result_keeps_what_was_read(schema: dict[str, Any]) -> None:
    spectrum = fake_spectrum(1, file="y.fits", flags=("B", "A"))
    record = failed(ReadError("out_of_range", "no"), spectrum=spectrum).to_dict()
    check(record, schema)
    assert record["file"] == "y.fits"
    assert record["n_pixels"] == 214
    assert record["flags"] == ["A", "B"]


@pytest.mark.parametrize("key", ["class", "redshift_err", "error", "flags"])
def test_schema_wants_every_field(result: Classification, schema: dict[str, Any], key: str) -> None:
    record = result.to_dict()
    del record[key]
    with pytest.raises(jsonschema.ValidationError):
        check(record, schema)


def test_numbers_are_plain_and_finite(result: Classification) -> None:
    odd = dataclasses.replace(
        result,
        redshift=np.float32(0.25),
        phase=float("nan"),
        snr=np.inf,
        zwarning=np.int64(4),
        row=np.int32(2),
    )
    record = odd.to_dict()
    assert record["redshift"] == 0.25
    assert type(record["redshift"]) is float
    assert record["phase"] is None
    assert record["snr"] is None
    assert (type(record["zwarning"]), type(record["row"])) == (int, int)
    assert "NaN" not in odd.to_json()


def test_json_is_one_line_of_ascii(result: Classification) -> None:
    odd = dataclasses.replace(result, object="line\nbreak é", file="bad\udcff.fits")
    text = odd.to_json()
    assert text.isascii()
    assert "\n" not in text
    assert json.loads(text)["object"] == "line\nbreak é"


def test_flags_are_sorted_and_unique(tiny: Path) -> None:
    spectrum = fake_spectrum(1, snr=1.0, flags=("Z_READER", "AIR_TO_VACUUM", "Z_READER"))
    flags = Classifier().classify(spectrum, 0.1).flags
    assert flags == ("AIR_TO_VACUUM", "LOW_SNR", "Z_GIVEN", "Z_READER")


def test_frozen(result: Classification) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.status = "failed"  # type: ignore[misc]


def test_arrays_stay_out_of_the_record(result: Classification) -> None:
    assert result.spectrum is not None
    assert result.answer is not None
    assert {"spectrum", "answer"}.isdisjoint(FIELDS)
    assert {"spectrum", "answer"}.isdisjoint(result.to_dict())


def test_candidates_start_with_the_answer(result: Classification) -> None:
    record = result.to_dict()
    first = record["candidates"][0]
    assert first["class"] == record["class"]
    assert first["redshift"] == pytest.approx(record["redshift"], abs=1e-6)
    scores = [candidate["score"] for candidate in record["candidates"]]
    assert scores == sorted(scores, reverse=True)
    assert record["models"]["spectranet"]["candidates"] == record["candidates"]
