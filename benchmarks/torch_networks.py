"""The networks in PyTorch eager mode, and the published sizes, for `benchmarks.compare`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from specinfer.engine import Session
from specinfer.models import load_card
from specinfer.preprocess import N_CHANNELS
from training.architectures.published import PublishedConfig, PublishedNet
from training.architectures.survey import PublishedSurveyConfig, PublishedSurveyNet
from training.export import to_onnx
from training.parity import run_torch, torch_network

Work = Callable[[int], object]
Inputs = NDArray[np.float32]


def shipped(name: str, inputs: Inputs) -> Work:
    """A shipped network with its weights, as PyTorch runs it.

    Parameters
    ----------
    name : str
        Of the model.
    inputs : ndarray, shape (n, channels, n_pixels), float32
        One is taken at each call, by turns.
    """
    return _eager(torch_network(load_card(name).folder), inputs)


def published(name: str, threads: int) -> tuple[dict[str, Work], int, int]:
    """The network of published size for the same task, with random weights.

    Parameters
    ----------
    name : {"spectranet", "gasnet2"}
    threads : int
        Of onnxruntime.

    Returns
    -------
    ways : dict of str to callable
        "PyTorch" and "ONNX".
    parameters, n_pixels : int
    """
    network: PublishedNet | PublishedSurveyNet
    torch.manual_seed(0)
    if name == "spectranet":
        network = PublishedNet(PublishedConfig()).eval()
    else:
        network = PublishedSurveyNet(PublishedSurveyConfig()).eval()
    n_pixels = network.config.n_pixels
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((8, N_CHANNELS, n_pixels)).astype(np.float32)
    # The exporter logs which operators of other packages it does not know.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    content = to_onnx(network).SerializeToString()  # type: ignore[arg-type]
    session = Session(content, name=f"published {name}", device="cpu", threads=threads)

    def by_onnx(number: int) -> object:
        return session.run({"spectrum": inputs[number % len(inputs)][None]})

    ways = {"PyTorch": _eager(network, inputs), "ONNX": by_onnx}
    return ways, sum(part.numel() for part in network.parameters()), n_pixels


def use_threads(count: int) -> None:
    """Threads of PyTorch."""
    torch.set_num_threads(count)


def _eager(network: nn.Module, inputs: Inputs) -> Work:
    return partial(_run, network, inputs)


def _run(network: nn.Module, inputs: Inputs, number: int) -> object:
    return run_torch(network, inputs[number % len(inputs)][None])
