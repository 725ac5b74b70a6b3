"""The attention evidence against scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap, entropy, permutation_test, spearmanr
from sklearn.metrics import auc, roc_auc_score

from honed.evidence.attention_faith import area_under, rank_correlations
from honed.evidence.attention_regions import entropy as own_entropy
from honed.evidence.attention_regions import paired, sign_flip_p
from honed.evidence.attention_shortcut import ScoredRows, shortcut_checks


def test_rank_correlation_is_spearmans() -> None:
    heat = np.random.default_rng(0).integers(0, 5, (6, 4, 5)).astype(float)
    other = heat + np.random.default_rng(1).normal(size=heat.shape)
    want = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(heat, other, strict=True)]
    assert rank_correlations(heat, other) == pytest.approx(want)


def test_entropy_is_shannons() -> None:
    heat = np.random.default_rng(0).random((5, 3, 4))
    assert own_entropy(heat) == pytest.approx(entropy(heat.reshape(5, -1), axis=1) / np.log(12))


def test_area_is_sklearns() -> None:
    frac = np.array([0, 0.1, 0.5, 1.0])
    curve = np.random.default_rng(0).random((3, 4))
    assert area_under(frac, curve) == pytest.approx([auc(frac, own) for own in curve])


def test_sign_flips_are_scipys_permutation_test_of_pairs() -> None:
    rng = np.random.default_rng(0)
    for n, tolerance in ((9, 1e-12), (60, 0.02)):
        a, b = rng.normal(size=n), rng.normal(0.25, 1, size=n)

        def mean_difference(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
            return np.mean(y - x, axis=axis)

        want = permutation_test(
            (a, b), mean_difference, permutation_type="samples", vectorized=True, n_resamples=9999, rng=rng
        ).pvalue
        assert sign_flip_p(b - a) == pytest.approx(want, abs=tolerance)


def test_interval_of_a_ratio_agrees_with_the_bootstrap() -> None:
    rng = np.random.default_rng(0)
    n = 150
    area = rng.uniform(0.1, 0.4, n)
    base, specialist = area * rng.gamma(4, 0.25, n), area * rng.gamma(4, 0.35, n)
    found = paired(base, specialist, np.array([f"g{i}" for i in range(n)]), weight=area)

    def ratio(rows: np.ndarray) -> float:
        return float((specialist - base)[rows].sum() / area[rows].sum())

    want = bootstrap((np.arange(n),), lambda rows: ratio(rows.astype(int)), method="BCa", vectorized=False,
                     n_resamples=2000, rng=rng).confidence_interval  # fmt: skip
    assert found.difference is not None
    assert (found.difference.low, found.difference.high) == pytest.approx((want.low, want.high), abs=0.02)
    assert found.difference.value == pytest.approx(ratio(np.arange(n)))


def test_shortcut_auc_is_sklearns_fold_by_fold() -> None:
    rng = np.random.default_rng(0)
    label, fold, share = rng.integers(0, 2, 90), np.arange(90) % 3, rng.random(90)
    rows = ScoredRows(label, ("a", "b"), rng.random(90) < 0.5, fold, np.arange(90).astype(str))
    found = shortcut_checks({"image border": share}, rows)
    want = [
        np.mean([roc_auc_score(y[fold == k], share[fold == k]) for k in range(3)]) for y in (rows.is_correct, label)
    ]
    assert [check.auc.value for check in found if check.auc] == pytest.approx(want)
