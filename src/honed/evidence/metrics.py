"""Every metric: its value, and its value with each group of rows left out.

A metric is a function of (label, probs) over the rows of one fold. The leave-one-group-out values are what the
jackknife needs (`jackknife.py`); they are computed from per-group counts, never by G recomputations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ECE_BINS = 15
EPSILON = float(np.finfo(np.float64).eps)
BLOCK_CELLS = 2_000_000


@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    compute : (label (m,), probs (m, c)) -> value; NaN where it is undefined.
    leave_out : (label, probs, group index (m,) in 0..G-1, G) -> (G,) the value without each group; NaN if undefined.
    pooled : True for a mean over rows; otherwise it is computed per fold, then averaged (honesty rule 5).
    in_unit_interval : the value lies in [0, 1].    lowest, highest : between which it lies otherwise.
    is_ordinal : it means something only where the classes are grades, in their order.
    """

    name: str
    compute: Callable[[Ints, Floats], float]
    leave_out: Callable[[Ints, Floats, Ints, int], Floats]
    pooled: bool
    higher_is_better: bool
    in_unit_interval: bool
    description: str
    lowest: float = 0.0
    highest: float = math.inf
    is_ordinal: bool = False


def softmax(logits: Floats) -> Floats:
    """Probabilities. logits: (m, c) -> (m, c), rows sum to one."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float64)


def confusion_matrix(label: Ints, prediction: Ints, n_classes: int) -> Ints:
    """Counts. label, prediction: (m,) -> (c, c); row = given label, column = predicted label."""
    flat = np.bincount(label * n_classes + prediction, minlength=n_classes**2)
    return np.asarray(flat.reshape(n_classes, n_classes), dtype=np.int64)


def row_correct(label: Ints, probs: Floats) -> Floats:
    """1 where the most probable class is the label, else 0. -> (m,)."""
    return np.asarray(probs.argmax(axis=1) == label, dtype=np.float64)


def row_log_loss(label: Ints, probs: Floats) -> Floats:
    """-log p(label) in nats, p clipped to [eps, 1 - eps] as scikit-learn does. -> (m,)."""
    p = probs[np.arange(len(label)), label]
    return np.asarray(-np.log(np.clip(p, EPSILON, 1 - EPSILON)))


def _ratio(top: Floats, bottom: Floats) -> Floats:
    return np.asarray(np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0))


def _mean_of(row_value: Callable[[Ints, Floats], Floats]) -> Callable[[Ints, Floats], float]:
    return lambda label, probs: float(row_value(label, probs).mean())


def _mean_leave_out(row_value: Callable[[Ints, Floats], Floats]) -> Callable[[Ints, Floats, Ints, int], Floats]:
    def leave_out(label: Ints, probs: Floats, group: Ints, n_groups: int) -> Floats:
        value = row_value(label, probs)
        total = np.bincount(group, weights=value, minlength=n_groups)
        return _ratio(value.sum() - total, len(label) - np.bincount(group, minlength=n_groups).astype(np.float64))

    return leave_out


def class_counts(label: Ints, probs: Floats) -> tuple[Floats, Floats, Floats]:
    """Per class: rows predicted rightly, rows of that label, rows predicted so. Each (c,)."""
    c, prediction = probs.shape[1], probs.argmax(axis=1)
    columns = (label[prediction == label], label, prediction)
    hit, given, predicted = (np.bincount(column, minlength=c).astype(np.float64) for column in columns)
    return hit, given, predicted


def _class_counts_left_out(label: Ints, probs: Floats, group: Ints, n_groups: int) -> list[tuple[Floats, ...]]:
    """Blocks of (hit, given, predicted), each (groups of the block, c), without each group."""
    c, prediction = probs.shape[1], probs.argmax(axis=1)
    order = np.argsort(group, kind="stable")
    label, prediction, group = label[order], prediction[order], group[order]
    totals = class_counts(label, probs[order])
    blocks = []
    step = max(BLOCK_CELLS // c, 1)
    for first in range(0, n_groups, step):
        size = min(step, n_groups - first)
        rows = slice(*np.searchsorted(group, [first, first + size]))
        base = (group[rows] - first) * c
        right = prediction[rows] == label[rows]
        flat = ((base + label[rows])[right], base + label[rows], base + prediction[rows])
        own = (np.bincount(index, minlength=size * c).reshape(size, c) for index in flat)
        blocks.append(tuple(total - part for total, part in zip(totals, own, strict=True)))
    return blocks


def _mean_defined(values: Floats) -> Floats:
    """Mean over the last axis of the entries that are defined (not NaN); NaN where none is."""
    is_defined = ~np.isnan(values)
    return _ratio(np.where(is_defined, values, 0).sum(-1), is_defined.sum(-1).astype(np.float64))


def _recalls(hit: Floats, given: Floats, _predicted: Floats) -> Floats:
    return _ratio(hit, given)


def _f1s(hit: Floats, given: Floats, predicted: Floats) -> Floats:
    return _ratio(2 * hit, given + predicted)


def _class_mean(per_class: Callable[[Floats, Floats, Floats], Floats]) -> Callable[[Ints, Floats], float]:
    return lambda label, probs: float(_mean_defined(per_class(*class_counts(label, probs))))


def _class_mean_leave_out(
    per_class: Callable[[Floats, Floats, Floats], Floats],
) -> Callable[[Ints, Floats, Ints, int], Floats]:
    def leave_out(label: Ints, probs: Floats, group: Ints, n_groups: int) -> Floats:
        blocks = _class_counts_left_out(label, probs, group, n_groups)
        return np.concatenate([_mean_defined(per_class(*block)) for block in blocks])

    return leave_out


def class_f1(k: int) -> Metric:
    """F1 of class k alone: 2 TP / (rows of that label + rows predicted so); NaN where both are zero."""

    def compute(label: Ints, probs: Floats) -> float:
        return float(_f1s(*class_counts(label, probs))[k])

    def leave_out(label: Ints, probs: Floats, group: Ints, n_groups: int) -> Floats:
        return np.concatenate(
            [_f1s(*(part[:, k] for part in block)) for block in _class_counts_left_out(label, probs, group, n_groups)]
        )

    return Metric(f"f1[{k}]", compute, leave_out, False, True, True, "F1 of one class")


def _auroc_classes(label: Ints, n_classes: int) -> list[int]:
    """Classes with rows on both sides; with two classes, class 1 alone (class 0 is its mirror)."""
    given = np.bincount(label, minlength=n_classes)
    classes = [k for k in range(n_classes) if 0 < given[k] < len(label)]
    return [1] if n_classes == 2 and classes else classes


def _wins(is_inside: npt.NDArray[np.bool_], score: Floats) -> Floats:
    """For each row, the rows of the other side that it is ranked rightly against (ties count half). -> (m,)."""
    inside, outside = np.sort(score[is_inside]), np.sort(score[~is_inside])
    wins = np.empty(len(score))
    mine, theirs = score[is_inside], score[~is_inside]
    wins[is_inside] = (np.searchsorted(outside, mine, "left") + np.searchsorted(outside, mine, "right")) / 2
    below = (np.searchsorted(inside, theirs, "left") + np.searchsorted(inside, theirs, "right")) / 2
    wins[~is_inside] = len(inside) - below
    return wins


def _wins_within(is_inside: npt.NDArray[np.bool_], score: Floats, group: Ints, n_groups: int) -> Floats:
    """Pairs (inside, outside) of one group that are ranked rightly, per group: Mann-Whitney from mid-ranks. -> (G,)."""
    order = np.lexsort((score, group))
    g, s, inside = group[order], score[order], is_inside[order]
    new_tie = np.r_[True, (g[1:] != g[:-1]) | (s[1:] != s[:-1])]
    first = np.flatnonzero(new_tie)
    last = np.r_[first[1:], len(g)] - 1
    middle = ((first + last) / 2)[np.cumsum(new_tie) - 1]
    rank = middle - np.searchsorted(g, g, "left") + 1
    a = np.bincount(g, weights=inside, minlength=n_groups)
    return np.asarray(np.bincount(g, weights=rank * inside, minlength=n_groups) - a * (a + 1) / 2)


def _auroc(label: Ints, probs: Floats) -> float:
    areas = []
    for k in _auroc_classes(label, probs.shape[1]):
        inside = label == k
        areas.append(_wins(inside, probs[:, k])[inside].sum() / inside.sum() / (~inside).sum())
    return float(np.mean(areas)) if areas else float("nan")


def _auroc_leave_out(label: Ints, probs: Floats, group: Ints, n_groups: int) -> Floats:
    size = np.bincount(group, minlength=n_groups)
    total, count = np.zeros(n_groups), np.zeros(n_groups)
    for k in _auroc_classes(label, probs.shape[1]):
        inside, score = label == k, probs[:, k]
        n_in, n_out = int(inside.sum()), int((~inside).sum())
        wins = _wins(inside, score)
        a = np.bincount(group, weights=inside, minlength=n_groups)
        b = size - a
        won = wins[inside].sum() - np.bincount(group, weights=wins, minlength=n_groups)
        mixed = ((a > 0) & (b > 0))[group]
        if mixed.any():  # a pair inside one group was subtracted twice
            won += _wins_within(inside[mixed], score[mixed], group[mixed], n_groups)
        pairs = (n_in - a) * (n_out - b)
        total += np.divide(won, pairs, out=np.zeros(n_groups), where=pairs > 0)
        count += pairs > 0
    return _ratio(total, count)


def ece_bin(confidence: Floats, n_bins: int = ECE_BINS) -> Ints:
    """Equal-width bin (b/n, (b+1)/n] of each confidence. (m,) -> (m,)."""
    edges = np.linspace(0, 1, n_bins + 1)[1:-1]
    return np.asarray(np.searchsorted(edges, confidence, "left"), dtype=np.int64)


def ece_gaps(label: Ints, probs: Floats) -> tuple[Ints, Floats]:
    """Bin of each row, and its confidence minus 1 if right, 0 if wrong. Each (m,)."""
    confidence = probs.max(axis=1)
    return ece_bin(confidence), confidence - row_correct(label, probs)


def _ece(label: Ints, probs: Floats) -> float:
    index, gap = ece_gaps(label, probs)
    return float(np.abs(np.bincount(index, weights=gap, minlength=ECE_BINS)).sum() / len(label))


def _ece_leave_out(label: Ints, probs: Floats, group: Ints, n_groups: int) -> Floats:
    index, gap = ece_gaps(label, probs)
    own = np.bincount(group * ECE_BINS + index, weights=gap, minlength=n_groups * ECE_BINS)
    left = np.bincount(index, weights=gap, minlength=ECE_BINS) - own.reshape(n_groups, ECE_BINS)
    return _ratio(np.abs(left).sum(1), len(label) - np.bincount(group, minlength=n_groups).astype(np.float64))


def median_grade(probs: Floats) -> Ints:
    """The lowest grade at or below which half of the probability lies: no other grade errs less on average. -> (m,)."""
    below = np.cumsum(probs, axis=1) < 0.5 - EPSILON
    return np.asarray(np.minimum(below.sum(axis=1), probs.shape[1] - 1), dtype=np.int64)


def row_grade_error(label: Ints, probs: Floats) -> Floats:
    """Grades between the label and the median grade. -> (m,)."""
    return np.asarray(np.abs(label - median_grade(probs)), dtype=np.float64)


def _kappa_sums(label: Ints, probs: Floats) -> Floats:
    """Per row, what quadratic kappa adds up: 1, y, h, y^2 + h^2, (y - h)^2. -> (5, m)."""
    y, h = label.astype(np.float64), median_grade(probs).astype(np.float64)
    return np.stack([np.ones(len(y)), y, h, y**2 + h**2, (y - h) ** 2])


def _kappa_of(sums: Floats) -> Floats:
    """1 - (observed squared distance) / (that expected by chance), from sums over rows (5, ...)."""
    n, y, h, squares, distance = sums
    expected = squares - np.divide(2 * y * h, n, out=np.zeros_like(n), where=n > 0)
    return np.asarray(1 - _ratio(distance, np.where(expected > 1e-9, expected, 0)))


def _kappa(label: Ints, probs: Floats) -> float:
    return float(_kappa_of(_kappa_sums(label, probs).sum(axis=1)))


def _kappa_leave_out(label: Ints, probs: Floats, group: Ints, n_groups: int) -> Floats:
    rows = _kappa_sums(label, probs)
    own = np.stack([np.bincount(group, weights=row, minlength=n_groups) for row in rows])
    return _kappa_of(rows.sum(axis=1)[:, None] - own)


def _agreement(hit: Floats, given: Floats, predicted: Floats) -> Floats:
    """Cohen's kappa from the counts of c classes. (..., c) -> (..., 1)."""
    n = given.sum(-1)
    by_chance = (given * predicted).sum(-1) / np.maximum(n, 1)
    return _ratio(hit.sum(-1) - by_chance, n - by_chance)[..., None]


