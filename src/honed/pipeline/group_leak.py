"""How much random folds would have flattered: rows of one patient or licence on both sides of a split leak."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan
from honed.data.image_files import ImageFile
from honed.data.sampling import sample_groups
from honed.evidence.baselines import BaselineRows, out_of_fold_baseline
from honed.evidence.metrics import row_correct, softmax
from honed.pipeline.scoring import pixels

MAX_ROWS = 3000
"""Above this many rows, whole groups are drawn at random: the note costs seconds, not minutes."""
BASELINES = {"tfidf_logreg": "TF-IDF + logistic regression", "pixels_logreg": "PCA + logistic regression on pixels"}
"""The cheap model that is asked, of texts or of images, and how it is called."""


def group_leak_note(part: Dataset, plan: FoldPlan, group_name: str) -> str:
    """What a small baseline scores on random folds and on the run's grouped ones, as a sentence.

    part, plan : the development rows and their folds; the holdout stays untouched.
    group_name : the column that the user grouped by.

    Raises EvidenceError if the baseline cannot be fitted.
    """
    kept = sample_groups(part.group, MAX_ROWS, f"{plan.seed} ")
    rows = part.take(kept)
    fold = plan.fold[kept]
    grouped = _accuracy(rows, fold, plan.seed)
    random = _accuracy(rows, random_folds(rows.label, plan.n_folds, plan.seed), plan.seed)
    sampled = f" ({len(kept)} rows drawn by group)" if len(kept) < len(part) else ""
    measured = (
        f"{BASELINES[_baseline(rows)]} is right on {random:.1%} of the rows when folds are drawn at random, and on "
        f"{grouped:.1%} when no {group_name!r} stands in two folds{sampled}."
    )
    points = 100 * (random - grouped)
    if points >= 1:
        told = f"Random folds would promise {points:.0f} points too much: every figure here comes from grouped folds."
    else:
        told = "So grouping changes little in these data; every figure here comes from grouped folds all the same."
    return f"{measured} {told}"


def random_folds(label: npt.NDArray[np.int64], n_folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Folds stratified by class that know nothing of groups: what a tool without groups would do."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(label), dtype=np.int64)
    order = rng.permutation(len(label))
    order = order[np.argsort(label[order], kind="stable")]
    fold[order] = np.arange(len(label)) % n_folds
    return fold


def _baseline(rows: Dataset) -> str:
    return "pixels_logreg" if isinstance(rows.inputs[0], ImageFile) else "tfidf_logreg"


def _accuracy(rows: Dataset, fold: npt.NDArray[np.int64], seed: int) -> float:
    name = _baseline(rows)
    read = pixels(rows.inputs) if name == "pixels_logreg" else rows.inputs
    inputs = BaselineRows(read, rows.label, rows.example_id, len(rows.label_names))
    splits = [(k, np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in sorted(set(fold.tolist()))]
    table = out_of_fold_baseline(name, inputs, splits, seed=seed)
    assert table.logits is not None, "a classifier has logits"
    return float(row_correct(table.label, softmax(table.logits)).mean())
