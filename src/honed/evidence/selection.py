"""Which method to take: the cheapest one within noise of the best, and what that very procedure scores.

All methods are scored on one fold plan (honesty rule 7). The best of them was chosen on the rows that it is shown on,
so its own score is too kind (the winner's curse), and the more methods the more so. Two things here are not: the
cross-fitted score, where no row has a say in the choice of the method that scores it, and the holdout's, which is the
reported one and which nothing here may see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError
from honed.evidence.comparison import align, paired_difference
from honed.evidence.estimate import Difference, Estimate
from honed.evidence.intervals import estimate
from honed.evidence.jackknife import probabilities
from honed.evidence.metrics import METRICS
from honed.evidence.selection_rule import CrossFitted, RuleTerms, choose, cross_fitted
from honed.evidence.selection_words import RULE, notes, recommendation
from honed.oof import HOLDOUT_FOLD, Predictions

Groups = npt.NDArray[np.str_]

MAX_LOSS = 0.05
"""Five points: how much worse than the best a cheaper method may be, at the far end of its interval."""


@dataclass(frozen=True)
class Cost:
    """What one method costs. None: not measured; the rule needs the parameters and bytes of every method.

    trained_parameters : weights that training changes, head included.      seconds : wall time of all folds.
    peak_memory_bytes : of its training.      artifact_bytes : what ships beside the base model.
    added_latency_s : per row, beyond the bare base model.
    is_baseline : it cannot be shipped, so it is never recommended.
    """

    trained_parameters: int | None
    seconds: float | None
    peak_memory_bytes: int | None
    artifact_bytes: int | None
    added_latency_s: float | None
    is_baseline: bool = False


@dataclass(frozen=True)
class Entry:
    """One method or baseline: its out-of-fold table and what it cost."""

    name: str
    predictions: Predictions
    cost: Cost


@dataclass(frozen=True)
class Standing:
    """One row of the table.

    difference : entry minus best method, paired, in the metric's own unit; None for the best method itself. Its
    interval is at `level` for this one difference, its p-value uncorrected.
    corrected_p : Holm's, over all differences to the best; None for the best.
    is_worse : the corrected test finds it worse than the best method.
    could_be_worse_by : how far below the best method it could lie: the far end of its paired interval, in the metric's
    own unit, >= 0. Since the best is flattered by having been chosen, this errs on the careful side.
    is_within_noise : not worse, and it could not be worse by more than the margin (`RULE`).
    """

    name: str
    cost: Cost
    score: Estimate
    difference: Difference | None
    corrected_p: float | None
    is_worse: bool
    could_be_worse_by: float
    is_within_noise: bool


@dataclass(frozen=True)
class Comparison:
    """All that is known after comparing; nothing here comes from the holdout.

    standings : best score first.      best, recommended : names of methods.
    max_loss : the margin of the rule, in the metric's own unit.
    against_baselines : recommended minus each baseline, paired, uncorrected.
    cross_fitted : None if it could not be computed; `cross_fitted_not_run` then says why.
    not_run : method or baseline that could not be compared -> reason.
    """

    metric: str
    level: float
    n: int
    n_groups: int
    n_folds: int
    standings: tuple[Standing, ...]
    best: str
    recommended: str
    max_loss: float
    against_baselines: Mapping[str, Difference]
    cross_fitted: CrossFitted | None
    cross_fitted_not_run: str = ""
    not_run: Mapping[str, str] = field(default_factory=dict)

    def standing(self, name: str) -> Standing:
        """The row of one method or baseline. Raises KeyError if there is none."""
        found = next((row for row in self.standings if row.name == name), None)
        if found is None:
            raise KeyError(name)
        return found

    @property
    def unbeaten_baselines(self) -> tuple[str, ...]:
        """Baselines than which the recommended method is not better with confidence."""
        sign = 1 if METRICS[self.metric].higher_is_better else -1
        return tuple(
            name for name, diff in self.against_baselines.items() if min(sign * diff.low, sign * diff.high) <= 0
        )

    @property
    def recommendation(self) -> str:
        """The recommendation in one sentence."""
        return recommendation(self)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know beside the recommendation, as sentences."""
        return notes(self)

    def to_json(self) -> dict[str, Any]:
        """Plain types for `comparison.json`.

        Keys: metric, level, n, n_groups, n_folds, rule, max_loss, best, recommended, recommendation, notes;
        entries: one object an entry, best score first, with name, is_baseline, score (Estimate), difference_to_best
        (Difference or null), corrected_p_value (or null), is_worse, could_be_worse_by, is_within_noise, cost;
        against_baselines: baseline -> Difference; cross_fitted: {score, against_best, choice: [{fold, method}],
        times_chosen} or {not_run: reason}; not_run: name -> reason.
        """
        fitted = self.cross_fitted
        return {
            "metric": self.metric,
            "level": self.level,
            "n": self.n,
            "n_groups": self.n_groups,
            "n_folds": self.n_folds,
            "rule": RULE,
            "max_loss": self.max_loss,
            "best": self.best,
            "recommended": self.recommended,
            "recommendation": self.recommendation,
            "notes": list(self.notes),
            "entries": [_row_json(row) for row in self.standings],
            "against_baselines": {name: diff.to_json() for name, diff in self.against_baselines.items()},
            "cross_fitted": {"not_run": self.cross_fitted_not_run}
            if fitted is None
            else {
                "score": fitted.score.to_json(),
                "against_best": fitted.against_best.to_json(),
                "choice": [{"fold": fold, "method": name} for fold, name in fitted.choice],
                "times_chosen": fitted.times_chosen,
            },
            "not_run": dict(self.not_run),
        }


