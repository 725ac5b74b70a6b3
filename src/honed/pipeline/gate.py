"""The gate: open the locked holdout once, score the artifact that ships, and judge it."""

from __future__ import annotations

import numpy as np

from honed.artifact import write_json
from honed.bases import resolve
from honed.config import Config
from honed.data.conversations import CONVERSATION_TASKS
from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan
from honed.errors import RunFolderError
from honed.events import Emitter
from honed.evidence.gate import INCONCLUSIVE, GateTerms, Verdict, judge
from honed.evidence.ledger import record_opening
from honed.evidence.metrics import row_log_loss, softmax
from honed.oof import HOLDOUT_FOLD, Predictions
from honed.pipeline.clinical import holdout_reading, not_run_of, reading_of, write_reader
from honed.pipeline.features import base_features
from honed.pipeline.language_gate import open_language_gate
from honed.pipeline.requirements import requirements_of
from honed.pipeline.rows import prepare_rows
from honed.pipeline.run_folder import RunFolder
from honed.pipeline.scoring import (
    Features,
    Scoring,
    add_holdout,
    baselines_json,
    groups_of,
    score_baselines,
    scores_json,
)
from honed.serving.engine import Specialist, load_specialist


def locked(config: Config) -> Verdict:
    """The verdict while the holdout is still shut."""
    reason = (
        f"The holdout ({config.holdout_frac:.0%} of the rows) is still locked (--no-gate): nothing but the out-of-fold "
        "figures is known. Open it with `honed gate` when you have stopped changing things."
    )
    return Verdict(INCONCLUSIVE, (reason,), 0)


def open_gate(
    run: RunFolder, config: Config, dataset: Dataset, plan: FoldPlan, emitter: Emitter,
    development_features: Features | None = None,
) -> Verdict:  # fmt: skip
    """Score the artifact in `run.adapter`, loaded back from disk, on the holdout; writes holdout, metrics, verdict.

    development_features : of the frozen base for the rows `plan.development`, if at hand.
    The opening is written to the ledger before a single row is scored.
    """
    specialist = load_specialist(run.adapter, device=config.device)
    if config.task in CONVERSATION_TASKS:
        return open_language_gate(run, config, dataset, plan, specialist, emitter)
    requirements = requirements_of(config, dataset.label_names)
    openings = record_opening(run.beside, dataset.fingerprint, run.path.name)
    emitter.emit("holdout.opened", f"The holdout was opened (look {openings}).", openings=openings)
    holdout = score_holdout(specialist, dataset, plan)
    holdout.write(run.holdout)
    features = _all_features(specialist, dataset, plan, development_features, emitter)
    baselines = score_baselines(dataset, plan, features, on_holdout=True)
    group = groups_of(holdout, plan)
    scoring = Scoring(dataset.label_names, config.level, config.ordinal)
    known, scores = run.read_json(run.metrics), scores_json(holdout, group, scoring)
    not_run = tuple(baselines.not_run.values())
    if reading := reading_of(config, dataset.label_names):
        write_reader(run.reader, dataset)
        prevalence = known["out_of_fold"].get("clinical", {}).get("prevalence", {}).get("value")
        info = specialist.artifact.info
        scores["clinical"] = holdout_reading(reading, info, holdout, group, prevalence, dataset)
        not_run += not_run_of(scores["clinical"])
    terms = GateTerms(requirements, config.metric, config.level, openings, not_run, scores.get("clinical"))
    verdict = judge(holdout, baselines.tables, group, dataset.label_names, terms)
    metrics = add_holdout(known, scores, baselines_json(holdout, baselines, group, scoring))
    write_json(run.metrics, metrics)
    write_json(run.verdict, verdict.to_json())
    return verdict


def _all_features(
    specialist: Specialist, dataset: Dataset, plan: FoldPlan, development: Features | None, emitter: Emitter
) -> Features:
    """Features of the frozen base for all rows; those of the development rows are computed only if not at hand."""
    if development is None:
        return base_features(specialist.stack, dataset.inputs, emitter)
    features = np.empty((len(dataset), development.shape[1]))
    features[plan.development] = development
    features[plan.holdout] = base_features(specialist.stack, [dataset.inputs[i] for i in plan.holdout], emitter)
    return features


def score_holdout(specialist: Specialist, dataset: Dataset, plan: FoldPlan) -> Predictions:
    """The shipped artifact's own logits (before the temperature) on the locked rows."""
    rows = plan.holdout
    logits = specialist.logits([dataset.inputs[i] for i in rows])
    label = dataset.label[rows]
    return Predictions(
        example_id=dataset.example_id[rows],
        repeat=np.zeros(len(rows), dtype=np.int64),
        fold=np.full(len(rows), HOLDOUT_FOLD, dtype=np.int64),
        label=label,
        loss=row_log_loss(label, softmax(logits)),
        weight=np.ones(len(rows)),
        logits=logits,
    )


def reopen_data(run: RunFolder, config: Config) -> tuple[Dataset, FoldPlan]:
    """The data of a finished run, read again from their source.

    Raises RunFolderError if they changed since.
    """
    plan = FoldPlan.read(run.folds)
    dataset = prepare_rows(config, resolve(config.base, revision=config.revision)).dataset
    if dataset.fingerprint != plan.dataset_fingerprint:
        raise RunFolderError(
            f"{config.data} changed since this run was made (fingerprint {dataset.fingerprint[:12]}, was "
            f"{plan.dataset_fingerprint[:12]}).",
            cause="A holdout of other rows would prove nothing about this artifact.",
            remedy="Restore the file, or run `honed fit` again on the new one.",
        )
    order = {example: i for i, example in enumerate(dataset.example_id.tolist())}
    return dataset.take([order[example] for example in plan.example_id.tolist()]), plan
