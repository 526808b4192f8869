"""Flags that the readers put on a spectrum.

A flag records what a reader had to decide or to repair. It changes nothing later on;
it tells people why a spectrum looks as it does.
"""

from __future__ import annotations

# The wavelengths.
AIR_FROM_HEADER = "AIR_FROM_HEADER"  # the file says air; converted to vacuum
AIR_ASSUMED = "AIR_ASSUMED"  # this format is in air though this file does not say so; converted
AIR_UNKNOWN = "AIR_UNKNOWN"  # nothing says air or vacuum; taken as they are
AXIS_FROM_HEADER = "AXIS_FROM_HEADER"  # rounded column replaced by the header's linear axis
AXIS_RELINEARISED = "AXIS_RELINEARISED"  # rounded column replaced by a straight line through it
AXIS_FROM_LBDA = "AXIS_FROM_LBDA"  # SEDM FITS: from the LBDA extension
AXIS_LN = "AXIS_LN"  # SEDM FITS: the header's axis is ln(lambda)
AXIS_FROM_TWIN = "AXIS_FROM_TWIN"  # SEDM FITS: header wrong, axis of the text twin
AXIS_FROM_STANDARD_GRID = "AXIS_FROM_STANDARD_GRID"  # SEDM: the grid that pysedm extracts on
REST_FRAME = "REST_FRAME"  # the file is in the rest frame; moved to the redshift that it states

# The noise.
VARIANCE_AS_ERROR = "VARIANCE_AS_ERROR"  # called an error, but it is a variance; root taken
NOISE_GUESSED_SIGMA = "NOISE_GUESSED_SIGMA"  # nameless column that is as large as the scatter
NOISE_GUESSED_VAR = "NOISE_GUESSED_VAR"  # its root is as large as the scatter
NOISE_GUESSED_IVAR = "NOISE_GUESSED_IVAR"  # its inverse root is as large as the scatter
NOISE_UNKNOWN = "NOISE_UNKNOWN"  # nameless columns, none of which can be the noise; left out
NOISE_ALL_ZERO = "NOISE_ALL_ZERO"  # the noise column holds no positive number; left out
NOISE_COPIES_FLUX = "NOISE_COPIES_FLUX"  # the noise column repeats the flux; left out
CONSTANT_VARIANCE = "CONSTANT_VARIANCE"  # SEDM: one number, says nothing about the pixels

# The pixels and the file.
MASK_ONE_IS_GOOD = "MASK_ONE_IS_GOOD"  # most pixels are marked: the mask marks the good ones
SENTINELS_MASKED = "SENTINELS_MASKED"  # zeros at the ends, -999 and the like made unusable
FIRST_OF_SEVERAL_TABLES = "FIRST_OF_SEVERAL_TABLES"  # none of them is called the final one
SPLIT_BY_COLUMN = "SPLIT_BY_COLUMN"  # one table of several spectra, told apart by a column

# What a pipeline did or left out.
NOT_FLUX_CALIBRATED = "NOT_FLUX_CALIBRATED"  # the flux is in counts
BOXCAR = "BOXCAR"  # PypeIt: there is no optimal extraction
MASK_IGNORED = "MASK_IGNORED"  # LAMOST: the and-mask would leave less than half of the pixels

# Several spectra made into one.
JOINED = "JOINED"  # made of several spectra by --join
CHANNELS_RESCALED = "CHANNELS_RESCALED"  # brought to one scale in their overlap
NAMES_DIFFER = "NAMES_DIFFER"  # the joined spectra carry different object names
NOISE_DROPPED = "NOISE_DROPPED"  # only some of the joined spectra state their noise; left out
SLICES_JOINED = "SLICES_JOINED"  # PypeIt: slices of one source
ORDERS_JOINED = "ORDERS_JOINED"  # PypeIt: echelle orders of one source
MISSING_ARM = "MISSING_ARM"  # DESI: an arm is missing; the header's MISSING_ARMS names it
EXPOSURES_COADDED = "EXPOSURES_COADDED"  # DESI: several exposures of the target in the file
