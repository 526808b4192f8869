"""Writing model folders: the card, the hashes that tie it to the weights, the README."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import onnx

from specinfer.models import HALF_NAME, card_fingerprint
from training.paths import ROOT


def write_card(
    folder: Path,
    card: dict[str, Any],
    model: onnx.ModelProto | None = None,
    half: onnx.ModelProto | None = None,
) -> None:
    """Write card.json and model.onnx so that each vouches for the other.

    The card's fingerprint goes into the graph's metadata, the graph's sha256 into
    the card; both files are replaced whole.

    Parameters
    ----------
    folder : Path
        The model folder.
    card : dict
        All of the card but ``sha256``, which is set here.
    model : onnx.ModelProto, optional
        The network; default is the one that is already in the folder.
    half : onnx.ModelProto, optional
        The network in half precision; default is the one in the folder, if there is one.
    """
    card = {key: value for key, value in card.items() if key not in ("sha256", "half_sha256")}
    folder.mkdir(parents=True, exist_ok=True)
    if card["family"] == "survey":
        # A combination has no graph: its hash is that of the card itself.
        _write_json(folder / "card.json", card | {"sha256": card_fingerprint(card)})
        return
    if model is None:
        model = onnx.load(folder / "model.onnx")
        if (folder / HALF_NAME).is_file():
            half = onnx.load(folder / HALF_NAME)
    files = {"model.onnx": _named(model, card)}
    if half is not None:
        files[HALF_NAME] = _named(half, card)
    keys = {"model.onnx": "sha256", HALF_NAME: "half_sha256"}
    for name, content in files.items():
        card[keys[name]] = hashlib.sha256(content).hexdigest()
        _replace(folder / name, content)
    _write_json(folder / "card.json", card)


def _named(model: onnx.ModelProto, card: dict[str, Any]) -> bytes:
    """A graph that says which card it belongs to."""
    onnx.helper.set_model_props(
        model,
        {
            "name": card["name"],
            "version": card["version"],
            "card_sha256": card_fingerprint(card),
        },
    )
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def publish(made: Path, folder: Path) -> None:
    """Copy a finished model folder over another; the card last, each file replaced whole."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [
        name
        for name in ("golden.npz", HALF_NAME, "model.onnx", "card.json")
        if name != HALF_NAME or (made / name).is_file()
    ]
    for name in names:
        shutil.copyfile(made / name, folder / (name + ".tmp"))
    for name in names:
        (folder / (name + ".tmp")).replace(folder / name)


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a model folder, as it stands."""
    card: dict[str, Any] = json.loads((folder / "card.json").read_text())
    return card


def commit() -> str:
    """The commit of the checkout, with ``+changes`` if the tree is not clean.

    ``unknown`` where git is not there or does not know the folder: a copy without its
    history can be trained and exported, too.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def follow(folder: Path, before: str) -> None:
    """Tell the combinations beside a model that its card has changed, but not its network.

    Parameters
    ----------
    folder : Path
        The model folder, as it is now.
    before : str
        The hash of its model.onnx that combinations may still name.
    """
    now = read_card(folder)["sha256"]
    for path in sorted(folder.parent.glob("*/card.json")):
        card = read_card(path.parent)
        named = [one for one in card.get("members", {}).values() if one["sha256"] == before]
        for one in named:
            one["sha256"] = now
        if named:
            write_card(path.parent, card)


def _write_json(path: Path, card: dict[str, Any]) -> None:
    _replace(path, (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
