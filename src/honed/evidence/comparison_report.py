"""The page and the console table of `honed compare`: one self-contained HTML file, readable without any script."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from honed.evidence.comparison_plots import cost_plot, interval_plot
from honed.evidence.estimate import Difference, Estimate
from honed.evidence.report import TEMPLATES, content_hash, environment
from honed.evidence.report_format import (
    DASH,
    METRICS,
    NARROW_SPACE,
    Metric,
    bytes_text,
    count,
    difference_text,
    p_text,
    percent,
    seconds,
    value_text,
)
from honed.evidence.run_facts import write_text
from honed.evidence.selection import Comparison, Standing
from honed.evidence.selection_words import RULE, points

NOT_MEASURED = "not measured"
COLUMNS = (
    "method",
    "score",
    "difference to best",
    "corrected p",
    "trained parameters",
    "time",
    "peak memory",
    "artifact",
    "added latency",
)
"""Keys of a row of `comparison_rows`."""


@dataclass(frozen=True)
class ComparisonFacts:
    """What the page says beside the comparison itself.

    title : what was compared on, such as the data's file name.
    holdout : one sentence: what the opened holdout says of the recommended artifact, or why it is shut.
    about : (name, value) rows: base model, rows, folds, seed, machine, versions.
    """

    title: str
    holdout: str
    about: tuple[tuple[str, str], ...] = ()


def comparison_rows(comparison: Comparison) -> list[dict[str, str]]:
    """The table as text, best score first; keys are COLUMNS.

    Where something was not measured the cell says so; the best method's difference and p are a dash.
    """
    return [_row(comparison, row) for row in comparison.standings]


def _row(comparison: Comparison, row: Standing) -> dict[str, str]:
    metric, cost = METRICS[comparison.metric], row.cost
    latency = cost.added_latency_s
    cells = (
        row.name,
        "{} ({})".format(*_score(metric, row.score)),
        DASH if row.difference is None else "{} ({})".format(*_difference(metric, row.difference)),
        DASH if row.corrected_p is None else p_text(row.corrected_p).removeprefix("p ").removeprefix("= "),
        NOT_MEASURED if cost.trained_parameters is None else count(cost.trained_parameters),
        NOT_MEASURED if cost.seconds is None else seconds(cost.seconds),
        NOT_MEASURED if cost.peak_memory_bytes is None else bytes_text(cost.peak_memory_bytes),
        NOT_MEASURED if cost.artifact_bytes is None else bytes_text(cost.artifact_bytes),
        NOT_MEASURED if latency is None else f"{difference_text(METRICS['log_loss'], 1000 * latency)}{NARROW_SPACE}ms",
    )
    return dict(zip(COLUMNS, cells, strict=True))


def _score(metric: Metric, score: Estimate) -> tuple[str, str]:
    """('84.3 %', '80.1 – 88.0 %')."""
    low, high = (value_text(metric, end) for end in (score.low, score.high))
    return value_text(metric, score.value), f"{low.removesuffix(f'{NARROW_SPACE}%')} {DASH} {high}"


def _difference(metric: Metric, difference: Difference) -> tuple[str, str]:
    low, high = (difference_text(metric, end) for end in (difference.low, difference.high))
    return difference_text(metric, difference.value), f"{low} to {high}"


def _word(row: Standing) -> str:
    """What the rule finds of a row, in a few words."""
    if row.cost.is_baseline:
        return "baseline"
    if row.difference is None:
        return "best"
    return (
        "worse than the best" if row.is_worse else "within noise of the best" if row.is_within_noise else "not settled"
    )


def write_comparison(path: Path, comparison: Comparison, facts: ComparisonFacts) -> None:
    """Write the page; the same comparison and facts always give the same page.

    Raises OutputError if it cannot be written; a previous page then stays as it was.
    """
    write_text(path, render_comparison(comparison, facts))


def render_comparison(comparison: Comparison, facts: ComparisonFacts) -> str:
    """The page as a string."""
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; style-src '{content_hash(style)}'; script-src '{content_hash(script)}'; base-uri 'none';"
        " form-action 'none'"
    )
    metric, fitted = METRICS[comparison.metric], comparison.cross_fitted
    return (
        environment()
        .get_template("compare.html.j2")
        .render(
            facts=facts,
            policy=policy,
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            comparison=comparison,
            metric=metric,
            unit=" (points)" if metric.is_percent else "",
            level=percent(comparison.level, 0),
            alpha=percent(1 - comparison.level, 0),
            rule=RULE,
            margin=points(comparison.metric, comparison.max_loss),
            rows=[
                {
                    "cells": _row(comparison, row),
                    "standing": row,
                    "score": _score(metric, row.score),
                    "difference": (DASH, "") if row.difference is None else _difference(metric, row.difference),
                    "word": _word(row),
                    "is_recommended": row.name == comparison.recommended,
                }
                for row in comparison.standings
            ],
            plots=[interval_plot(comparison), cost_plot(comparison)],
            fitted=None
            if fitted is None
            else {
                "score": _score(metric, fitted.score),
                "against_best": _difference(metric, fitted.against_best),
                "times_chosen": fitted.times_chosen,
            },
        )
    )
