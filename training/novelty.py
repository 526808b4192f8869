"""Fit the novelty score: what tells spectra of training objects from spectra of nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from training.architectures.served import Novelty, Served
from training.simulate.draw import Batch
from training.simulate.outliers import outliers

FloatArray = NDArray[np.float64]

_CHUNK = 128
# What varies less, in a network that was hardly trained, is not blown up.
_LEAST = 0.01
_EPOCHS, _BATCH, _RATE, _DECAY, _DROPOUT = 40, 256, 3e-3, 0.05, 0.3


def clues(served: Served, inputs: NDArray[np.float32]) -> torch.Tensor:
    """What the score is told of prepared spectra; see `Served.clues`."""
    with torch.no_grad():
        parts = [
            served.clues(torch.from_numpy(inputs[start : start + _CHUNK]))
            for start in range(0, len(inputs), _CHUNK)
        ]
    return torch.cat(parts)


def fit_novelty(served: Served, batches: Sequence[Batch], seed: int) -> dict[str, torch.Tensor]:
    """The parameters of `Novelty`.

    A small network learns to tell spectra of training objects from distorted ones; to its
    logit comes the energy of the class logits. Either is divided by its standard deviation
    over the former.

    Parameters
    ----------
    served : Served
        In evaluation mode; its score is not used.
    batches : sequence of Batch
        Simulated spectra of training objects.
    seed : int

    Returns
    -------
    dict of Tensor
        A state of `training.architectures.served.Novelty`.
    """
    usual_input = np.concatenate([batch.input for batch in batches])
    rng = np.random.default_rng(seed)
    usual, strange = clues(served, usual_input), clues(served, outliers(usual_input, rng)[0])
    everything = torch.cat([usual, strange])
    target = torch.cat([torch.zeros(len(usual)), torch.ones(len(strange))])
    mean = everything[:, :-1].mean(dim=0)
    spread = everything[:, :-1].std(dim=0).clamp(min=_LEAST)
    scaled = (everything[:, :-1] - mean) / spread
    torch.manual_seed(seed)
    module = Novelty(served.config.n_classes, served.size)
    optimizer = torch.optim.AdamW(module.parameters(), lr=_RATE, weight_decay=_DECAY)
    for _ in range(_EPOCHS):
        for rows in torch.randperm(len(scaled)).split(_BATCH):
            hidden = F.dropout(F.relu(module.hidden(scaled[rows])), _DROPOUT)
            # The energy has no part in this.
            logit = hidden @ module.out.weight[0, :-1] + module.out.bias
            loss = F.binary_cross_entropy_with_logits(logit, target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        # What was standardised before is so in the weights from now on.
        module.hidden.weight /= spread
        module.hidden.bias -= module.hidden.weight @ mean
        module.out.weight[0, -1] = 0.0
        logit, energy = module(usual)[:, 0], usual[:, -1]
        size = logit.std().clamp(min=_LEAST)
        module.out.weight[0, :-1] /= size
        module.out.weight[0, -1] = 1.0 / energy.std().clamp(min=_LEAST)
        module.out.bias /= size
        module.out.bias -= module(usual).mean()
    return module.state_dict()


def score(
    state: dict[str, torch.Tensor], served: Served, inputs: NDArray[np.float32]
) -> FloatArray:
    """The novelty of prepared spectra, shape (n,)."""
    module = Novelty(served.config.n_classes, served.size)
    module.load_state_dict(state)
    with torch.no_grad():
        return module(clues(served, inputs)).numpy()[:, 0].astype(np.float64)
