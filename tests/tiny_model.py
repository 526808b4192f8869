"""A tiny network in a model folder like a real one, so that unit tests need no weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from specinfer import Spectrum
from specinfer.models import card_fingerprint
from specinfer.preprocess import N_CHANNELS, Preprocessing

CLASSES = ["SN Ia", "SN II", "galaxy", "star"]
SIZES = {"class_logits": 4, "redshift_logits": 200, "phase_logits": 30, "embedding": 8}
EXTRA_SIZES = {"subtype_logits": 5, "host_logit": 1, "novelty": 1}
SUBTYPES = ["normal", "91T", "91bg", "02cx", "CSM"]
N_PIXELS = 1024


def make_card(**changes: Any) -> dict[str, Any]:
    """A valid card, without the hash of the ONNX file."""
    card: dict[str, Any] = {
        "schema": "specinfer.card/1",
        "name": "spectranet",
        "version": "0.0.1",
        "family": "spectranet",
        "task": "a random network for tests",
        "classes": CLASSES,
        "inputs": [
            {"name": "spectrum", "shape": ["batch", N_CHANNELS, N_PIXELS], "dtype": "float32"}
        ],
        "outputs": [{"name": name, "shape": ["batch", size]} for name, size in SIZES.items()],
        "preprocessing": Preprocessing(n_pixels=N_PIXELS).to_dict(),
        "redshift_bins": {"start": 0.0, "step": 0.002, "size": SIZES["redshift_logits"]},
        "phase_bins": {"start": -20.0, "step": 4.0, "size": SIZES["phase_logits"]},
        "phase_classes": ["SN Ia", "SN II"],
        "calibration": {
            "class_temperature": 1.5,
            "redshift_temperature": 1.0,
            "phase_temperature": 1.0,
            "prediction_set": {"coverage": 0.9, "threshold": 0.2},
        },
        "flags": {"low_snr": 3.0, "min_coverage": 0.4},
        "valid_range": {"wavelength": [3000.0, 11000.0], "redshift": [0.0, 0.49]},
        "training": {},
        "metrics": {},
        "citations": [],
        "licence": "Apache-2.0",
        "commit": "none",
        "opset": 17,
    }
    return card | changes


def make_trust_card(**changes: Any) -> dict[str, Any]:
    """A card with every optional block; changes to ``calibration`` are merged into it."""
    card = make_card()
    sizes = SIZES | EXTRA_SIZES
    calibration = card["calibration"] | {
        "subtype_temperature": 1.2,
        "redshift_levels": {"68": 0.75, "95": 0.97},
        "phase_levels": {"68": 0.6, "95": 0.9},
        "prediction_set": {
            "coverage": 0.9,
            "threshold": 0.2,
            "by_class": {"SN Ia": 0.3, "SN II": 0.1, "galaxy": 0.25},
        },
    }
    card |= {
        "outputs": [{"name": name, "shape": ["batch", size]} for name, size in sizes.items()],
        "subtypes": {"SN Ia": SUBTYPES},
        "novelty": {"threshold": 1e6, "false_alarm_rate": 0.01},
        "host": {"dominated": 0.5},
        "redshift_conflict": {"level": 0.997},
        "decisions": [{"class": "SN Ia", "threshold": 0.6, "false_positive_rate": 0.005}],
    }
    calibration |= changes.pop("calibration", {})
    return card | {"calibration": calibration} | changes


def make_graph(
    metadata: dict[str, str],
    sizes: dict[str, int] | None = None,
    weights: dict[str, Any] | None = None,
) -> bytes:
    """One random linear layer an output, on the flattened input.

    `weights` takes the place of a random matrix, shape (2 * N_PIXELS, size). The depth of
    features, the same at every pixel, would outweigh everything else: it is not looked at.
    """
    sizes = sizes or SIZES
    rng = np.random.default_rng(5)
    nodes = [helper.make_node("Flatten", ["spectrum"], ["flat"], axis=1)]
    given, matrices = weights or {}, []
    for name, size in sizes.items():
        # A smooth random layer answers to broad features rather than to the noise alone.
        # Its p(z) has one clear mode.
        scale = 1.0 if name == "redshift_logits" else 0.05
        matrix = rng.normal(size=(2 * N_PIXELS, size)).astype(np.float32) * scale
        matrix = np.asarray(given.get(name, matrix), dtype=np.float32)
        matrix = np.pad(matrix, ((0, (N_CHANNELS - 2) * N_PIXELS), (0, 0)))
        matrices.append(numpy_helper.from_array(matrix, name + "_w"))
        nodes.append(helper.make_node("MatMul", ["flat", name + "_w"], [name]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(
                "spectrum", TensorProto.FLOAT, ["batch", N_CHANNELS, N_PIXELS]
            )
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
            for name, size in sizes.items()
        ],
        matrices,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write_model(
    root: Path,
    folder: str = "spectranet",
    *,
    trust: bool = False,
    weights: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write a model folder under `root`; its path.

    Parameters
    ----------
    root, folder
    trust : bool
        With the outputs and blocks of `make_trust_card`.
    weights : dict of ndarray
        See `make_graph`.
    **changes
        Of the card.
    """
    card = make_trust_card(**changes) if trust else make_card(**changes)
    metadata = {
        "name": card["name"],
        "version": card["version"],
        "card_sha256": card_fingerprint(card),
    }
    content = make_graph(metadata, SIZES | EXTRA_SIZES if trust else SIZES, weights)
    card["sha256"] = hashlib.sha256(content).hexdigest()
    path = root / folder
    path.mkdir(parents=True)
    (path / "model.onnx").write_bytes(content)
    (path / "card.json").write_text(json.dumps(card, indent=1))
    return path


