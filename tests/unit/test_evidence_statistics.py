"""Estimates, comparisons, calibration and baselines on tables whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from evidence_tables import draw, from_predicted, singles, table
from honed.errors import EvidenceError, UsageError
from honed.evidence.baselines import BaselineRows, holdout_baseline, out_of_fold_baseline
from honed.evidence.calibration import apply_temperature, calibrate, fit_temperature, reliability_curve
from honed.evidence.comparison import mcnemar, paired_difference
from honed.evidence.intervals import estimate
from honed.evidence.metrics import METRICS, metric_names, softmax
from honed.evidence.scorecard import confusion, per_class, score, undefined


def test_wilson_interval_is_the_textbook_one() -> None:
    predictions = from_predicted([0] * 90 + [1] * 10, [0] * 100, 2)
    found = estimate(predictions, singles(predictions), "accuracy")
    assert found.interval == "wilson"
    assert (found.low, found.high) == pytest.approx((0.8256343, 0.9447709), abs=1e-6)  # statsmodels, method="wilson"


def test_copies_of_rows_in_one_group_add_no_certainty() -> None:
    predictions, _ = draw(80, 3, 1.0)
    plain = estimate(predictions, singles(predictions), "macro_f1")
    copies = predictions.take(np.repeat(np.arange(80), 5))
    grouped = estimate(copies, copies.example_id, "macro_f1")
    assert grouped.value == pytest.approx(plain.value)
    assert (grouped.low, grouped.high) == pytest.approx((plain.low, plain.high), abs=0.003)
    fooled = estimate(copies, np.arange(400).astype(str), "macro_f1")
    assert fooled.high - fooled.low < 0.6 * (plain.high - plain.low)


def test_repeats_of_one_row_are_one_unit() -> None:
    first, group = draw(100, 3, 1.0, n_folds=5)
    twice = first.take(np.r_[np.arange(100), np.arange(100)])
    twice = replace(twice, repeat=np.repeat([0, 1], 100))
    once = estimate(first, group, "macro_f1")
    both = estimate(twice, np.r_[group, group], "macro_f1")
    assert len(both.per_fold) == 10
    assert (both.low, both.high) == pytest.approx((once.low, once.high), abs=1e-9)


@pytest.mark.parametrize(("size", "classes"), [(1, 2), (1, 6), (4, 3)])
def test_nominal_90_percent_intervals_cover_about_that(size: int, classes: int) -> None:
    rounds, names = 250, ["accuracy", "macro_f1", "balanced_accuracy", "log_loss", "auroc"]
    big, _ = draw(200_000, classes, 1.5, seed=1, group_size=size, shared=0.3)
    truth = {name: METRICS[name].compute(big.label, softmax(big.logits)) for name in names}
    hits = dict.fromkeys(names, 0)
    for seed in range(rounds):
        predictions, group = draw(160, classes, 1.5, seed=100 + seed, group_size=size, shared=0.3)
        for name in names:
            found = estimate(predictions, group, name, level=0.9)
            hits[name] += found.low <= truth[name] <= found.high
    for name in names:  # 3 standard errors of 250 rounds around 87..93 %; ignoring the groups would give about .77
        assert 0.83 <= hits[name] / rounds <= 0.97, name


def test_ece_interval_reaches_down_because_chance_only_lifts_it() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(150, 3))
    label = np.array([rng.choice(3, p=p) for p in softmax(logits)])
    found = estimate(table(label, logits), np.arange(150).astype(str), "ece")
    assert found.value > 0.05  # perfectly calibrated, yet not zero
    assert found.low == 0


def test_perfect_scores_are_not_certain() -> None:
    predictions = from_predicted([0, 1] * 20, [0, 1] * 20, 2)
    scores = score(predictions, singles(predictions), ["no", "yes"])
    for name in ("accuracy", "macro_f1", "balanced_accuracy"):
        assert scores[name].high == 1
        assert 0.85 < scores[name].low < 0.95


def test_score_gives_none_for_what_is_undefined_and_says_why() -> None:
    predictions = from_predicted([0, 0, 0, 0], [0, 1, 0, 0], 2)
    scores = score(predictions, singles(predictions), ["no", "yes"])
    assert list(scores) == metric_names(ordinal=False)
    assert scores["auroc"] is None
    assert scores["accuracy"].value == 0.75
    reasons = undefined(predictions, singles(predictions))
    assert set(reasons) == {"auroc"}
    assert "not run, because" in reasons["auroc"]


def test_auroc_is_averaged_over_the_folds_that_define_it() -> None:
    predictions, group = draw(60, 2, 1.0, n_folds=3)
    predictions = replace(predictions, label=np.where(predictions.fold == 1, 0, predictions.label))
    found = estimate(predictions, group, "auroc")
    assert found.per_fold[1] is None
    assert found.value == pytest.approx(np.mean([found.per_fold[0], found.per_fold[2]]))


def test_everything_is_json() -> None:
    predictions, group = draw(90, 3, 1.0, n_folds=3)
    scores = {k: v and v.to_json() for k, v in score(predictions, group, list("abc")).items()}
    summary = calibrate(predictions, group).to_json()
    rows = [per_class(predictions, group, list("abc")), confusion(predictions, group, list("abc")), scores, summary]
    difference = paired_difference(predictions, predictions, group, "accuracy").to_json()
    assert json.loads(json.dumps([*rows, difference], allow_nan=False))


def test_per_class_knows_what_it_does_not_know() -> None:
    predictions = from_predicted([0, 0, 1], [0, 0, 0], 3)
    rows = per_class(predictions, singles(predictions), ["a", "b", "c"])
    assert rows[1] | {"recall_low": 0, "recall_high": 0, "f1_low": 0, "f1_high": 0} == {
        "label": "b", "n": 1, "n_predicted": 0, "recall": 0.0, "recall_low": 0, "recall_high": 0, "precision": None,
        "precision_low": None, "precision_high": None, "f1": 0.0, "f1_low": 0, "f1_high": 0, "level": 0.95,
    }  # fmt: skip
    assert rows[1]["recall_high"] > 0.7
    assert rows[2]["n"] == 0
    assert rows[2]["recall"] is None
    one_group = per_class(predictions, np.array(["g", "g", "h"]), ["a", "b", "c"])
    assert (one_group[0]["recall_low"], one_group[0]["recall_high"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"logits": None}, "no logits"),
        ({"label": np.array([0, 1, 7, 0])}, "outside the 2 classes"),
        ({"logits": np.full((4, 2), np.nan)}, "'e0' has a logit that is not finite"),
    ],
)
def test_unusable_tables_are_refused(change: dict, says: str) -> None:
    predictions = replace(from_predicted([0, 1, 1, 0], [0, 1, 1, 1], 2), **change)
    with pytest.raises(EvidenceError, match=says):
        score(predictions, singles(predictions), ["a", "b"])


def test_no_rows_wrong_groups_wrong_names_and_one_group_are_refused() -> None:
    predictions = from_predicted([0, 1, 1, 0], [0, 1, 1, 1], 2)
    with pytest.raises(EvidenceError, match="no scored rows"):
        score(predictions.take(np.array([], dtype=int)), np.array([], dtype=str), ["a", "b"])
    with pytest.raises(EvidenceError, match="3 groups were given for 4"):
        score(predictions, np.array(["x"] * 3), ["a", "b"])
    with pytest.raises(EvidenceError, match="2 classes, but 3 label names"):
        score(predictions, singles(predictions), ["a", "b", "c"])
    with pytest.raises(EvidenceError, match="belong to one group \\('x'\\)"):
        estimate(predictions, np.array(["x"] * 4), "accuracy")


def test_mcnemar_is_the_binomial_test_of_the_disagreements() -> None:
    a = np.array([True] * 9 + [False] + [True] * 30)
    b = np.array([False] * 9 + [True] + [True] * 30)
    assert mcnemar(a, b) == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar(a, a) == 1.0


def test_pairing_sees_what_unpaired_intervals_cannot() -> None:
    base, group = draw(400, 4, 1.5, seed=3)
    better = replace(base, logits=base.logits + 0.2 * np.eye(4)[base.label])
    one, two = estimate(better, group, "accuracy"), estimate(base, group, "accuracy")
    assert one.low < two.high  # the intervals overlap
    found = paired_difference(better, base, group, "accuracy")
    assert found.low > 0
    assert found.exact_p_value < 0.01
    assert found.value == pytest.approx(one.value - two.value)


def test_agreement_on_few_rows_is_not_certainty() -> None:
    predictions = from_predicted([0, 1] * 10, [0, 1] * 10, 2)
    found = paired_difference(predictions, predictions, singles(predictions), "accuracy")
    assert found.low < -0.1
    assert found.high > 0.1


@pytest.mark.parametrize(("won", "lost"), [(4, 0), (5, 0), (6, 0), (8, 1), (12, 3), (30, 15)])
def test_few_disagreements_agree_with_the_exact_test(won: int, lost: int) -> None:
    label = np.arange(300) % 2
    a = from_predicted(label.tolist(), np.where(np.arange(300) < lost, 1 - label, label).tolist(), 2)
    b = from_predicted(label.tolist(), np.where(np.arange(300) >= 300 - won, 1 - label, label).tolist(), 2)
    found = paired_difference(a, b, singles(a), "accuracy")
    assert found.p_value == pytest.approx(found.exact_p_value, abs=0.025)


@pytest.mark.parametrize("size", [1, 4])
def test_type_one_error_is_about_5_percent(size: int) -> None:
    rounds, false_alarms = 300, 0
    for seed in range(rounds):
        a, group = draw(120, 3, 1.0, seed=seed, group_size=size, shared=0.4)
        rng = np.random.default_rng(10_000 + seed)
        noise = rng.normal(size=(2, 120, 3))
        one, two = (replace(a, logits=a.logits + n) for n in noise)
        false_alarms += paired_difference(one, two, group, "macro_f1").p_value < 0.05
    assert 0.01 <= false_alarms / rounds <= 0.09  # 3 standard errors


def test_temperature_finds_the_truth_and_refuses_the_degenerate() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(4000, 4)) * 2
    label = np.array([rng.choice(4, p=p) for p in softmax(true)])
    assert fit_temperature(true * 3, label) == pytest.approx(3, rel=0.06)
    assert apply_temperature(table(label, true * 3), 3.0).loss == pytest.approx(table(label, true).loss)
    with pytest.raises(EvidenceError, match="every row is predicted rightly"):
        fit_temperature(np.eye(3), np.arange(3))
    with pytest.raises(EvidenceError, match="say nothing about the labels"):
        fit_temperature(np.eye(3), np.array([1, 2, 0]))
    with pytest.raises(EvidenceError, match="no rows"):
        fit_temperature(np.empty((0, 3)), np.empty(0, dtype=np.int64))


def test_calibration_of_an_overconfident_model_mends_loss_and_ece() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(1000, 3)) * 1.5
    label = np.array([rng.choice(3, p=p) for p in softmax(true)])
    summary = calibrate(table(label, true * 4, np.arange(1000) % 5), np.arange(1000).astype(str))
    assert summary.temperature == pytest.approx(4, rel=0.15)
    assert summary.log_loss_after.high < summary.log_loss_before.low
    assert summary.ece_after.high < summary.ece_before.low
    assert sorted(summary.per_fold) == [(0, f) for f in range(5)]
    assert sum(bin_["n"] for bin_ in summary.curve_after) == 1000


def test_a_perfect_table_keeps_temperature_one_and_says_why() -> None:
    label = np.array([0, 1] * 20)
    summary = calibrate(table(label, 5.0 * np.eye(2)[label], np.arange(40) // 20), np.arange(40).astype(str))
    assert summary.temperature == 1
    assert "every row is predicted rightly" in summary.not_fitted


def test_reliability_bins() -> None:
    probs = np.array([[0.95, 0.05], [0.92, 0.08], [0.6, 0.4]])
    curve = reliability_curve(np.array([0, 1, 0]), probs)
    assert [(row["n"], row["accuracy"]) for row in curve] == [(1, 1.0), (2, 0.5)]
    assert curve[1]["confidence"] == pytest.approx(0.935)


TEXTS = [f"{word} number {i}" for i in range(12) for word in ("card lost", "refund please", "hello there")]
LABEL = np.array([k for _ in range(12) for k in range(3)])
ROWS = BaselineRows(TEXTS, LABEL, np.array([f"t{i}" for i in range(36)]), 4)
SPLITS = [(f, np.flatnonzero(np.arange(36) // 12 != f), np.flatnonzero(np.arange(36) // 12 == f)) for f in range(3)]


def test_baselines_score_each_fold_from_the_others() -> None:
    words = out_of_fold_baseline("tfidf_logreg", ROWS, SPLITS)
    assert (words.logits.argmax(1) == words.label).all()
    assert sorted(words.example_id) == sorted(ROWS.example_id)
    assert words.fold.tolist() == [0] * 12 + [1] * 12 + [2] * 12
    assert np.isfinite(words.logits).all()  # class 3 was never seen
    assert words.logits[:, 3].max() < words.logits.max(1).min()
    majority = out_of_fold_baseline("majority", ROWS, SPLITS)
    assert len(np.unique(majority.logits.argmax(1))) == 1
    probe_rows = replace(ROWS, inputs=np.eye(3)[LABEL] + np.random.default_rng(0).normal(size=(36, 3)) / 9)
    probe = holdout_baseline("linear_probe", probe_rows, SPLITS[0][1], SPLITS[0][2])
    assert (probe.fold == -1).all()
    assert (probe.logits.argmax(1) == probe.label).all()


def test_baselines_bear_poor_data() -> None:
    one_class = replace(ROWS, label=np.zeros(36, dtype=np.int64))
    assert (holdout_baseline("tfidf_logreg", one_class, SPLITS[0][1], SPLITS[0][2]).logits.argmax(1) == 0).all()
    letters = replace(ROWS, inputs=["abc"[k] for k in LABEL])
    found = out_of_fold_baseline("tfidf_logreg", letters, SPLITS)
    assert (found.logits.argmax(1) == found.label).all()
    with pytest.raises(UsageError, match="Choose one of: majority"):
        out_of_fold_baseline("svm", ROWS, SPLITS)
