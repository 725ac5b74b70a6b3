"""The judged labels of a fabricated run: `labels.parquet`, and what metrics.json says of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from honed.evidence.label_table import LabelTable
from honed.oof import Predictions

N_FLAGGED = 6


def make_labels(run: Path, oof: Predictions, names: list[str]) -> dict[str, Any]:
    """Write the table, the rows of highest loss flagged; returns `labels` and `cleaning` of metrics.json."""
    assert oof.logits is not None
    order = np.argsort(-oof.loss, kind="stable")
    rivals = oof.logits.copy()
    rivals[np.arange(len(oof)), oof.label] = -np.inf
    like = rivals.argmax(axis=1)
    shown = np.array([name.replace("\ud800", "") for name in names])  # Parquet holds no lone surrogate
    given, suggested = (shown[which[order]] for which in (oof.label, like))
    flagged = np.arange(len(oof)) < N_FLAGGED
    agree = np.minimum(np.arange(len(oof)) // 2, 10)
    neighbour = [str(oof.example_id[np.flatnonzero(oof.label == j)[0]]) if (oof.label == j).any() else "" for j in like]
    LabelTable(
        oof.example_id[order],
        np.array([int(example[4:]) for example in oof.example_id[order]]),
        given,
        suggested,
        np.exp(-oof.loss[order]),
        flagged,
        np.full(len(oof), 10),
        agree,
        np.array(neighbour, dtype=np.str_)[order],
    ).write(run / "labels.parquet")
    untouched = {"n_left_out": 0, "n_relabelled": 0, "n_weighed_less": 0}
    return {
        "labels": {
            "n_judged": len(oof),
            "n_flagged": N_FLAGGED,
            "flagged_frac": N_FLAGGED / len(oof),
            "judges": ["specialist", "tfidf_logreg", "linear_probe"],
            "flagged_by_class": dict(Counter(given[flagged].tolist())),
        },
        "cleaning": {**{f"fold {k}": {**untouched, "n_left_out": 2 + k} for k in range(5)},
                     "final": {**untouched, "n_left_out": N_FLAGGED}},
    }  # fmt: skip