def _row_json(row: Standing) -> dict[str, Any]:
    cost = asdict(row.cost)
    return {
        "name": row.name,
        "is_baseline": cost.pop("is_baseline"),
        "score": row.score.to_json(),
        "difference_to_best": None if row.difference is None else row.difference.to_json(),
        "corrected_p_value": row.corrected_p,
        "is_worse": row.is_worse,
        "could_be_worse_by": row.could_be_worse_by,
        "is_within_noise": row.is_within_noise,
        "cost": cost,
    }


def compare(
    entries: Sequence[Entry],
    group: Groups,
    *,
    metric: str = "macro_f1",
    level: float = 0.95,
    max_loss: float = MAX_LOSS,
    not_run: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare methods that were scored on one fold plan, and recommend one by `RULE`.

    group : (m,) the independent unit of each row, aligned with the first entry's table.
    metric : a name of METRICS.      level : of every interval; the tests are at 1 - level.
    max_loss : margin of the rule, in the metric's own unit; 0.05 is five points. Without one, the noisier a method the
    easier it would pass, and on few rows everything would.
    not_run : method or baseline that could not be scored -> why; it becomes a note, never silence.

    Whichever method wins by luck, the truly best one is not called worse with a probability of about `level` or more:
    for that, a method that is no better must beat it significantly (subset selection, Gupta 1965).

    Raises EvidenceError if there is no method, a method has no price, a name occurs twice, the tables differ in rows,
    folds or labels, hold rows of the holdout, a group stands in two folds, or the metric is undefined.
    """
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise EvidenceError(f"Two entries of the comparison are called {twice!r}.", remedy="Give each its own name.")
    if all(entry.cost.is_baseline for entry in entries):
        raise EvidenceError(
            f"There is no method to compare, only {len(entries)} baselines.",
            cause="A baseline cannot be shipped, so it cannot be recommended.",
            remedy="Compare at least one method, for example lora.",
        )
    rows = entries[0].predictions
    _check_plan(rows, group)
    tables = {entry.name: _checked(entry, entries[0], group) for entry in entries}
    cost = {entry.name: entry.cost for entry in entries}
    price = {entry.name: _price(entry) for entry in entries}
    terms = RuleTerms(group, metric, level, max_loss)
    choice = choose(tables, price, terms)
    sign = 1 if METRICS[metric].higher_is_better else -1
    standings = [
        Standing(
            name,
            cost[name],
            estimate(table, group, metric, level=level),
            choice.difference.get(name),
            choice.corrected_p.get(name),
            name in choice.worse,
            choice.loss.get(name, 0.0),
            name in choice.within_noise,
        )
        for name, table in tables.items()
    ]
    fitted, reason = cross_fitted(tables, price, terms)
    return Comparison(
        metric=metric,
        level=level,
        n=len(rows),
        n_groups=len(np.unique(group)),
        n_folds=len(np.unique(rows.fold)),
        standings=tuple(sorted(standings, key=lambda row: -sign * row.score.value)),
        best=choice.best,
        recommended=choice.recommended,
        max_loss=max_loss,
        against_baselines={
            name: paired_difference(tables[choice.recommended], table, group, metric, level=level)
            for name, table in tables.items()
            if cost[name].is_baseline
        },
        cross_fitted=fitted,
        cross_fitted_not_run=reason,
        not_run=dict(not_run or {}),
    )


def _check_plan(rows: Predictions, group: Groups) -> None:
    if (rows.fold == HOLDOUT_FOLD).any():
        raise EvidenceError(
            f"The comparison was given {int((rows.fold == HOLDOUT_FOLD).sum())} rows of the locked holdout.",
            cause="Methods are chosen on the folds; the holdout is opened once, for the chosen one alone.",
        )
    if len(group) != len(rows):
        raise EvidenceError(f"{len(group)} groups were given for {len(rows)} scored rows.")
    home: dict[str, int] = {}
    for name, fold in zip(group.tolist(), rows.fold.tolist(), strict=True):
        if home.setdefault(name, fold) != fold:
            raise EvidenceError(
                f"Group {name!r} stands in fold {home[name]} and in fold {fold}.",
                cause="Rows of one group would be trained on by the model that scores them.",
                remedy="Make the folds by group.",
            )


def _price(entry: Entry) -> tuple[int, int] | None:
    cost = entry.cost
    if cost.is_baseline:
        return None
    if cost.trained_parameters is None or cost.artifact_bytes is None:
        raise EvidenceError(
            f"{entry.name} has no count of trained parameters or no size of its artifact.",
            cause="The cheapest method within noise of the best is recommended, so every method needs its price.",
        )
    return cost.trained_parameters, cost.artifact_bytes


def _checked(entry: Entry, first: Entry, group: Groups) -> Predictions:
    """The entry's rows in the order of the first entry's; errors name the entry."""
    try:
        table = align(first.predictions, entry.predictions)
        n_classes, expected = (probabilities(t, group).shape[1] for t in (table, first.predictions))
        if n_classes != expected:
            raise EvidenceError(f"It has {n_classes} classes where {first.name} has {expected}.")
    except EvidenceError as error:
        raise EvidenceError(
            f"{entry.name} cannot be compared with {first.name}. {error.problem}",
            cause=error.cause,
            remedy=error.remedy,
        ) from error
    return table
