"""Gradient boosting on the columns that a template joined."""

from __future__ import annotations

import numpy as np

from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan
from honed.evidence.metrics import row_correct, softmax
from honed.pipeline.scoring import numbers, score_baselines


def make(n: int, *, has_columns: bool) -> tuple[Dataset, FoldPlan]:
    """Rows whose class is whether |x| > 1, which no linear reading of the text or of x can tell."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=n) * 1.5
    ids = np.array([f"row {i:03d}" for i in range(n)])
    columns = {"x": np.array([f"{value:.3f}" for value in x]), "city": rng.choice(["Rome", "Oslo"], n)}
    dataset = Dataset(
        ids, [f"x is {value:.3f}" for value in x], (np.abs(x) > 1).astype(np.int64), ids, ("near", "far"),
        np.arange(n), columns if has_columns else {},
    )  # fmt: skip
    return dataset, FoldPlan(ids, ids, np.arange(n) % 3, np.full(n, -1), 3, 0, dataset.fingerprint)


def test_it_learns_what_the_text_hides() -> None:
    dataset, plan = make(240, has_columns=True)
    scores = score_baselines(dataset, plan, np.zeros((240, 2)), on_holdout=False)
    accuracy = {
        name: float(row_correct(table.label, softmax(np.asarray(table.logits))).mean())
        for name, table in scores.tables.items()
    }
    assert accuracy["gradient_boosting"] > 0.9 > accuracy["tfidf_logreg"]
    assert scores.not_run == {}


def test_free_text_has_no_such_baseline_and_that_is_no_failure() -> None:
    dataset, plan = make(60, has_columns=False)
    scores = score_baselines(dataset, plan, np.zeros((60, 2)), on_holdout=False)
    assert "gradient_boosting" not in scores.tables and scores.not_run == {}


def test_cells_become_numbers() -> None:
    assert numbers(np.array(["1", "2.5", "-3e2"])).tolist() == [1.0, 2.5, -300.0]
    words = numbers(np.array(["Rome", "", "Oslo", "Rome"]))
    assert words[0] == words[3] != words[2] and np.isnan(words[1])
    assert np.isnan(numbers(np.array(["1", " "]))[1])
