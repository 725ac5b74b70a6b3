"""The labels of a run: judged by its own out-of-fold table, and decided by a person."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from honed.config import Config
from honed.data.dataset import Dataset
from honed.data.decisions import Decisions, read_decisions
from honed.evidence.label_errors import find_label_errors
from honed.evidence.label_table import label_table
from honed.oof import Predictions
from honed.pipeline.scoring import BaselineScores, Features


def decisions_of(config: Config, dataset: Dataset) -> Decisions:
    """The decisions that the configuration names; none if it names no file.

    Raises DataError if they cannot be followed.
    """
    return read_decisions(config.decisions, dataset) if config.decisions else {}


def fingerprint_of(decisions: Decisions) -> str:
    """sha256 of the decisions: the file may change between a run and its resumption."""
    told = sorted(f"{example}\x1f{d.what}\x1f{d.label}" for example, d in decisions.items())
    return hashlib.sha256("\x1e".join(told).encode("utf-8", "surrogatepass")).hexdigest()


def judge_labels(
    path: Path, part: Dataset, specialist: Predictions, baselines: BaselineScores, features: Features
) -> dict[str, Any]:
    """Write `labels.parquet`, and return what metrics.json says of it.

    part, features : the development rows and their frozen features; the labels of the locked holdout are not looked at.
    """
    members = {"specialist": specialist} | {n: t for n, t in baselines.tables.items() if n != "majority"}
    errors = find_label_errors(list(members.values()))
    place = {example: i for i, example in enumerate(part.example_id.tolist())}
    rows = np.array([place[example] for example in errors.example_id.tolist()], dtype=np.int64)
    table = label_table(errors, part.row[rows], part.label_names, features[rows])
    table.write(path)
    n_flagged = int(errors.is_flagged.sum())
    by_class = np.bincount(errors.given[errors.is_flagged], minlength=len(part.label_names))
    return {
        "n_judged": len(errors),
        "n_flagged": n_flagged,
        "flagged_frac": n_flagged / max(len(errors), 1),
        "agreement_frac": table.agreement,
        "judges": list(members),
        "flagged_by_class": {name: int(n) for name, n in zip(part.label_names, by_class, strict=True) if n},
    }
