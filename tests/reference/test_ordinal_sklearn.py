"""Figures of grades against scikit-learn, and their leave-out values against a naive loop."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from honed.evidence.intervals import estimate
from honed.evidence.metrics import METRICS, median_grade, metric_names
from honed.oof import Predictions
from tolerances import tolerance


def table(n: int = 90, c: int = 5, *, skill: float = 1.5, seed: int = 0) -> tuple[Predictions, np.ndarray]:
    """Grades with logits that know a little, three rows a group, three folds of whole groups."""
    rng = np.random.default_rng(seed)
    label = rng.integers(c, size=n)
    logits = rng.normal(size=(n, c)) - skill * np.abs(np.arange(c) - label[:, None])
    group = np.arange(n) // 3
    rows = Predictions(
        example_id=np.array([f"row {i}" for i in range(n)]), repeat=np.zeros(n, np.int64), fold=group % 3, label=label,
        loss=np.zeros(n), weight=np.ones(n), logits=logits,
    )  # fmt: skip
    return rows, group.astype(np.str_)


def probs_of(rows: Predictions) -> np.ndarray:
    assert rows.logits is not None
    exp = np.exp(rows.logits - rows.logits.max(axis=1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=1, keepdims=True))


def test_the_median_grade_halves_the_probability() -> None:
    probs = np.array([[0.5, 0.5], [0.49, 0.51], [1.0, 0.0], [0.0, 1.0]])
    assert median_grade(probs).tolist() == [0, 1, 0, 1]
    rng = np.random.default_rng(0)
    many = rng.dirichlet(np.ones(5), size=200)
    cost = np.abs(np.arange(5)[:, None] - np.arange(5)) @ many.T  # expected error of each decision
    chosen = cost[median_grade(many), np.arange(200)]
    np.testing.assert_allclose(chosen, cost.min(axis=0), **tolerance("metric", "float64"))


@pytest.mark.parametrize("seed", range(4))
def test_kappa_and_grade_error_are_scikit_learns(seed: int) -> None:
    rows, group = table(seed=seed)
    probs = probs_of(rows)
    grade = median_grade(probs)
    per_fold = [
        cohen_kappa_score(rows.label[rows.fold == k], grade[rows.fold == k], weights="quadratic") for k in range(3)
    ]
    found = estimate(rows, group, "quadratic_kappa")
    assert found.value == pytest.approx(np.mean(per_fold), abs=1e-12)
    np.testing.assert_allclose(found.per_fold, per_fold, **tolerance("metric", "float64"))
    assert -1 <= found.low < found.value < found.high <= 1
    error = estimate(rows, group, "grade_error")
    assert error.value == pytest.approx(np.abs(rows.label - grade).mean(), abs=1e-12)
    assert 0 <= error.low < error.value < error.high


@pytest.mark.parametrize("name", ["quadratic_kappa", "grade_error"])
def test_leaving_groups_out_is_the_naive_loop(name: str) -> None:
    rows, group = table(30)
    probs, index = probs_of(rows), group.astype(int)
    fast = METRICS[name].leave_out(rows.label, probs, index, 10)
    naive = [METRICS[name].compute(rows.label[index != g], probs[index != g]) for g in range(10)]
    np.testing.assert_allclose(fast, naive, **tolerance("metric", "float64"))


def test_one_grade_alone_has_no_kappa() -> None:
    assert np.isnan(METRICS["quadratic_kappa"].compute(np.zeros(4, np.int64), np.eye(2)[[0, 0, 0, 0]]))


def test_intervals_cover_about_as_often_as_they_say() -> None:
    """The whole population is known: 90 % intervals of 150 rows, 200 times."""
    truth, _ = table(200_000, seed=99)
    wanted = {
        "quadratic_kappa": cohen_kappa_score(truth.label, median_grade(probs_of(truth)), weights="quadratic"),
        "grade_error": np.abs(truth.label - median_grade(probs_of(truth))).mean(),
    }
    hits = dict.fromkeys(wanted, 0)
    for seed in range(200):
        rows, _ = table(150, seed=seed)
        single = Predictions(**{**vars(rows), "fold": np.full(150, -1)})
        for name, value in wanted.items():
            found = estimate(single, np.arange(150).astype(np.str_), name, level=0.9)
            hits[name] += found.low <= value <= found.high
    assert all(0.84 <= n / 200 <= 0.96 for n in hits.values()), hits


def test_figures_of_grades_are_asked_for() -> None:
    assert metric_names(ordinal=True) == [*metric_names(ordinal=False), "quadratic_kappa", "grade_error"]
