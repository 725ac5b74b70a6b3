"""What each fold and the final model are taught: cleaned by models that never saw the fold, then by the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from honed.config import Config
from honed.data.dataset import Dataset
from honed.data.decisions import Decisions, decided
from honed.data.fold_pairs import Pair, fold_pairs
from honed.data.folds import FoldPlan
from honed.data.tables import write_parquet
from honed.data.targets import Targets, TargetsByFold
from honed.errors import EvidenceError, UsageError
from honed.evidence.baselines import BASELINES, out_of_fold_baseline
from honed.evidence.cleaning import CleanMode, JudgedRows, NestedOpinions, clean, judge_for_each_fold
from honed.evidence.metrics import Floats, Ints
from honed.pipeline.assembly import slot_seed
from honed.pipeline.bench import Bench, TuningContext
from honed.pipeline.kept_logits import Judges, kept_logits, logits_of
from honed.pipeline.scoring import Features, baseline_rows
from honed.training.crossval import FINAL, pair_plans

MEMBERS = tuple(name for name in BASELINES if name != "majority")
"""Baselines that judge labels beside the specialist, as far as they can be fitted; the majority has no opinion."""
TRAINS = frozenset(("drop", "relabel", "weight"))
"""The values of --clean that change what is taught."""
MOST_FOLDS = 12


@dataclass(frozen=True)
class Taught:
    """targets : of each fold and the final model; empty where all are taught what the data say.

    judged : the opinions behind them, None if no model was asked.
    """

    targets: TargetsByFold
    judged: dict[int | None, JudgedRows] | None


def check_cleaning(config: Config, command: str = "") -> None:
    """Raises UsageError for a --clean that the folds do not allow. command : what cleans, if it is not that flag."""
    if config.clean not in TRAINS:
        return
    who = command or f"--clean {config.clean}"
    otherwise = "" if command else ", or --clean review, which changes nothing"
    if config.folds < 3:
        raise UsageError(
            f"{who} needs at least 3 folds; --folds is {config.folds}.",
            cause="The labels that a fold learns from are judged by models that saw neither them nor that fold.",
            remedy=f"Use --folds 5{otherwise}.",
        )
    if config.folds > MOST_FOLDS:
        n_pairs = config.folds * (config.folds - 1) // 2
        raise UsageError(
            f"{who} trains a model for each pair of folds: {n_pairs} with --folds {config.folds}.",
            remedy=f"Use --folds {MOST_FOLDS} or fewer{otherwise}.",
        )


def opinions_of_stack(bench: Bench, config: Config, pairs: Sequence[Pair]) -> list[Floats]:
    """Train a model for each pair of folds and return its logits (rows, c) of both. An interrupted run goes on."""
    judges = Judges("pairs", 2, pair_plans(pairs), [pair.test for pair in pairs])
    if (done := kept_logits(bench, judges.name)) is not None:
        return done
    bench.open_plain(config, [slot_seed(config, bench.context.plan.n_folds + 1 + i) for i in range(len(pairs))])
    with bench.context.emitter.stage("clean", f"Training {len(pairs)} models, each without two folds, to judge labels"):
        return logits_of(bench, config, judges)


def opinions_of_baselines(
    context: TuningContext, features: Features, label: Ints, pairs: Sequence[Pair]
) -> list[list[Floats]]:
    """The logits (rows, c) of each baseline, pair by pair; one that cannot be fitted is told and left out.

    label : (n,) of the development rows.
    """
    members = []
    for name in MEMBERS:
        rows = baseline_rows(name, context.part, features, label)
        if rows is None:
            continue
        try:
            table = out_of_fold_baseline(
                name, rows, [(i, pair.train, pair.test) for i, pair in enumerate(pairs)], seed=context.plan.seed
            )
        except (EvidenceError, ValueError) as error:
            context.emitter.emit("warning", f"{name} does not judge labels: not run, because {error}")
            continue
        assert table.logits is not None, "a classifier has logits"
        members.append(np.split(table.logits, np.cumsum([len(pair.test) for pair in pairs])[:-1]))
    return members


def teach(bench: Bench, config: Config, features: Features, decisions: Decisions) -> Taught:
    """Decide what is taught. The bench's stack is another one afterwards if models were asked.

    features : (n, d) of the frozen base.    decisions : of a person; they win.
    """
    context = bench.context
    part, plan = context.part, context.plan
    given = Targets(part.label, np.ones(len(part)))
    folds: list[int | None] = [*range(plan.n_folds), None]
    judged = None
    targets: dict[int | None, Targets] = {}
    if config.clean in TRAINS:
        pairs = fold_pairs(plan)
        members = [opinions_of_stack(bench, config, pairs)]
        with context.emitter.stage("judge", "Judging labels, for each fold by models that never saw it"):
            members += opinions_of_baselines(context, features, part.label, pairs)
            judged = judge_for_each_fold(NestedOpinions(part.example_id, part.label, plan.fold, pairs, members))
        targets = {fold: clean(part.label, judged[fold], cast("CleanMode", config.clean)) for fold in folds}
    if decisions:
        targets = {fold: decided(targets.get(fold, given), decisions, part.example_id) for fold in folds}
    return Taught({fold: with_stop(own, plan, fold) for fold, own in targets.items()}, judged)


def with_stop(targets: Targets, plan: FoldPlan, fold: int | None) -> Targets:
    """`targets` under which the fold's stop part weighs something: its rows all count if none would."""
    stop = plan.split(fold).stop
    if not stop.size or targets.weight[stop].sum() > 0:
        return targets
    weight = targets.weight.copy()
    weight[stop] = 1.0
    return Targets(targets.label, weight)


def write_provenance(path: Path, part: Dataset, plan: FoldPlan, taught: Taught, decisions: Decisions) -> dict[str, Any]:
    """Write what was taught otherwise than the data say, row by row; returns counts for metrics.json.

    Columns: model, example_id, given, taught (class names), weight, quality (NaN if no model was asked), source.
    """
    import pyarrow as pa

    columns: dict[str, list[Any]] = {
        name: [] for name in ("model", "example_id", "given", "taught", "weight", "quality", "source")
    }
    counts = {}
    names = part.label_names
    for fold, targets in taught.targets.items():
        split = plan.split(fold)
        rows = np.sort(np.concatenate([split.train, split.stop]))
        rows = rows[(targets.label[rows] != part.label[rows]) | (targets.weight[rows] < 1)]
        quality = np.full(len(part), np.nan)
        if taught.judged is not None:
            quality[taught.judged[fold].rows] = taught.judged[fold].errors.quality
        model = FINAL if fold is None else f"fold {fold}"
        counts[model] = {
            "n_left_out": int((targets.weight[rows] == 0).sum()),
            "n_relabelled": int((targets.label[rows] != part.label[rows]).sum()),
            "n_weighed_less": int(((targets.weight[rows] > 0) & (targets.weight[rows] < 1)).sum()),
        }
        ids = part.example_id[rows].tolist()
        columns["model"] += [model] * len(rows)
        columns["example_id"] += ids
        columns["given"] += [names[j] for j in part.label[rows]]
        columns["taught"] += [names[j] for j in targets.label[rows]]
        columns["weight"] += targets.weight[rows].tolist()
        columns["quality"] += quality[rows].tolist()
        columns["source"] += ["decision" if example in decisions else "models" for example in ids]
    texts = ("model", "example_id", "given", "taught", "source")
    write_parquet(
        pa.table({k: pa.array(v, pa.string() if k in texts else pa.float64()) for k, v in columns.items()}), path
    )
    return counts
