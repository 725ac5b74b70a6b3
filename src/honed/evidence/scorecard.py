"""Everything that is said about one table of predictions, as plain types for `metrics.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError
from honed.evidence.estimate import Estimate
from honed.evidence.intervals import estimate
from honed.evidence.jackknife import probabilities
from honed.evidence.metrics import class_f1, confusion_matrix, metric_names
from honed.oof import Predictions

Groups = npt.NDArray[np.str_]
CLASS_METRICS = ("recall", "precision", "f1")


def _check_names(predictions: Predictions, group: Groups, label_names: Sequence[str]) -> None:
    n_classes = probabilities(predictions, group).shape[1]
    if n_classes != len(label_names):
        raise EvidenceError(f"The predictions have {n_classes} classes, but {len(label_names)} label names were given.")


def score(
    predictions: Predictions, group: Groups, label_names: Sequence[str], *, level: float = 0.95, ordinal: bool = False
) -> dict[str, Estimate | None]:
    """Every metric with its interval; None where it is undefined (`undefined` says why). ordinal : see `metric_names`.

    Raises EvidenceError if the table itself is unusable (no rows, no logits, other classes).
    """
    _check_names(predictions, group, label_names)
    scores: dict[str, Estimate | None] = {}
    for name in metric_names(ordinal=ordinal):
        try:
            scores[name] = estimate(predictions, group, name, level=level)
        except EvidenceError:
            scores[name] = None
    return scores


def undefined(predictions: Predictions, group: Groups, *, ordinal: bool = False) -> dict[str, str]:
    """For each metric that `score` gives as None, the sentence that says why ("not run, because ...")."""
    reasons: dict[str, str] = {}
    for name in metric_names(ordinal=ordinal):
        try:
            estimate(predictions, group, name)
        except EvidenceError as error:
            reasons[name] = f"not run, because {error}"
    return reasons


def class_estimate(predictions: Predictions, group: Groups, kind: str, k: int, *, level: float = 0.95) -> Estimate:
    """Recall, precision or F1 of class k with its interval.

    Recall is the accuracy of the rows of that label, precision that of the rows predicted so: means over rows, hence
    pooled. F1 is computed per fold, then averaged over the folds that know the class.

    Raises EvidenceError if no row defines it.
    """
    if kind == "f1":
        return estimate(predictions, group, class_f1(k), level=level)
    chosen = predictions.label if kind == "recall" else probabilities(predictions, group).argmax(axis=1)
    rows = np.flatnonzero(chosen == k)
    if not len(rows):
        what = "labelled" if kind == "recall" else "predicted as"
        raise EvidenceError(f"no scored row is {what} class {k}, so its {kind} is undefined.")
    if len(np.unique(group[rows])) == 1 and len(rows) > 1:
        # One group tells of one draw, however many rows it has.
        value = float((probabilities(predictions, group).argmax(axis=1) == predictions.label)[rows].mean())
        return Estimate(value, 0.0, 1.0, level, "one-group", len(rows), (value,))
    # A single row is its own group: Wilson's interval holds for n = 1 too.
    part, own = predictions.take(rows), group[rows]
    if len(rows) == 1:
        from honed.evidence.intervals import score_interval, t_quantile

        value = float(probabilities(part, own).argmax(axis=1)[0] == part.label[0])
        low, high = score_interval(value, 1, t_quantile(level, np.inf))
        return Estimate(value, low, high, level, "wilson", 1, (value,))
    return estimate(part, own, "accuracy", level=level)


def per_class(
    predictions: Predictions, group: Groups, label_names: Sequence[str], *, level: float = 0.95
) -> list[dict[str, Any]]:
    """One row a class, in `label_names` order.

    Keys: label, n (rows of that label), n_predicted, then for each of recall, precision, f1: the figure, `_low` and
    `_high`; None where no row defines it; and level.
    """
    _check_names(predictions, group, label_names)
    prediction = probabilities(predictions, group).argmax(axis=1)
    table = []
    for k, name in enumerate(label_names):
        row: dict[str, Any] = {
            "label": name,
            "n": int((predictions.label == k).sum()),
            "n_predicted": int((prediction == k).sum()),
        }
        for kind in CLASS_METRICS:
            try:
                figure = class_estimate(predictions, group, kind, k, level=level)
                row |= {kind: figure.value, f"{kind}_low": figure.low, f"{kind}_high": figure.high}
            except EvidenceError:
                row |= {kind: None, f"{kind}_low": None, f"{kind}_high": None}
        table.append(row | {"level": level})
    return table


def confusion(predictions: Predictions, group: Groups, label_names: Sequence[str]) -> dict[str, Any]:
    """{"label_names": [...], "counts": c x c}: row = given label, column = predicted label."""
    _check_names(predictions, group, label_names)
    prediction = probabilities(predictions, group).argmax(axis=1)
    counts = confusion_matrix(predictions.label, prediction, len(label_names))
    return {"label_names": list(label_names), "counts": counts.tolist()}
