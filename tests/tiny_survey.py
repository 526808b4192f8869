"""A tiny GaSNet-III in a model folder like a real one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from synthetic_families import galaxy, observed, star

from specinfer import Spectrum
from specinfer.models import card_fingerprint
from specinfer.preprocess import N_CHANNELS, Preprocessing
from specinfer.zscan import Family

N_PIXELS = 1024
FAMILIES = (galaxy(), star())


def family_block(family: Family) -> dict[str, Any]:
    """What a card says of a family."""
    return {
        "output": f"{family.name}_eigenspectra",
        "first": family.first,
        "redshift_min": family.redshift_min,
        "redshift_max": family.redshift_max,
        "resolution": family.resolution,
        "binning": family.binning,
        "typical": family.typical.tolist(),
        "moments": family.moments.tolist(),
        "error_scale": 1.0,
        "error_floor": 1e-5,
    }


def make_survey_card(families: Sequence[Family] = FAMILIES, **changes: Any) -> dict[str, Any]:
    """A valid card, without the hash of the ONNX file."""
    outputs = [{"name": "coefficients", "shape": ["batch", 5]}]
    outputs += [
        {"name": f"{one.name}_eigenspectra", "shape": list(one.spectra.shape)} for one in families
    ]
    card: dict[str, Any] = {
        "schema": "specinfer.card/1",
        "name": "gasnet3",
        "version": "0.0.1",
        "family": "gasnet3",
        "task": "a tiny scan for tests",
        "classes": [one.name for one in families],
        "inputs": [{"name": "spectrum", "shape": ["batch", N_CHANNELS, N_PIXELS]}],
        "outputs": outputs,
        "preprocessing": Preprocessing(n_pixels=N_PIXELS).to_dict(),
        "scan": {
            "families": {one.name: family_block(one) for one in families},
            "additive": 4,
            "multiplicative": 1,
            "temperature": 2.0,
            "chi2_limit": 1.5,
            "prediction_set": {"coverage": 0.9, "threshold": 0.2},
            "limits": {"delta_chi2": 9.0},
        },
        "flags": {"low_snr": 1.0, "min_coverage": 0.2},
        "licence": "Apache-2.0",
    }
    return card | changes


def write_survey_model(
    root: Path, folder: str = "gasnet3", families: Sequence[Family] = FAMILIES, **changes: Any
) -> Path:
    """Write a model folder under `root`; its path."""
    card = make_survey_card(families, **changes)
    metadata = {
        "name": card["name"],
        "version": card["version"],
        "card_sha256": card_fingerprint(card),
    }
    rng = np.random.default_rng(5)
    matrix = rng.normal(size=(N_CHANNELS * N_PIXELS, 5)).astype(np.float32) * 0.01
    constants = [numpy_helper.from_array(matrix, "matrix")]
    nodes = [
        helper.make_node("Flatten", ["spectrum"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "matrix"], ["coefficients"]),
    ]
    shapes: dict[str, list[Any]] = {"coefficients": ["batch", 5]}
    for one in families:
        name = f"{one.name}_eigenspectra"
        constants.append(numpy_helper.from_array(one.spectra.astype(np.float32), f"{name}_values"))
        nodes.append(helper.make_node("Identity", [f"{name}_values"], [name]))
        shapes[name] = list(one.spectra.shape)
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(
                "spectrum", TensorProto.FLOAT, ["batch", N_CHANNELS, N_PIXELS]
            )
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in shapes.items()
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    path = root / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / "model.onnx").write_bytes(content)
    card["sha256"] = hashlib.sha256(content).hexdigest()
    (path / "card.json").write_text(json.dumps(card))
    return path


def survey_spectrum(
    family: Family, weights: tuple[float, ...], redshift: float, snr: float, seed: int = 0
) -> Spectrum:
    """A noisy spectrum of a family, as a survey would give it."""
    data = observed(family, weights, redshift, snr, seed)
    return Spectrum(10.0**data.centres, data.flux, ivar=data.weight)