KAPPA = Metric(
    "kappa", _class_mean(_agreement), _class_mean_leave_out(_agreement), False, True, False,
    "agreement of the prediction with the label beyond chance (Cohen 1960)", -1.0, 1.0,
)  # fmt: skip
"""Of decisions by one reader or another; the run's own score has `quadratic_kappa` for grades."""

# fmt: off
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", _mean_of(row_correct), _mean_leave_out(row_correct), True, True, True,
               "share of rows whose prediction is the label"),
        Metric("macro_f1", _class_mean(_f1s), _class_mean_leave_out(_f1s), False, True, True,
               "F1 of each class, averaged over classes"),
        Metric("balanced_accuracy", _class_mean(_recalls), _class_mean_leave_out(_recalls), False, True, True,
               "recall of each class, averaged over classes"),
        Metric("log_loss", _mean_of(row_log_loss), _mean_leave_out(row_log_loss), True, False, False,
               "mean of -log(probability given to the label), in nats"),
        Metric("auroc", _auroc, _auroc_leave_out, False, True, True,
               "area under the ROC curve, one class against the rest, averaged over classes"),
        Metric("ece", _ece, _ece_leave_out, False, False, True,
               "expected calibration error: mean gap between stated confidence and accuracy, 15 equal-width bins"),
        Metric("quadratic_kappa", _kappa, _kappa_leave_out, False, True, False,
               "agreement of the median grade with the label beyond chance, by squared distance (Cohen 1968)",
               -1.0, 1.0, True),
        Metric("grade_error", _mean_of(row_grade_error), _mean_leave_out(row_grade_error), True, False, False,
               "mean distance in grades between the median grade and the label", is_ordinal=True),
    )
}
# fmt: on


def metric_names(*, ordinal: bool) -> list[str]:
    """The metrics of a table; `ordinal`: whether its classes are grades in their order."""
    return [name for name, metric in METRICS.items() if ordinal or not metric.is_ordinal]
