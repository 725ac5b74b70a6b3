"""Is one set of predictions better than another on the very same rows? Paired, by group (honesty rule 7)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError
from honed.evidence.estimate import Difference
from honed.evidence.intervals import t_quantile
from honed.evidence.jackknife import jackknife, probabilities
from honed.evidence.metrics import METRICS, row_correct
from honed.oof import Predictions


def align(a: Predictions, b: Predictions) -> Predictions:
    """The rows of `b` in the order of `a`.

    Raises EvidenceError unless both hold exactly the same (example_id, repeat), each once, with the same label and
    the same fold: anything else would compare methods on different rows or different training sets.
    """

    def keys(table: Predictions) -> list[tuple[str, int]]:
        return list(zip(table.example_id.tolist(), table.repeat.tolist(), strict=True))

    keys_a, keys_b = keys(a), keys(b)
    position = {key: i for i, key in enumerate(keys_b)}
    if len(position) != len(keys_b) or len(set(keys_a)) != len(keys_a):
        raise EvidenceError(
            "Two sets of predictions cannot be compared: one of them scores an example twice in a repeat."
        )
    only_a = [key for key in keys_a if key not in position]
    only_b = position.keys() - set(keys_a)
    if only_a or only_b:
        example, repeat = only_a[0] if only_a else min(only_b)
        raise EvidenceError(
            "Two sets of predictions cannot be compared: they score different rows"
            f" ({len(only_a)} only in the first, {len(only_b)} only in the second;"
            f" for example {example!r} in repeat {repeat}).",
            cause="A difference between methods is only meant on the same examples and the same fold plan.",
            remedy="Score both on one fold plan.",
        )
    aligned = b.take([position[key] for key in keys_a])
    for column, of_a, of_b in (("label", a.label, aligned.label), ("fold", a.fold, aligned.fold)):
        differs = np.flatnonzero(of_a != of_b)
        if len(differs):
            i = differs[0]
            raise EvidenceError(
                f"Two sets of predictions cannot be compared: example {str(a.example_id[i])!r} has {column} {of_a[i]}"
                f" in the first and {of_b[i]} in the second ({len(differs)} such rows).",
                cause="They come from different data or different fold plans.",
            )
    return aligned


def mcnemar(correct_a: npt.NDArray[np.bool_], correct_b: npt.NDArray[np.bool_]) -> float:
    """Exact two-sided p-value that both are right equally often (McNemar 1947: binomial on the disagreements)."""
    from scipy.stats import binomtest

    only_a, only_b = int((correct_a & ~correct_b).sum()), int((~correct_a & correct_b).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue)


def paired_difference(
    a: Predictions, b: Predictions, group: npt.NDArray[np.str_], metric: str, *, level: float = 0.95
) -> Difference:
    """How much `a` scores above `b` (a - b) on the same rows, with interval and p-value.

    group : (m,) aligned with `a`. The difference of the two jackknife shifts of a group is the shift of the
    difference, so whatever both find hard cancels. t interval with the effective number of groups - 1 degrees of
    freedom, and two pseudo-disagreements (`standard_error`).

    Raises EvidenceError if the rows differ (see `align`) or the metric is undefined on them.
    """
    b = align(a, b)
    which = METRICS[metric]
    jack_a, jack_b = jackknife(a, group, which), jackknife(b, group, which)
    value = jack_a.value - jack_b.value
    error = standard_error(jack_a.shift - jack_b.shift, which.in_unit_interval)
    half = t_quantile(level, jack_a.df) * error
    limit = 1.0 if which.in_unit_interval else which.highest - which.lowest
    exact = None
    if metric == "accuracy" and not jack_a.is_grouped:
        hit_a, hit_b = (row_correct(t.label, probabilities(t, group)) > 0 for t in (a, b))
        exact = mcnemar(hit_a, hit_b)
    return Difference(
        value=value,
        low=max(-limit, value - half),
        high=min(limit, value + half),
        level=level,
        p_value=two_sided(value, error, jack_a.df),
        n=jack_a.n,
        interval="paired-jackknife-t",
        exact_p_value=exact,
    )


def standard_error(shift: npt.NDArray[np.float64], is_unit: bool) -> float:
    """Root of the summed squared shifts, as though two more groups disagreed.

    Where two models disagree on d groups only, the plain error is too small (4 rows won and none lost would be
    "significant"). Two pseudo-disagreements, variance (1 + 2 / d), bring it to McNemar's exact test (Agresti & Min
    2005; Bonett & Price 2012); d is the effective number of disagreeing groups, (sum s^2)^2 / sum s^4. Without any
    disagreement it is that of two whole groups, so agreement on few rows is no certainty.
    """
    variance, fourth = float((shift**2).sum()), float((shift**4).sum())
    if fourth == 0:
        return math.sqrt(2) / len(shift) if is_unit else 0.0
    return math.sqrt(variance * (1 + 2 * fourth / variance**2))


def two_sided(value: float, error: float, df: float) -> float:
    """P-value of "the true value is zero" by Student's t with `df` degrees of freedom."""
    from scipy.special import stdtr

    if error == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * stdtr(df, -abs(value) / error))
