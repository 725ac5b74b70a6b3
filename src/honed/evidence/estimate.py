"""Numbers that carry their uncertainty with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from honed.errors import EvidenceError


@dataclass(frozen=True)
class Estimate:
    """One measured figure.

    value : the figure, exactly as scikit-learn gives it (per fold, then averaged, where the metric is not a mean).
    low, high : ends of the two-sided interval at `level` (0.95 means 95 %).
    interval : the name of the method behind the interval; `docs/statistics.md` explains each.
    n : rows that were scored.
    per_fold : the figure of every (repeat, fold), in that order; None where a fold leaves it undefined.
    """

    value: float
    low: float
    high: float
    level: float
    interval: str
    n: int
    per_fold: tuple[float | None, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain types for `metrics.json`."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "level": self.level,
            "interval": self.interval,
            "n": self.n,
            "per_fold": list(self.per_fold),
        }


@dataclass(frozen=True)
class Difference:
    """How much `a` scores above `b` on the same rows (a - b, in the metric's own unit).

    low, high : ends of the two-sided interval at `level`.
    p_value : two-sided, of "no difference"; zero lies outside the interval exactly when it is below 1 - level.
    n : rows compared.
    interval : the name of the method behind the interval and the p-value.
    exact_p_value : accuracy on ungrouped rows only: McNemar's exact test, which counts on no large sample.
    """

    value: float
    low: float
    high: float
    level: float
    p_value: float
    n: int
    interval: str
    exact_p_value: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain types for `metrics.json`."""
        row: dict[str, Any] = {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "level": self.level,
            "p_value": self.p_value,
            "n": self.n,
            "interval": self.interval,
        }
        if self.exact_p_value is not None:
            row["exact_p_value"] = self.exact_p_value
        return row


def figure_json(compute: Callable[[], Estimate | Difference]) -> dict[str, Any]:
    """The figure as plain types, or {value: None, not_run: why} where the rows leave it undefined."""
    try:
        return compute().to_json()
    except EvidenceError as error:
        return {"value": None, "not_run": f"not run, because {error}"}
