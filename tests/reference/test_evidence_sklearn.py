"""Every figure equals scikit-learn's, in the one line that docs/statistics.md promises."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from evidence_tables import draw, from_predicted, singles, table
from honed.evidence.calibration import fit_temperature
from honed.evidence.intervals import estimate
from honed.evidence.metrics import METRICS, confusion_matrix, softmax
from honed.evidence.scorecard import per_class


def sklearn_value(name: str, y: np.ndarray, probs: np.ndarray) -> float:
    prediction, classes = probs.argmax(1), np.arange(probs.shape[1])
    if name == "accuracy":
        return sk.accuracy_score(y, prediction)
    if name == "macro_f1":
        return sk.f1_score(y, prediction, average="macro")
    if name == "balanced_accuracy":
        return float(np.mean([sk.recall_score(y == k, prediction == k) for k in np.unique(y)]))
    if name == "log_loss":
        return sk.log_loss(y, probs, labels=classes)
    if name == "auroc":
        if len(classes) == 2:
            return sk.roc_auc_score(y, probs[:, 1])
        return float(np.mean([sk.roc_auc_score(y == k, probs[:, k]) for k in classes if 0 < (y == k).sum() < len(y)]))
    raise KeyError(name)


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "balanced_accuracy", "log_loss", "auroc"])
@pytest.mark.parametrize(("m", "c", "strength"), [(40, 2, 1.0), (300, 5, 1.5), (60, 20, 2.0), (500, 3, 0.0)])
def test_one_fold_equals_sklearn(name: str, m: int, c: int, strength: float) -> None:
    predictions, group = draw(m, c, strength, seed=m + c)
    probs = softmax(predictions.logits)
    expected = sklearn_value(name, predictions.label, probs)
    assert estimate(predictions, group, name).value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["macro_f1", "balanced_accuracy", "auroc"])
def test_folds_are_scored_apart_and_averaged(name: str) -> None:
    predictions, group = draw(200, 4, 1.0, n_folds=5)
    probs = softmax(predictions.logits)
    by_fold = [
        sklearn_value(name, predictions.label[predictions.fold == f], probs[predictions.fold == f]) for f in range(5)
    ]
    found = estimate(predictions, group, name)
    np.testing.assert_allclose(found.per_fold, by_fold, atol=1e-12)
    assert found.value == pytest.approx(np.mean(by_fold), abs=1e-12)


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
def test_means_over_rows_are_pooled(name: str) -> None:
    predictions, group = draw(203, 4, 1.0, n_folds=5)
    expected = sklearn_value(name, predictions.label, softmax(predictions.logits))
    assert estimate(predictions, group, name).value == pytest.approx(expected, abs=1e-12)


def test_balanced_accuracy_is_sklearns_own_where_every_prediction_is_a_present_class() -> None:
    predictions, group = draw(300, 3, 1.0)
    expected = sk.balanced_accuracy_score(predictions.label, predictions.logits.argmax(1))
    assert estimate(predictions, group, "balanced_accuracy").value == pytest.approx(expected, abs=1e-12)


def test_macro_f1_counts_a_class_that_is_only_predicted_as_zero_like_sklearn() -> None:
    predictions = from_predicted([0, 0, 1, 1], [0, 2, 1, 1], 4)
    expected = sk.f1_score(predictions.label, predictions.logits.argmax(1), average="macro")
    assert estimate(predictions, singles(predictions), "macro_f1").value == pytest.approx(expected, abs=1e-15)


def test_auroc_with_ties_and_mixed_groups_left_out_equals_recomputation() -> None:
    rng = np.random.default_rng(3)
    for c in (2, 3):
        label, group = rng.integers(0, c, 80), rng.integers(0, 9, 80)
        probs = rng.integers(1, 5, (80, c)).astype(float)
        probs /= probs.sum(1, keepdims=True)
        left = METRICS["auroc"].leave_out(label, probs, group, 9)
        for g in range(9):
            keep = group != g
            assert left[g] == pytest.approx(sklearn_value("auroc", label[keep], probs[keep]), abs=1e-12)


def test_ece_equals_a_naive_loop() -> None:
    predictions, group = draw(400, 3, 1.0)
    probs = softmax(predictions.logits)
    confidence, right = probs.max(1), probs.argmax(1) == predictions.label
    total = 0.0
    for b in range(15):
        here = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if here.any():
            total += here.mean() * abs(confidence[here].mean() - right[here].mean())
    assert estimate(predictions, group, "ece").value == pytest.approx(total, abs=1e-12)


def test_per_class_table_and_confusion_equal_sklearn() -> None:
    predictions, group = draw(300, 4, 1.0)
    prediction = predictions.logits.argmax(1)
    rows = per_class(predictions, group, list("abcd"))
    precision, recall, f1, support = sk.precision_recall_fscore_support(predictions.label, prediction)
    for k, row in enumerate(rows):
        assert (row["precision"], row["recall"], row["f1"]) == pytest.approx((precision[k], recall[k], f1[k]))
        assert row["n"] == support[k]
        assert row["recall_low"] <= row["recall"] <= row["recall_high"]
    counts = confusion_matrix(predictions.label, prediction, 4)
    np.testing.assert_array_equal(counts, sk.confusion_matrix(predictions.label, prediction))


def test_temperature_equals_a_logistic_regression_through_the_origin() -> None:
    rng = np.random.default_rng(0)
    margin = rng.normal(size=500) * 3
    label = (rng.random(500) < 1 / (1 + np.exp(-margin / 2.5))).astype(np.int64)
    slope = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(margin[:, None], label).coef_[0, 0]
    logits = np.stack([np.zeros(500), margin], axis=1)
    assert fit_temperature(logits, label) == pytest.approx(1 / slope, rel=1e-5)
    assert table(label, logits).logits.shape == (500, 2)
