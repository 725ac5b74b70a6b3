"""The figures of a run: what `metrics.json` says of the out-of-fold table, the baselines and the holdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan
from honed.data.image_files import ImageFile
from honed.errors import EvidenceError
from honed.evidence.baselines import BASELINES, BaselineRows, holdout_baseline, out_of_fold_baseline
from honed.evidence.calibration import CalibrationSummary
from honed.evidence.comparison import paired_difference
from honed.evidence.metrics import METRICS
from honed.evidence.scorecard import confusion, per_class, score, undefined
from honed.oof import Predictions

Groups = npt.NDArray[np.str_]
Features = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BaselineScores:
    """Each small baseline's table, and a sentence for each that could not run."""

    tables: dict[str, Predictions]
    not_run: dict[str, str]


def baseline_rows(
    name: str, dataset: Dataset, features: Features, label: npt.NDArray[np.int64] | None = None
) -> BaselineRows | None:
    """What a baseline reads of the dataset; None where there is nothing for it. label : (n,) if not the data's own."""
    inputs: Any = dataset.inputs
    if name == ("tfidf_logreg" if isinstance(dataset.inputs[0], ImageFile) else "pixels_logreg"):
        return None  # images have no words, texts no pixels
    if name == "linear_probe":
        inputs = features
    elif name == "gradient_boosting":
        if not dataset.columns:
            return None  # free text has no columns
        inputs = np.column_stack([numbers(cells) for cells in dataset.columns.values()])
    elif name == "pixels_logreg":
        inputs = pixels(dataset.inputs)
    taught = dataset.label if label is None else label
    return BaselineRows(inputs, taught, dataset.example_id, len(dataset.label_names))


def pixels(files: Sequence[ImageFile]) -> Features:
    """The thumbnails of images, (n, 16 * 16 * 3)."""
    return np.stack([file.colours.ravel() for file in files]).astype(np.float64)


def numbers(cells: npt.NDArray[np.str_]) -> Features:
    """A column of cells as numbers: (n,). NaN where blank; a column of words becomes the rank of each word."""
    blank = np.array([not cell.strip() for cell in cells.tolist()])
    try:
        return np.array([np.nan if b else float(c) for c, b in zip(cells.tolist(), blank, strict=True)])
    except ValueError:
        rank = np.unique(cells, return_inverse=True)[1].astype(np.float64)
        rank[blank] = np.nan
        return rank


def score_baselines(dataset: Dataset, plan: FoldPlan, features: Features, *, on_holdout: bool) -> BaselineScores:
    """The small baselines on the specialist's own folds, or, fitted on all development rows, on the holdout.

    features : (n, d) of the frozen base, for the linear probe. The baselines may learn from the stop part too: they do
    not stop early.
    """
    tables, not_run = {}, {}
    splits = []
    for fold in range(0 if on_holdout else plan.n_folds):
        split = plan.split(fold)
        splits.append((fold, np.concatenate([split.train, split.stop]), split.test))
    for name in BASELINES:
        rows = baseline_rows(name, dataset, features)
        if rows is None:
            continue
        try:
            if on_holdout:
                tables[name] = holdout_baseline(name, rows, plan.development, plan.holdout, seed=plan.seed)
            else:
                tables[name] = out_of_fold_baseline(name, rows, splits, seed=plan.seed)
        except (EvidenceError, ValueError) as error:
            not_run[name] = f"baseline {name}, because {error}"
    return BaselineScores(tables, not_run)


def groups_of(predictions: Predictions, plan: FoldPlan) -> Groups:
    """The group of each scored row."""
    group = dict(zip(plan.example_id.tolist(), plan.group.tolist(), strict=True))
    return np.array([group[example] for example in predictions.example_id.tolist()], dtype=np.str_)


def scores_json(predictions: Predictions, group: Groups, label_names: tuple[str, ...], level: float) -> dict[str, Any]:
    """Every metric with its interval, or with the reason why it is undefined."""
    scores = score(predictions, group, label_names, level=level)
    reasons = undefined(predictions, group) if None in scores.values() else {}
    return {
        name: {"value": None, "not_run": reasons[name]} if estimate is None else estimate.to_json()
        for name, estimate in scores.items()
    }


def differences_json(a: Predictions, b: Predictions, group: Groups, level: float) -> dict[str, Any]:
    """Paired differences a - b of every metric that both tables define."""
    result = {}
    for name in METRICS:
        try:
            result[name] = asdict(paired_difference(a, b, group, name, level=level))
        except EvidenceError as error:
            result[name] = {"value": None, "not_run": str(error)}
    return result


def baselines_json(
    specialist: Predictions, baselines: BaselineScores, group: Groups, label_names: tuple[str, ...], level: float
) -> dict[str, dict[str, Any]]:
    """For each baseline its scores, and under `difference` how much the specialist is ahead."""
    result: dict[str, dict[str, Any]] = {}
    for name, table in baselines.tables.items():
        order = {example: i for i, example in enumerate(table.example_id.tolist())}
        aligned = table.take(np.array([order[example] for example in specialist.example_id.tolist()]))
        result[name] = {
            "scores": scores_json(aligned, group, label_names, level),
            "difference": differences_json(specialist, aligned, group, level),
        }
    return result | {name: {"not_run": reason} for name, reason in baselines.not_run.items()}


def out_of_fold_json(
    specialist: Predictions,
    baselines: BaselineScores,
    calibration: CalibrationSummary,
    group: Groups,
    label_names: tuple[str, ...],
    level: float,
) -> dict[str, Any]:
    """The part of `metrics.json` that needs no holdout."""
    compared = baselines_json(specialist, baselines, group, label_names, level)
    return {
        "out_of_fold": scores_json(specialist, group, label_names, level),
        "holdout": None,
        "baselines": {
            name: part
            if "not_run" in part
            else {**part["scores"], "holdout": None, "difference": {"out_of_fold": part["difference"], "holdout": None}}
            for name, part in compared.items()
        },
        "calibration": calibration.to_json(),
        "per_class": per_class(specialist, group, label_names, level=level),
        "confusion": confusion(specialist, group, label_names)["counts"],
    }


def add_holdout(
    metrics: Mapping[str, Any], scores: dict[str, Any], compared: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """`metrics.json` after the gate: the holdout's scores beside the out-of-fold ones."""
    baselines = {name: dict(part) for name, part in metrics["baselines"].items()}
    for name, part in compared.items():
        own = baselines.setdefault(name, {})
        if "not_run" in part:
            own["holdout"] = part
        else:
            own["holdout"] = part["scores"]
            own["difference"] = {**own.get("difference", {}), "holdout": part["difference"]}
    return {**metrics, "holdout": scores, "baselines": baselines}
