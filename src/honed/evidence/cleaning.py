"""Cleaning the training side of each fold by models that never saw that fold.

The nested design keeps the promise of the out-of-fold table: what fold k is taught does not depend on a single label of
fold k, so its score is honest. Scored rows are never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from honed.data.fold_pairs import Pair
from honed.data.targets import Targets
from honed.evidence.label_errors import LabelErrors, Strings, calibrated, judge, log_probs, pool
from honed.evidence.metrics import Floats, Ints, row_log_loss, softmax
from honed.oof import Predictions

CleanMode = Literal["drop", "relabel", "weight"]
MOST_OF_A_CLASS = 0.5
"""No class loses more than this share of its rows: a class that the models cannot see is not a class of errors."""


@dataclass(frozen=True)
class JudgedRows:
    """The rows (positions, ascending) that a fold may learn from, and what models without that fold say of them."""

    rows: Ints
    errors: LabelErrors


@dataclass(frozen=True)
class NestedOpinions:
    """Opinions of n examples by models that left two folds out.

    example_id, label, fold : (n,) of the examples.    pairs : of their folds.
    members : for each model, its logits of each pair's `test`, (rows, c).
    """

    example_id: Strings
    label: Ints
    fold: Ints
    pairs: Sequence[Pair]
    members: Sequence[Sequence[Floats]]


def judge_for_each_fold(opinions: NestedOpinions) -> dict[int | None, JudgedRows]:
    """The training rows of every fold (None: of the final model) as judged by models that never saw that fold.

    Promises: the entry of fold k depends on no label and no input of fold k.
    """
    n, n_classes = len(opinions.label), opinions.members[0][0].shape[1]
    total = np.zeros((n, n_classes))
    judged: dict[int | None, JudgedRows] = {}
    for k in np.unique(opinions.fold).tolist():
        rows = np.flatnonzero(opinions.fold != k)
        probs = pool([calibrated(_table(opinions, member, k, rows)) for member in opinions.members])
        judged[k] = JudgedRows(rows, judge(opinions.example_id[rows], opinions.label[rows], probs))
        total[rows] += log_probs(probs)
    n_opinions = len(judged) - 1  # a row of fold j is judged for every fold but j
    probs = softmax(total / n_opinions)
    judged[None] = JudgedRows(np.arange(n), judge(opinions.example_id, opinions.label, probs))
    return judged


def _table(opinions: NestedOpinions, member: Sequence[Floats], k: int, rows: Ints) -> Predictions:
    """One member's opinion of the rows outside fold k, each by the model that also left k out."""
    logits = np.full((len(opinions.label), member[0].shape[1]), np.nan)
    for pair, of_pair in zip(opinions.pairs, member, strict=True):
        if k in (pair.low, pair.high):
            logits[pair.test] = of_pair
    label, own = opinions.label[rows], logits[rows]
    return Predictions(
        opinions.example_id[rows], np.zeros_like(rows), opinions.fold[rows], label,
        row_log_loss(label, softmax(own)), np.ones(len(rows)), own,
    )  # fmt: skip


def clean(label: Ints, judged: JudgedRows, mode: CleanMode) -> Targets:
    """What to teach of n examples. label : (n,) as given.

    drop : a flagged row weighs nothing.    relabel : it takes the suggested class.
    weight : every row weighs as much as its label is likely, against its strongest rival: min(1, p / p_rival).
    Rows that were not judged stay as they are.

    Promises: at least half of the rows of each class stay as they are under drop and relabel, the best ones.
    """
    errors, taught, weight = judged.errors, label.copy(), np.ones(len(label))
    if mode == "weight":
        weight[judged.rows] = np.minimum(1.0, errors.quality / np.maximum(1 - errors.quality, errors.quality))
        return Targets(taught, weight)
    flagged = np.flatnonzero(_within_reason(errors))
    if mode == "drop":
        weight[judged.rows[flagged]] = 0.0
    else:
        taught[judged.rows[flagged]] = errors.suggested[flagged]
    return Targets(taught, weight)


def _within_reason(errors: LabelErrors) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """The flags, without the best rows of a class that would lose too many."""
    flagged = errors.is_flagged.copy()
    for j in np.unique(errors.given[flagged]):
        own = np.flatnonzero(errors.given == j)
        hit = own[flagged[own]]
        n_most = int(MOST_OF_A_CLASS * len(own))
        if len(hit) > n_most:
            flagged[hit[np.argsort(errors.quality[hit], kind="stable")[n_most:]]] = False
    return flagged
