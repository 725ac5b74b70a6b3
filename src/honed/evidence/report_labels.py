"""What the report says of labels that look wrong, and of what cleaning changed in what was taught."""

from __future__ import annotations

import numpy as np

from honed.data.personal.find import mask
from honed.evidence import report_plots as plots
from honed.evidence.label_table import caution, label_rows
from honed.evidence.report_data import EXCERPT_CHARACTERS, picture
from honed.evidence.report_format import count, excerpt, finite, percent
from honed.evidence.report_scores import section
from honed.evidence.run_facts import Json, RunFacts

N_SHOWN = 25
_COUNTS = ("n_left_out", "n_relabelled", "n_weighed_less")
_BY_MODELS = ("drop", "relabel", "weight")


def labels_view(facts: RunFacts) -> dict[str, object] | None:
    """The judged labels and the cleaning; None if the run has neither."""
    judged, cleaning = section(facts.metrics, "labels"), section(facts.metrics, "cleaning")
    if not judged and not cleaning:
        return None
    by_class = {str(name): finite(n) or 0 for name, n in section(judged, "flagged_by_class").items()}
    return {
        "is_judged": bool(judged),
        "n_judged": judged.get("n_judged"),
        "n_flagged": judged.get("n_flagged"),
        "caution": caution(_agreement(judged)),
        "share": percent(finite(judged.get("flagged_frac")) or 0.0),
        "judges": [str(name).replace("_", " ") for name in judged.get("judges") or []],
        "by_class": sorted(by_class.items(), key=lambda item: (-item[1], item[0])),
        "rows": _rows(facts) if judged else [],
        "table_kept": facts.labels is not None,
        "texts_kept": facts.texts is not None,
        "is_image": (facts.adapter.get("task") or facts.config.get("task")) == "image_classification",
        "cleaning": [
            {"model": str(name), "cells": [count(section(cleaning, name).get(key, 0)) for key in _COUNTS]}
            for name in cleaning
        ],
        "by_models": facts.config.get("clean") in _BY_MODELS,
        "by_person": bool(facts.config.get("decisions")),
    }


def flagged_words(facts: RunFacts) -> str:
    """'12 of 1 718 labels look wrong' ('or hard', by judges that err a lot); '' where none does or none was judged."""
    judged = section(facts.metrics, "labels")
    n_flagged = finite(judged.get("n_flagged")) or 0
    if n_flagged <= 0:
        return ""
    words = f"{count(n_flagged)} of {count(judged.get('n_judged'))} labels look{'s' * (n_flagged == 1)} wrong"
    return f"{words}, or hard" if caution(_agreement(judged)) else words


def _agreement(judged: Json) -> float:
    """Share of labels that the judges find the likeliest; 1 where an older run does not say."""
    agreement = finite(judged.get("agreement_frac"))
    return 1.0 if agreement is None else agreement


def _rows(facts: RunFacts) -> list[dict[str, object]]:
    """The worst rows. Whole texts are masked before `why` cuts its quotation, or half an address would escape."""
    if facts.labels is None:
        return []
    worst = facts.labels.take(np.arange(min(N_SHOWN, len(facts.labels))))
    quoted = {*worst.example_id.tolist(), *worst.neighbour.tolist()}
    texts = facts.texts or {}
    masked = {example: mask(texts.get(example) or (example if facts.texts is None else "")) for example in quoted}
    return [
        {
            "example_id": mask(row["example_id"]),
            "row": row["row"],
            "text": excerpt(row["text"], EXCERPT_CHARACTERS),
            "given": row["given"],
            "suggested": row["suggested"],
            "quality": f"{row['quality']:.3f}",
            "bar": plots.share_bar(row["quality"]),
            "is_flagged": row["is_flagged"],
            "why": row["why"],
            **picture(facts, row["example_id"]),
        }
        for row in label_rows(worst, masked)
    ]
