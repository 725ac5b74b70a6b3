"""What `honed fit` does with conversations: folds, base and specialist on the same rows, the conscience, the gate."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from honed.artifact import write_json
from honed.bases import ResolvedBase
from honed.config import Config
from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan
from honed.data.tables import write_parquet
from honed.events import Emitter, JsonLinesListener
from honed.oof import OutOfFold, Predictions
from honed.pipeline.bench import Bench, TuningContext
from honed.pipeline.conscience import write_forgetting, write_safety
from honed.pipeline.machine import disk_faults
from honed.pipeline.prepare import Prepared, development, write_texts
from honed.pipeline.run_folder import RunFolder
from honed.pipeline.tuning import Tuned, open_bench, plan_settings, tune_and_cross_validate
from honed.serving.engine import load_specialist
from honed.serving.generation import Writing, write_replies
from honed.training.build import row_weights
from honed.training.loop import predict


def train_and_judge(
    run: RunFolder, config: Config, base: ResolvedBase, prepared: Prepared, plan: FoldPlan, emitter: Emitter
) -> RunFolder:
    """Train, score, probe and judge a language model; what stands in the run folder is as for classifiers."""
    dataset = prepared.dataset
    with disk_faults(run.path):
        emitter.listen(JsonLinesListener(run.events))
        emitter.emit("run.start", f"Run {run.path}", path=str(run.path), config_fingerprint=config.fingerprint)
        if config.keep_texts:
            write_texts(run.texts, dataset)
        part, part_plan = development(dataset, plan)
        settings = plan_settings(config, config.trials, config.n_trials)
        spill = run.path / "trunk.bin"
        context = TuningContext(
            base, config, part, part_plan, emitter, run.checkpoint, spill,
            fingerprint=f"{config.fingerprint} {dataset.fingerprint}",
        )  # fmt: skip
        bench = open_bench(context, settings)
        trunk_bytes = bench.trunk.n_bytes if bench.trunk else 0
        with emitter.stage("base", "The frozen base on the same rows"):
            base_table = base_predictions(bench, part_plan)
        tuned = tune_and_cross_validate(bench, settings)
        oof = OutOfFold.check(
            tuned.trained.predictions,
            planned_fold=dict(zip(plan.example_id.tolist(), plan.fold.tolist(), strict=True)),
            label_names=dataset.label_names,
            dataset_fingerprint=dataset.fingerprint,
            plan_fingerprint=plan.dataset_fingerprint,
        )
        oof.predictions.write(run.oof)
        run.baselines.mkdir(exist_ok=True)
        base_table.write(run.baselines / "base.parquet")


def base_predictions(bench: Bench, plan: FoldPlan) -> Predictions:
    """The table of the frozen base: it learned nothing, so every fold may score it."""
    rows = plan.development
    loss = predict(bench.stack, bench.inputs, bench.trunk, None, rows)[:, 0]
    weight = row_weights(bench.stack, bench.inputs)[rows]
    zeros = np.zeros(len(rows), dtype=np.int64)
    return Predictions(plan.example_id[rows], zeros, plan.fold[rows], zeros, loss, weight, None)
