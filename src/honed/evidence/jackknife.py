"""How far each group of rows moves a figure: the delete-one-group jackknife, stratified by fold.

The group is the unit that was drawn independently (a patient, a licence, a document); rows of one group stand or fall
together. All is conditional on the models that made the predictions: what varies is the rows they were judged on.
Efron & Stein 1981; for clusters, Bell & McCaffrey 2002 (CR3 is this jackknife).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError
from honed.evidence.metrics import Floats, Ints, Metric, softmax
from honed.oof import Predictions


@dataclass(frozen=True)
class Jackknife:
    """One figure and what moves it.

    value : the figure.              per_fold : per (repeat, fold), None where undefined.
    shift : (G,) what leaving each group out does to the value, centred; sum of squares = its variance.
    df : effective number of groups (Kish: unequal sizes count for less) minus 1, at least 1.
    n : rows.
    is_grouped : False where every row is its own group (an example scored in two repeats is not).
    """

    value: float
    per_fold: tuple[float | None, ...]
    shift: Floats
    df: float
    n: int
    is_grouped: bool

    @property
    def variance(self) -> float:
        """Squared standard error of the value."""
        return float((self.shift**2).sum())


def probabilities(predictions: Predictions, group: npt.NDArray[np.str_]) -> Floats:
    """Softmax of the logits, after checking the table. -> (m, c).

    Raises EvidenceError if there are no rows, no logits, values that are not finite, labels outside the classes, or
    as many groups as rows are not given.
    """
    if not len(predictions):
        raise EvidenceError("There are no scored rows, so no figure can be computed.")
    if predictions.logits is None:
        raise EvidenceError("The predictions hold no logits, so no classification metric can be computed.")
    if len(group) != len(predictions):
        raise EvidenceError(f"{len(group)} groups were given for {len(predictions)} scored rows.")
    if not np.isfinite(predictions.logits).all():
        bad = int((~np.isfinite(predictions.logits).all(axis=1)).argmax())
        raise EvidenceError(
            f"Example {str(predictions.example_id[bad])!r} has a logit that is not finite.",
            cause="The model of its fold diverged.",
        )
    n_classes = predictions.logits.shape[1]
    if (predictions.label < 0).any() or (predictions.label >= n_classes).any():
        raise EvidenceError(f"A scored row has a label outside the {n_classes} classes of its logits.")
    return softmax(predictions.logits)


def cells(predictions: Predictions) -> list[Ints]:
    """Positions of the rows of each (repeat, fold), in that order."""
    key = np.stack([predictions.repeat, predictions.fold], axis=1)
    unique, inverse = np.unique(key, axis=0, return_inverse=True)
    order = np.argsort(inverse.ravel(), kind="stable")
    bounds = np.searchsorted(inverse.ravel()[order], np.arange(1, len(unique)))
    return list(np.split(order.astype(np.int64), bounds))


def jackknife(predictions: Predictions, group: npt.NDArray[np.str_], metric: Metric) -> Jackknife:
    """The figure and the group shifts. predictions: m rows; group: (m,).

    A metric that is a mean over rows is computed over all rows at once; every other per (repeat, fold), then averaged
    over those that define it. A group that stands in several repeats is one group.

    Raises EvidenceError if no fold defines the metric, or fewer than two groups are there to estimate a spread from.
    """
    probs = probabilities(predictions, group)
    names, index = np.unique(group, return_inverse=True)
    index = index.ravel().astype(np.int64)
    parts = cells(predictions)
    values = [metric.compute(predictions.label[rows], probs[rows]) for rows in parts]
    strata = (
        [np.arange(len(predictions))]
        if metric.pooled
        else [rows for rows, value in zip(parts, values, strict=True) if not np.isnan(value)]
    )
    if not strata:
        raise EvidenceError(
            f"{metric.name} is undefined: in no fold are there rows both of a class and of another.",
            remedy="Score rows of at least two classes.",
        )
    if len(names) < 2:
        raise EvidenceError(
            f"All {len(predictions)} scored rows belong to one group ({str(names[0])!r}),"
            f" so {metric.name} has no interval.",
            remedy="Score rows of at least two independent groups.",
        )
    shift = np.zeros(len(names))
    value = 0.0
    for rows in strata:
        here, local = np.unique(index[rows], return_inverse=True)
        own = metric.compute(predictions.label[rows], probs[rows])
        left = metric.leave_out(predictions.label[rows], probs[rows], local.ravel().astype(np.int64), len(here))
        # Without this group the figure does not exist: all we know is that it could be anything in [0, 1].
        left = np.where(np.isnan(left), 0.0 if own >= 0.5 else 1.0, left)
        deviation = (left - left.mean()) if len(here) > 1 else left - own
        shift[here] += deviation * np.sqrt(max(len(here) - 1, 1) / len(here)) / len(strata)
        value += own / len(strata)
    size = np.bincount(index).astype(np.float64)
    per_fold = tuple(None if np.isnan(v) else float(v) for v in values)
    df = max(float(size.sum() ** 2 / (size**2).sum()) - 1, 1.0)
    return Jackknife(float(value), per_fold, shift, df, len(predictions), len(names) < len(predictions))
