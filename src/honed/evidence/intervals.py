"""The interval behind every figure; chosen by simulation (`benchmarks/coverage.py`, `docs/statistics.md`).

All are closed formulas over the jackknife's group shifts: no random numbers, so no seed.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from honed.evidence.estimate import Estimate
from honed.evidence.jackknife import Jackknife, cells, jackknife, probabilities
from honed.evidence.metrics import ECE_BINS, METRICS, Metric, ece_gaps
from honed.oof import Predictions

MAX_ROWS_PER_ROW = 10.0
MOST_SKEW = 0.35
"""Near 0.45 the cube root of Hall's transformation turns at zero, and one far row would blow the interval up."""


def score_interval(value: float, n_effective: float, quantile: float) -> tuple[float, float]:
    """Wilson's interval of a share in [0, 1] that is as certain as one from `n_effective` independent rows.

    (p + q2/2n +- q sqrt(p(1-p)/n + q2/4n2)) / (1 + q2/n). Wilson 1927; in samples of clusters Korn & Graubard 1998.
    """
    q2 = quantile**2 / n_effective
    middle = (value + q2 / 2) / (1 + q2)
    half = math.sqrt(q2 * (value * (1 - value) + q2 / 4)) / (1 + q2)
    return max(0.0, min(value, middle - half)), min(1.0, max(value, middle + half))


def effective_rows(jack: Jackknife) -> float:
    """Independent rows whose share would have the jackknife's variance: p(1-p)/variance.

    Never more than ten times the rows at hand; a figure of exactly 0 or 1 shows no spread, and then every group counts
    as one row.
    """
    spread, variance = jack.value * (1 - jack.value), jack.variance
    if spread <= 0 or variance <= spread / (MAX_ROWS_PER_ROW * jack.n):
        return jack.df + 1 if spread <= 0 else MAX_ROWS_PER_ROW * jack.n
    return spread / variance


def t_quantile(level: float, df: float) -> float:
    """Two-sided quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.5 + level / 2))


def skewed_interval(jack: Jackknife, quantile: float, error: float | None = None) -> tuple[float, float]:
    """t interval bent by the skewness of the group shifts: Hall's cubic transformation (Hall 1992).

    error : a standard error in the place of the jackknife's own; then the skewness counts up to `MOST_SKEW` only, which
    errs as rarely (`benchmarks/coverage_language.py`).
    """
    skew = 0.0 if jack.variance == 0 else _skewness(jack)
    if error is None:
        error = math.sqrt(jack.variance)
    else:
        skew = min(max(skew, -MOST_SKEW), MOST_SKEW)
    if error == 0:
        return jack.value, jack.value

    def bent(t: float) -> float:
        return t if abs(skew) < 1e-9 else float(np.cbrt(1 + skew * (t - skew / 6)) - 1) * 3 / skew

    low, high = jack.value - error * bent(quantile), jack.value - error * bent(-quantile)
    return min(low, jack.value), max(high, jack.value)


def skewed_t(jack: Jackknife, truth: float, error: float) -> float:
    """Hall's transform of (value - truth) / error: the t whose `skewed_interval` with that error ends at `truth`.

    Infinite where there is no spread and the value is another.
    """
    if error == 0:
        return 0.0 if jack.value == truth else math.copysign(math.inf, jack.value - truth)
    x, skew = (jack.value - truth) / error, min(max(_skewness(jack), -MOST_SKEW), MOST_SKEW)
    return x if abs(skew) < 1e-9 else ((1 + skew * x / 3) ** 3 - 1) / skew + skew / 6


def _skewness(jack: Jackknife) -> float:
    """Skewness of the figure: a group that lifts it has a negative shift."""
    return -float((jack.shift**3).sum()) / math.sqrt(jack.variance) ** 3


def _ece_excess(predictions: Predictions, group: npt.NDArray[np.str_]) -> float:
    """By how much chance alone lifts the ECE: sum over bins of E|N(gap, se)| - |gap|, averaged over folds."""
    probs = probabilities(predictions, group)
    excess = []
    for rows in cells(predictions):
        index, gap = ece_gaps(predictions.label[rows], probs[rows])
        names, local = np.unique(group[rows], return_inverse=True)
        flat = local.ravel() * ECE_BINS + index
        total = np.bincount(flat, weights=gap, minlength=len(names) * ECE_BINS).reshape(-1, ECE_BINS)
        count = np.bincount(flat, minlength=len(names) * ECE_BINS).reshape(-1, ECE_BINS)
        mean = total.sum(0) / np.maximum(count.sum(0), 1)
        # A bin with one row shows no spread; under calibration its variance is at least conf (1 - conf).
        confidence = probs[rows].max(axis=1)
        floor = np.bincount(index, weights=confidence * (1 - confidence), minlength=ECE_BINS)
        error = np.sqrt(np.maximum(((total - count * mean) ** 2).sum(0), floor)) / len(rows)
        excess.append(
            float((error * _folded_excess(np.abs(total.sum(0)) / len(rows) / np.maximum(error, 1e-300))).sum())
        )
    return float(np.mean(excess))


def _folded_excess(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """E|N(t, 1)| - t for t >= 0; a gap below one standard error counts as none at all."""
    from scipy.special import ndtr

    near = np.minimum(t, 40.0)
    folded = math.sqrt(2 / math.pi) * np.exp(-(near**2) / 2) + near * (1 - 2 * ndtr(-near))
    return np.where(t < 1, math.sqrt(2 / math.pi), folded - near)


def estimate(
    predictions: Predictions, group: npt.NDArray[np.str_], metric: str | Metric, *, level: float = 0.95
) -> Estimate:
    """The figure with its interval, for the models that made these predictions.

    predictions : the holdout (fold -1) or an out-of-fold table.    group : (m,) the independent unit of each row.
    metric : a name of METRICS, or a Metric.    level : two-sided, in (0, 1).

    Raises EvidenceError if the figure is undefined on these rows (see `jackknife`).
    """
    which = METRICS[metric] if isinstance(metric, str) else metric
    jack = jackknife(predictions, group, which)
    quantile = t_quantile(level, jack.df)
    if which.name == "accuracy" and not jack.is_grouped:
        kind = "wilson"
        low, high = score_interval(jack.value, jack.n, t_quantile(level, math.inf))
    elif which.name == "ece":
        kind = "jackknife-ece"
        half = quantile * math.sqrt(jack.variance)
        low = max(0.0, jack.value - _ece_excess(predictions, group) - half)
        high = min(1.0, jack.value + half)
    elif which.in_unit_interval:
        kind = "cluster-wilson" if which.name == "accuracy" else "jackknife-wilson"
        low, high = score_interval(jack.value, effective_rows(jack), quantile)
    else:
        kind = "jackknife-skew-t"
        low, high = skewed_interval(jack, quantile)
        low, high = max(which.lowest, low), min(which.highest, high)
    return Estimate(jack.value, low, high, level, kind, jack.n, jack.per_fold)
