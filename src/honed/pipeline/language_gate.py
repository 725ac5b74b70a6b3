"""The gate of a language model: the locked rows scored once by the artifact that ships, and what the probes said."""

from __future__ import annotations

import numpy as np

from honed.artifact import write_json
from honed.config import Config
from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan
from honed.events import Emitter
from honed.evidence.gate import GateTerms, Verdict
from honed.evidence.language_gate import LanguageBounds, judge_language
from honed.evidence.language_metrics import language_metrics
from honed.evidence.language_tables import LanguageTables
from honed.evidence.ledger import record_opening
from honed.oof import HOLDOUT_FOLD, Predictions
from honed.pipeline.preference_rows import holdout_likelihoods, preference_table, write_likelihoods
from honed.pipeline.requirements import own_scores, requirements_of
from honed.pipeline.run_folder import RunFolder
from honed.pipeline.written import holdout_writers, write_generations
from honed.serving.engine import Specialist
from honed.serving.replies import reply_losses


def open_language_gate(
    run: RunFolder, config: Config, dataset: Dataset, plan: FoldPlan, specialist: Specialist, emitter: Emitter
) -> Verdict:
    """Score `specialist`, loaded back from `run.adapter`, on the holdout; writes its tables, metrics, verdict.

    The opening is written to the ledger before a single row is scored.
    """
    openings = record_opening(run.beside, dataset.fingerprint, run.path.name)
    emitter.emit("holdout.opened", f"The holdout was opened (look {openings}).", openings=openings)
    score = _score_preferences if config.task == "preference" else _score_replies
    for path, table in zip(
        (run.holdout, run.baselines / "base_holdout.parquet"),
        score(run, config, dataset.take(plan.holdout), specialist, emitter),
        strict=True,
    ):
        table.write(path)
    writers = holdout_writers(config, plan)
    write_generations(run.generations, specialist.stack, dataset, writers, config, emitter)
    tables = LanguageTables.read(run.path, own_scores(config))
    metric = "preference_loss" if config.task == "preference" else "loss"
    terms = GateTerms(requirements_of(config), metric, config.level, openings)
    bounds = LanguageBounds(margin_drop=config.margin_drop, perplexity_ratio=config.forgetting)
    verdict = judge_language(tables, terms, bounds)
    write_json(run.metrics, run.read_json(run.metrics) | language_metrics(tables, level=config.level))
    write_json(run.verdict, verdict.to_json())
    return verdict


def _score_replies(
    run: RunFolder, config: Config, held: Dataset, specialist: Specialist, emitter: Emitter
) -> tuple[Predictions, Predictions]:
    """The tables of specialist and base."""
    del run, config
    found = reply_losses(specialist.stack, held.inputs, emitter)
    zeros, fold = np.zeros(len(held), dtype=np.int64), np.full(len(held), HOLDOUT_FOLD, dtype=np.int64)
    weight = found.n_tokens.astype(np.float64)
    own, base = (
        Predictions(held.example_id, zeros, fold, zeros, loss, weight, None) for loss in (found.specialist, found.base)
    )
    return own, base


def _score_preferences(
    run: RunFolder, config: Config, held: Dataset, specialist: Specialist, emitter: Emitter
) -> tuple[Predictions, Predictions]:
    """The same of pairs; the likelihoods behind them go to preferences.parquet."""
    found = holdout_likelihoods(specialist.stack, held, emitter)
    write_likelihoods(run.preferences, found)
    fold = np.full(len(held), HOLDOUT_FOLD, dtype=np.int64)
    rewards = found.rewards(config.beta)
    own, base = (preference_table(held.example_id, fold, logits) for logits in (rewards, np.zeros_like(rewards)))
    return own, base
