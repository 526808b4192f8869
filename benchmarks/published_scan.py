"""The redshift of a spectrum by the published way, for comparison of its time only.

One reconstruction a family is slid over the whole grid (Zhong et al. 2024, arXiv:2412.21130).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from specinfer.zgrid import STEP, Gridded

FloatArray = NDArray[np.float64]
# Values and the kernel that slides over them; the result is as long as the values.
Convolve = Callable[[FloatArray, FloatArray], FloatArray]
# The published grids: 3600-9200 Angstrom, and the redshifts of each family.
PIXELS = 4076
REDSHIFTS = {"STAR": (-0.01, 0.01), "GALAXY": (0.0, 1.5), "QSO": (0.0, 5.0)}


def shifts_of(family: str) -> int:
    """Places of the published curve of a family: its eigen-spectra are that long."""
    low, high = np.log10(1.0 + np.array(REDSHIFTS[family]))
    return PIXELS + round((high - low) / STEP)


def published(data: Gridded, convolve: Convolve) -> float:
    """Place of the least chi2 of all families; as many operations as the published code does."""
    axis = np.linspace(-1.0, 1.0, data.flux.size)
    good = data.weight > 0
    smooth = np.polynomial.polynomial.polyfit(axis[good], data.flux[good], 5)
    rough = data.flux - np.polynomial.polynomial.polyval(axis, smooth)
    flux, weight = rough[:PIXELS], data.weight[:PIXELS]
    best = (np.inf, 0.0)
    for index, family in enumerate(REDSHIFTS):
        # The numbers of a reconstruction make no difference to the time.
        model = np.sin(np.arange(shifts_of(family)) * 0.01 * (index + 1))
        curve = convolve(model**2, weight) - convolve(model, 2.0 * flux * weight)
        curve = curve + (flux**2 * weight).sum()
        place = int(curve.argmin())
        best = min(best, (float(curve[place]), place * STEP))
    return best[1]


def by_numpy(values: FloatArray, kernel: FloatArray) -> FloatArray:
    """Direct convolution, of the length of `values`."""
    return np.asarray(np.correlate(values, kernel, "same"))


def by_torch() -> Convolve | None:
    """The same as the released code has it, on one thread; None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)

    def convolve(values: FloatArray, kernel: FloatArray) -> FloatArray:
        with torch.no_grad(), warnings.catch_warnings():
            # That it copies is part of what the released code costs.
            warnings.simplefilter("ignore")
            pair = [torch.from_numpy(x.astype(np.float32))[None, None] for x in (values, kernel)]
            made = torch.nn.functional.conv1d(pair[0], pair[1], padding="same")
        return np.asarray(made[0, 0].numpy(), dtype=np.float64)

    return convolve
