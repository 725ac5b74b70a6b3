"""K folds and the final model as one stack: trains them, and writes the out-of-fold table."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from honed.data.folds import FoldPlan
from honed.events import Emitter
from honed.oof import Predictions
from honed.training.checkpoint import CheckpointFolder
from honed.training.loop import Examples, Loop, SlotPlan, SlotRun, TrainingOptions, predict
from honed.training.stack import Stack
from honed.training.trunk import TrunkCache

FINAL = "final"


@dataclass(frozen=True)
class CrossValidated:
    """predictions: the out-of-fold rows. final_state: the final model's slot. curves, best_epoch: by slot name."""

    predictions: Predictions
    final_state: dict[str, torch.Tensor]
    curves: dict[str, list[dict[str, float | None]]]
    best_epoch: dict[str, int]


def slot_plans(plan: FoldPlan) -> list[SlotPlan]:
    """One slot a fold, and the final model, which trains on every development row."""
    plans = []
    for fold in range(plan.n_folds):
        split = plan.split(fold)
        plans.append(SlotPlan(f"fold {fold}", fold, split.train, split.stop))
    final = plan.split(None)
    return [*plans, SlotPlan(FINAL, plan.n_folds, final.train, final.stop)]


def cross_validate(
    stack: Stack,
    trunk: TrunkCache | None,
    examples: Examples,
    plan: FoldPlan,
    options: TrainingOptions,
    *,
    emitter: Emitter,
    checkpoint: CheckpointFolder | None = None,
) -> CrossValidated:
    """Train all folds and the final model at once, then score every development row by the fold that never saw it.

    The final model has no stop part: it uses all rows and takes the (rounded) median of the folds' best epochs.
    """
    loop = Loop(stack, trunk, examples, options, emitter)
    runs = loop.start(slot_plans(plan))
    position = checkpoint.restore(runs) if checkpoint else None
    loop.train(runs, position, checkpoint)
    *folds, final = runs
    best_epoch = {run.plan.name: run.best_epoch for run in folds}
    best_epoch[FINAL] = _final_epoch(folds, final)
    return CrossValidated(
        predictions=_out_of_fold(stack, trunk, examples, plan),
        final_state=final.snapshots[best_epoch[FINAL]],
        curves={run.plan.name: run.curve for run in runs},
        best_epoch=best_epoch,
    )


def _final_epoch(folds: list[SlotRun], final: SlotRun) -> int:
    last = len(final.curve) - 1
    if not any(run.plan.stop.size for run in folds):
        return last
    return min(last, round(statistics.median(run.best_epoch for run in folds)))


def _out_of_fold(stack: Stack, trunk: TrunkCache | None, examples: Examples, plan: FoldPlan) -> Predictions:
    parts = []
    for fold in range(plan.n_folds):
        rows = plan.split(fold).test
        parts.append((rows, np.full(len(rows), fold), predict(stack, examples.inputs, trunk, fold, rows)))
    rows, folds, logits = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(rows)
    return as_predictions(stack.task, examples, rows[order], folds[order], logits[order], plan.example_id)


def as_predictions(
    task: Any,
    examples: Examples,
    rows: npt.NDArray[np.int64],
    fold: npt.NDArray[np.int64],
    logits: npt.NDArray[np.float64],
    example_id: npt.NDArray[np.str_],
) -> Predictions:
    """Scored rows as a table; the loss is the task's own."""
    label = examples.label[rows]
    loss = task.loss(torch.from_numpy(logits), torch.from_numpy(label)).numpy()
    return Predictions(example_id[rows], np.zeros_like(rows), fold, label, loss, examples.weight[rows], logits)
