"""Decisions between two or more classes, whoever made them, as a table that every metric can read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from honed.evidence.estimate import Estimate
from honed.evidence.jackknife import jackknife
from honed.evidence.metrics import METRICS
from honed.evidence.ratio import Share
from honed.evidence.scorecard import class_estimate
from honed.oof import Predictions

Groups = npt.NDArray[np.str_]


def decisions(rows: Predictions, label: npt.ArrayLike, decided: npt.ArrayLike, n_classes: int) -> Predictions:
    """The rows with other labels (m,), the class that somebody chose (m,) the likeliest of `n_classes`."""
    chosen = np.asarray(decided, dtype=np.int64)
    return replace(rows, label=np.asarray(label, dtype=np.int64), logits=np.eye(n_classes)[chosen])


def share(table: Predictions, group: Groups, found: Estimate) -> Share:
    """The share of right decisions among these rows, `found`, with what each group does to it."""
    names = np.unique(group).tolist()
    shift = jackknife(table, group, METRICS["accuracy"]).shift.tolist() if len(names) > 1 else []
    return Share(found.value, found.low, found.high, dict(zip(names, shift, strict=False)))


def recall(table: Predictions, group: Groups, k: int, level: float) -> tuple[Estimate, Share]:
    """The share of class k's rows that were decided rightly. Raises EvidenceError if there are none."""
    found = class_estimate(table, group, "recall", k, level=level)
    rows = table.label == k
    return found, share(table.take(rows), group[rows], found)
