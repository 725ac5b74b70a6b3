"""What `honed fit` does with conversations: the folds, the base on the same rows, the conscience, the gate."""

from __future__ import annotations

import shutil

import numpy as np

from honed.artifact import Artifact, save_artifact, write_json
from honed.bases import ResolvedBase
from honed.config import Config
from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan
from honed.events import Emitter, JsonLinesListener
from honed.evidence.gate import Verdict
from honed.evidence.language_metrics import language_metrics
from honed.evidence.language_tables import LanguageTables
from honed.evidence.preferences import PAIR
from honed.oof import OutOfFold, Predictions
from honed.pipeline.assembly import artifact_info
from honed.pipeline.bench import Bench, TuningContext
from honed.pipeline.conscience import probes_of, write_forgetting, write_safety
from honed.pipeline.detector import detector_of, write_probe_replies
from honed.pipeline.finish import finish
from honed.pipeline.fit_facts import fit_facts
from honed.pipeline.gate import locked
from honed.pipeline.language_gate import open_language_gate
from honed.pipeline.machine import disk_faults
from honed.pipeline.preference_rows import out_of_fold_likelihoods, preference_table, write_likelihoods
from honed.pipeline.prepare import Prepared, development, write_texts
from honed.pipeline.replay import with_replay
from honed.pipeline.requirements import own_scores
from honed.pipeline.run_folder import RunFolder
from honed.pipeline.tuning import Tuned, open_bench, plan_settings, tune_and_cross_validate
from honed.pipeline.written import out_of_fold_writers, write_generations
from honed.serving.engine import Specialist, load_specialist
from honed.training.build import row_weights
from honed.training.loop import predict


def train_and_judge(
    run: RunFolder, config: Config, base: ResolvedBase, prepared: Prepared, plan: FoldPlan, emitter: Emitter
) -> RunFolder:
    """Train, score, probe and judge a language model; the run folder is that of a classifier where it can be."""
    dataset = prepared.dataset
    with disk_faults(run.path):
        emitter.listen(JsonLinesListener(run.events))
        emitter.emit("run.start", f"Run {run.path}", path=str(run.path), config_fingerprint=config.fingerprint)
        probes = probes_of(config)
        detector = detector_of(config, probes)
        if config.keep_texts:
            write_texts(run.texts, dataset)
        facts = _train(run, config, base, dataset, plan, emitter)
        specialist = load_specialist(run.adapter, device=config.device)
        if probes:
            with emitter.stage("safety", f"Safety: {len(probes)} probes, base against specialist"):
                write_safety(run.safety, specialist.stack, probes, emitter)
        if detector:
            with emitter.stage("detector", "Replies to probes, sorted by the detector"):
                write_probe_replies(run, specialist.stack, probes, detector, config, emitter)
        with emitter.stage("forgetting", "General language, base against specialist"):
            write_forgetting(run.forgetting, specialist.stack, emitter)
        write_json(
            run.metrics, language_metrics(LanguageTables.read(run.path, own_scores(config)), level=config.level) | facts
        )
        finish(run, emitter, _gate(run, config, dataset, plan, specialist, emitter))
        shutil.rmtree(run.checkpoint, ignore_errors=True)
    return run


def _train(
    run: RunFolder, config: Config, base: ResolvedBase, dataset: Dataset, plan: FoldPlan, emitter: Emitter
) -> dict[str, object]:
    """Folds and final model: the out-of-fold tables of specialist and base, replies, the artifact; gives the facts."""
    part, part_plan = with_replay(*development(dataset, plan), config.replay)
    settings = plan_settings(config, config.trials, config.n_trials)
    spill = run.path / "trunk.bin"
    context = TuningContext(
        base, config, part, part_plan, emitter, run.checkpoint, spill,
        fingerprint=f"{config.fingerprint} {dataset.fingerprint}",
    )  # fmt: skip
    bench = open_bench(context, settings)
    trunk_bytes = bench.trunk.n_bytes if bench.trunk else 0
    with emitter.stage("base", "The frozen base on the same rows"):
        base_table = _base_predictions(bench, part_plan)
    tuned = tune_and_cross_validate(bench, settings)
    oof = OutOfFold.check(
        tuned.trained.predictions,
        planned_fold=dict(zip(plan.example_id.tolist(), plan.fold.tolist(), strict=True)),
        label_names=PAIR if config.task == "preference" else dataset.label_names,
        dataset_fingerprint=dataset.fingerprint,
        plan_fingerprint=plan.dataset_fingerprint,
    )
    oof.predictions.write(run.oof)
    run.baselines.mkdir(exist_ok=True)
    base_table.write(run.baselines / "base.parquet")
    if config.task == "preference":
        likelihoods = out_of_fold_likelihoods(bench, part_plan, oof.predictions)
        pairs = [part.inputs[row] for row in part_plan.scored] if config.keep_texts else None
        write_likelihoods(run.preferences, likelihoods, pairs)
    if tuned.report is None:  # else each fold's model was of another setting, and most of them are gone
        with emitter.stage("replies", "Replies to unseen rows, base beside specialist"):
            writers = out_of_fold_writers(config, part_plan)
            write_generations(run.generations, bench.stack, part, writers, config, emitter)
    _save(run, config, base, tuned, dataset)
    spill.unlink(missing_ok=True)
    return fit_facts(tuned, trunk_bytes)


def _base_predictions(bench: Bench, plan: FoldPlan) -> Predictions:
    """The table of the frozen base, which learned from no row."""
    rows = plan.scored
    zeros = np.zeros(len(rows), dtype=np.int64)
    if bench.stack.task.has_reference:  # the base is its own reference, so it favours neither reply more than itself
        return preference_table(plan.example_id[rows], plan.fold[rows], np.zeros((len(rows), 2)))
    loss = predict(bench.stack, bench.inputs, bench.trunk, None, rows)[:, 0]
    weight = row_weights(bench.stack, bench.inputs)[rows]
    return Predictions(plan.example_id[rows], zeros, plan.fold[rows], zeros, loss, weight, None)


def _save(run: RunFolder, config: Config, base: ResolvedBase, tuned: Tuned, dataset: Dataset) -> None:
    # However it was trained, it is used as a model of instructions.
    shipped = tuned.config.model_copy(update={"task": "instruction", "head": "language"})
    info = artifact_info(
        shipped, base, tuned.stack, dataset.label_names,
        temperature=1.0, dataset_fingerprint=dataset.fingerprint,
    )  # fmt: skip
    save_artifact(run.adapter, Artifact(info, tuned.trained.final_state), sites=tuned.stack.adapters.sites)


def _gate(
    run: RunFolder, config: Config, dataset: Dataset, plan: FoldPlan, specialist: Specialist, emitter: Emitter
) -> Verdict:
    if not config.gate:
        verdict = locked(config)
        write_json(run.verdict, verdict.to_json())
        return verdict
    with emitter.stage("gate", "Opening the locked holdout for the artifact that ships"):
        return open_language_gate(run, config, dataset, plan, specialist, emitter)
