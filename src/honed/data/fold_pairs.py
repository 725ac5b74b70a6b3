"""Leave two folds out: for models whose opinion of a fold's training rows owes nothing to that fold.

To clean what fold k learns from, its rows need out-of-fold predictions, but the model that scored fold j for the table
learned from fold k. A model that saw neither j nor k may judge the rows of j for k, and those of k for j: one model a
pair of folds, K (K - 1) / 2 in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from honed.data.folds import FoldPlan


@dataclass(frozen=True)
class Pair:
    """Two folds that a model never saw; positions (int64) of the rows of both (`test`) and of all others (`train`)."""

    low: int
    high: int
    train: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]

    @property
    def name(self) -> str:
        """Of its slot."""
        return f"folds {self.low} and {self.high} left out"


def fold_pairs(plan: FoldPlan) -> list[Pair]:
    """All pairs of folds. plan : without locked rows."""
    pairs = []
    for low, high in combinations(range(plan.n_folds), 2):
        is_test = (plan.fold == low) | (plan.fold == high)
        pairs.append(Pair(low, high, np.flatnonzero(~is_test), np.flatnonzero(is_test)))
    return pairs
