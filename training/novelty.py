"""Fit the novelty score: class means and covariances of embeddings of training objects."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from training.architectures.served import Novelty

FloatArray = NDArray[np.float64]

# Shrinkage of the covariances towards a multiple of the identity: some directions of an
# embedding hardly vary over the training spectra, and say nothing.
_SHRINK = 0.02


def fit_novelty(
    embedding: FloatArray, label: NDArray[np.int64], n_classes: int
) -> dict[str, torch.Tensor]:
    """The parameters of `Novelty`.

    Every class counts the same in the covariances, however many spectra it has; a class
    without spectra (left out of training) has no mean.

    Parameters
    ----------
    embedding : ndarray, shape (n, E)
        Of simulated spectra of training objects.
    label : ndarray of int, shape (n,)
    n_classes : int

    Returns
    -------
    dict of Tensor
        A state of `training.architectures.served.Novelty`.
    """
    size = embedding.shape[1]
    present = [c for c in range(n_classes) if np.count_nonzero(label == c) > 1]
    means = np.zeros((n_classes, size))
    within = np.zeros((size, size))
    overall = np.zeros((size, size))
    for c in present:
        means[c] = embedding[label == c].mean(axis=0)
    centre = means[present].mean(axis=0)
    for c in present:
        mine = embedding[label == c]
        within += np.cov(mine, rowvar=False, bias=True) / len(present)
        overall += (mine - centre).T @ (mine - centre) / mine.shape[0] / len(present)
    whiten, whiten_all = _whitening(within), _whitening(overall)
    # A class without spectra lies infinitely far away.
    far = np.full(size, 1e3)
    whitened = np.stack([means[c] @ whiten if c in present else far for c in range(n_classes)])
    made = {
        "within": whiten,
        "means": whitened,
        "overall": whiten_all,
        "centre": (centre @ whiten_all)[None, :],
    }
    return {name: torch.from_numpy(value.astype(np.float32)) for name, value in made.items()}


def score(state: dict[str, torch.Tensor], embedding: NDArray[np.float32]) -> FloatArray:
    """The novelty of embeddings, shape (n,)."""
    module = Novelty(state["means"].shape[0], state["means"].shape[1])
    module.load_state_dict(state)
    with torch.no_grad():
        return module(torch.from_numpy(embedding)).numpy()[:, 0].astype(np.float64)


def _whitening(covariance: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(covariance)
    values = (1.0 - _SHRINK) * values + _SHRINK * values.mean()
    return np.asarray(vectors / np.sqrt(values))
