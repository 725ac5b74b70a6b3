"""The clinical figures against scikit-learn, and their intervals against populations whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import cohen_kappa_score, confusion_matrix, roc_auc_score, roc_curve

from evidence_tables import draw, singles, table
from honed.evidence.clinical import Point, Reading, read_holdout, read_out_of_fold
from honed.evidence.decisions import decisions, recall
from honed.evidence.intervals import estimate
from honed.evidence.metrics import KAPPA, softmax
from honed.evidence.ratio import Share, predictive_value, ratio_interval
from honed.evidence.roc import GRID
from honed.evidence.roc import roc_curve as banded
from honed.evidence.second_reader import error_ratio
from honed.oof import Predictions
from tolerances import tolerance

LEVEL = 0.9
EXACT = tolerance("metric", "float64")


@pytest.mark.parametrize("positive", [(1,), (0, 2)])
def test_the_roc_curve_is_the_mean_of_scikit_learns(positive: tuple[int, ...]) -> None:
    rows, group = draw(240, 4, 1.0, n_folds=3, group_size=2)
    _, found = read_out_of_fold(rows, group, Reading(positive), {}, 1.0)
    p, is_ill = softmax(rows.logits)[:, list(positive)].sum(axis=1), np.isin(rows.label, positive)
    curves, areas = [], []
    for k in range(3):
        own = rows.fold == k
        false_positive, sensitivity, _ = roc_curve(is_ill[own], p[own], drop_intermediate=False)
        curves.append(np.interp(GRID, false_positive, sensitivity))
        areas.append(roc_auc_score(is_ill[own], p[own]))
    np.testing.assert_allclose(found["roc"]["sensitivity"], np.mean(curves, axis=0), **EXACT)
    np.testing.assert_allclose(found["auroc"]["value"], np.mean(areas), **EXACT)
    low, middle, high = (np.array(found["roc"][key]) for key in ("low", "sensitivity", "high"))
    assert (low <= middle).all() and (middle <= high).all() and (high - low)[1:-1].max() > 0.05


def test_a_perfect_curve_has_a_band_too() -> None:
    rows = table(np.arange(40) % 2, np.stack([np.zeros(40), np.arange(40) % 2 * 4.0 - 2], axis=1))
    found = banded(rows, rows.logits[:, 1], singles(rows), level=0.95)
    assert found["sensitivity"][0] == 1 and 0.7 < found["low"][0] < 0.9


@pytest.mark.parametrize("n_classes", [2, 5])
def test_kappa_is_scikit_learns_and_leaving_groups_out_is_the_naive_loop(n_classes: int) -> None:
    rows, group = draw(90, n_classes, 1.0, n_folds=3, group_size=3)
    said = rows.logits.argmax(axis=1)
    found = estimate(rows, group, KAPPA)
    expected = [cohen_kappa_score(rows.label[rows.fold == k], said[rows.fold == k]) for k in range(3)]
    np.testing.assert_allclose(found.per_fold, expected, **EXACT)
    np.testing.assert_allclose(found.value, np.mean(expected), **EXACT)
    index = np.arange(90) // 3
    fast = KAPPA.leave_out(rows.label, softmax(rows.logits), index, 30)
    naive = [cohen_kappa_score(rows.label[index != g], said[index != g]) for g in range(30)]
    np.testing.assert_allclose(fast, naive, **EXACT)


@pytest.mark.parametrize("r", [-0.8, 0.0, 0.5, 0.99])
def test_the_ratio_of_wald_intervals_is_fiellers(r: float) -> None:
    """Fieller 1954: all R with (top - R bottom)^2 <= z^2 (a^2 - 2 r a b R + b^2 R^2), a and b the standard errors."""
    z, a, b = 1.96, 0.02, 0.03
    top, bottom = 0.1, 0.3
    shift_a = {"g": a * math.sqrt(1 - r**2), "h": a * r}
    low, high = ratio_interval(
        Share(top, top - z * a, top + z * a, shift_a), Share(bottom, bottom - z * b, bottom + z * b, {"h": b})
    )
    roots = np.roots([bottom**2 - (z * b) ** 2, -2 * (top * bottom - r * z * a * z * b), top**2 - (z * a) ** 2])
    np.testing.assert_allclose([low, high], np.sort(roots), **EXACT)


def readers(rng: np.random.Generator, n: int, errors: tuple[float, float], group_size: int) -> list[Predictions]:
    """Two who err that often, on partly the same rows and groups."""
    group = np.arange(n) // group_size
    shared = 0.3 if group_size > 1 else 0.0
    row, whole = rng.normal(size=n), rng.normal(size=n)[group]
    label = rng.integers(0, 2, n)
    tables = []
    for error in errors:
        own = math.sqrt(0.4) * row + math.sqrt(0.6) * rng.normal(size=n)
        is_wrong = math.sqrt(shared) * whole + math.sqrt(1 - shared) * own < norm.ppf(error)
        tables.append(decisions(table(label, np.eye(2)[label]), label, np.where(is_wrong, 1 - label, label), 2))
    return tables


@pytest.mark.parametrize(("n", "errors", "group_size"), [(100, (0.04, 0.16), 1), (400, (0.1, 0.1), 5)])
def test_the_interval_of_the_error_ratio_covers(n: int, errors: tuple[float, float], group_size: int) -> None:
    rng = np.random.default_rng(0)
    truth, hits, group = errors[0] / errors[1], 0, (np.arange(n) // group_size).astype(np.str_)
    for _ in range(300):
        found = error_ratio(*readers(rng, n, errors, group_size), group, level=LEVEL)
        hits += found["low"] <= truth <= (math.inf if found["high"] is None else found["high"])
    assert 0.85 <= hits / 300 <= 0.95


def patients(rng: np.random.Generator, n: int, apart: float, group_size: int) -> tuple[Predictions, np.ndarray]:
    """Three in ten are ill; their score lies `apart` standard deviations higher. A group is of one kind."""
    group = np.arange(n) // group_size
    is_ill = (rng.random(n) < 0.3)[group]
    shared = 0.4 if group_size > 1 else 0.0
    score = math.sqrt(shared) * rng.normal(size=n)[group] + math.sqrt(1 - shared) * rng.normal(size=n) + apart * is_ill
    return table(is_ill, np.stack([np.zeros(n), score - apart / 2], axis=1)), group.astype(np.str_)


@pytest.mark.parametrize(("n", "apart", "group_size"), [(200, 1.5, 1), (200, 3.0, 1), (500, 1.5, 5)])
def test_sensitivity_specificity_and_predictive_values_cover(n: int, apart: float, group_size: int) -> None:
    rng, odds = np.random.default_rng(1), 0.98 / 0.02
    right = norm.cdf(apart / 2)  # sensitivity and specificity alike: the cut lies in the middle
    truth = {"sensitivity": right, "specificity": right, "ppv": 1 / (1 + odds * (1 - right) / right)}
    truth["npv"] = 1 / (1 + (1 - right) / right / odds)
    hits = dict.fromkeys(truth, 0)
    for _ in range(300):
        rows, group = patients(rng, n, apart, group_size)
        decided = decisions(rows, rows.label, rows.logits[:, 1] >= 0, 2)
        ill, well = (recall(decided, group, k, LEVEL) for k in (1, 0))
        found = {
            "sensitivity": (ill[0].low, ill[0].high),
            "specificity": (well[0].low, well[0].high),
            "ppv": predictive_value(ill[1], well[1].rest, odds)[1:],
            "npv": predictive_value(well[1], ill[1].rest, 1 / odds)[1:],
        }
        for name, (low, high) in found.items():
            hits[name] += low <= truth[name] <= high
    assert all(0.85 <= count / 300 <= 0.95 for count in hits.values()), hits


def test_the_band_of_the_curve_covers_at_each_point() -> None:
    rng, apart, rounds = np.random.default_rng(2), 1.5, 120
    truth = norm.sf(norm.isf(GRID) - apart)
    hits = np.zeros(len(GRID))
    for _ in range(rounds):
        rows, group = patients(rng, 200, apart, 1)
        found = banded(rows, rows.logits[:, 1], group, level=LEVEL)
        hits += (np.array(found["low"]) <= truth) & (truth <= np.array(found["high"]))
    inner = hits[5:91] / rounds  # near the corners a step of one row decides
    assert 0.86 <= inner.mean() <= 0.96 and inner.min() > 0.78, inner


def test_the_holdout_at_a_point_is_scikit_learns_confusion() -> None:
    rows, group = draw(150, 3, 1.0, group_size=3)
    found = read_holdout(rows, group, Reading((2,)), Point(0.3, 0.5), 1.7)
    called = softmax(rows.logits / 1.7)[:, 2] >= 0.3
    names = ("true_negative", "false_positive", "false_negative", "true_positive")
    assert [found["counts"][name] for name in names] == confusion_matrix(rows.label == 2, called).ravel().tolist()
