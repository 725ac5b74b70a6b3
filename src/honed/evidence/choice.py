"""Choosing among candidates that scored the same rows: the lowest loss, and of those not told from it the cheapest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.evidence.metrics import Floats

RULE = "the lowest mean log loss; of those within one standard error of it (paired, by group) the cheapest"


@dataclass(frozen=True)
class Candidate:
    """One way to do it. loss : (m,) in nats, of all candidates on the same rows.    cost : in any one unit."""

    values: Mapping[str, Any]
    cost: float
    loss: Floats


def choose(candidates: Sequence[Candidate], group: npt.NDArray[np.str_]) -> tuple[int, list[dict[str, Any]]]:
    """Which of them `RULE` takes, and a row of plain types for each. group : (m,), of the rows.

    The one-standard-error rule of Breiman et al. 1984 (Classification and Regression Trees, section 3.4.3), with the
    error of the paired difference: candidates err on the same hard rows.
    """
    means = [float(candidate.loss.mean()) for candidate in candidates]
    best = int(np.argmin(means))
    rows: list[dict[str, Any]] = []
    for candidate, mean in zip(candidates, means, strict=True):
        behind = candidate.loss - candidates[best].loss
        error = standard_error(behind, group)
        rows.append({
            **candidate.values, "cost": candidate.cost, "log_loss": mean, "behind": float(behind.mean()),
            "standard_error": error, "is_tied": bool(behind.mean() <= error), "is_chosen": False,
        })  # fmt: skip
    tied = [i for i, row in enumerate(rows) if row["is_tied"]]
    chosen = min(tied, key=lambda i: (candidates[i].cost, means[i]))
    rows[chosen]["is_chosen"] = True
    return chosen, rows


def standard_error(value: Floats, group: npt.NDArray[np.str_]) -> float:
    """Of the mean of `value`, (m,), whose rows of one group go together; 0 for one group alone."""
    index = np.unique(group, return_inverse=True)[1]
    sums = np.bincount(index, weights=value - value.mean())
    n = len(sums)
    return float(np.sqrt(n / (n - 1) * (sums**2).sum()) / len(value)) if n > 1 else 0.0
