"""What the report says about how good the specialist is: the verdict, the scores, the paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from honed.evidence import report_plots as plots
from honed.evidence.report_format import (
    METRICS,
    NOT_RUN,
    Figure,
    Metric,
    bare_reason,
    difference_text,
    figure,
    finite,
    ordinal,
    p_text,
    percent,
    range_text,
    value_text,
)
from honed.evidence.run_facts import Json, RunFacts

BASELINES = {
    "majority": "Majority class",
    "tfidf_logreg": "TF-IDF + logistic regression",
    "linear_probe": "Linear probe on the frozen base",
}
IMAGE_BASELINES = {
    "majority": BASELINES["majority"],
    "pixels_logreg": "PCA + logistic regression on pixels",
    "linear_probe": BASELINES["linear_probe"],
}
SPECIALIST = "This specialist"
LOCKED = "the holdout is still locked (--no-gate); `honed gate` opens it"

_OUTCOMES = {
    "passed": ("passed", "pass", "\u2713"),
    "met": ("passed", "pass", "\u2713"),
    "failed": ("failed", "fail", "\u2717"),
    "missed": ("failed", "fail", "\u2717"),
    "inconclusive": ("not settled", "open", "?"),
    "open": ("not settled", "open", "?"),
    "not run": ("not run", "open", "\u25cb"),
}
_HEADLINES = {
    "PASS": "This specialist passed its final test.",
    "FAIL": "This specialist did not pass its final test.",
    "INCONCLUSIVE": "The final test did not settle it.",
    "LOCKED": "No verdict yet: the holdout is still locked.",
}
_LEADS = {
    "PASS": "{rows} were locked away before any training. Scored on them, it met everything it was judged by.",
    "FAIL": "{rows} were locked away before any training. Scored on them, it missed at least one condition by more "
    "than chance can explain. Do not rely on it as it stands.",
    "INCONCLUSIVE": "The evidence is enough neither for a pass nor for a fail. Until it is, treat the specialist as "
    "unproven.",
    "LOCKED": "All figures here come from cross-validation: every row was scored by a model that never saw it, but "
    "choices made while exploring can still flatter them. When you are done exploring, `honed gate` opens the holdout.",
}
SCOPE = (
    "These figures hold for rows like those of this data set: same source, same kind of text, same mix of classes."
    " They say nothing about other data."
)


def section(metrics: Json, key: str) -> Json:
    """A sub-object of metrics.json, {} where it is absent or null."""
    value = metrics.get(key)
    return dict(value) if isinstance(value, Mapping) else {}


def is_locked(facts: RunFacts) -> bool:
    """True while the gate has not scored the holdout."""
    return not isinstance(facts.metrics.get("holdout"), Mapping)


def main_metric(facts: RunFacts) -> Metric:
    """The metric that the run was judged by; accuracy where the run names none."""
    return METRICS.get(str(facts.metrics.get("metric")), METRICS["accuracy"])


def shown_metrics(facts: RunFacts) -> list[Metric]:
    """The metrics of this run: those of grades only where there are any."""
    known = section(facts.metrics, "out_of_fold")
    return [metric for metric in METRICS.values() if not metric.is_ordinal or metric.key in known]


def scored(facts: RunFacts, name: str, metric: str, where: str) -> Figure:
    """One figure. name: `SPECIALIST` or a baseline's key; where: 'out_of_fold' or 'holdout'."""
    if name == SPECIALIST:
        source: Any = facts.metrics.get(where)
    else:
        source = section(facts.metrics, "baselines").get(name)
        if not isinstance(source, Mapping):
            return figure(None, f"this run has no baseline {name!r}")
        if "not_run" in source:
            return figure(None, bare_reason(str(source["not_run"])))
        if where == "holdout":
            source = source.get("holdout")
    if not isinstance(source, Mapping):
        return figure(None, LOCKED if where == "holdout" and is_locked(facts) else f"the run has no {where} figures")
    return figure(source.get(metric))


def baseline_names(facts: RunFacts) -> dict[str, str]:
    """Key -> name: the expected baselines, run or not, then any other that the run has."""
    ran = section(facts.metrics, "baselines")
    expected = IMAGE_BASELINES if "pixels_logreg" in ran else BASELINES
    return expected | {str(key): str(key) for key in ran if key not in expected}


