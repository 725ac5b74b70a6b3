"""The mean of a column of numbers, each row with its weight, and how far each group of rows moves it.

The same jackknife over groups as for classes (`jackknife.py`), for tables that have none: losses of replies, scores of
texts, margins of probes. The mean is sum(w x) / sum(w); nothing is drawn at random.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError
from honed.evidence.comparison import standard_error, two_sided
from honed.evidence.estimate import Difference, Estimate
from honed.evidence.intervals import effective_rows, score_interval, skewed_interval, skewed_t, t_quantile
from honed.evidence.jackknife import Jackknife
from honed.evidence.metrics import Floats


@dataclass(frozen=True)
class Rows:
    """m numbers of one kind.

    name : what they are, for messages.    value : (m,).    group : (m,) the independent unit of each row.
    weight : (m,) > 0, or None where every row counts the same.
    part : (m,) integers, or None; the mean of each part is told beside the mean of all, as `per_fold`.
    """

    name: str
    value: Floats
    group: npt.NDArray[np.str_]
    weight: Floats | None = None
    part: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.value)

    def take(self, mask: npt.ArrayLike) -> Rows:
        """The rows where the mask is true, or at the positions."""
        where = np.asarray(mask)
        rest = (None if own is None else own[where] for own in (self.weight, self.part))
        return Rows(self.name, self.value[where], self.group[where], *rest)


def row_jackknife(rows: Rows) -> Jackknife:
    """The mean and the group shifts.

    Degrees of freedom are Kish's effective number of groups by weight, minus 1: one long document counts for less than
    its tokens.

    Raises EvidenceError if there is no row, a value is not finite, a weight is not positive, lengths differ, or all
    rows are of one group.
    """
    name, m = rows.name, len(rows)
    weight = np.ones(m) if rows.weight is None else rows.weight
    if not m:
        raise EvidenceError(f"There are no rows, so {name} cannot be computed.")
    if len(rows.group) != m or len(weight) != m:
        raise EvidenceError(
            f"{name}: {m} values, {len(weight)} weights and {len(rows.group)} groups do not fit together."
        )
    if not np.isfinite(rows.value).all():
        bad = int((~np.isfinite(rows.value)).argmax())
        raise EvidenceError(
            f"{name}: the value of row {bad + 1} is not finite.", cause="The model that scored it diverged."
        )
    if not (np.isfinite(weight).all() and (weight > 0).all()):
        bad = int((~(np.isfinite(weight) & (weight > 0))).argmax())
        raise EvidenceError(
            f"{name}: row {bad + 1} has weight {weight[bad]:g}, so it counts for nothing.",
            cause="A reply without a single token has no loss.",
            remedy="Leave rows with an empty reply out before scoring.",
        )
    names, index = np.unique(rows.group, return_inverse=True)
    index = index.ravel()
    if len(names) < 2:
        raise EvidenceError(
            f"All {m} rows belong to one group ({str(names[0])!r}), so {name} has no interval.",
            remedy="Score rows of at least two independent groups.",
        )
    own, size = np.bincount(index, weight * rows.value), np.bincount(index, weight)
    value = float(own.sum() / size.sum())
    # Deviations from the mean first: a constant column then has exactly no spread.
    left = np.bincount(index, weight * (value - rows.value)) / (size.sum() - size)
    shift = (left - left.mean()) * math.sqrt((len(names) - 1) / len(names))
    per_fold: tuple[float | None, ...] = ()
    if rows.part is not None:
        parts, inside = np.unique(rows.part, return_inverse=True)
        inside = inside.ravel()
        of_part = np.bincount(inside, weight * rows.value, len(parts)) / np.bincount(inside, weight, len(parts))
        per_fold = tuple(float(v) for v in of_part)
    df = max(float(size.sum() ** 2 / (size**2).sum()) - 1, 1.0)
    return Jackknife(value, per_fold, shift, df, m, len(names) < m)


def row_estimate(rows: Rows, *, lowest: float, highest: float, level: float = 0.95) -> Estimate:
    """The mean with its interval. lowest, highest : between which values can lie; infinite where nothing bounds them.

    Values in [0, 1] get Wilson's interval at the jackknife's precision, others a t interval bent by their skewness.

    Raises EvidenceError as `row_jackknife` does.
    """
    jack = row_jackknife(rows)
    quantile = t_quantile(level, jack.df)
    if (lowest, highest) == (0.0, 1.0):
        kind = "jackknife-wilson"
        low, high = score_interval(jack.value, effective_rows(jack), quantile)
    else:
        kind = "jackknife-skew-t"
        low, high = skewed_interval(jack, quantile, math.sqrt(jack.variance))
        low, high = max(lowest, low), min(highest, high)
    return Estimate(jack.value, low, high, level, kind, jack.n, jack.per_fold)


def row_difference(rows: Rows, *, is_share: bool = False, level: float = 0.95) -> Difference:
    """The mean of paired differences with interval and p-value; `rows.value` is a - b of each row.

    is_share : both sides lie in [0, 1]; then as `paired_difference` does for accuracy, so that agreement on a few rows
    is no certainty. Otherwise the t interval is bent by the skewness, with the same two pseudo-disagreements: where few
    rows fall far, the plain one errs on one side (`benchmarks/coverage_language.py`).

    Raises EvidenceError as `row_jackknife` does.
    """
    jack = row_jackknife(rows)
    quantile, error = t_quantile(level, jack.df), standard_error(jack.shift, is_share)
    if is_share:
        low, high = max(-1.0, jack.value - quantile * error), min(1.0, jack.value + quantile * error)
        p_value, kind = two_sided(jack.value, error, jack.df), "paired-jackknife-t"
    else:
        low, high = skewed_interval(jack, quantile, error)
        p_value, kind = two_sided(skewed_t(jack, 0.0, error), 1.0, jack.df), "paired-jackknife-skew-t"
    return Difference(jack.value, low, high, level, p_value, jack.n, kind)


def below_p_value(rows: Rows, bound: float) -> float:
    """One-sided p-value of "the mean is at least `bound`": small where it is lower with confidence.

    It is below (1 - level) / 2 exactly where the interval of `row_difference` at that level lies below the bound.
    """
    jack = row_jackknife(rows)
    t = skewed_t(jack, bound, standard_error(jack.shift, False))
    half = two_sided(t, 1.0, jack.df) / 2
    return half if t < 0 else 1 - half
