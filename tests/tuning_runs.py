"""Small cross-validations with trials, without a run folder around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import models as m
from honed.bases import ResolvedBase
from honed.config import Config, make_config
from honed.data.dataset import Dataset
from honed.data.folds import plan_folds
from honed.events import Emitter, Event, Listener
from honed.pipeline.bench import TuningContext
from honed.pipeline.tuning import Tuned, open_bench, plan_settings, tune_and_cross_validate

FOLDS = 3
VALUES: dict[str, Any] = {
    "method": "lora", "epochs": 3, "batch_size": 8, "max_tokens": 16, "device": "cpu", "folds": FOLDS, "patience": 9,
    "head_learning_rate": 3e-2, "learning_rate": 3e-3, "stop_frac": 0.2, "depth": 1, "method_options": {"rank": 2},
    "task": "text_classification", "head": "mean", "layers": "all",
}  # fmt: skip


@dataclass(frozen=True)
class Tuning:
    """What a tuning left behind, with its events."""

    tuned: Tuned
    events: list[Event]

    @property
    def report(self) -> dict[str, Any]:
        assert self.tuned.report is not None
        return self.tuned.report

    @property
    def choice(self) -> dict[str, int]:
        """The trial of each fold, and of the final model."""
        choice: dict[str, int] = self.report["choice"]
        return choice

    def trial(self, trial: int, fold: int) -> dict[str, Any]:
        """One entry of the report."""
        found: dict[str, Any] = next(t for t in self.report["trials"] if (t["trial"], t["fold"]) == (trial, fold))
        return found


def tuning_config(base: ResolvedBase, **changes: Any) -> Config:
    return make_config({**VALUES, "base": str(base.path), **changes})


def tuning_context(
    base: ResolvedBase, folder: Path, config: Config, label: Any = None, listeners: Sequence[Listener] = ()
) -> TuningContext:
    """60 toy texts; `label` replaces the labels for training, not for the plan of the folds."""
    texts, own = m.toy_texts(60)
    ids = np.array([f"row {i}" for i in range(len(texts))])
    part = Dataset(ids, texts, own, ids, ("a", "b", "c"), np.arange(len(texts)))
    plan = plan_folds(part, folds=config.folds, holdout_frac=0, stop_frac=config.stop_frac, seed=config.seed)
    if label is not None:
        part = replace(part, label=label)
    folder.mkdir(parents=True, exist_ok=True)
    return TuningContext(
        base, config, part, plan, Emitter(tuple(listeners)), folder / "checkpoint", folder / "trunk.bin", "a run", 0.0
    )


def tune(
    base: ResolvedBase, folder: Path, trials: str = "", *, label: Any = None, listeners: Sequence[Listener] = (),
    **changes: Any,
) -> Tuning:  # fmt: skip
    config = tuning_config(base, **changes)
    events: list[Event] = []
    context = tuning_context(base, folder, config, label, (*listeners, events.append))
    settings = plan_settings(config, trials)
    return Tuning(tune_and_cross_validate(open_bench(context, settings), settings), events)
