"""Where the models are, what their cards say, and whether they are what was published."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from specinfer.card_blocks import Bins as Bins
from specinfer.card_blocks import (
    Calibration,
    Trust,
    output_sizes,
    parse_bins,
    parse_calibration,
    parse_subtypes,
    parse_trust,
)
from specinfer.errors import ModelError

CARD_SCHEMA = "specinfer.card/1"
MODEL_DIR_VARIABLE = "SPECINFER_MODEL_DIR"
# The model for all spectra but those from the files of surveys.
DEFAULT_MODEL = "spectranet"

_VERSION = re.compile(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")
_REINSTALL = "reinstall specinfer or restore the folder"


@dataclass(frozen=True)
class ModelCard:
    """The checked contents of a ``card.json``: what every family has.

    Parameters
    ----------
    folder : Path
        Folder of ``model.onnx`` and ``card.json``.
    name, version, family, task : str
    classes : tuple of str
        In the order of the class logits.
    input_name, output_names : str, tuple of str
    preprocessing : mapping
        For `specinfer.preprocess.Preprocessing.from_dict`.
    low_snr, min_coverage : float
        Limits below which a result is flagged LOW_SNR or LITTLE_COVERAGE.
    embedding_size : int or None
        Length of the embedding, if the model gives one.
    sha256 : str
        Of ``model.onnx``.
    fingerprint : str
        See `card_fingerprint`.
    raw : mapping
        The whole card.
    """

    folder: Path
    name: str
    version: str
    family: str
    task: str
    classes: tuple[str, ...]
    input_name: str
    output_names: tuple[str, ...]
    preprocessing: Mapping[str, Any]
    low_snr: float
    min_coverage: float
    embedding_size: int | None
    sha256: str
    fingerprint: str
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def label(self) -> str:
        """``name@version``, as results name the model."""
        return f"{self.name}@{self.version}"

    @property
    def networks(self) -> tuple[ModelCard, ...]:
        """The cards of the ONNX files behind the model."""
        return (self,)

    @property
    def model_path(self) -> Path:
        """Path of the ONNX file."""
        return self.folder / "model.onnx"


@dataclass(frozen=True)
class SpectraNetCard(ModelCard):
    """The card of a SpectraNet.

    Parameters
    ----------
    redshift_bins : Bins
        Bin centres in ln(1+z).
    phase_bins : Bins
        Bin centres in rest-frame days.
    redshift_limits : mapping of str to float
        Largest redshift a class was trained with; classes without an entry have none.
    phase_classes : tuple of str
        Classes for which a phase is given.
    calibration : Calibration
    subtypes : mapping of str to tuple of str
        Second-level classes, by class, in the order of ``subtype_logits``.
    trust : Trust
        Limits of novelty, host light and redshift, and operating points.
    """

    redshift_bins: Bins
    phase_bins: Bins
    redshift_limits: Mapping[str, float]
    phase_classes: tuple[str, ...]
    calibration: Calibration
    subtypes: Mapping[str, tuple[str, ...]]
    trust: Trust


# Keys of a card that hold hashes of files with the card's own fingerprint.
_HASHES = ("sha256", "half_sha256")
# The network in half precision, for GPUs.
HALF_NAME = "model.fp16.onnx"


def card_fingerprint(card: Mapping[str, Any]) -> str:
    """The sha256 of a card, which its ``model.onnx`` carries as ``card_sha256``.

    Parameters
    ----------
    card : mapping
        The contents of ``card.json``. The keys ``"sha256"`` and ``"half_sha256"`` (of the
        ONNX files, which themselves hold this fingerprint) are left out.

    Returns
    -------
    str
        64 hexadecimal digits of the canonical JSON: sorted keys, no spaces, UTF-8.
    """
    stripped = {key: value for key, value in card.items() if key not in _HASHES}
    canonical = json.dumps(stripped, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def model_roots() -> list[Path]:
    """Folders that are searched for models, in order.

    ``SPECINFER_MODEL_DIR``, then ``exported_models`` inside the installed package,
    then that of the checkout around an editable install.

    Raises
    ------
    ModelError
        If SPECINFER_MODEL_DIR is not a folder (code ``no_model_dir``).
    """
    roots = []
    chosen = os.environ.get(MODEL_DIR_VARIABLE)
    if chosen:
        if not Path(chosen).is_dir():
            raise ModelError(
                "no_model_dir",
                f"{MODEL_DIR_VARIABLE} is {chosen!r}, which is not a folder; correct or unset it",
            )
        roots.append(Path(chosen))
    package = Path(__file__).resolve().parent
    roots += [package / "exported_models", package.parent / "exported_models"]
    return [root for root in roots if root.is_dir()]


def find_models() -> dict[str, Path]:
    """Folder of every model that can be found, by name; the first of a name wins."""
    found: dict[str, Path] = {}
    for root in model_roots():
        for card in sorted(root.glob("*/card.json")):
            found.setdefault(card.parent.name, card.parent)
    return found


def load_card(name: str) -> ModelCard:
    """Read and check the card of a model.

    Parameters
    ----------
    name : str
        Name of a model, or the path of a model's folder.

    Returns
    -------
    ModelCard

    Raises
    ------
    ModelError
        ``unknown_model``, ``bad_card``, ``card_schema`` or ``card_preprocessing``.
    """
    folder = _folder(name)
    path = folder / "card.json"
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(
            "bad_card", f"{folder} holds no card.json; give the folder of an exported model"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError("bad_card", f"cannot read {path}: {error}; {_REINSTALL}") from None
    if not isinstance(raw, dict):
        raise ModelError("bad_card", f"{path} is not a JSON object; {_REINSTALL}")
    if raw.get("schema") != CARD_SCHEMA:
        raise ModelError(
            "card_schema",
            f"the card of {name} has schema {raw.get('schema')!r}, this version of specinfer "
            f"reads {CARD_SCHEMA!r}; install the version of specinfer that the model came with",
        )
    try:
        card = _parse(folder, raw)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else f"has a wrong entry ({error})"
        raise ModelError("bad_card", f"{path} {what}; {_REINSTALL}") from None
    _check_preprocessing(card)
    return card


def read_model(card: ModelCard) -> bytes:
    """The bytes of a model's ONNX file, which have the hash that the card states.

    Raises
    ------
    ModelError
        ``no_model`` if the file cannot be read, ``model_altered`` if it was changed.
    """
    return _read_checked(card.model_path, card.sha256)


def read_half(card: ModelCard) -> bytes | None:
    """The bytes of a model's ONNX file in half precision; None if it has none.

    Raises
    ------
    ModelError
        As `read_model`.
    """
    wanted = card.raw.get("half_sha256")
    return None if wanted is None else _read_checked(card.folder / HALF_NAME, str(wanted))


def _read_checked(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            "no_model", f"cannot read {path}: {error.strerror}; {_REINSTALL}"
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelError(
            "model_altered",
            f"{path} was altered: its sha256 is {found[:12]}..., the card says "
            f"{sha256[:12]}...; {_REINSTALL}",
        )
    return content


def check_metadata(card: ModelCard, metadata: Mapping[str, str]) -> None:
    """Compare a card with what its ONNX file says about it.

    Parameters
    ----------
    card : ModelCard
    metadata : mapping
        The ``metadata_props`` of ``model.onnx``: name, version, card_sha256.

    Raises
    ------
    ModelError
        ``card_altered`` if the card is not the one that the model was exported with.
    """
    expected = {"name": card.name, "version": card.version, "card_sha256": card.fingerprint}
    wrong = [key for key, value in expected.items() if metadata.get(key) != value]
    if wrong:
        raise ModelError(
            "card_altered",
            f"{card.folder / 'card.json'} was altered: it is not the card that model.onnx was "
            f"exported with ({', '.join(wrong)} differ); {_REINSTALL}",
        )


def _folder(name: str) -> Path:
    if os.sep in name or "/" in name:
        folder = Path(name)
        if not folder.is_dir():
            raise ModelError("unknown_model", f"there is no model folder {name}; check the path")
        return folder
    models = find_models()
    if name not in models:
        known = ", ".join(models) or "none; reinstall specinfer or set " + MODEL_DIR_VARIABLE
        raise ModelError("unknown_model", f"there is no model {name!r}; installed are: {known}")
    return models[name]


def _parse(folder: Path, raw: Mapping[str, Any]) -> ModelCard:
    classes = tuple(str(name) for name in raw["classes"])
    if len(set(classes)) != len(classes) or len(classes) < 2:
        raise ValueError("classes must be at least two different names")
    version = str(raw["version"])
    if not _VERSION.fullmatch(version):
        raise ValueError(f"version {version!r} is not like 1.2.3")
    family = str(raw["family"])
    if family == "survey":
        from specinfer.survey_card import parse_combination

        return parse_combination(folder, raw)
    outputs = output_sizes(raw)
    common: dict[str, Any] = {
        "folder": folder,
        "name": str(raw["name"]),
        "version": version,
        "family": family,
        "task": str(raw["task"]),
        "classes": classes,
        "input_name": str(raw["inputs"][0]["name"]),
        "output_names": tuple(outputs),
        "preprocessing": dict(raw["preprocessing"]),
        "low_snr": float(raw["flags"]["low_snr"]),
        "min_coverage": float(raw["flags"]["min_coverage"]),
        "embedding_size": outputs.get("embedding"),
        "sha256": str(raw["sha256"]),
        "fingerprint": card_fingerprint(raw),
        "raw": raw,
    }
    if family == "spectranet":
        return _parse_spectranet(raw, common, outputs)
    if family == "gasnet3":
        from specinfer.scan_card import parse_scan

        return parse_scan(raw, common)
    if family == "gasnet2":
        from specinfer.subclass_card import parse_subclasses

        return parse_subclasses(raw, common)
    if family == "specpt":
        from specinfer.specpt_card import parse_specpt

        return parse_specpt(raw, common)
    return ModelCard(**common)


def _parse_spectranet(
    raw: Mapping[str, Any], common: dict[str, Any], outputs: Mapping[str, int | None]
) -> SpectraNetCard:
    classes = common["classes"]
    phase_classes = tuple(str(name) for name in raw["phase_classes"])
    if not set(phase_classes) <= set(classes):
        raise ValueError("phase_classes are not all in classes")
    return SpectraNetCard(
        **common,
        redshift_bins=parse_bins(raw["redshift_bins"]),
        phase_bins=parse_bins(raw["phase_bins"]),
        redshift_limits={str(k): float(v) for k, v in raw.get("redshift_limits", {}).items()},
        phase_classes=phase_classes,
        calibration=parse_calibration(raw["calibration"], classes),
        subtypes=parse_subtypes(raw, classes, outputs),
        trust=parse_trust(raw, classes, outputs),
    )


def _check_preprocessing(card: ModelCard) -> None:
    # numpy is not needed to list models.
    from specinfer.preprocess import Preprocessing

    try:
        Preprocessing.from_dict(card.preprocessing)
    except (TypeError, ValueError) as error:
        raise ModelError(
            "card_preprocessing",
            f"model {card.label} needs another version of specinfer ({error}); install the "
            "version that the model came with",
        ) from None
