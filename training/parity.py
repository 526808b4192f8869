"""The same numbers from PyTorch and from onnxruntime.

The weights of the PyTorch network are read back from the exported graph, so the test
runs live for every shipped model, without a checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from specinfer.engine import Session
from specinfer.models import load_card, read_model
from training.architectures import (
    build_specpt,
    build_survey,
    eigen_from_block,
    from_block,
    named,
    specpt_from_block,
    survey_from_block,
)
from training.architectures.eigen import EigenNet
from training.architectures.fuse import empty_fused, fuse

LARGEST_DIFFERENCE = 1e-4


def torch_network(folder: Path) -> nn.Module:
    """The PyTorch network with the weights that lie in a folder's model.onnx."""
    card = load_card(str(folder))
    model = onnx.load_from_string(read_model(card))
    weights = {
        item.name: torch.from_numpy(onnx.numpy_helper.to_array(item).copy())
        for item in model.graph.initializer
    }
    block = dict(card.raw["training"]["network"])
    network: nn.Module
    if block["architecture"] == "eigen":
        config = eigen_from_block(block)
        network = EigenNet(config, {n: weights[f"{n}_values"] for n in config.n_spectra})
        weights |= {
            name: values for name, values in network.state_dict().items() if "roots" in name
        }
    elif block["architecture"] == "survey":
        network = fuse(build_survey(survey_from_block(block)))  # type: ignore[type-var]
    elif block["architecture"] == "specpt":
        network = fuse(build_specpt(specpt_from_block(block)))  # type: ignore[type-var]
    else:
        members = block.pop("members")
        network = empty_fused(from_block(block), members)
    wanted = network.state_dict()
    weights |= dense_weights(model, [name for name in wanted if name not in weights])
    network.load_state_dict({name: weights[name] for name in wanted})
    return network.eval()


def dense_weights(model: onnx.ModelProto, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Weights of dense layers over sequences, which the exporter keeps transposed, without a name.

    They are what is multiplied before the bias of the same layer is added.

    Parameters
    ----------
    model : onnx.ModelProto
    names : sequence of str
        Such as ``blocks.0.up.weight``.

    Returns
    -------
    dict of str to Tensor
        Those that were found.
    """
    constants = {item.name: item for item in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    after = {name: node for node in model.graph.node for name in node.input}
    found = {}
    for name in names:
        addition = after.get(name.removesuffix("weight") + "bias")
        for source in addition.input if addition is not None else ():
            product = makers.get(source)
            if product is not None and product.op_type == "MatMul":
                values = onnx.numpy_helper.to_array(constants[product.input[1]])
                found[name] = torch.from_numpy(values.T.copy())
    return found


def run_torch(network: nn.Module, spectrum: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Outputs of the PyTorch network by name."""
    with torch.no_grad():
        outputs = named(network, network(torch.from_numpy(spectrum)))
    return {name: part.numpy() for name, part in outputs.items()}


def run_onnx(folder: Path, spectrum: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Outputs of the exported network by name, on the CPU."""
    card = load_card(str(folder))
    session = Session(read_model(card), name=card.label, device="cpu", threads=1)
    return session.run({card.input_name: spectrum})


def largest_difference(a: dict[str, NDArray[Any]], b: dict[str, NDArray[Any]]) -> float:
    """Largest absolute difference over all outputs."""
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)