def fake_spectrum(seed: int = 0, snr: float = 20.0, n_pixels: int = 214, **facts: Any) -> Spectrum:
    """A spectrum on the SEDM's axis: a hump, some absorption features and noise."""
    rng = np.random.default_rng(seed)
    wavelength = np.linspace(3776.71, 9223.29, n_pixels)
    flux = np.exp(-0.5 * ((wavelength - 5200.0) / 1800.0) ** 2)
    for _ in range(8):
        centre, width, depth = rng.uniform(4000, 8500), rng.uniform(40, 120), rng.uniform(-0.4, 0.6)
        flux *= 1.0 - depth * np.exp(-0.5 * ((wavelength - centre) / width) ** 2)
    sigma = np.full(n_pixels, float(np.median(flux)) / snr)
    scale = 1e-16
    noisy = flux + rng.normal(0, sigma)
    return Spectrum(wavelength, noisy * scale, sigma=sigma * scale, **facts)


def write_text_spectrum(path: Path, seed: int = 0, **options: Any) -> Path:
    """A three-column text file of `fake_spectrum`: wavelength, flux, error."""
    spectrum = fake_spectrum(seed, **options)
    rows = zip(spectrum.wavelength, spectrum.flux, spectrum.sigma_array, strict=True)
    lines = [f"{w:.3f} {f:.6e} {s:.6e}" for w, f, s in rows]
    path.write_text("# wavelength flux sigma\n" + "\n".join(lines) + "\n")
    return path


def write_fits_spectrum(path: Path, seed: int = 0, **options: Any) -> Path:
    """A FITS table of `fake_spectrum` with units: wavelength, flux, sigma."""
    spectrum = fake_spectrum(seed, **options)
    return write_fits_table(
        path, wavelength=spectrum.wavelength, flux=spectrum.flux, sigma=spectrum.sigma_array
    )


def write_fits_table(path: Path, **columns: Any) -> Path:
    """A FITS table of named float columns; ``wavelength`` is in Angstrom."""
    from astropy.io import fits

    units = {"wavelength": "Angstrom"}
    fits.BinTableHDU.from_columns(
        [
            fits.Column(name=name, format="D", array=np.asarray(array), unit=units.get(name))
            for name, array in columns.items()
        ]
    ).writeto(path)
    return path
