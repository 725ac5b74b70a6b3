"""For each rule of honesty that evidence/ keeps: the fault is planted, and caught."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evidence_tables import draw, from_predicted, singles, table
from honed.errors import EvidenceError
from honed.evidence.baselines import BaselineRows, holdout_baseline, out_of_fold_baseline
from honed.evidence.calibration import cross_fit_temperature, fit_temperature
from honed.evidence.comparison import paired_difference
from honed.evidence.gate import GateTerms, judge
from honed.evidence.intervals import estimate
from honed.evidence.ledger import record_opening
from honed.evidence.metrics import METRICS, softmax

NAMES = ["a", "b"]


def good_and_bad() -> tuple:
    label = np.arange(200) % 2
    wrong = np.where(np.arange(200) < 80, 1 - label, label)
    return from_predicted(label.tolist(), label.tolist(), 2), from_predicted(label.tolist(), wrong.tolist(), 2)


def test_rule_1_many_looks_are_told_and_an_uncounted_look_is_refused(tmp_path: Path) -> None:
    for name in ("monday", "tuesday"):
        record_opening(tmp_path, "data", name)
    good, bad = good_and_bad()
    openings = record_opening(tmp_path, "data", "wednesday")
    found = judge(good, {"majority": bad}, singles(good), NAMES, GateTerms(holdout_openings=openings))
    assert found.to_json()["holdout_openings"] == 3
    assert "3rd look at this holdout" in found.reasons[-1]
    with pytest.raises(EvidenceError, match="without its opening being counted"):
        judge(good, {"majority": bad}, singles(good), NAMES, GateTerms(holdout_openings=0))


def test_rule_3_a_baseline_that_trains_on_the_rows_it_scores_is_refused() -> None:
    rows = BaselineRows(["x y"] * 6, np.arange(6) % 2, np.array(list("abcdef")), 2)
    with pytest.raises(EvidenceError, match="rows that it trains on"):
        out_of_fold_baseline("majority", rows, [(0, np.arange(6), np.arange(3))])
    with pytest.raises(EvidenceError, match="rows that it trains on"):
        holdout_baseline("majority", rows, np.arange(4), np.arange(3, 6))


def test_rule_4_a_weight_of_zero_hides_no_row_from_the_score() -> None:
    predictions, group = draw(120, 3, 0.5)
    wrong = predictions.logits.argmax(1) != predictions.label
    hidden = replace(predictions, weight=np.where(wrong, 0.0, 1.0))  # "cleaning" away what the model gets wrong
    for name in METRICS:
        assert estimate(hidden, group, name) == estimate(predictions, group, name)
    assert estimate(predictions.take(~wrong), group[~wrong], "accuracy").value == 1.0  # what the lie would look like


def test_rule_5_auroc_of_folds_with_shifted_logits_is_not_the_pooled_one() -> None:
    rng = np.random.default_rng(0)
    label, fold = rng.integers(0, 2, 400), np.arange(400) % 2
    signal = label * 1.5 + rng.normal(size=400) + 4.0 * fold  # the second fold's model is shifted, no worse
    predictions = table(label, np.stack([np.zeros(400), signal], axis=1), fold)
    pooled = METRICS["auroc"].compute(label, softmax(predictions.logits))
    found = estimate(predictions, singles(predictions), "auroc")
    assert found.value == pytest.approx(np.mean(found.per_fold))
    assert found.value > 0.8
    assert pooled < 0.75


def test_rule_5_macro_f1_is_the_mean_over_folds() -> None:
    predictions, group = draw(90, 5, 1.0, n_folds=5)
    found = estimate(predictions, group, "macro_f1")
    pooled = METRICS["macro_f1"].compute(predictions.label, softmax(predictions.logits))
    assert found.value == pytest.approx(np.mean(found.per_fold))
    assert abs(found.value - pooled) > 1e-3


def test_rule_6_a_temperature_fitted_where_it_is_judged_is_too_optimistic() -> None:
    loss = METRICS["log_loss"].compute
    naive, honest, fresh = [], [], []
    for seed in range(60):
        predictions, _ = draw(24, 3, 1.0, seed=seed, n_folds=4)
        new, _ = draw(2000, 3, 1.0, seed=5000 + seed)
        temperature = fit_temperature(predictions.logits, predictions.label)
        _, logits = cross_fit_temperature(predictions)
        naive.append(loss(predictions.label, softmax(predictions.logits / temperature)))
        honest.append(loss(predictions.label, softmax(logits)))
        fresh.append(loss(new.label, softmax(new.logits / temperature)))
    assert all(n < h for n, h in zip(naive, honest, strict=True))
    assert np.mean(naive) < np.mean(fresh) - 0.01
    assert abs(np.mean(honest) - np.mean(fresh)) < abs(np.mean(naive) - np.mean(fresh))


def test_rule_6_a_folds_own_labels_never_reach_its_temperature() -> None:
    predictions, _ = draw(90, 3, 1.0, n_folds=3)
    before, logits = cross_fit_temperature(predictions)
    turned = replace(predictions, label=np.where(predictions.fold == 0, 2 - predictions.label, predictions.label))
    after, turned_logits = cross_fit_temperature(turned)
    assert after[0, 0] == before[0, 0]
    assert after[0, 1] != before[0, 1]
    own = predictions.fold == 0
    np.testing.assert_array_equal(logits[own], turned_logits[own])
    with pytest.raises(EvidenceError, match="judged on the rows it was fitted on"):
        cross_fit_temperature(predictions.take(own))


def test_rule_7_methods_on_other_rows_folds_or_labels_are_not_compared() -> None:
    a, group = draw(60, 3, 1.0, n_folds=3)
    shuffled = a.take(np.random.default_rng(0).permutation(60))
    assert paired_difference(a, shuffled, group, "macro_f1").value == 0  # order is no matter, keys are
    faults = {
        "different rows": a.take(np.arange(59)),
        "has label": replace(a, label=(a.label + 1) % 3),
        "has fold": replace(a, fold=(a.fold + 1) % 3),
        "twice": replace(a, example_id=np.array(["e0", *a.example_id[:-1]])),
    }
    for says, other in faults.items():
        with pytest.raises(EvidenceError, match=says):
            paired_difference(a, other, group, "accuracy")
    with pytest.raises(EvidenceError, match="different rows"):
        paired_difference(a, replace(a, repeat=a.repeat + 1), group, "accuracy")


def test_rule_7_the_gate_judges_holdout_rows_only() -> None:
    a, group = draw(60, 2, 1.0, n_folds=3)
    with pytest.raises(EvidenceError, match="60 rows that are not of the locked holdout"):
        judge(a, {"majority": a}, group, NAMES, GateTerms())
    good, bad = good_and_bad()
    with pytest.raises(EvidenceError, match="different rows"):
        judge(good, {"majority": bad.take(np.arange(150))}, singles(good), NAMES, GateTerms())


def test_rule_8_a_check_that_could_not_run_caps_the_verdict() -> None:
    good, bad = good_and_bad()
    assert judge(good, {"majority": bad}, singles(good), NAMES, GateTerms()).verdict == "PASS"
    terms = GateTerms(not_run=("linear_probe, because the base's features could not be read",))
    found = judge(good, {"majority": bad}, singles(good), NAMES, terms)
    assert found.verdict == "INCONCLUSIVE"
    assert found.reasons[0] == "Not run: linear_probe, because the base's features could not be read."
    assert judge(bad, {"majority": good}, singles(good), NAMES, terms).verdict == "FAIL"  # a cap lifts nothing


def test_rule_9_without_a_baseline_nothing_passes() -> None:
    good, _ = good_and_bad()
    found = judge(good, {}, singles(good), NAMES, GateTerms())
    assert found.verdict == "INCONCLUSIVE"
    assert "comparison with small baselines" in found.reasons[0]
