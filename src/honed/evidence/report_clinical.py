"""What the report, the card and the terminal say of the clinical reading, in words that need no statistics."""

from __future__ import annotations

from honed.evidence import report_plots as plots
from honed.evidence.report_format import (
    NOT_RUN,
    Figure,
    Metric,
    bare_reason,
    count,
    decimal,
    difference_text,
    figure,
    finite,
    percent,
)
from honed.evidence.report_scores import LOCKED, cell, section
from honed.evidence.run_facts import Json, RunFacts

PLACES = {"holdout": "Locked holdout", "out_of_fold": "Out of fold (cross-fitted)"}
SCORES = (
    Metric("sensitivity", "Sensitivity", True, False, "of the ill, how many are called ill"),
    Metric("specificity", "Specificity", True, False, "of the healthy, how many are called healthy"),
    Metric("ppv", "PPV", True, False, "of those called ill, how many are"),
    Metric("npv", "NPV", True, False, "of those called healthy, how many are"),
    Metric("auroc", "AUROC", False, False, "an ill and a healthy person: how often the ill one ranks higher"),
)
READERS = {
    "at_point": "Ill or healthy, at the operating point",
    "most_probable": "The most probable class",
}
READER_SCORES = (
    Metric("sensitivity", "Sensitivity", True, False, ""),
    Metric("specificity", "Specificity", True, False, ""),
    Metric("kappa", "Kappa with the label", False, False, ""),
)
_ERROR = Metric("error", "Error rate", True, True, "")
_SMALLEST_CROWD, _MOST = 1000, 10**7


def clinical_view(facts: RunFacts) -> Json | None:
    """Everything of the clinical reading; None if the run was not asked for one."""
    found = {where: section(section(facts.metrics, where), "clinical") for where in PLACES}
    if not found["out_of_fold"]:
        return None
    best = next((part for part in found.values() if "sensitivity" in part), {})
    threshold = finite(facts.adapter.get("threshold"))
    levels = [level for metric in SCORES if (level := figure(best.get(metric.key)).level) is not None]
    return {
        "positive": [str(name) for name in facts.adapter.get("positive") or []],
        "threshold": "" if threshold is None else decimal(threshold),
        "rule": str(found["out_of_fold"].get("rule") or ""),
        "level": percent(max(levels), 0) if levels else "",
        "not_run": "" if best else NOT_RUN + bare_reason(str(found["out_of_fold"].get("not_run"))),
        "prevalence": _prevalence(best),
        "frequencies": natural_frequencies(best),
        "where": next((title for where, title in PLACES.items() if found[where] is best), ""),
        "columns": [{"title": title, **_size(found[where])} for where, title in PLACES.items()],
        "rows": [
            {"name": metric.name, "meaning": metric.meaning, "cells": [_cell(found[where], metric) for where in PLACES]}
            for metric in SCORES
        ],
        "curves": [
            {"title": title, "svg": _curve(title, found[where])}
            for where, title in PLACES.items()
            if _roc(found[where])
        ],
        "reader": str(facts.config.get("reader") or ""),
        "readers": [
            against
            for where, title in PLACES.items()
            if (reader := section(found[where], "reader"))
            for against in _readers(title, reader)
        ],
    }


def natural_frequencies(clinical: Json) -> str:
    """What to expect among so many people that at least ten are ill; "" without figures. Gigerenzer et al. 2007."""
    sensitivity, specificity = (figure(clinical.get(key)).value for key in ("sensitivity", "specificity"))
    prevalence = finite(section(clinical, "prevalence").get("value"))
    if sensitivity is None or specificity is None or prevalence is None:
        return ""
    crowd = _SMALLEST_CROWD
    while crowd * prevalence < 9.5 and crowd < _MOST:
        crowd *= 10
    ill = round(crowd * prevalence)
    found, false = round(ill * sensitivity), round((crowd - ill) * (1 - specificity))
    alarms, calm = found + false, crowd - found - false
    told = f"Of {count(crowd)} people of whom {count(ill)} are ill, it finds {count(found)} and misses"
    told += f" {count(ill - found)}, and it alarms {count(false)} of the {count(crowd - ill)} healthy. "
    told += f"So {count(found)} of {count(alarms)} alarms are right" if alarms else "So nobody is alarmed"
    ppv = figure(clinical.get("ppv"))
    if alarms and ppv.low is not None and ppv.high is not None and ppv.level is not None:
        told += (
            f" (it may be {percent(ppv.low, 0)} to {percent(ppv.high, 0)} of them: {percent(ppv.level, 0)} interval)"
        )
    return told + (f"; of {count(calm)} called healthy, {count(ill - found)} are ill." if calm else ".")