def verdict_view(facts: RunFacts) -> dict[str, object]:
    """The verdict in words that need no statistics, its reasons, and the figures that matter most."""
    locked = is_locked(facts)
    key = "LOCKED" if locked and facts.verdict["verdict"] == "INCONCLUSIVE" else str(facts.verdict["verdict"])
    n_holdout = facts.fold_sizes.get(-1, 0)
    openings = int(finite(facts.verdict.get("holdout_openings")) or 0)
    where = "out_of_fold" if locked else "holdout"
    accuracy = scored(facts, SPECIALIST, "accuracy", where)
    metric = main_metric(facts)
    checks = [_check(check) for check in facts.verdict.get("checks") or [] if isinstance(check, Mapping)]
    told = {check["detail"] for check in checks}
    return {
        "word": facts.verdict["verdict"],
        "tone": {"PASS": "pass", "FAIL": "fail"}.get(key, "open"),
        "headline": _HEADLINES[key],
        "lead": _LEADS[key].format(rows=f"{n_holdout} row{'s' if n_holdout != 1 else ''}"),
        "locked": locked,
        "looks": f"{ordinal(openings)} look at this holdout" if openings else "holdout not yet opened",
        "openings": openings,
        "reasons": [str(reason) for reason in facts.verdict.get("reasons") or [] if str(reason) not in told],
        "checks": checks,
        "frequency": _frequency(accuracy),
        "strongest": _strongest(facts, where),
        "tiles": [
            tile
            for tile in (
                _tile(facts, metric, where),
                _tile(facts, METRICS["accuracy" if metric.key != "accuracy" else "macro_f1"], where),
                _tile(facts, METRICS["ece"], where),
            )
            if tile
        ],
        "where": where,
        "scope": SCOPE,
    }


def _check(row: Mapping[str, Any]) -> dict[str, str]:
    """One row of the verdict's checks: name, what was found in one word, its tone and sign, and a sentence."""
    status = str(row.get("status") or row.get("outcome") or "not run")
    word, tone, sign = _OUTCOMES.get(status, (status, "open", "?"))
    name = str(row.get("name", ""))
    if row.get("kind") == "baseline":
        name = f"Beats: {BASELINES.get(name, name)}"
    return {
        "name": name,
        "word": word,
        "tone": tone,
        "sign": sign,
        "detail": str(row.get("detail") or row.get("sentence") or ""),
    }


def _frequency(accuracy: Figure) -> dict[str, object] | None:
    if accuracy.value is None:
        return None
    low = accuracy.value if accuracy.low is None else accuracy.low
    high = accuracy.value if accuracy.high is None else accuracy.high
    return {
        "about": round(100 * accuracy.value),
        "low": round(100 * low),
        "high": round(100 * high),
        "level": "" if accuracy.level is None or accuracy.low is None else percent(accuracy.level, 0),
        "svg": plots.icon_array(accuracy.value, low, high),
    }


def _strongest(facts: RunFacts, where: str) -> dict[str, object] | None:
    """The best small baseline by accuracy."""
    rows = [(scored(facts, key, "accuracy", where).value, name) for key, name in baseline_names(facts).items()]
    known = [(value, name) for value, name in rows if value is not None]
    if not known:
        return None
    value, name = max(known)
    inside = name if name[:2].isupper() else name[:1].lower() + name[1:]
    return {"name": inside, "about": round(100 * value)}


def _tile(facts: RunFacts, metric: Metric, where: str) -> dict[str, object] | None:
    fig = scored(facts, SPECIALIST, metric.key, where)
    if fig.value is None:
        return None
    return {"name": metric.name, "value": value_text(metric, fig.value), "range": range_text(metric, fig)}


