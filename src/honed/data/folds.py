"""FoldPlan: who trains, who decides when to stop, who is scored, and what stays locked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

HOLDOUT = -1


@dataclass(frozen=True)
class Split:
    """Positions (int64) of one fold's three disjoint parts."""

    train: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