def ratio_words(ratio: Json, difference: Figure) -> str:
    """The error ratio in words, with its interval or the reason why it has none, and the difference of the errors."""
    value, low, high = (finite(ratio.get(key)) for key in ("value", "low", "high"))
    level = percent(finite(ratio.get("level")) or 0.95, 0)
    if value is None or low is None or high is None:
        least = f" At least {decimal(low)} with the {level} interval." if low else ""
        return str(ratio.get("note") or "The error ratio was not computed.") + least + _points(difference)
    clear = "fewer errors than the reader" if high < 1 else "more errors than the reader" if low > 1 else ""
    told = f"Errors of the specialist for each one of the reader: {decimal(value)} "
    told += f"({level} interval {decimal(low)} to {decimal(high)}); "
    return told + (f"it makes {clear}." if clear else "no clear difference.") + _points(difference)


def _points(difference: Figure) -> str:
    if difference.value is None or difference.low is None or difference.high is None:
        return ""
    value, low, high = (difference_text(_ERROR, v) for v in (difference.value, difference.low, difference.high))
    return f" Its error rate lies {value} points from the reader's ({low} to {high})."


def clinical_lines(facts: RunFacts) -> list[str]:
    """The clinical reading in a few lines for a terminal; none if the run has none."""
    view = clinical_view(facts)
    if view is None:
        return []
    if view["not_run"]:
        return [f"Clinical reading {view['not_run']}"]
    where = next(i for i, column in enumerate(view["columns"]) if column["title"] == view["where"])
    shown = [
        f"{row['name']} {row['cells'][where]['value']} ({row['cells'][where]['range']})"
        for row in view["rows"]
        if row["cells"][where]["value"]
    ]
    lines = [f"Ill: {', '.join(view['positive'])}. {view['where']}: {', '.join(shown)}; {view['prevalence']}."]
    lines.append(view["frequencies"])
    for reader in view["readers"]:
        if reader["where"] == view["where"]:
            which = f", {reader['title'].lower()}" if reader["title"] else ""
            lines.append(f"Against {view['reader']}{which}: {reader['ratio'] or reader['not_run']}")
    return [line for line in lines if line]


def _prevalence(clinical: Json) -> str:
    told = section(clinical, "prevalence")
    value = finite(told.get("value"))
    if value is None:
        return ""
    if told.get("is_stated"):
        return f"PPV and NPV at the stated prevalence of {percent(value, 1 if value >= 0.01 else 3)}"
    return f"PPV and NPV at the prevalence of the development rows, {percent(value)}, for want of a --prevalence"


def _size(clinical: Json) -> Json:
    return {"n": clinical.get("n"), "n_positive": clinical.get("n_positive")}


def _cell(clinical: Json, metric: Metric) -> dict[str, str]:
    reason = bare_reason(str(clinical.get("not_run") or LOCKED))
    return cell(metric, figure(clinical.get(metric.key), reason))


def _roc(clinical: Json) -> Json:
    return section(clinical, "roc")


def _curve(title: str, clinical: Json) -> str:
    roc = _roc(clinical)
    points = (clinical.get(key) for key in ("specificity", "sensitivity"))
    specificity, sensitivity = (figure(point).value for point in points)
    point = None if specificity is None or sensitivity is None else (1 - specificity, sensitivity)
    return plots.roc(title, roc["false_positive_rate"], (roc["sensitivity"], roc["low"], roc["high"]), point)


def _readers(where: str, reader: Json) -> list[Json]:
    if "not_run" in reader:
        return [{"where": where, "title": "", "not_run": str(reader["not_run"]), "rows": [], "ratio": "", "n": 0}]
    views = []
    for key, title in READERS.items():
        part = section(reader, key)
        both = [section(part, who) for who in ("specialist", "reader")]
        rows = [
            {
                "name": "Errors",
                "cells": [{"value": str(one.get("n_errors")), "range": "", "not_run": ""} for one in both],
            }
        ]
        rows += [
            {"name": metric.name, "cells": [cell(metric, figure(one.get(metric.key))) for one in both]}
            for metric in READER_SCORES
            if any(metric.key in one for one in both)
        ]
        views.append(
            {
                "where": where,
                "title": title,
                "not_run": "",
                "n": part.get("n"),
                "n_without": part.get("n_without_reader"),
                "rows": rows,
                "ratio": ratio_words(section(part, "error_ratio"), figure(part.get("error_difference"))),
            }
        )
    return views
