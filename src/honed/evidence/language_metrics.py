"""metrics.json of a run that answers in words, made from its tables alone."""

from __future__ import annotations

from functools import partial
from typing import Any

from honed.evidence.estimate import figure_json
from honed.evidence.forgetting import forgetting_json
from honed.evidence.language import loss_by_length, loss_difference, loss_estimate
from honed.evidence.language_scores import LOSS_SCORES
from honed.evidence.language_tables import LanguageTables, Part
from honed.evidence.preferences import OF_LIKELIHOODS, PAIR, PAIRED, preference_difference, preference_estimate
from honed.evidence.reply_rates import reply_rates_json
from honed.evidence.reply_scores import reply_difference, reply_estimate
from honed.evidence.safety import safety_json

NO_BASE = "not run, because the frozen base did not score these rows"
NO_SAFETY = "not run, because the run folder has no safety.parquet"
NO_REPLIES = "not run, because no detector was named (--detector)"
NO_FORGETTING = "not run, because the run folder has no forgetting.parquet"
TOKEN_LOSSES = ("loss", "row_loss")
PAIRED_LOSSES = (*TOKEN_LOSSES, "preference_loss")
"""Losses in which a specialist is compared with its base."""


def language_metrics(tables: LanguageTables, *, level: float = 0.95) -> dict[str, Any]:
    """All figures of the tables; a run adds its own facts (timings, parameters, learning curves) beside them.

    {"task", "label_names": [], or the two of a pair, "level", "out_of_fold": {score: estimate}, "holdout": the same or
    None, "baselines": {"base": {score: estimate, "holdout": ..., "difference": {"out_of_fold", "holdout"}}},
    "length": [...], "safety": {kind: ..., "replies": {kind: ...}}, "forgetting": {kind: ...}}. What could not be
    computed is {"not_run": why}.
    """
    oof, holdout = tables.out_of_fold, tables.holdout
    base: dict[str, Any] = {"not_run": NO_BASE} if oof.base is None else part_metrics(oof, "base", level=level)
    base["holdout"] = None if holdout is None or holdout.base is None else part_metrics(holdout, "base", level=level)
    base["difference"] = {
        "out_of_fold": difference_metrics(oof, level=level),
        "holdout": None if holdout is None else difference_metrics(holdout, level=level),
    }
    return {
        "task": "instruction" if oof.preferences is None else "preference",
        "label_names": [] if oof.preferences is None else list(PAIR),
        "level": level,
        "out_of_fold": part_metrics(oof, "specialist", level=level),
        "holdout": None if holdout is None else part_metrics(holdout, "specialist", level=level),
        "baselines": {"base": base},
        "length": []
        if oof.preferences is not None
        else loss_by_length(oof.specialist, oof.base, oof.group, level=level),
        "safety": _safety(tables, level),
        "forgetting": {"not_run": NO_FORGETTING}
        if tables.forgetting is None
        else forgetting_json(tables.forgetting, level=level),
    }


def _safety(tables: LanguageTables, level: float) -> dict[str, Any]:
    margins = {"not_run": NO_SAFETY} if tables.safety is None else safety_json(tables.safety, level=level)
    rates = {"not_run": NO_REPLIES} if tables.replies is None else reply_rates_json(tables.replies, level=level)
    return {**margins, "replies": rates}


def part_metrics(part: Part, who: str, *, level: float = 0.95) -> dict[str, Any]:
    """Score -> estimate of "specialist" or "base": losses of all rows, and the scores of the generated replies."""
    table = part.specialist if who == "specialist" else part.base
    found: dict[str, Any] = {}
    for name in LOSS_SCORES if part.preferences is None else ("preference_loss",):
        found[name] = (
            {"value": None, "not_run": NO_BASE}
            if table is None
            else figure_json(partial(loss_estimate, table, part.group, name, level=level))
        )
    if part.preferences is not None:
        for name in OF_LIKELIHOODS:
            found[name] = figure_json(
                partial(preference_estimate, part.preferences, who, name, part.group, level=level)
            )
    if part.replies is not None:
        for name in part.replies.specialist:
            found[name] = figure_json(partial(reply_estimate, part.replies, who, name, part.reply_group, level=level))
    return found


def difference_metrics(part: Part, *, level: float = 0.95) -> dict[str, Any]:
    """Score -> specialist minus base on the same rows. Perplexity has none: its ratio is exp of that of the loss."""
    found: dict[str, Any] = {}
    if part.base is not None:
        for name in TOKEN_LOSSES if part.preferences is None else ("preference_loss",):
            found[name] = figure_json(
                partial(loss_difference, part.specialist, part.base, part.group, name, level=level)
            )
    if part.preferences is not None:
        for name in PAIRED:
            found[name] = figure_json(partial(preference_difference, part.preferences, name, part.group, level=level))
    if part.replies is not None:
        for name in part.replies.specialist:
            found[name] = figure_json(partial(reply_difference, part.replies, name, part.reply_group, level=level))
    return found
