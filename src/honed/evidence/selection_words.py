"""What a comparison says in sentences: the rule, the recommendation, and what a reader must know beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from honed.evidence.report_format import METRICS, count, difference_text, percent

if TYPE_CHECKING:
    from honed.evidence.selection import Comparison

RULE = (
    "Best is the method with the best score. Another is within noise of it if the paired test, corrected for the number"
    " of differences (Holm), does not find it worse, and if its paired interval excludes a loss above the margin. Of"
    " the methods within noise, the best included, the one with the fewest trained parameters is recommended; at equal"
    " numbers the smaller artifact, then the better score. Baselines stand in the table and in the correction, but"
    " cannot be recommended."
)
CAVEATS = (
    (
        "The best score of several is too kind: it was chosen on the rows that it is shown on. The score to rely on is"
        " the holdout's, on the very artifact that ships."
    ),
    (
        "Within noise is not equal: how much worse than the best the recommended one could be is said with it. On few"
        " rows little can be shown, and the rule falls back on the best."
    ),
)


def points(metric: str, value: float) -> str:
    """A size of a difference without its sign: '1.9 points', or '0.031' where the metric is no percentage."""
    shown = METRICS[metric]
    return difference_text(shown, abs(value)).lstrip("+") + (" points" if shown.is_percent else "")


def recommendation(comparison: Comparison) -> str:
    """The recommendation in one sentence."""
    metric = METRICS[comparison.metric].name
    row = comparison.standing(comparison.recommended)
    methods = [other for other in comparison.standings if not other.cost.is_baseline]
    n_near = sum(other.is_within_noise for other in methods)
    take = f"Take {row.name} ({count(row.cost.trained_parameters)} trained parameters)"
    if len(methods) == 1:
        return f"{take}: it is the only method that was compared."
    if row.difference is None:
        why = (
            "no other is within noise of it"
            if n_near == 1
            else f"it is the cheapest of the {n_near} that are within noise of each other"
        )
        return f"{take}: it has the best {metric} of {len(methods)} methods, and {why}."
    best = comparison.standing(comparison.best)
    return (
        f"{take}: it is the cheapest of the {n_near} methods within noise of the best, {best.name}"
        f" ({count(best.cost.trained_parameters)} trained parameters). It could be worse than {best.name} by up to"
        f" {points(comparison.metric, row.could_be_worse_by)} in {metric}"
        f" (end of the {percent(comparison.level, 0)} interval)."
    )


def _unproven(comparison: Comparison) -> list[str]:
    """The cheapest method that may well be as good, but for all these rows say could also be much worse."""
    price = comparison.standing(comparison.recommended).cost.trained_parameters or 0
    cheaper = [
        row
        for row in comparison.standings
        if not (row.cost.is_baseline or row.is_worse or row.is_within_noise)
        and (row.cost.trained_parameters or 0) < price
    ]
    if not cheaper:
        return []
    row = min(cheaper, key=lambda row: row.could_be_worse_by)
    return [
        (
            f"{row.name} ({count(row.cost.trained_parameters)} trained parameters) is not found worse than"
            f" {comparison.best}, but it could be worse by up to {points(comparison.metric, row.could_be_worse_by)};"
            f" the margin is {points(comparison.metric, comparison.max_loss)}. More rows would tell."
        )
    ]


def notes(comparison: Comparison) -> tuple[str, ...]:
    """What stands against the recommendation, what was not run, and the caveats of every comparison."""
    told = []
    shown = METRICS[comparison.metric]
    for name in comparison.unbeaten_baselines:
        difference = comparison.against_baselines[name]
        ends = " to ".join(difference_text(shown, end) for end in (difference.low, difference.high))
        told.append(
            f"{comparison.recommended} is not better than the baseline {name} with confidence: {shown.name}"
            f" {ends}{' points' if shown.is_percent else ''}, {comparison.recommended} minus {name}."
            f" If the holdout says no more, {name} is enough."
        )
    told += _unproven(comparison)
    fitted = comparison.cross_fitted
    if fitted is not None and len(fitted.times_chosen) > 1:
        chosen = ", ".join(f"{name} {times}" for name, times in fitted.times_chosen.items())
        told.append(
            f"The choice is not stable. With one of the {comparison.n_folds} folds left out in turn, the rule"
            f" chose: {chosen}."
        )
    if fitted is not None:
        price = fitted.against_best
        loss, most = (price.value, price.high) if shown.is_lower_better else (-price.value, -price.low)
        if loss > 0:
            told.append(
                "Thrift has its price: on rows that had no say in the choice, what the rule takes scored"
                f" {points(comparison.metric, loss)} worse than what was best on the other folds"
                f" (interval: up to {points(comparison.metric, most)} worse)."
            )
    if fitted is None:
        told.append(f"Cross-fitted score: not run, because {comparison.cross_fitted_not_run.rstrip('.')}.")
    told += [f"{name}: not run, because {reason.rstrip('.')}." for name, reason in comparison.not_run.items()]
    return (*told, *CAVEATS)
