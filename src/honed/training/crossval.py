"""K folds and the final model as one stack: trains them, and writes the out-of-fold table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from honed.data.fold_pairs import Pair
from honed.data.folds import FoldPlan
from honed.data.targets import NO_TARGETS, Targets, TargetsByFold
from honed.oof import Predictions
from honed.training.checkpoint import CheckpointFolder
from honed.training.loop import Loop, SlotPlan, SlotRun

FINAL = "final"


@dataclass(frozen=True)
class CrossValidated:
    """predictions: the out-of-fold rows. final_state: the final model's slot. curves, best_epoch: by slot name."""

    predictions: Predictions
    final_state: dict[str, torch.Tensor]
    curves: dict[str, list[dict[str, float | None]]]
    best_epoch: dict[str, int]


def slot_plans(plan: FoldPlan, targets: TargetsByFold = NO_TARGETS) -> list[SlotPlan]:
    """One slot a fold, and the final model, which trains on every development row."""
    plans = []
    for fold in range(plan.n_folds):
        split = plan.split(fold)
        plans.append(SlotPlan(f"fold {fold}", fold, split.train, split.stop, targets=targets.get(fold)))
    final = plan.split(None)
    return [*plans, SlotPlan(FINAL, plan.n_folds, final.train, final.stop, targets=targets.get(None))]


def pair_plans(pairs: Sequence[Pair], first: int = 0, targets: Targets | None = None) -> list[SlotPlan]:
    """A slot a pair of folds, from slot `first` on. None stops early: a stop part would take rows away from few."""
    nobody = np.zeros(0, dtype=np.int64)
    return [SlotPlan(pair.name, first + i, pair.train, nobody, targets=targets) for i, pair in enumerate(pairs)]


def cross_validate(
    loop: Loop, plan: FoldPlan, checkpoint: CheckpointFolder | None = None, targets: TargetsByFold = NO_TARGETS
) -> CrossValidated:
    """Train all folds and the final model at once, then score every row of a fold by the model that never saw it.

    plan : of exactly the loop's examples; it holds no locked row.    targets : of the training sides alone.
    The final model has no stop part: it uses all rows and takes the (rounded) median of the folds' best epochs.

    Raises TrainingError if a slot diverges twice.
    """
    runs = loop.start(slot_plans(plan, targets))
    position = checkpoint.restore(runs) if checkpoint else None
    loop.train(runs, position, checkpoint)
    *folds, final = runs
    best_epoch = {run.plan.name: run.best_epoch for run in folds}
    best_epoch[FINAL] = _final_epoch(folds, final)
    return CrossValidated(
        predictions=out_of_fold(loop, plan, [loop.predict(k, plan.split(k).test) for k in range(plan.n_folds)]),
        final_state=final.snapshots[best_epoch[FINAL]],
        curves={run.plan.name: run.curve for run in runs},
        best_epoch=best_epoch,
    )


def _final_epoch(folds: list[SlotRun], final: SlotRun) -> int:
    last = len(final.curve) - 1
    if not any(run.plan.stop.size for run in folds):
        return last
    return min(last, round(statistics.median(run.best_epoch for run in folds)))


def out_of_fold(loop: Loop, plan: FoldPlan, by_fold: Sequence[npt.NDArray[np.float64]]) -> Predictions:
    """The out-of-fold table. by_fold : logits (rows, c) of each fold's test part, in the order of its rows."""
    rows = plan.scored
    tests = np.concatenate([plan.split(fold).test for fold in range(plan.n_folds)])
    logits = np.concatenate(by_fold)[np.argsort(tests)]  # each row is in one test part, so this is the rows' own order
    label = loop.examples.label[rows]
    loss = loop.stack.task.loss(torch.from_numpy(logits), torch.from_numpy(label)).numpy()
    return Predictions(
        example_id=plan.example_id[rows],
        repeat=np.zeros_like(rows),
        fold=plan.fold[rows],
        label=label,
        loss=loss,
        weight=loop.examples.weight[rows],
        logits=logits if loop.stack.task.has_classes else None,
    )
