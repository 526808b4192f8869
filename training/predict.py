"""Raw outputs of a PyTorch network over batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from training.architectures import Network, named
from training.architectures.served import Served
from training.simulate.draw import Batch

# Stacked raw outputs by name, each (n, size).
Outputs = dict[str, NDArray[np.float32]]


def predict(model: Network | Served, batches: Sequence[Batch], device: torch.device) -> Outputs:
    """Run a network over batches in evaluation mode, in float32."""
    was_training = model.training
    model.eval()
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in model.outputs}
    with torch.no_grad():
        for batch in batches:
            outputs = named(model, model(torch.from_numpy(batch.input).to(device)))
            for name, output in outputs.items():
                parts[name].append(output.float().cpu().numpy())
    model.train(was_training)
    return {name: np.concatenate(part) for name, part in parts.items()}
