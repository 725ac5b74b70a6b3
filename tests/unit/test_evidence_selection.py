"""Choosing a method: planted truths, the winner's curse, and what must be refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from evidence_tables import table
from honed.errors import EvidenceError
from honed.evidence.comparison import paired_difference
from honed.evidence.intervals import estimate
from honed.evidence.selection import Comparison, Cost, Entry, compare
from honed.evidence.selection_rule import holm
from honed.oof import Predictions

FREE = Cost(0, 1.0, None, 0, None, is_baseline=True)


def cost(trained_parameters: int, artifact_bytes: int = 1000) -> Cost:
    return Cost(trained_parameters, 10.0, None, artifact_bytes, None)


def scored(
    accuracy: float, *, m: int = 400, seed: int = 0, truth: int = 0, group_size: int = 1, n_folds: int = 5
) -> Predictions:
    """A table that is right in about this share of rows; the same `truth` gives the same labels and folds."""
    label = np.random.default_rng(10_000 + truth).integers(0, 3, m)
    rng = np.random.default_rng((truth, seed))
    group = np.arange(m) // group_size
    right = (rng.random(group.max() + 1) < accuracy)[group]
    predicted = np.where(right, label, (label + rng.integers(1, 3, m)) % 3)
    return table(label, 3.0 * np.eye(3)[predicted] + 0.1 * rng.normal(size=(m, 3)), group % n_folds)


def better_than(base: Predictions, n_rows: int) -> Predictions:
    """The same table with `n_rows` of its mistakes put right."""
    logits = base.logits.copy()
    wrong = np.flatnonzero(logits.argmax(1) != base.label)[:n_rows]
    logits[wrong] = 3.0 * np.eye(3)[base.label[wrong]]
    return replace(base, logits=logits)


def of(*entries: Entry, metric: str = "accuracy") -> Comparison:
    return compare(entries, entries[0].predictions.example_id, metric=metric)


BASE = scored(0.8)
LORA = Entry("lora", BASE, cost(1_000))


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "log_loss", "auroc"])
def test_of_two_equal_methods_the_cheaper_one_is_recommended(metric: str) -> None:
    full = Entry("full", better_than(BASE, 1), cost(1_000_000))
    found = of(full, LORA, metric=metric)
    assert found.best == "full"
    assert found.recommended == "lora"
    assert found.standing("lora").is_within_noise
    assert 0 < found.standing("lora").could_be_worse_by < 0.05
    assert "could be worse than full by up to" in found.recommendation
    assert found.cross_fitted.times_chosen == {"lora": 5}
    assert found.cross_fitted.against_best.value == pytest.approx(0)  # the one row had no say where it was scored


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "log_loss", "auroc"])
def test_a_clearly_better_method_is_worth_its_price(metric: str) -> None:
    full = Entry("full", better_than(BASE, 60), cost(1_000_000))
    found = of(LORA, full, metric=metric)
    assert [row.name for row in found.standings] == ["full", "lora"]
    assert found.recommended == found.best == "full"
    assert found.standing("lora").is_worse
    assert not found.standing("lora").is_within_noise
    assert found.standing("lora").corrected_p < 0.001
    assert found.standing("full").difference is None
    assert found.standing("full").could_be_worse_by == 0
    assert "no other is within noise" in found.recommendation
    fitted, own = found.cross_fitted.score, estimate(full.predictions, BASE.example_id, metric)
    assert (fitted.value, fitted.low, fitted.high) == pytest.approx((own.value, own.low, own.high))
    assert found.cross_fitted.against_best.value == 0


def test_the_bound_is_the_far_end_of_the_paired_interval() -> None:
    full = Entry("full", better_than(BASE, 4), cost(1_000_000))
    for metric in ("accuracy", "log_loss"):
        found = of(full, LORA, metric=metric)
        difference = paired_difference(BASE, full.predictions, BASE.example_id, metric)
        far = -difference.low if metric == "accuracy" else difference.high
        assert found.standing("lora").could_be_worse_by == pytest.approx(far)


def test_the_price_of_thrift_is_told() -> None:
    found = of(Entry("full", better_than(BASE, 4), cost(1_000_000)), LORA)
    assert found.recommended == "lora"
    assert found.cross_fitted.against_best.value == pytest.approx(-4 / 400)
    assert any("Thrift has its price" in note and "1.0 points worse" in note for note in found.notes)


def test_a_cheap_method_that_could_be_much_worse_is_not_taken_for_equal() -> None:
    """On few rows no test finds anything worse; without the margin, the noisiest cheap method would be recommended."""
    few = BASE.take(np.arange(40))
    entries = [Entry("full", better_than(few, 3), cost(1_000_000)), Entry("lora", few, cost(1_000))]
    found = of(*entries)
    assert found.recommended == "full"
    assert not found.standing("lora").is_worse
    assert found.standing("lora").could_be_worse_by > 0.1
    assert any("lora" in note and "not found worse than full" in note for note in found.notes)
    assert compare(entries, few.example_id, metric="accuracy", max_loss=1.0).recommended == "lora"


def test_at_equal_price_the_smaller_artifact_then_the_better_score() -> None:
    same = [Entry(name, BASE, cost(10, size)) for name, size in (("a", 300), ("b", 200))]
    assert of(*same).recommended == "b"
    rates = [Entry("lr=1e-4", BASE, cost(10)), Entry("lr=3e-4", better_than(BASE, 1), cost(10))]
    assert of(*rates).recommended == "lr=3e-4"
    twins = of(Entry("b", BASE, cost(10)), Entry("a", BASE, cost(10)))
    assert (twins.best, twins.recommended) == ("a", "a")
    assert twins.standing("b").corrected_p == 1


def test_baselines_stand_in_the_table_but_are_never_recommended() -> None:
    better = Entry("tfidf_logreg", better_than(BASE, 60), FREE)
    found = of(better, LORA, Entry("majority", scored(0.33, seed=5), FREE))
    assert found.recommended == found.best == "lora"
    assert [row.name for row in found.standings] == ["tfidf_logreg", "lora", "majority"]
    assert found.standing("tfidf_logreg").difference.value > 0
    assert not found.standing("tfidf_logreg").is_worse
    assert found.unbeaten_baselines == ("tfidf_logreg",)
    assert any("not better than the baseline tfidf_logreg" in note for note in found.notes)
    assert set(found.cross_fitted.times_chosen) == {"lora"}


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_a_beaten_baseline_needs_no_note(metric: str) -> None:
    found = of(LORA, Entry("majority", scored(0.33, seed=5), FREE), metric=metric)
    assert found.unbeaten_baselines == ()
    assert not any("not better than the baseline" in note for note in found.notes)


def test_a_single_method_is_recommended_without_a_test() -> None:
    found = of(LORA)
    assert found.recommended == "lora"
    assert found.standing("lora").corrected_p is None
    assert "the only method" in found.recommendation
    assert found.cross_fitted.score == estimate(BASE, BASE.example_id, "accuracy")


def test_holm_equals_the_example_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_hopeless_entries_do_not_soften_the_test_of_the_others() -> None:
    full = Entry("full", better_than(BASE, 12), cost(1_000_000))
    alone = of(full, LORA).standing("lora")
    hopeless = [Entry(f"majority {i}", scored(0.33, seed=5 + i), FREE) for i in range(6)]
    assert alone.corrected_p < 0.05
    assert of(full, LORA, *hopeless).standing("lora").corrected_p == pytest.approx(alone.corrected_p)


def test_many_methods_are_not_told_apart_by_chance_more_often_than_promised() -> None:
    """Subset selection: of equally good methods a given one is lost in at most about 5 % of comparisons."""
    rounds, lost, uncorrected = 60, 0, 0
    terms = {"m": 150, "n_folds": 1}  # one fold: no cross-fitting, which would be most of the work
    for truth in range(rounds):
        found = of(*(Entry(f"m{i}", scored(0.8, seed=i, truth=truth, **terms), cost(1)) for i in range(5)))
        row = found.standing("m0")
        lost += row.is_worse
        uncorrected += row.difference is not None and row.difference.p_value < 0.05
    assert lost <= 7  # 60 draws of 5 %: more than 7 in 2 of 100 seeds
    assert uncorrected > lost


def test_the_winners_own_score_flatters_and_the_cross_fitted_one_does_not() -> None:
    rounds, n_methods, truth_is = 8, 20, 0.8
    best, fitted = [], []
    for truth in range(rounds):
        found = of(
            *(Entry(f"m{i:02}", scored(truth_is, m=150, seed=i, truth=truth), cost(1)) for i in range(n_methods))
        )
        best.append(found.standing(found.best).score.value)
        fitted.append(found.cross_fitted.score.value)
    error = 0.033 / np.sqrt(rounds)  # of one method's accuracy on 150 rows, averaged over the rounds
    assert np.mean(best) > truth_is + 3 * error
    assert abs(np.mean(fitted) - truth_is) < 3 * error


def test_the_cross_fitted_choice_never_sees_the_fold_that_it_is_scored_on() -> None:
    """A method that is perfect in fold 0 and poor elsewhere must not be chosen for fold 0."""
    logits = scored(0.4, seed=3).logits.copy()
    inside = BASE.fold == 0
    logits[inside] = 3.0 * np.eye(3)[BASE.label[inside]]
    lucky = Entry("lucky", replace(BASE, logits=logits), cost(1))
    found = of(lucky, LORA)
    assert dict(found.cross_fitted.choice)[0] == "lora"


def test_an_unstable_choice_is_told() -> None:
    """A cheap method that fails in fold 0 alone: only when fold 0 is left out does it look as good as the other."""
    logits = BASE.logits.copy()
    inside = np.flatnonzero(BASE.fold == 0)
    logits[inside] = 3.0 * np.eye(3)[(BASE.label[inside] + 1) % 3]
    found = of(Entry("cheap", replace(BASE, logits=logits), cost(1)), Entry("full", BASE, cost(1_000_000)))
    assert found.recommended == "full"
    assert found.cross_fitted.times_chosen == {"full": 4, "cheap": 1}
    assert any("not stable" in note and "full 4, cheap 1" in note for note in found.notes)


def test_grouped_rows_count_as_groups() -> None:
    full = better_than(BASE, 12)
    entries = [Entry("full", full, cost(1_000_000)), LORA]
    singly = compare(entries, BASE.example_id, metric="accuracy")
    assert singly.recommended == "full"
    # The twelve rows that were won are, by group, only one win.
    won = np.flatnonzero(full.logits.argmax(1) != BASE.logits.argmax(1))
    fold, group = np.zeros(len(BASE), dtype=np.int64), BASE.example_id.astype("U20")
    fold[np.setdiff1d(np.arange(len(BASE)), won)] = np.arange(len(BASE) - len(won)) % 5
    group[won] = "one patient"
    grouped = compare(
        [replace(entry, predictions=replace(entry.predictions, fold=fold)) for entry in entries],
        group,
        metric="accuracy",
    )
    assert singly.standing("lora").is_worse
    assert not grouped.standing("lora").is_worse
    assert grouped.standing("lora").could_be_worse_by > 2 * singly.standing("lora").could_be_worse_by
    assert grouped.n_groups == len(BASE) - 11


def test_the_order_of_rows_does_not_matter() -> None:
    shuffled = better_than(BASE, 12).take(np.random.default_rng(0).permutation(len(BASE)))
    plain = of(LORA, Entry("full", better_than(BASE, 12), cost(1_000_000)))
    mixed = of(LORA, Entry("full", shuffled, cost(1_000_000)))
    assert mixed.standing("lora").corrected_p == pytest.approx(plain.standing("lora").corrected_p)
    assert mixed.recommended == plain.recommended


def test_repeats_of_one_plan_are_one_unit_a_row() -> None:
    index = np.r_[np.arange(400), np.arange(400)]
    repeat = np.repeat([0, 1], 400)
    twice = [
        Entry(name, replace(rows.take(index), repeat=repeat), cost(price))
        for name, rows, price in (("lora", BASE, 1), ("full", better_than(BASE, 5), 2))
    ]
    once = of(LORA, Entry("full", better_than(BASE, 5), cost(2))).standing("lora").difference
    assert of(*twice).standing("lora").difference.p_value == pytest.approx(once.p_value)
    assert len(of(*twice).cross_fitted.choice) == 5


def test_one_fold_gives_no_cross_fitted_score_and_says_so() -> None:
    rows = replace(BASE, fold=np.zeros(len(BASE), dtype=np.int64))
    found = of(Entry("lora", rows, cost(1)))
    assert found.cross_fitted is None
    assert any("Cross-fitted score: not run, because all rows are of one fold" in note for note in found.notes)
    assert found.to_json()["cross_fitted"] == {"not_run": found.cross_fitted_not_run}


def test_what_was_not_run_is_told() -> None:
    found = compare([LORA], BASE.example_id, metric="accuracy", not_run={"prefix": "a slot diverged twice."})
    assert "prefix: not run, because a slot diverged twice." in found.notes
    assert found.to_json()["not_run"] == {"prefix": "a slot diverged twice."}


def test_other_rows_folds_or_labels_are_refused() -> None:
    def refused(other: Predictions, words: str) -> None:
        with pytest.raises(EvidenceError, match=words) as caught:
            of(LORA, Entry("full", other, cost(2)))
        assert "full cannot be compared with lora" in caught.value.problem

    refused(BASE.take(np.arange(399)), "different rows")
    refused(replace(BASE, fold=(BASE.fold + 1) % 5), "has fold")
    refused(replace(BASE, label=(BASE.label + 1) % 3), "has label")
    refused(replace(BASE, logits=np.c_[BASE.logits, BASE.logits[:, :1]]), "4 classes where lora has 3")
    broken = BASE.logits.copy()
    broken[7, 0] = np.nan
    refused(replace(BASE, logits=broken), "'e7' has a logit that is not finite")
    refused(replace(BASE, logits=None), "no logits")


def test_a_comparison_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(EvidenceError, match="Two entries of the comparison are called 'lora'"):
        of(LORA, LORA)
    with pytest.raises(EvidenceError, match="no method to compare"):
        of(Entry("majority", BASE, FREE))
    with pytest.raises(EvidenceError, match="full has no count of trained parameters"):
        of(LORA, Entry("full", BASE, replace(cost(1), trained_parameters=None)))
    with pytest.raises(EvidenceError, match="locked holdout"):
        of(Entry("lora", replace(BASE, fold=np.full(len(BASE), -1)), cost(1)))
    with pytest.raises(EvidenceError, match="Group 'g' stands in fold 0 and in fold 1"):
        compare([LORA], np.full(len(BASE), "g"), metric="accuracy")
    with pytest.raises(EvidenceError, match="3 groups were given for 400"):
        compare([LORA], BASE.example_id[:3], metric="accuracy")


def test_comparison_json_holds_plain_types_with_the_promised_keys() -> None:
    full = Entry("full", better_than(BASE, 4), Cost(1_000_000, 99.5, 2_000_000, 4_000_000, 0.002))
    found = of(full, LORA, Entry("majority", scored(0.33, seed=5), FREE))
    read = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert list(read) == [
        "metric", "level", "n", "n_groups", "n_folds", "rule", "max_loss", "best", "recommended",
        "recommendation", "notes", "entries", "against_baselines", "cross_fitted", "not_run",
    ]  # fmt: skip
    first = read["entries"][0]
    assert (first["name"], first["difference_to_best"], first["corrected_p_value"]) == ("full", None, None)
    assert first["cost"] == {
        "trained_parameters": 1_000_000, "seconds": 99.5, "peak_memory_bytes": 2_000_000, "artifact_bytes": 4_000_000,
        "added_latency_s": 0.002,
    }  # fmt: skip
    assert [entry["is_baseline"] for entry in read["entries"]] == [False, False, True]
    assert read["cross_fitted"]["choice"][0] == {"fold": 0, "method": "lora"}
    assert set(read["against_baselines"]) == {"majority"}
    assert read["n"] == 400 and read["n_groups"] == 400 and read["n_folds"] == 5
