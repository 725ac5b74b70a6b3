"""What a model is taught, where that is not what the data say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Targets:
    """What is taught of each of n examples: its label (n,), and its weight in the loss (n,); weight 0 leaves it out.

    They reach the training side alone (train and stop part): what is scored is scored by the data's own labels.
    """

    label: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]


TargetsByFold = Mapping[int | None, Targets]
"""Of each fold's model, and (None) of the final one; a model without an entry is taught what the data say."""
NO_TARGETS: TargetsByFold = MappingProxyType({})
