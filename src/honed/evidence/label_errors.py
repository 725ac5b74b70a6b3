"""Which labels are probably wrong, from out-of-fold predictions: quality, flags, suggestions.

Several models that never saw a row vote on its label: the specialist and the small baselines err in different ways, and
together they find more errors than any of them (measured: docs/label-errors.md). Flags are by confident learning, which
asks not for a fixed probability but for one that is usual for the class, so a hard class is not flagged as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError
from honed.evidence.calibration import cross_fit_temperature
from honed.evidence.comparison import align
from honed.evidence.metrics import Floats, Ints, softmax
from honed.oof import Predictions

SMALLEST_PROBABILITY = 1e-12
Strings = npt.NDArray[np.str_]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LabelErrors:
    """m judged rows, each example once.

    example_id : (m,) strings.    given : (m,) the label of the data.
    suggested : (m,) the likeliest class but the given one; the given one itself where the task has no classes.
    quality : (m,) in [0, 1], low = the label is probably wrong.
    is_flagged : (m,) whether confident learning calls it an error; never where the task has no classes.
    """

    example_id: Strings
    given: Ints
    suggested: Ints
    quality: Floats
    is_flagged: Bools

    def __len__(self) -> int:
        return len(self.example_id)


def find_label_errors(tables: Sequence[Predictions]) -> LabelErrors:
    """Judge the labels of the rows that all tables score.

    tables : out-of-fold predictions of one or more models on the same rows and folds; the first gives their order.
        Repeats of an example are averaged. Without logits the quality comes from the losses of the first table.

    Raises EvidenceError if there is no table, or their rows differ.
    """
    if not tables:
        raise EvidenceError("No predictions were given, so no label can be judged.")
    first = tables[0]
    names, position, index = np.unique(first.example_id, return_index=True, return_inverse=True)
    label = first.label[position]
    if first.logits is None:
        mean = np.bincount(index.ravel(), weights=first.loss) / np.bincount(index.ravel())
        found = LabelErrors(names, label, label, loss_quality(mean), np.zeros(len(names), dtype=np.bool_))
    else:
        probs = pool([calibrated(align(first, table)) for table in tables])
        if len(names) < len(first):
            total = np.zeros((len(names), probs.shape[1]))
            np.add.at(total, index.ravel(), log_probs(probs))
            probs = softmax(total / np.bincount(index.ravel())[:, None])
        else:
            probs = probs[position]
        found = judge(names, label, probs)
    order = np.argsort(position)
    return LabelErrors(*(getattr(found, name)[order] for name in vars(found)))


def judge(example_id: Strings, label: Ints, probs: Floats) -> LabelErrors:
    """Judge m labels by probabilities (m, c) of models that never saw the rows."""
    suggested = _without_given(label, probs).argmax(axis=1).astype(np.int64)
    return LabelErrors(example_id, label, suggested, label_quality(label, probs), confident_errors(label, probs))


def calibrated(predictions: Predictions) -> Floats:
    """Probabilities (m, c) under a temperature that the other folds chose; as they are where none can be fitted."""
    assert predictions.logits is not None, "the caller has looked"
    try:
        return softmax(cross_fit_temperature(predictions)[1])
    except EvidenceError:  # one fold, or every row right: there is nothing to mend
        return softmax(predictions.logits)


def pool(probs: Sequence[Floats]) -> Floats:
    """The normalised geometric mean of k forecasts (m, c): the logarithmic pool.

    A model that finds a label all but impossible is heard, which an arithmetic mean would drown. Genest & Zidek 1986.
    """
    return softmax(np.mean([log_probs(one) for one in probs], axis=0))


def log_probs(probs: Floats) -> Floats:
    """Logarithms, bounded from below: no judge may rule a label out alone."""
    return np.asarray(np.log(np.maximum(probs, SMALLEST_PROBABILITY)))


def label_quality(label: Ints, probs: Floats) -> Floats:
    """The given label against its strongest rival, p / (p + p_rival): below 1/2 where another class is likelier.

    (m,), (m, c) -> (m,) in [0, 1]. A margin (Kuan & Mueller 2022), but of ratios: 0.001 against 0.1 is worse than 0.4
    against 0.5, as a row that two classes may share is not a row that is labelled wrongly.
    """
    given = np.maximum(probs[np.arange(len(label)), label], SMALLEST_PROBABILITY)
    return np.asarray(given / (given + _without_given(label, probs).max(axis=1)))


def _without_given(label: Ints, probs: Floats) -> Floats:
    rival = np.array(probs)
    rival[np.arange(len(label)), label] = -1
    return rival


def loss_quality(loss: Floats) -> Floats:
    """Quality of rows without classes, from their losses: exp(-loss / median), so that the median row has 1/e. (m,)."""
    middle = float(np.median(loss)) if len(loss) else 0.0
    return np.exp(-np.maximum(loss, 0) / middle) if middle > 0 else np.where(loss > 0, 0.0, 1.0)


def confident_errors(label: Ints, probs: Floats) -> Bools:
    """Which labels are called errors: as many as confident learning counts, those of the lowest quality.

    Class j claims a row if its probability reaches the mean probability of j over the rows labelled j; of several the
    likeliest has it. The rows claimed by a class that is not theirs (the off-diagonal of the confident joint) are
    counted; that many of the lowest quality are flagged, if a rival is likelier: this order finds more of the planted
    errors than the claims themselves. (m,), (m, c) -> (m,). Northcutt, Jiang & Chuang 2021, "Confident learning".
    """
    n_classes = probs.shape[1]
    count = np.bincount(label, minlength=n_classes)
    own = np.bincount(label, weights=probs[np.arange(len(label)), label], minlength=n_classes)
    threshold = np.divide(own, count, out=np.full(n_classes, np.inf), where=count > 0)
    claimed = probs >= threshold - SMALLEST_PROBABILITY
    winner = np.where(claimed, probs, -1.0).argmax(axis=1)
    n_errors = int((claimed.any(axis=1) & (winner != label)).sum())
    quality = label_quality(label, probs)
    flagged = np.zeros(len(label), dtype=np.bool_)
    flagged[np.argsort(quality, kind="stable")[:n_errors]] = True
    return flagged & (quality < 0.5)
