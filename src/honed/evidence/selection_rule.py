"""The rule by which a method is chosen, applied to rows; and applied so that no row chooses what it is scored by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError
from honed.evidence.comparison import paired_difference
from honed.evidence.estimate import Difference, Estimate
from honed.evidence.intervals import estimate
from honed.evidence.jackknife import jackknife
from honed.evidence.metrics import METRICS
from honed.oof import Predictions

Tables = Mapping[str, Predictions]
Prices = Mapping[str, tuple[int, int] | None]
"""Name -> (trained parameters, bytes of the artifact); None: a baseline, never recommended."""


@dataclass(frozen=True)
class CrossFitted:
    """What "compare, then take what the rule says" scores on rows that had no say in the choice.

    score : the rows of each fold, scored by the method that the rule recommends on the other folds' rows alone.
    against_best : that minus the same procedure with "take the best" for a rule, paired: what thrift costs.
    choice : (fold, that method), in the order of the folds.
    """

    score: Estimate
    against_best: Difference
    choice: tuple[tuple[int, str], ...]

    @property
    def times_chosen(self) -> dict[str, int]:
        """Method -> folds for which it was chosen, most often first."""
        return dict(Counter(name for _, name in self.choice).most_common())


@dataclass(frozen=True)
class RuleTerms:
    """What the rule needs beside the tables; group: (m,) aligned with them. max_loss: the margin."""

    group: npt.NDArray[np.str_]
    metric: str
    level: float
    max_loss: float


@dataclass(frozen=True)
class Choice:
    """The rule applied to some rows; loss: how much worse than the best each could be."""

    best: str
    recommended: str
    difference: dict[str, Difference]
    corrected_p: dict[str, float]
    worse: set[str]
    loss: dict[str, float]
    within_noise: set[str]


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the order given. Holm 1979.

    The i-th smallest of m times (m - i + 1), never below its predecessor, at most 1. One that is hopelessly small
    (the majority class against a good method) costs the others nothing, as it would with Bonferroni's correction.
    """
    corrected, floor = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda j: p_values[j])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = floor
    return corrected


def choose(tables: Tables, price: Prices, terms: RuleTerms) -> Choice:
    """Apply `selection_words.RULE` to these rows. Ties for the best go to the cheaper method."""
    which = METRICS[terms.metric]
    sign = 1 if which.higher_is_better else -1
    score = {name: sign * jackknife(table, terms.group, which).value for name, table in tables.items()}

    def cheapness(name: str) -> tuple[int, int, float, str]:
        return *(price[name] or (0, 0)), -score[name], name

    methods = sorted((name for name in tables if price[name] is not None), key=cheapness)
    best = max(methods, key=score.__getitem__)
    difference = {
        name: paired_difference(table, tables[best], terms.group, terms.metric, level=terms.level)
        for name, table in tables.items()
        if name != best
    }
    corrected = dict(zip(difference, holm([diff.p_value for diff in difference.values()]), strict=True))
    worse = {name for name, p_value in corrected.items() if score[name] < score[best] and p_value < 1 - terms.level}
    loss = {name: max(0.0, -sign * diff.low, -sign * diff.high) for name, diff in difference.items()}
    within_noise = {best} | {name for name in loss if name not in worse and loss[name] <= terms.max_loss}
    recommended = next(name for name in methods if name in within_noise)
    return Choice(best, recommended, difference, corrected, worse, loss, within_noise)


def cross_fitted(tables: Tables, price: Prices, terms: RuleTerms) -> tuple[CrossFitted | None, str]:
    """The procedure's own score, or why there is none.

    The interval is conditional on the choices made. One dependence stays: the models that scored the other folds had
    trained on this fold's rows, so only the holdout is wholly blind.
    """
    rows = next(iter(tables.values()))
    folds = np.unique(rows.fold).tolist()
    if len(folds) < 2:
        return None, "all rows are of one fold, so there are no other rows to choose on"
    choices: list[Choice] = []
    unseen = [np.flatnonzero(rows.fold == fold) for fold in folds]
    for fold in folds:
        seen = np.flatnonzero(rows.fold != fold)
        part = {name: table.take(seen) for name, table in tables.items()}
        try:
            choices.append(choose(part, price, replace(terms, group=terms.group[seen])))
        except EvidenceError as error:
            return None, f"without fold {fold} no choice can be made: {error}"

    def scored_by(names: list[str]) -> Predictions:
        return _concatenate([tables[name].take(index) for name, index in zip(names, unseen, strict=True)])

    chosen, group = [choice.recommended for choice in choices], terms.group[np.concatenate(unseen)]
    by_rule, by_best = scored_by(chosen), scored_by([choice.best for choice in choices])
    return CrossFitted(
        score=estimate(by_rule, group, terms.metric, level=terms.level),
        against_best=paired_difference(by_rule, by_best, group, terms.metric, level=terms.level),
        choice=tuple(zip(folds, chosen, strict=True)),
    ), ""


def _concatenate(parts: Sequence[Predictions]) -> Predictions:
    return Predictions(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Predictions)))
