"""Raw outputs of a PyTorch network over batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.simulate.draw import Batch


class Outputs(NamedTuple):
    """Stacked raw outputs: logits of class, redshift and phase, and the embedding."""

    class_logits: NDArray[np.float32]
    redshift_logits: NDArray[np.float32]
    phase_logits: NDArray[np.float32]
    embedding: NDArray[np.float32]


def predict(model: nn.Module, batches: Sequence[Batch], device: torch.device) -> Outputs:
    """Run a network over batches in evaluation mode, in float32."""
    was_training = model.training
    model.eval()
    parts: list[list[NDArray[np.float32]]] = [[], [], [], []]
    with torch.no_grad():
        for batch in batches:
            outputs = model(torch.from_numpy(batch.input).to(device))
            for part, output in zip(parts, outputs, strict=True):
                part.append(output.float().cpu().numpy())
    model.train(was_training)
    return Outputs(*(np.concatenate(part) for part in parts))