def scores_view(facts: RunFacts) -> dict[str, object]:
    """Every metric of the specialist and the baselines, on the holdout and out of fold, as tables and forest plots."""
    models = {SPECIALIST: SPECIALIST} | baseline_names(facts)
    run_models = {
        key: name
        for key, name in models.items()
        if any(_has(facts, key, where) for where in ("out_of_fold", "holdout"))
    }
    absent = [
        {"name": name, "reason": scored(facts, key, "accuracy", "out_of_fold").not_run}
        for key, name in models.items()
        if key not in run_models
    ]
    tables = []
    for where, title in (("holdout", "Locked holdout"), ("out_of_fold", "Out of fold (cross-validated)")):
        rows = []
        for metric in METRICS.values():
            figures = [scored(facts, key, metric.key, where) for key in run_models]
            if any(fig.value is not None for fig in figures) or (where == "out_of_fold" and not metric.is_ordinal):
                rows.append({"name": metric.name, "cells": [cell(metric, fig) for fig in figures]})
        n = facts.fold_sizes.get(-1, 0) if where == "holdout" else len(set(facts.oof.example_id.tolist()))
        tables.append({"title": title, "n": n, "rows": rows, "not_run": "" if rows else NOT_RUN + LOCKED})
    wanted = dict.fromkeys([main_metric(facts).key, "accuracy", "macro_f1"])
    forests = [
        {
            "name": METRICS[key].name,
            "svg": plots.forest(
                METRICS[key],
                [
                    plots.ForestRow(
                        name,
                        scored(facts, model, key, "out_of_fold"),
                        scored(facts, model, key, "holdout"),
                        model == SPECIALIST,
                    )
                    for model, name in run_models.items()
                ],
            ),
        }
        for key in wanted
    ]
    figures = [scored(facts, SPECIALIST, key, where) for key in METRICS for where in ("holdout", "out_of_fold")]
    return {
        "models": list(run_models.values()),
        "absent": absent,
        "tables": tables,
        "forests": [forest for forest in forests if forest["svg"]],
        "methods": sorted({fig.interval for fig in figures if fig.interval}),
        "levels": [percent(level, 0) for level in sorted({fig.level for fig in figures if fig.level is not None})],
    }


def _has(facts: RunFacts, name: str, where: str) -> bool:
    return any(scored(facts, name, key, where).value is not None for key in METRICS)


def cell(metric: Metric, fig: Figure) -> dict[str, str]:
    """A figure for a table: value and range as text, or why there is none."""
    if fig.value is None:
        return {"value": "", "range": "", "not_run": NOT_RUN + fig.not_run}
    return {"value": value_text(metric, fig.value), "range": range_text(metric, fig), "not_run": ""}


def differences_view(facts: RunFacts) -> list[dict[str, object]]:
    """Paired differences, specialist minus baseline, on the same rows."""
    views: list[dict[str, object]] = []
    wanted = dict.fromkeys([main_metric(facts).key, "accuracy", "macro_f1", "log_loss"])
    for key, name in baseline_names(facts).items():
        baseline = section(facts.metrics, "baselines").get(key)
        difference = baseline.get("difference") if isinstance(baseline, Mapping) else None
        rows = []
        for metric in (METRICS[wish] for wish in wanted):
            cells = []
            for where in ("holdout", "out_of_fold"):
                source = difference.get(where) if isinstance(difference, Mapping) else None
                cells.append(
                    difference_cell(metric, figure(source.get(metric.key) if isinstance(source, Mapping) else None))
                )
            if any(cell["value"] for cell in cells):
                rows.append({"metric": metric.name, "cells": cells})
        reason = scored(facts, key, "accuracy", "out_of_fold").not_run or "the run has no paired test against it"
        views.append({"name": name, "rows": rows, "not_run": "" if rows else NOT_RUN + reason})
    return views


def difference_cell(metric: Metric, fig: Figure) -> dict[str, str]:
    """A difference, specialist minus baseline, for a table: value, range, p, and who is better in words."""
    if fig.value is None:
        return {"value": "", "range": "", "p": "", "tone": "", "word": ""}
    sign = fig.verdict_of_difference * (-1 if metric.is_lower_better else 1)
    unit = " points" if metric.is_percent else ""
    ends = (
        ""
        if fig.low is None or fig.high is None
        else " to ".join(difference_text(metric, v) for v in (fig.low, fig.high))
    )
    return {
        "value": difference_text(metric, fig.value) + unit,
        "range": ends,
        "p": p_text(fig.p_value),
        "tone": {1: "pass", -1: "fail", 0: "open"}[sign],
        "word": {1: "specialist better", -1: "baseline better", 0: "no clear difference"}[sign],
    }
