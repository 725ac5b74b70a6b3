"""Confident learning against cleanlab: the same thresholds, the same joint, the same number of errors."""

from __future__ import annotations

import numpy as np
import pytest
from cleanlab.count import compute_confident_joint
from cleanlab.filter import find_label_issues

from evidence_tables import draw
from honed.evidence.label_errors import confident_errors, label_quality
from honed.evidence.metrics import softmax
from honed.evidence.noise import plant_noise


@pytest.mark.parametrize(("n_classes", "rate", "strength"), [(2, 0.1, 2.0), (4, 0.03, 3.0), (9, 0.2, 2.5)])
def test_as_many_errors_as_cleanlab_counts(n_classes: int, rate: float, strength: float) -> None:
    true, _ = draw(1500, n_classes, strength, seed=n_classes)
    label = plant_noise(true.label, rate, None, n_classes, seed=0)
    assert true.logits is not None
    probs = softmax(true.logits)
    joint = compute_confident_joint(label, probs, calibrate=False)
    off_diagonal = int(joint.sum() - np.trace(joint))
    assert off_diagonal > 0
    ours = confident_errors(label, probs)
    # We flag as many of the lowest quality, but none whose own label is the likelier one.
    lowest = np.argsort(label_quality(label, probs), kind="stable")[:off_diagonal]
    assert ours.sum() == (label_quality(label, probs)[lowest] < 0.5).sum() > 0
    theirs = find_label_issues(label, probs, filter_by="low_normalized_margin", n_jobs=1)
    assert (ours == theirs).mean() > 0.95, "another order of the same number"


def test_the_order_finds_no_fewer_errors_than_cleanlabs_own_score() -> None:
    from cleanlab.rank import get_label_quality_scores
    from sklearn.metrics import average_precision_score

    true, _ = draw(3000, 6, 2.5, seed=1)
    confusion = np.ones((6, 6), dtype=np.int64)
    label = plant_noise(true.label, 0.1, confusion, 6, seed=2)
    assert true.logits is not None
    probs = softmax(true.logits)
    ours = average_precision_score(label != true.label, -label_quality(label, probs))
    theirs = average_precision_score(label != true.label, -get_label_quality_scores(label, probs))
    assert ours > theirs - 0.01
