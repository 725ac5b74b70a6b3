"""What the report says about the single classes, and about which are taken for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from honed.evidence import report_plots as plots
from honed.evidence.report_format import METRICS, NOT_RUN, Figure, finite, percent, range_text
from honed.evidence.run_facts import RunFacts

MAX_CLASS_ROWS = 150
MAX_TABLE_CLASSES = 15
MAX_HEAT_CLASSES = 400


def classes_view(facts: RunFacts) -> dict[str, object]:
    """Per-class figures, the class with the lowest F1 first."""
    rows = [dict(row) for row in facts.metrics.get("per_class") or [] if isinstance(row, Mapping)]
    rows.sort(key=lambda row: (finite(row.get("f1")) or 0.0, str(row.get("label"))))
    shown = []
    for row in rows[:MAX_CLASS_ROWS]:
        recall = finite(row.get("recall"))
        low, high = finite(row.get("recall_low")), finite(row.get("recall_high"))
        shown.append(
            {
                "label": str(row.get("label")),
                "n": row.get("n"),
                "bar": "" if recall is None else plots.class_bar(recall, low, high),
                "recall": "undefined" if recall is None else percent(recall),
                "range": range_text(METRICS["accuracy"], Figure(recall, low, high, None, "", None, "")),
                "precision": _percent_or_word(row.get("precision")),
                "f1": _percent_or_word(row.get("f1")),
            }
        )
    return {"rows": shown, "n_left_out": len(rows) - len(shown)}


def _percent_or_word(value: object) -> str:
    number = finite(value)
    return "undefined" if number is None else percent(number)


def confusion_view(facts: RunFacts) -> dict[str, object]:
    """The out-of-fold confusion matrix: a table for few classes, the most confused pairs and a heat map for many."""
    names = facts.label_names
    confusion = facts.metrics.get("confusion") or []
    counts = confusion.get("counts") or [] if isinstance(confusion, Mapping) else confusion
    matrix = [[finite(value) or 0.0 for value in row] for row in counts]
    if len(matrix) != len(names) or any(len(row) != len(names) for row in matrix) or not names:
        return {"kind": "none", "not_run": NOT_RUN + "the run folder holds no confusion matrix"}
    pairs = sorted(
        ((value, i, j) for i, row in enumerate(matrix) for j, value in enumerate(row) if i != j and value > 0),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    view: dict[str, object] = {
        "names": names,
        "n_pairs": len(pairs),
        "pairs": [
            {"given": names[i], "predicted": names[j], "n": int(value), "share": percent(value / sum(matrix[i]), 0)}
            for value, i, j in pairs[:15]
        ],
    }
    if len(names) <= MAX_TABLE_CLASSES:
        view["kind"] = "table"
        view["upright"] = len(names) > 3
        view["rows"] = [_confusion_row(names[i], i, row) for i, row in enumerate(matrix)]
    else:
        view["kind"] = "heat"
        too_many = f"{len(names)} classes cannot be told apart in a drawing; metrics.json has the whole matrix"
        view["heat"] = plots.heat_map(matrix) if len(names) <= MAX_HEAT_CLASSES else ""
        view["not_run"] = "" if len(names) <= MAX_HEAT_CLASSES else NOT_RUN + too_many
    return view


def _confusion_row(name: str, diagonal: int, row: Sequence[float]) -> dict[str, object]:
    total = sum(row)
    cells = []
    for j, value in enumerate(row):
        share = value / total if total else 0.0
        shade = 0 if value == 0 else 1 + min(5, int(6 * share))
        cells.append(
            {
                "n": int(value),
                "tone": ("right" if j == diagonal else "wrong") + f" h{shade}",
                "share": percent(share, 0),
            }
        )
    return {"name": name, "n": int(total), "cells": cells}
