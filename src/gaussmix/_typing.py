"""Names of array types that signatures throughout the package use; a file of its own because it imports nothing of ours
and everything imports it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
