"""The ROC curve with a band: sensitivity at every share of false alarms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from honed.evidence.intervals import MAX_ROWS_PER_ROW, score_interval, t_quantile
from honed.evidence.jackknife import cells
from honed.evidence.metrics import Floats, Ints
from honed.oof import Predictions

GRID = np.linspace(0, 1, 101)
N_DRAWS = 400


def roc_curve(scored: Predictions, score: Floats, group: npt.NDArray[np.str_], *, level: float) -> dict[str, Any]:
    """Sensitivity at each false-positive rate of `GRID`, with a pointwise band; plain types.

    scored : label 1 is ill, 0 is not.    score : (m,) the higher, the likelier ill.

    Each fold has a curve of its own, and they are averaged vertically (Fawcett 2006): scores of two models have no
    common scale. Groups are drawn anew within their fold, `N_DRAWS` times from one seed. The band is Wilson's interval
    with as many rows as would vary as much, so that it has a width also where the curve touches 0 or 1.

    Folds without ill or without healthy rows have no curve; the caller knows that there is one with both.
    """
    generator = np.random.default_rng(0)
    middle, variance, n_folds = np.zeros(len(GRID)), np.zeros(len(GRID)), 0
    for rows in cells(scored):
        is_ill = scored.label[rows] == 1
        if is_ill.all() or not is_ill.any():
            continue
        ordered, last = falling_cuts(score[rows])
        index = np.unique(group[rows], return_inverse=True)[1].ravel()
        ones = np.ones(len(rows))
        middle += _sensitivity(is_ill[ordered], ones, last)
        n_groups = int(index.max()) + 1
        drawn = np.empty((N_DRAWS, len(GRID)))
        for i in range(N_DRAWS):
            times = np.bincount(generator.integers(n_groups, size=n_groups), minlength=n_groups)
            drawn[i] = _sensitivity(is_ill[ordered], times[index[ordered]].astype(np.float64), last)
        drawn = drawn[~np.isnan(drawn[:, 0])]  # a draw may have left out all who are ill
        variance += drawn.var(axis=0) if len(drawn) else 0.0
        n_folds += 1
    middle, variance = middle / n_folds, variance / n_folds**2
    n_ill = len(np.unique(group[scored.label == 1]))
    quantile = t_quantile(level, max(n_ill - 1, 1))
    ends = [score_interval(p, _rows(p, v, n_ill), quantile) for p, v in zip(middle.tolist(), variance, strict=True)]
    return {
        "false_positive_rate": GRID.tolist(),
        "sensitivity": middle.tolist(),
        "low": [low for low, _ in ends],
        "high": [high for _, high in ends],
        "level": level,
        "n_draws": N_DRAWS,
    }


def falling_cuts(score: Floats) -> tuple[Ints, Ints]:
    """Positions of the rows by falling score, and where in that order each score has its last row: where to cut."""
    order = np.argsort(-score, kind="stable")
    falling = score[order]
    return order, np.flatnonzero(np.r_[falling[1:] != falling[:-1], True])


def _sensitivity(is_ill: npt.NDArray[np.bool_], weight: Floats, last: Ints) -> Floats:
    """The empirical curve at `GRID`; NaN if the weights leave no ill or no healthy row."""
    found, alarms = np.cumsum(weight * is_ill)[last], np.cumsum(weight * ~is_ill)[last]
    if not found[-1] or not alarms[-1]:
        return np.full(len(GRID), np.nan)
    return np.interp(GRID, np.r_[0, alarms / alarms[-1]], np.r_[0, found / found[-1]])


def _rows(value: float, variance: float, n_ill: int) -> float:
    """As `effective_rows`: independent rows whose share would vary as much; without any spread, the ill groups."""
    spread = value * (1 - value)
    return min(spread / variance, MAX_ROWS_PER_ROW * n_ill) if spread > 0 and variance > 0 else n_ill
