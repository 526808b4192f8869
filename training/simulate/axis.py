"""The observed axis of simulated survey spectra, and what instruments see of it."""

from __future__ import annotations

import numpy as np

from specinfer.zgrid import STEP

# BOSS's and DESI's ranges together.
FIRST = int(np.ceil(np.log10(3560.0) / STEP))
COUNT = int(np.floor(np.log10(10380.0) / STEP)) - FIRST + 1
LOGLAM = (FIRST + np.arange(COUNT)) * STEP
WAVELENGTH = 10.0**LOGLAM
# What an instrument sees of it, Angstrom: SDSS-I/II, BOSS, DESI, 4MOST.
WINDOWS = ((3800.0, 9200.0), (3600.0, 10330.0), (3600.0, 9824.0), (3700.0, 9500.0))
