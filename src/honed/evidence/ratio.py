"""The ratio of two shares with its interval, and from it what an answer means where a disease is rare."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Share:
    """A share in [0, 1], the ends of its interval, and how far each group moves it (`Jackknife.shift`)."""

    value: float
    low: float
    high: float
    shift: dict[str, float]

    @property
    def rest(self) -> Share:
        """One minus this share."""
        return Share(1 - self.value, 1 - self.high, 1 - self.low, {name: -d for name, d in self.shift.items()})


def correlation(a: Share, b: Share) -> float:
    """How far the same groups move both shares; 0 where one of them does not move. In [-1, 1]."""
    scale = math.sqrt(sum(d**2 for d in a.shift.values()) * sum(d**2 for d in b.shift.values()))
    return sum(d * b.shift.get(name, 0.0) for name, d in a.shift.items()) / scale if scale > 0 else 0.0


def ratio_interval(top: Share, bottom: Share) -> tuple[float, float]:
    """The interval of top / bottom from the intervals of both: MOVER-R, which is Fieller's with other ends.

    The ends R solve (top - R bottom)^2 = a^2 - 2 r a b R + b^2 R^2, with r the correlation and a, b the distances to
    the ends of the shares' own intervals that count: of top the low and of bottom the high one, and the other way
    round. It needs no logarithm, so a share of zero has an interval too: the high end is infinite exactly where bottom
    may be zero. Donner & Zou 2012; for pairs Tang, Li & Tang 2012.
    """
    r = correlation(top, bottom)
    middle, root, outer, _ = _quadratic(top, bottom, top.low, bottom.high, r)
    low = outer / (middle + root) if middle + root > 0 else 0.0
    middle, root, _, inner = _quadratic(top, bottom, top.high, bottom.low, r)
    return low, (middle + root) / inner if inner > 0 else math.inf


def _quadratic(top: Share, bottom: Share, end: float, other: float, r: float) -> tuple[float, float, float, float]:
    """inner R^2 - 2 middle R + outer = 0, and the root of its discriminant, which is never negative."""
    middle = top.value * bottom.value - r * abs((top.value - end) * (bottom.value - other))
    outer, inner = end * (2 * top.value - end), other * (2 * bottom.value - other)
    return middle, math.sqrt(max(middle**2 - outer * inner, 0.0)), outer, inner


def predictive_value(right: Share, wrong: Share, odds: float) -> tuple[float, float, float]:
    """1 / (1 + odds wrong / right) with its interval: Bayes' theorem for those who got this answer.

    PPV: right = sensitivity, wrong = 1 - specificity, odds = (1 - prevalence) / prevalence. NPV: right = specificity,
    wrong = 1 - sensitivity, odds = prevalence / (1 - prevalence). Both intervals stem from the likelihood ratio's.
    NaN where nobody gets this answer. Altman & Bland 1994; Mercaldo, Lau & Zhou 2007.
    """
    total = right.value + odds * wrong.value
    low, high = ratio_interval(wrong, right)
    value = right.value / total if total > 0 else np.nan
    return value, 1 / (1 + odds * high) if math.isfinite(high) else 0.0, 1 / (1 + odds * low)
