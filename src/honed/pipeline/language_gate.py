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
    rows = plan.holdout
    found = reply_losses(specialist.stack, [dataset.inputs[i] for i in rows], emitter)
    zeros, fold = np.zeros(len(rows), dtype=np.int64), np.full(len(rows), HOLDOUT_FOLD, dtype=np.int64)
    weight = found.n_tokens.astype(np.float64)
    for path, loss in ((run.holdout, found.specialist), (run.baselines / "base_holdout.parquet", found.base)):
        Predictions(dataset.example_id[rows], zeros, fold, zeros, loss, weight, None).write(path)
    writers = holdout_writers(config, plan)
    write_generations(run.generations, specialist.stack, dataset, writers, config, emitter)
    tables = LanguageTables.read(run.path, own_scores(config))
    terms = GateTerms(requirements_of(config), "loss", config.level, openings)
    bounds = LanguageBounds(margin_drop=config.margin_drop, perplexity_ratio=config.forgetting)
    verdict = judge_language(tables, terms, bounds)
    write_json(run.metrics, run.read_json(run.metrics) | language_metrics(tables, level=config.level))
    write_json(run.verdict, verdict.to_json())
    return verdict
