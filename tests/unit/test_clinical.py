"""The clinical reading: who counts as ill, the operating point, what it means, what it is asked of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evidence_tables import draw, singles, table
from honed.config import make_config
from honed.errors import ConfigError, EvidenceError, UsageError
from honed.evidence.clinical import (
    Point,
    Reading,
    choose_threshold,
    positive_classes,
    read_holdout,
    read_out_of_fold,
)
from honed.evidence.decisions import decisions
from honed.evidence.metrics import softmax
from honed.evidence.ratio import Share, predictive_value
from honed.evidence.report_clinical import natural_frequencies
from honed.pipeline.clinical import check_reading, not_run_of
from tolerances import tolerance

GRADES = ("0 none", "1 mild", "2 moderate", "3 severe")
ILL = Reading((1,))


def youden(label: np.ndarray, called: np.ndarray) -> float:
    return float(called[label == 1].mean() + (~called)[label == 0].mean() - 1)


@pytest.mark.parametrize(
    ("text", "found"),
    [("2,3", (2, 3)), ("3 severe , 0 none", (0, 3)), ("1 mild", (1,)), ("2, 2 moderate", (2,)), ("1,2,3", (1, 2, 3))],
)
def test_positive_classes_are_named_whole_or_by_their_first_word(text: str, found: tuple[int, ...]) -> None:
    assert positive_classes(text, GRADES) == found


def test_a_class_with_a_comma_is_one_class() -> None:
    assert positive_classes("tumour, benign", ("none", "tumour, benign", "tumour, malign")) == (1,)


@pytest.mark.parametrize(
    ("text", "names", "says"),
    [
        ("tuberclosis", ("normal", "tuberculosis"), "Did you mean 'tuberculosis'"),
        ("2.0", ("0", "1", "2"), "Did you mean '2'"),
        ("tumour", ("none", "tumour benign", "tumour malign"), "no class 'tumour'"),
        ("normal,,tuberculosis", ("normal", "tuberculosis"), "no class ''"),
        ("normal,tuberculosis", ("normal", "tuberculosis"), "names all 2 classes"),
    ],
)
def test_classes_that_cannot_be_meant_are_refused(text: str, names: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError, match="--positive") as refused:
        positive_classes(text, names)
    assert says in str(refused.value)


@pytest.mark.parametrize("sensitivity", [None, 0.6, 0.95, 0.999])
@pytest.mark.parametrize("seed", range(5))
def test_the_operating_point_is_the_best_of_all_cuts(seed: int, sensitivity: float | None) -> None:
    rng = np.random.default_rng(seed)
    is_ill = rng.random(60) < 0.3
    p = np.round(np.clip(0.3 * is_ill + 0.7 * rng.random(60), 0, 1), 2)  # with ties
    threshold = choose_threshold(is_ill, p, sensitivity)
    rates = [((p >= cut)[is_ill].mean(), (p < cut)[~is_ill].mean()) for cut in np.unique(p)]
    mine = ((p >= threshold)[is_ill].mean(), (p < threshold)[~is_ill].mean())
    if sensitivity is None:
        assert sum(mine) == pytest.approx(max(map(sum, rates)))
        assert mine[0] == max(found for found, spared in rates if found + spared > sum(mine) - 1e-9)
    else:
        assert mine[0] >= sensitivity
        assert mine[1] == max(spared for found, spared in rates if found >= sensitivity)
    assert not (p == threshold).any() or threshold == p.min()  # midway: rounding turns no row


def test_neighbouring_probabilities_are_told_apart() -> None:
    near = np.nextafter(0.5, 1)
    assert choose_threshold(np.array([True, False]), np.array([near, 0.5])) == near


@pytest.mark.parametrize("is_ill", [np.ones(3, bool), np.zeros(3, bool)])
def test_rows_of_one_kind_have_no_operating_point(is_ill: np.ndarray) -> None:
    with pytest.raises(EvidenceError, match="of which none is"):
        choose_threshold(is_ill, np.linspace(0, 1, 3))


def test_rule_6_a_point_chosen_on_the_judged_rows_is_too_kind_and_cross_fitting_removes_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("honed.evidence.roc.N_DRAWS", 2)  # the band is not looked at
    naive, honest, fresh = [], [], []
    for seed in range(80):
        rows, group = draw(40, 2, 0.5, seed=seed, n_folds=4)
        new, _ = draw(4000, 2, 0.5, seed=7000 + seed)
        p, p_new = softmax(rows.logits)[:, 1], softmax(new.logits)[:, 1]
        point, figures = read_out_of_fold(rows, group, ILL, {}, 1.0)
        naive.append(youden(rows.label, p >= point.threshold))
        honest.append(figures["sensitivity"]["value"] + figures["specificity"]["value"] - 1)
        fresh.append(youden(new.label, p_new >= point.threshold))
    assert np.mean(naive) > np.mean(fresh) + 0.05
    assert abs(np.mean(honest) - np.mean(fresh)) < 0.04


def test_rule_6_a_folds_own_labels_never_reach_its_threshold() -> None:
    rows, group = draw(90, 3, 1.0, n_folds=3)
    own = rows.fold == 0
    turned = replace(rows, label=np.where(own, 2 - rows.label, rows.label))
    (_, before), (_, after) = (read_out_of_fold(t, group, Reading((2,)), {}, 1.0) for t in (rows, turned))
    assert before["per_fold"][0] == after["per_fold"][0]
    assert before["per_fold"][1] != after["per_fold"][1]
    with pytest.raises(EvidenceError):
        read_out_of_fold(rows.take(own), group[own], ILL, {}, 1.0)


def test_temperature_is_part_of_the_probability() -> None:
    rows, group = draw(90, 3, 1.0, n_folds=3)
    cold, _ = read_out_of_fold(rows, group, ILL, {}, 1.0)
    warm, figures = read_out_of_fold(rows, group, ILL, {(0, 0): 4.0}, 4.0)
    assert abs(warm.threshold - 1 / 3) < abs(cold.threshold - 1 / 3)  # nearer to what all classes alike would have
    assert figures["per_fold"][0]["temperature"] == 4.0 and figures["per_fold"][1]["temperature"] == 1.0


def test_the_holdout_gets_the_point_as_it_is() -> None:
    rows = table(np.array([1, 1, 1, 0, 0, 0, 0, 0]), np.log(np.array([[9, 1], [4, 6], [2, 8], *[[7, 3]] * 4, [3, 7]])))
    found = read_holdout(rows, singles(rows), replace(ILL, prevalence=0.02), Point(0.5, 0.02), 1.0)
    assert found["counts"] == {"true_positive": 2, "false_negative": 1, "false_positive": 1, "true_negative": 4}
    assert (found["sensitivity"]["value"], found["specificity"]["value"]) == (2 / 3, 4 / 5)
    assert found["ppv"]["value"] == pytest.approx(0.02 * 2 / 3 / (0.02 * 2 / 3 + 0.98 / 5))
    assert found["npv"]["value"] == pytest.approx(0.98 * 4 / 5 / (0.98 * 4 / 5 + 0.02 / 3))
    for name in ("ppv", "npv", "sensitivity", "specificity", "auroc"):
        assert 0 <= found[name]["low"] < found[name]["value"] < found[name]["high"] <= 1, name
    assert natural_frequencies(found).startswith(
        "Of 1\u202f000 people of whom 20 are ill, it finds 13 and misses 7, and it alarms 196 of the 980 healthy. "
        "So 13 of 209 alarms are right"
    )


def test_without_a_stated_prevalence_it_is_that_of_the_rows() -> None:
    rows, group = draw(90, 3, 1.0, n_folds=3)
    point, figures = read_out_of_fold(rows, group, Reading((0, 1)), {}, 1.0)
    assert point.prevalence == np.isin(rows.label, (0, 1)).mean()
    assert figures["prevalence"] == {"value": point.prevalence, "is_stated": False}


def test_what_the_rows_leave_open_is_said_and_caps_the_verdict() -> None:
    rows = table(np.zeros(6, int), np.random.default_rng(0).normal(size=(6, 2)))
    found = read_holdout(rows, singles(rows), ILL, Point(0.999, 0.1), 1.0, np.full(6, -1))
    for name in ("sensitivity", "ppv", "npv", "auroc"):
        assert found[name]["value"] is None and found[name]["not_run"].startswith("not run, because")
    assert found["roc"] is None and found["specificity"]["value"] == 1
    reasons = not_run_of(found)
    assert len(reasons) == 5 and all(", because " in reason for reason in reasons)
    assert any("label of the reader" in reason for reason in reasons)
    assert natural_frequencies(found) == ""


def test_a_share_without_errors_has_a_predictive_value_with_an_interval() -> None:
    all_right, none_wrong = Share(1.0, 0.8, 1.0, {}), Share(0.0, 0.0, 0.1, {})
    value, low, high = predictive_value(all_right, none_wrong, 49.0)
    assert value == high == 1 and 0 < low < 1 / (1 + 49 * 0.1) + 0.01
    value, low, high = predictive_value(none_wrong, none_wrong, 49.0)
    assert np.isnan(value) and (low, high) == (0, 1)


def test_rare_illnesses_are_told_of_a_larger_crowd() -> None:
    clinical = {"sensitivity": {"value": 0.9}, "specificity": {"value": 1.0}, "prevalence": {"value": 0.0005}}
    assert natural_frequencies(clinical).startswith("Of 100\u202f000 people of whom 50 are ill, it finds 45")


def test_the_calibrated_logits_of_many_classes_add_up() -> None:
    rows, group = draw(60, 4, 1.0)
    found = read_holdout(rows, group, Reading((1, 3)), Point(0.4, 0.5), 2.0)
    p = softmax(rows.logits / 2.0)[:, [1, 3]].sum(axis=1)
    decided = decisions(rows, np.isin(rows.label, (1, 3)), p >= 0.4, 2)
    np.testing.assert_allclose(
        found["sensitivity"]["value"], (p >= 0.4)[decided.label == 1].mean(), **tolerance("metric", "float64")
    )


@pytest.mark.parametrize("given", [{"prevalence": 0.02}, {"sensitivity": 0.9}, {"reader": "second"}])
def test_a_reading_needs_to_know_who_is_ill(given: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="--positive"):
        check_reading(make_config(given))
    check_reading(make_config(given | {"positive": "x"}))


@pytest.mark.parametrize("value", [0, 1, 5, -0.1, "2 %"])
def test_a_prevalence_that_is_no_share_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="--prevalence"):
        make_config({"positive": "x", "prevalence": value})


@pytest.mark.parametrize(("value", "text"), [(2, "2"), ([2, 3], "2,3"), (["a", "b"], "a,b"), ("a,b", "a,b")])
def test_yaml_may_list_the_classes(value: object, text: str) -> None:
    assert make_config({"positive": value}).positive == text
