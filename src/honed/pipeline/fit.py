"""`honed fit`: from the user's file to a specialist with proof."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from honed.artifact import Artifact, ArtifactInfo, save_artifact, write_json
from honed.bases import ResolvedBase, resolve
from honed.config import Config, make_config, read_config, write_config
from honed.data.conversations import CONVERSATION_TASKS
from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan
from honed.errors import EvidenceError, RunFolderError, UsageError
from honed.events import Emitter, JsonLinesListener, Listener
from honed.evidence.calibration import calibrate
from honed.evidence.gate import Verdict
from honed.evidence.label_table import LabelTable
from honed.evidence.report_data import worst_mistakes
from honed.evidence.report_labels import N_SHOWN
from honed.oof import OutOfFold
from honed.pipeline import language_fit
from honed.pipeline.assembly import artifact_info, check_fits
from honed.pipeline.bench import TuningContext
from honed.pipeline.budget import within_budget
from honed.pipeline.cleaning import check_cleaning, teach, write_provenance
from honed.pipeline.clinical import check_reading, out_of_fold_reading, reading_of, write_reader
from honed.pipeline.conscience import probes_of
from honed.pipeline.features import base_features
from honed.pipeline.finish import finish
from honed.pipeline.fit_facts import fit_facts
from honed.pipeline.gate import locked, open_gate
from honed.pipeline.group_leak import group_leak_note
from honed.pipeline.labels import decisions_of, fingerprint_of, judge_labels
from honed.pipeline.machine import disk_faults
from honed.pipeline.measured import before_measuring, candidates, measure, measured_fields
from honed.pipeline.prepare import (
    EMBEDDED,
    Prepared,
    development,
    make_plan,
    with_sample_checks,
    write_texts,
)
from honed.pipeline.requirements import requirements_of
from honed.pipeline.rows import load_rows, prepare_rows
from honed.pipeline.run_folder import RunFolder, claim, existing
from honed.pipeline.scoring import Features, Scoring, groups_of, out_of_fold_json, score_baselines
from honed.pipeline.settle import check_grades, epochs_note, grades_note, settle
from honed.pipeline.thumbnails import write_thumbnails
from honed.pipeline.tuning import open_bench, open_first, plan_settings, tune_and_cross_validate
from honed.tasks.heads import as_linear
from honed.training.crossval import CrossValidated
from honed.training.stack import Stack


def fit(config: Config, listeners: Sequence[Listener] = ()) -> RunFolder:
    """Train, validate, judge and write everything; returns the run folder.

    Raises a HonedError with problem, cause and remedy; what was done until then stays in the run folder, and
    `resume` continues from it.
    """
    if not config.data:
        raise UsageError("No data were named.", remedy="`honed fit FILE`, or try `honed demo`.")
    requirements_of(config)
    # One that is not here is told before anything is read.
    named = None if config.base == "auto" else resolve(config.base, revision=config.revision)
    check_cleaning(config)
    check_grades(config)
    check_reading(config)
    emitter = Emitter(tuple(listeners))
    with emitter.stage("check", f"Reading and checking {config.data}"):
        loaded = load_rows(config)
        fields, given = measured_fields(config), before_measuring(config)
        settled, base = settle(given, loaded, named)
        config, budget_note = _complete(settled, base)
        if config.task in CONVERSATION_TASKS:
            probes_of(config)
        candidates(settled, base, fields)  # what cannot be measured is told before the rows are checked
        prepared = prepare_rows(config, base, loaded)
        plan = make_plan(config, prepared.dataset)
        if config.task not in CONVERSATION_TASKS:
            prepared = with_sample_checks(prepared, prepared.dataset.take(plan.development))
        requirements_of(config, prepared.dataset.label_names)
        reading_of(config, prepared.dataset.label_names)
        decisions_of(config, prepared.dataset)
    run = claim(config.out, EMBEDDED.get(config.data) or Path(config.data).stem)
    measured = None
    if fields:
        measured = measure(settled, base, fields, *development(prepared.dataset, plan), emitter)
        config, budget_note = _complete(settled.model_copy(update=measured.fields), base)
    if config.ordinal:
        prepared.facts["notes"].append(grades_note(prepared.dataset.label_names))
    told = (budget_note, epochs_note(given, config, len(loaded.dataset)), measured.note if measured else "")
    for note in filter(None, told):
        prepared.facts["notes"].append(note)
        emitter.emit("log", note)
    # The run must be found again from another working directory.
    places = {
        name: str(Path(p).resolve())
        for name in ("data", "test_file", "decisions", "detector")
        if (p := getattr(config, name)) and Path(p).exists()
    }
    if base.source == "folder":
        places["base"] = str(base.path)
    config = config.model_copy(update={"out": str(run.path), **places})
    with disk_faults(run.path):
        write_config(config, run.config)
        write_json(run.dataset, prepared.facts)
        prepared.issues.write(run.issues)
        plan.write(run.folds)
        if measured:
            write_json(run.measured, measured.table)
    return _train_and_judge(run, config, base, prepared, plan, emitter)


def _complete(config: Config, base: ResolvedBase) -> tuple[Config, str]:
    """The settled configuration with what its budget chose, and a sentence on that.

    Raises UsageError or BaseModelError if it, or one of its trials, does not fit the base.
    """
    config, note = within_budget(config, str(base.path))
    check_fits(config, base)
    for setting in plan_settings(config, config.trials, config.n_trials):
        tried = setting.apply(config)
        check_grades(tried)
        check_fits(tried, base)
    return config, note


def resume(path: str | Path, listeners: Sequence[Listener] = ()) -> RunFolder:
    """Continue an interrupted run to the same result; a finished one is returned as it is.

    Raises RunFolderError if the folder is no run, or the data changed since.
    """
    run = existing(path)
    if run.is_complete:
        return run
    emitter = Emitter(tuple(listeners))
    if run.verdict.exists():  # judged, but killed before its report: the holdout needs no second look
        said = run.read_json(run.verdict)
        with disk_faults(run.path):
            finish(run, emitter, Verdict(said["verdict"], tuple(said["reasons"]), said["holdout_openings"]))
        return run
    config = make_config(read_config(run.config))
    base = resolve(config.base, revision=config.revision)
    with emitter.stage("check", f"Reading and checking {config.data}"):
        prepared = prepare_rows(config, base)
        plan = make_plan(config, prepared.dataset)
        if config.task not in CONVERSATION_TASKS:
            prepared = with_sample_checks(prepared, prepared.dataset.take(plan.development))
    if run.folds.exists() and FoldPlan.read(run.folds).dataset_fingerprint != plan.dataset_fingerprint:
        raise RunFolderError(
            f"{config.data} changed since the run in {run.path} was interrupted.",
            cause="The folds of the old rows do not fit the new ones.",
            remedy="Restore the file, or start a new run with `honed fit`.",
        )
    if run.dataset.exists():
        notes = [*prepared.facts["notes"], *run.read_json(run.dataset)["notes"]]
        prepared.facts["notes"] = list(dict.fromkeys(notes))
    with disk_faults(run.path):
        write_json(run.dataset, prepared.facts)
        prepared.issues.write(run.issues)
        plan.write(run.folds)
    return _train_and_judge(run, config, base, prepared, plan, emitter)


def _train_and_judge(
    run: RunFolder, config: Config, base: ResolvedBase, prepared: Prepared, plan: FoldPlan, emitter: Emitter
) -> RunFolder:
    if config.task in CONVERSATION_TASKS:
        return language_fit.train_and_judge(run, config, base, prepared, plan, emitter)
    dataset = prepared.dataset
    with disk_faults(run.path):
        emitter.listen(JsonLinesListener(run.events))
        emitter.emit("run.start", f"Run {run.path}", path=str(run.path), config_fingerprint=config.fingerprint)
        if config.keep_texts:
            write_texts(run.texts, dataset)
        part, part_plan = development(dataset, plan)
        settings = plan_settings(config, config.trials, config.n_trials)
        decisions = decisions_of(config, dataset)
        spill = run.path / "trunk.bin"
        context = TuningContext(
            base, config, part, part_plan, emitter, run.checkpoint, spill,
            fingerprint=f"{config.fingerprint} {dataset.fingerprint} {fingerprint_of(decisions)}",
        )  # fmt: skip
        bench = open_bench(context, settings)
        trunk_bytes = bench.trunk.n_bytes if bench.trunk else 0
        with emitter.stage("features", "Features of the frozen base, for the linear probe"):
            features = base_features(bench.stack, part.inputs, emitter, inputs=bench.inputs, trunk=bench.trunk)
        taught = teach(bench, config, features, decisions)
        if bench.group is None:  # the stack of those who judged labels is open
            open_first(bench, settings)
        tuned = tune_and_cross_validate(bench, settings, taught.targets)
        trained, stack = tuned.trained, tuned.stack
        oof = OutOfFold.check(
            trained.predictions,
            planned_fold=dict(zip(plan.example_id.tolist(), plan.fold.tolist(), strict=True)),
            label_names=dataset.label_names,
            dataset_fingerprint=dataset.fingerprint,
            plan_fingerprint=plan.dataset_fingerprint,
        )
        oof.predictions.write(run.oof)
        group = groups_of(oof.predictions, plan)
        with emitter.stage("baselines", "Small baselines on the same folds"):
            baselines = score_baselines(part, part_plan, features, on_holdout=False)
            run.baselines.mkdir(exist_ok=True)
            for name, table in baselines.tables.items():
                table.write(run.baselines / f"{name}.parquet")
            _note_group_leak(run, prepared, part, part_plan)
        with emitter.stage("evidence", "Scores, intervals and calibration"):
            calibration = calibrate(oof.predictions, group, level=config.level)
            scoring = Scoring(dataset.label_names, config.level, config.ordinal)
            metrics = out_of_fold_json(oof.predictions, baselines, calibration, group, scoring)
            reading, point = reading_of(config, dataset.label_names), None
            if reading:
                write_reader(run.reader, part)
                point, clinical = out_of_fold_reading(reading, oof.predictions, group, calibration, part)
                metrics["out_of_fold"]["clinical"] = clinical
        if config.clean != "off":
            with emitter.stage("labels", "Judging labels by the out-of-fold table"):
                metrics["labels"] = judge_labels(run.labels, part, oof.predictions, baselines, features)
        if config.keep_texts and config.task == "image_classification":
            labels = LabelTable.read(run.labels).example_id[:N_SHOWN].tolist() if run.labels.exists() else []
            mistakes = oof.predictions.example_id[worst_mistakes(oof.predictions)].tolist()
            write_thumbnails(run.thumbnails, part, [*labels, *mistakes])
        if taught.targets:
            metrics["cleaning"] = write_provenance(run.cleaning, part, part_plan, taught, decisions)
        info = artifact_info(
            tuned.config, base, stack, dataset.label_names,
            temperature=calibration.temperature, dataset_fingerprint=dataset.fingerprint,
        )  # fmt: skip
        if reading and point:
            positive = tuple(dataset.label_names[j] for j in reading.positive)
            info = replace(info, positive=positive, threshold=point.threshold)
        _save(run, info, stack, trained)
        facts = fit_facts(tuned, trunk_bytes)
        write_json(
            run.metrics,
            {"label_names": dataset.label_names, "metric": config.metric, "level": config.level, **metrics, **facts},
        )
        verdict = _gate(run, config, dataset, plan, features, emitter)
        finish(run, emitter, verdict)
        shutil.rmtree(run.checkpoint, ignore_errors=True)
        spill.unlink(missing_ok=True)
    return run


def _note_group_leak(run: RunFolder, prepared: Prepared, part: Dataset, plan: FoldPlan) -> None:
    """Say in `dataset.json` what random folds would have promised, if the user's rows come in groups."""
    group_name = prepared.facts["roles"]["group"]
    if group_name is None:
        return
    try:
        note = group_leak_note(part, plan, group_name)
    except EvidenceError as error:
        note = f"Random against grouped folds: not run, because {error}"
    write_json(run.dataset, {**prepared.facts, "notes": [*prepared.facts["notes"], note]})


def _gate(
    run: RunFolder, config: Config, dataset: Dataset, plan: FoldPlan, features: Features, emitter: Emitter
) -> Verdict:
    if not config.gate:
        verdict = locked(config)
        write_json(run.verdict, verdict.to_json())
        return verdict
    with emitter.stage("gate", "Opening the locked holdout for the artifact that ships"):
        return open_gate(run, config, dataset, plan, emitter, features)


def _save(run: RunFolder, info: ArtifactInfo, stack: Stack, trained: CrossValidated) -> None:
    save_artifact(run.adapter, Artifact(info, as_linear(trained.final_state)), sites=stack.adapters.sites)
