"""The specialist against people: a second reader's labels of the same rows, and who errs how often."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from honed.errors import EvidenceError
from honed.evidence.comparison import paired_difference
from honed.evidence.decisions import Groups, decisions, share
from honed.evidence.estimate import Estimate, figure_json
from honed.evidence.intervals import estimate
from honed.evidence.metrics import KAPPA, Ints
from honed.evidence.ratio import ratio_interval
from honed.evidence.scorecard import class_estimate
from honed.oof import Predictions

NO_LABEL = -1
NO_BOUND = "The reader made no error on these rows, so the ratio has no finite bound."
NO_ERROR = "Neither the specialist nor the reader made an error on these rows, so their ratio is unknown."


def against_reader(specialist: Predictions, reader: Ints, group: Groups, *, level: float) -> dict[str, Any]:
    """Errors and agreement of the specialist and of a reader on the rows that both judged.

    specialist : decisions.    reader : (m,) the class that the reader chose; `NO_LABEL` where there is none: such a row
    is counted, and in no figure.

    Keys: n, n_without_reader; specialist and reader: {n_errors, accuracy, kappa; with two classes, of which 1 is ill,
    sensitivity and specificity too}, where kappa is the agreement with the label, per fold, then averaged; and, paired,
    error_ratio (specialist / reader) and error_difference (specialist - reader).

    Raises EvidenceError if no row has a reader's label, or all that have are of one group.
    """
    read = np.flatnonzero(reader != NO_LABEL)
    if not len(read):
        raise EvidenceError("None of these rows has a label of the reader.")
    assert specialist.logits is not None
    own, group = specialist.take(read), group[read]
    other = decisions(own, own.label, reader[read], specialist.logits.shape[1])
    difference = paired_difference(other, own, group, "accuracy", level=level)  # more right is fewer errors
    return {
        "n": len(read),
        "n_without_reader": len(reader) - len(read),
        "specialist": _standing(own, group, level),
        "reader": _standing(other, group, level),
        "error_ratio": error_ratio(own, other, group, level=level),
        "error_difference": difference.to_json(),
    }


def error_ratio(a: Predictions, b: Predictions, group: Groups, *, level: float) -> dict[str, Any]:
    """How many errors a makes for each of b, on the same rows in the same order, with a paired interval.

    value and high are None where they are not finite; `note` says why.
    """
    top, bottom = (share(table, group, estimate(table, group, "accuracy", level=level)).rest for table in (a, b))
    low, high = ratio_interval(top, bottom)
    return {
        "value": top.value / bottom.value if bottom.value else None,
        "low": low,
        "high": high if math.isfinite(high) else None,
        "level": level,
        "interval": "paired-mover-r",
        "n": len(a),
        "note": "" if bottom.value else NO_BOUND if top.value else NO_ERROR,
    }


def _standing(table: Predictions, group: Groups, level: float) -> dict[str, Any]:
    assert table.logits is not None
    rates = (("sensitivity", 1), ("specificity", 0)) if table.logits.shape[1] == 2 else ()
    return {
        "n_errors": int((table.logits.argmax(axis=1) != table.label).sum()),
        "accuracy": estimate(table, group, "accuracy", level=level).to_json(),
        "kappa": figure_json(lambda: _kappa(table, group, level)),
        **{name: figure_json(partial(class_estimate, table, group, "recall", k, level=level)) for name, k in rates},
    }


def _kappa(table: Predictions, group: Groups, level: float) -> Estimate:
    found = estimate(table, group, KAPPA, level=level)
    if found.value < 1:
        return found
    # Where nobody disagrees there is no spread, but the accuracy has an interval, and kappa is
    # (accuracy - chance) / (1 - chance).
    chance = float(((np.bincount(table.label) / len(table)) ** 2).sum())
    low = (estimate(table, group, "accuracy", level=level).low - chance) / (1 - chance)
    return replace(found, low=max(low, -1.0), interval="wilson-kappa")
