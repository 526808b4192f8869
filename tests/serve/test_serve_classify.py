"""POST /classify: every way to send a spectrum gives the answer of the library."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import pickle
import threading
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from serving import Served
from tiny_model import fake_spectrum, write_fits_spectrum

from specinfer import Classifier, Spectrum, read

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EXAMPLE = next(EXAMPLES.glob("spec_*SIM01.fits"))


def arrays(spectrum: Spectrum, **more: Any) -> dict[str, Any]:
    return {
        "wavelength": spectrum.wavelength.tolist(),
        "flux": spectrum.flux.tolist(),
        "ivar": spectrum.ivar.tolist(),
    } | more


def without_time(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "latency_ms"}


def expected(path: Path, redshift: float | None = None) -> dict[str, Any]:
    result = Classifier(device="cpu", threads=1).classify(read(path)[0], redshift).to_dict()
    return without_time(result) | {"file": path.name}


def test_upload_is_answered_as_by_the_library(tiny: Path, served: Served) -> None:
    with EXAMPLE.open("rb") as handle:
        answer = served.client.post("/classify", files={"file": (EXAMPLE.name, handle)})
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"specinfer", "results", "pictures"}
    assert body["pictures"] is None
    (result,) = body["results"]
    jsonschema.validate(result, json.loads((DOCS / "result.schema.json").read_text()))
    assert without_time(result) == expected(EXAMPLE)


@pytest.mark.parametrize("suffix", ["fits", "txt"])
@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["plain", "gz", "bz2", "xz"]
)
def test_compressed_and_plain_files(tiny: Path, served: Served, suffix: str, pack: Any) -> None:
    path = EXAMPLE.with_suffix(f".{suffix}")
    answer = served.client.post("/classify", files={"file": (path.name, pack(path.read_bytes()))})
    assert without_time(answer.json()["results"][0]) == expected(path)


def test_body_that_is_the_file(tiny: Path, served: Served) -> None:
    answer = served.client.post(
        "/classify",
        params={"name": EXAMPLE.name},
        content=EXAMPLE.read_bytes(),
        headers={"Content-Type": "application/octet-stream"},
    )
    assert without_time(answer.json()["results"][0]) == expected(EXAMPLE)


def test_json_arrays(tiny: Path, served: Served) -> None:
    spectrum = fake_spectrum(3)
    wanted = Classifier(device="cpu", threads=1).classify(spectrum).to_dict()
    answer = served.client.post("/classify", json=arrays(spectrum, object="AT 2026x"))
    result = answer.json()["results"][0]
    assert result["object"] == "AT 2026x"
    assert result["file"] is None
    assert result["probabilities"] == pytest.approx(wanted["probabilities"], abs=2e-6)
    assert result["redshift"] == wanted["redshift"]


def test_noise_in_each_form_is_the_same_noise(tiny: Path, served: Served) -> None:
    spectrum = fake_spectrum(4)
    plain = {k: v for k, v in arrays(spectrum).items() if k != "ivar"}
    sigma = 1.0 / np.sqrt(spectrum.ivar)
    forms = [{"ivar": spectrum.ivar}, {"sigma": sigma}, {"variance": sigma**2}]
    found = []
    for form in forms:
        noise = {name: values.tolist() for name, values in form.items()}
        found.append(served.client.post("/classify", json=plain | noise).json()["results"][0])
    assert found[0]["snr"] == pytest.approx(found[1]["snr"]) == pytest.approx(found[2]["snr"])


def test_null_nan_and_mask_are_unusable_pixels(tiny: Path, served: Served) -> None:
    spectrum = fake_spectrum(5)
    flux = [None if n < 10 else value for n, value in enumerate(spectrum.flux.tolist())]
    mask = [n >= 200 for n in range(len(spectrum))]
    body = json.dumps(arrays(spectrum) | {"flux": flux, "mask": mask}).replace("null", "NaN", 5)
    answer = served.client.post(
        "/classify", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.json()["results"][0]["n_pixels"] == 190


def test_many_spectra_in_order_with_failures_in_place(tiny: Path, served: Served) -> None:
    several = [arrays(fake_spectrum(seed), object=f"number {seed}") for seed in range(5)]
    several[2]["flux"] = [None] * len(several[2]["flux"])
    answer = served.client.post("/classify", json={"spectra": several})
    results = answer.json()["results"]
    assert [r["object"] for r in results] == [f"number {n}" for n in range(5)]
    assert [r["status"] for r in results] == ["ok", "ok", "failed", "ok", "ok"]
    assert results[2]["error"]["code"] == "no_good_pixels"


def test_redshift_of_query_and_of_spectrum(tiny: Path, served: Served, tmp_path: Path) -> None:
    path = write_fits_spectrum(tmp_path / "spec.fits", 1)
    with path.open("rb") as handle:
        answer = served.client.post(
            "/classify", params={"redshift": "0.05"}, files={"file": (path.name, handle)}
        )
    assert without_time(answer.json()["results"][0]) == expected(path, 0.05)
    body = arrays(fake_spectrum(1), redshift=0.1)
    answer = served.client.post("/classify", params={"redshift": "0.05"}, json=body)
    assert answer.json()["results"][0]["redshift"] == 0.1
    assert "Z_GIVEN" in answer.json()["results"][0]["flags"]


def test_model_of_the_request(tiny: Path, served: Served) -> None:
    answer = served.client.post(
        "/classify", params={"model": "spectranet"}, json=arrays(fake_spectrum())
    )
    assert answer.json()["results"][0]["model"] == "spectranet@0.0.1"


@pytest.mark.parametrize(("format", "start"), [("png", b"\x89PNG\r\n"), ("svg", b"<?xml")])
def test_pictures(tiny: Path, served: Served, format: str, start: bytes) -> None:
    bad = arrays(fake_spectrum(1)) | {"flux": [None] * 214}
    several = {"spectra": [arrays(fake_spectrum(0)), bad]}
    answer = served.client.post("/classify", params={"plot": format}, json=several)
    first, second = answer.json()["pictures"]
    assert first["format"] == format
    assert base64.b64decode(first["data"]).startswith(start)
    assert second is None


def test_the_drawing_process_is_replaced_if_it_dies(tiny: Path, served: Served) -> None:
    body = arrays(fake_spectrum(0))
    assert served.client.post("/classify", params={"plot": "png"}, json=body).status_code == 200
    child = served.service.drawer._child
    assert child is not None
    child.kill()
    child.wait()
    assert served.client.post("/classify", params={"plot": "png"}, json=body).status_code == 200
    assert served.service.drawer._child is not child


def test_picture_of_an_answer_that_cannot_leave_the_process(tiny: Path, served: Served) -> None:
    classifier = Classifier(device="cpu", threads=1)
    answer = classifier.classify(fake_spectrum(0, header={"lock": threading.Lock()}))
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(answer)
    assert served.service.drawer._draw(answer, classifier, "png").startswith(b"\x89PNG")


def test_picture_of_a_survey_spectrum(served: Served) -> None:
    path = next((EXAMPLES / "survey").glob("spec-*.fits"))
    answer = served.client.post(
        "/classify", params={"plot": "png"}, files={"file": (path.name, path.read_bytes())}
    )
    assert answer.status_code == 200
    assert answer.json()["results"][0]["model"].startswith("survey@")
    data = base64.b64decode(answer.json()["pictures"][0]["data"])
    assert data.startswith(b"\x89PNG")


def upload(content: bytes, name: str = "spec.fits") -> dict[str, Any]:
    return {"files": {"file": (name, content)}}


def body(content: str | bytes, kind: str = "application/json") -> dict[str, Any]:
    return {"content": content, "headers": {"Content-Type": kind}}


GOOD = arrays(fake_spectrum())
BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "nothing": ({}, 415, "unsupported_type"),
    "other type": (body("x", "text/html"), 415, "unsupported_type"),
    "no body": (body(""), 400, "empty_body"),
    "no JSON": (body("{"), 400, "bad_json"),
    "not UTF-8": (body(b"\xff\xfe{}"), 400, "bad_json"),
    "deep JSON": (body("[" * 100_000), 400, "bad_json"),
    "list": (body("[1]"), 400, "bad_request"),
    "empty object": (body("{}"), 400, "bad_request"),
    "text as array": ({"json": GOOD | {"flux": "1 2 3"}}, 400, "bad_request"),
    "texts in array": ({"json": GOOD | {"flux": ["1"] * 214}}, 400, "bad_request"),
    "array in array": ({"json": GOOD | {"flux": [[1.0]] * 214}}, 400, "bad_request"),
    "unknown key": ({"json": GOOD | {"fluxes": []}}, 400, "bad_request"),
    "two noises": ({"json": GOOD | {"sigma": [1.0] * 214}}, 400, "bad_request"),
    "unknown unit": ({"json": GOOD | {"unit": "furlong"}}, 400, "bad_request"),
    "bad redshift": ({"json": GOOD | {"redshift": -2}}, 400, "bad_request"),
    "object is no text": ({"json": GOOD | {"object": 7}}, 400, "bad_request"),
    "no spectra": ({"json": {"spectra": []}}, 400, "bad_request"),
    "spectra and more": ({"json": {"spectra": [GOOD], "flux": []}}, 400, "bad_request"),
    "too many spectra": ({"json": {"spectra": [{}] * 65}}, 413, "too_many_spectra"),
    "lengths differ": ({"json": GOOD | {"flux": [1.0]}}, 422, "shape_mismatch"),
    "huge numbers": (
        body(json.dumps(GOOD | {"flux": ["X"]}).replace('"X"', "9" * 9000)),
        422,
        "shape_mismatch",
    ),
    "all NaN": ({"json": GOOD | {"flux": [None] * 214}}, 422, "no_good_pixels"),
    "empty file": (upload(b""), 422, "empty_file"),
    "truncated FITS": (upload(EXAMPLE.read_bytes()[:3000]), 422, "bad_fits"),
    "damaged gzip": (upload(gzip.compress(b"1 2\n")[:-9]), 422, "bad_compression"),
    "twice gzip": (upload(gzip.compress(gzip.compress(b"1 2\n"))), 422, "bad_compression"),
    "no spectrum": (upload(b"\x00\x01\x02" * 50, "x.bin"), 422, "unknown_file"),
    "two files": ({"files": [("a", ("a", b"1")), ("b", ("b", b"2"))]}, 400, "bad_form"),
    "field": ({"files": {"file": b"1"}, "data": {"z": "1"}}, 400, "bad_form"),
    "no boundary": (body("x", "multipart/form-data"), 400, "bad_form"),
    "broken form": (body("--x", "multipart/form-data; boundary=y"), 400, "bad_form"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bodies(tiny: Path, served: Served, name: str) -> None:
    request, status, code = BAD[name]
    assert served.error(served.client.post("/classify", **request)) == (status, code)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("zed=1", "bad_request"),
        ("redshift=abc", "bad_request"),
        ("redshift=nan", "bad_request"),
        ("redshift=1&redshift=2", "bad_request"),
        ("plot=exe", "bad_request"),
        ("format=word", "bad_request"),
        ("model=nonesuch", "unknown_model"),
        ("model=../../etc", "unknown_model"),
        ("model=/etc", "unknown_model"),
    ],
)
def test_bad_options(tiny: Path, served: Served, query: str, code: str) -> None:
    answer = served.client.post(f"/classify?{query}", json=GOOD)
    assert served.error(answer) == (400, code)


def test_names_of_files_cannot_harm(tiny: Path, served: Served) -> None:
    name = "../../etc/\u202epass\x07wd<script>.fits"
    answer = served.client.post("/classify", files={"file": (name, EXAMPLE.read_bytes())})
    assert answer.json()["results"][0]["file"].endswith("<script>.fits")
    assert "/" not in answer.json()["results"][0]["file"].removesuffix("</script>")
    assert "\u202e" not in answer.text


def test_paths_and_methods_that_there_are_not(served: Served) -> None:
    assert served.error(served.client.get("/etc/passwd")) == (404, "not_found")
    assert served.error(served.client.get("/classify")) == (405, "method_not_allowed")
    assert served.error(served.client.delete("/classify")) == (405, "method_not_allowed")


def test_compressed_images_are_refused(tiny: Path, served: Served) -> None:
    from astropy.io import fits

    buffer = io.BytesIO()
    image = fits.CompImageHDU(np.zeros((20, 200), np.float32))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(buffer)
    answer = served.client.post("/classify", **upload(buffer.getvalue()))
    assert served.error(answer) == (422, "bad_content")
