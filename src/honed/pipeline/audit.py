"""`honed audit`: what label noise would cost on these data, how much of it is found, and what cleaning wins back.

Labels of the training sides are spoilt on purpose, in slots of one stack over one frozen base: clean folds, noisy
folds, models that judge labels, cleaned folds. What is scored keeps its own labels; the locked holdout stays shut.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast, get_args

import numpy as np

from honed.config import Config
from honed.data.dataset import Dataset
from honed.data.fold_pairs import Pair, fold_pairs
from honed.data.folds import FoldPlan
from honed.data.sampling import sample_groups
from honed.data.targets import Targets
from honed.errors import DataError, UsageError
from honed.events import Emitter, Listener
from honed.evidence.audit import Arm, Audit, Scenario
from honed.evidence.baselines import out_of_fold_baseline
from honed.evidence.cleaning import CleanMode, NestedOpinions, clean, judge_for_each_fold
from honed.evidence.label_errors import find_label_errors
from honed.evidence.metrics import Floats, Ints, confusion_matrix, row_log_loss, softmax
from honed.evidence.noise import NoiseKind, plant_noise
from honed.oof import Predictions
from honed.pipeline.assembly import check_fits, slot_seed
from honed.pipeline.bench import Bench, TuningContext
from honed.pipeline.budget import within_budget
from honed.pipeline.cleaning import MEMBERS, check_cleaning, opinions_of_baselines, with_stop
from honed.pipeline.features import base_features
from honed.pipeline.kept_logits import Judges, logits_of
from honed.pipeline.prepare import development, make_plan, prepare
from honed.pipeline.rows import load_classes
from honed.pipeline.scoring import Features, baseline_rows
from honed.pipeline.settle import settle
from honed.training.crossval import pair_plans
from honed.training.loop import SlotPlan

CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class AuditOptions:
    """rates : shares of labels to spoil.    kind : how.    n_draws : different noise for each rate.

    modes : ways of cleaning to try.    max_rows : whole groups are drawn if there are more rows.
    """

    rates: tuple[float, ...] = (0.03, 0.1)
    kind: NoiseKind = "confusion"
    n_draws: int = 1
    modes: tuple[CleanMode, ...] = ("drop", "weight")
    max_rows: int = 3000

    def check(self) -> None:
        """Raises UsageError, naming the flag, for a value out of range."""
        for rate in self.rates:
            if not 0 < rate <= 0.5:
                meant = f"{rate:g} means {rate:.0%}; did you mean {rate / 100:g}? " if 1 <= rate <= 50 else ""
                raise UsageError(
                    f"--inject must lie in (0, 0.5]. Got {rate:g} instead.",
                    remedy=f"{meant}It is the share of labels to spoil: --inject 0.03 spoils 3 %.",
                )
        if not self.rates:
            raise UsageError("--inject names no rate.", remedy="Use --inject 0.03 --inject 0.1.")
        for name, value, known in (
            ("--noise", self.kind, get_args(NoiseKind)),
            *(("--mode", m, get_args(CleanMode)) for m in self.modes),
        ):
            if value not in known:
                raise UsageError(f"{name} {value}: it is none of {', '.join(known)}.")
        if self.n_draws < 1 or self.max_rows < 50:
            raise UsageError("--draws must be at least 1, and --rows at least 50.")


def audit_options(
    rates: Sequence[float | str] | None, kind: str, n_draws: int, modes: Sequence[str] | None, max_rows: int
) -> AuditOptions:
    """Options as a user gave them: each rate once, ascending, each mode once; None takes the default.

    Raises UsageError, naming the flag, for a value out of range.
    """
    default = AuditOptions()
    own_rates = default.rates if rates is None else tuple(sorted(set(map(_rate, rates))))
    own_modes = default.modes if modes is None else tuple(dict.fromkeys(modes))
    options = AuditOptions(
        own_rates, cast("NoiseKind", kind), n_draws, cast("tuple[CleanMode, ...]", own_modes), max_rows
    )
    options.check()
    return options


def _rate(value: float | str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UsageError(
            f"--inject {value!r} is no number.", remedy="It is a share: --inject 0.03 spoils 3 % of the labels."
        ) from None


def audit(
    config: Config, options: AuditOptions, listeners: Sequence[Listener] = (), place: Path | None = None
) -> Audit:
    """Spoil, find, clean, score; see the module. Nothing is written but, in `place`, what an interrupted audit needs to
    go on to the same result.

    Raises a HonedError with problem, cause and remedy.
    """
    options.check()
    if options.modes:
        check_cleaning(config.model_copy(update={"clean": "drop"}), "honed audit")
    if config.decisions:
        raise UsageError(
            "honed audit spoils the labels of the data as they are: decisions on labels have no place in it.",
            remedy="Leave `decisions` out.",
        )
    if config.trials or config.learning_rate == "auto":
        raise UsageError(
            "honed audit trains under one setting: --trials and --learning-rate auto are for `honed fit`.",
            remedy="Give the rate that a run of yours chose.",
        )
    emitter = Emitter(tuple(listeners))
    with emitter.stage("check", f"Reading and checking {config.data}"):
        loaded = load_classes(config, "audit")
        config, base = settle(config, loaded)
        config, _ = within_budget(config, str(base.path))
        check_fits(config, base)
        prepared = prepare(config, base, loaded)
        part, plan = development(prepared.dataset, make_plan(config, prepared.dataset))
        part, plan, n_all = *_sample(part, plan, options.max_rows), len(part)
        _check_enough(part, plan, options)
    mark = f"{options} {config.model_copy(update={'data': ''}).fingerprint} {part.fingerprint}"
    with nullcontext(place) if place else TemporaryDirectory(prefix="honed-audit-") as folder:
        own = Path(folder)
        context = TuningContext(base, config, part, plan, emitter, own / CHECKPOINT, own / "trunk.bin", mark)
        if place:
            context.checkpoint.mkdir(exist_ok=True)
            emitter.emit("run.start", f"Audit {place.parent}", path=str(place.parent))
        bench = Bench(context)
        arms, scenarios = _Auditor(bench, config, options).run()
    return Audit(
        source=config.data, kind=options.kind, metric="accuracy", level=config.level,
        n_rows=len(part), n_all_rows=n_all, group=plan.group, label_names=part.label_names,
        arms=arms, scenarios=scenarios, timings_s=dict(emitter.timings_s),
    )  # fmt: skip


def _sample(part: Dataset, plan: FoldPlan, max_rows: int) -> tuple[Dataset, FoldPlan]:
    kept = sample_groups(part.group, max_rows, f"{plan.seed} ")
    own = replace(
        plan, example_id=plan.example_id[kept], group=plan.group[kept], fold=plan.fold[kept], stop=plan.stop[kept]
    )
    return part.take(kept), own


def _check_enough(part: Dataset, plan: FoldPlan, options: AuditOptions) -> None:
    """Raises DataError if a fold has nothing to learn or to score, UsageError if a rate spoils no label."""
    sizes = np.bincount(plan.fold, minlength=plan.n_folds)
    if not sizes.min() or len(np.unique(part.label)) < 2:
        raise DataError(
            f"--rows {options.max_rows} leaves {len(part)} rows in {int((sizes > 0).sum())} of {plan.n_folds} folds.",
            cause="Whole groups are drawn, so that no group stands in two folds.",
            remedy="Use more --rows.",
        )
    for rate in options.rates:
        if round(rate * len(part)) < 1:
            raise UsageError(
                f"--inject {rate:g} spoils none of {len(part)} labels.",
                remedy=f"Use at least --inject {1 / len(part):.2g}, or more rows.",
            )


class _Auditor:
    """One stack: slots of the clean folds, then, for each scenario, of noisy folds, pairs and cleaned folds."""

    def __init__(self, bench: Bench, config: Config, options: AuditOptions) -> None:
        self.bench, self.config, self.options = bench, config, options
        self.part, self.plan, self.emitter = bench.context.part, bench.context.plan, bench.context.emitter
        self.pairs: list[Pair] = fold_pairs(self.plan) if options.modes else []
        self.drawn = [(rate, draw) for rate in options.rates for draw in range(options.n_draws)]
        self.n_arms = 1 + len(self.drawn) * (1 + len(options.modes))

    def run(self) -> tuple[list[Arm], list[Scenario]]:
        """Train everything, wave by wave: folds, pairs, cleaned folds."""
        n_folds, everything = self.plan.n_folds, np.ones(len(self.part))
        fold_seeds = [slot_seed(self.config, fold) for fold in range(n_folds)]
        pair_seeds = [slot_seed(self.config, n_folds + 1 + i) for i in range(len(self.pairs))]
        self.bench.open_plain(self.config, fold_seeds * self.n_arms + pair_seeds * len(self.drawn))
        features = self._features()
        labels = self._plant(features)
        with self.emitter.stage(
            "train", f"Training {1 + len(labels)} x {n_folds} folds, clean and spoilt, in one stack"
        ):
            taught = [None, *(Targets(label, everything) for label in labels)]
            clean_table, *noisy = self._train_folds([[own] * n_folds for own in taught], 0)
        scenarios = []
        with self.emitter.stage("judge", "Judging the spoilt labels by the out-of-fold tables"):
            for key, label, table in zip(self.drawn, labels, noisy, strict=True):
                found = find_label_errors([_relabelled(table, label), *self._baselines(features, label)])
                scenarios.append(Scenario(*key, label, found))
        arms = [Arm("clean", 0.0, 0, clean_table)]
        arms += [Arm("noisy", *key, table) for key, table in zip(self.drawn, noisy, strict=True)]
        return [*arms, *self._cleaned_arms(features, labels)], scenarios

    def _cleaned_arms(self, features: Features, labels: Sequence[Ints]) -> list[Arm]:
        """The folds trained on spoilt labels that were cleaned as `honed fit --clean` would."""
        if not self.options.modes:
            return []
        lessons = []
        for label, own in zip(labels, self._opinions(labels), strict=True):
            with self.emitter.stage("clean", "Cleaning, for each fold by models that never saw it"):
                members = [own, *opinions_of_baselines(self.bench.context, features, label, self.pairs)]
                judged = judge_for_each_fold(
                    NestedOpinions(self.part.example_id, label, self.plan.fold, self.pairs, members)
                )
            for mode in self.options.modes:
                cleaned = [clean(label, judged[k], mode) for k in range(self.plan.n_folds)]
                lessons.append([with_stop(own, self.plan, k) for k, own in enumerate(cleaned)])
        n_folds = self.plan.n_folds
        with self.emitter.stage("retrain", f"Training {len(lessons)} x {n_folds} cleaned folds as one stack"):
            tables = iter(self._train_folds(lessons, 1 + len(labels)))
        return [Arm(mode, *key, next(tables)) for key in self.drawn for mode in self.options.modes]

    def _plant(self, features: Features) -> list[Ints]:
        rates = ", ".join(f"{rate:.1%}" for rate in self.options.rates)
        n_classes = len(self.part.label_names)
        with self.emitter.stage("noise", f"Planting {self.options.kind} noise: {rates}"):
            confusion = self._confusion(features) if self.options.kind == "confusion" else None
            return [
                plant_noise(self.part.label, rate, confusion, n_classes, self.config.seed * 1000 + draw)
                for rate, draw in self.drawn
            ]

    def _features(self) -> Features:
        with self.emitter.stage("features", "Features of the frozen base"):
            bench = self.bench
            return base_features(bench.stack, self.part.inputs, self.emitter, inputs=bench.inputs, trunk=bench.trunk)

    def _confusion(self, features: Features) -> Ints:
        """Which classes a cheap model takes for one another: those that a tired person would."""
        rows = baseline_rows("linear_probe", self.part, features)
        assert rows is not None, "every example has features"
        table = out_of_fold_baseline("linear_probe", rows, self._splits(), seed=self.plan.seed)
        assert table.logits is not None, "a classifier has logits"
        return confusion_matrix(table.label, table.logits.argmax(axis=1), len(self.part.label_names))

    def _splits(self) -> list[tuple[int, Ints, Ints]]:
        fold = self.plan.fold
        return [(k, np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(self.plan.n_folds)]

    def _baselines(self, features: Features, label: Ints) -> list[Predictions]:
        rows = [baseline_rows(name, self.part, features, label) for name in MEMBERS]
        return [
            out_of_fold_baseline(name, own, self._splits(), seed=self.plan.seed)
            for name, own in zip(MEMBERS, rows, strict=True)
            if own is not None
        ]

    def _train_folds(self, taught: Sequence[Sequence[Targets | None]], first_arm: int) -> list[Predictions]:
        """Train an arm for each of `taught` (one entry a fold), from slot first_arm * K on; its out-of-fold table."""
        n_folds = self.plan.n_folds
        plans = []
        for i, lessons in enumerate(taught):
            for k, targets in enumerate(lessons):
                split = self.plan.split(k)
                slot = (first_arm + i) * n_folds + k
                plans.append(SlotPlan(f"arm {first_arm + i}, fold {k}", slot, split.train, split.stop, targets=targets))
        tests = [self.plan.split(k).test for k in range(n_folds)]
        found = logits_of(self.bench, self.config, Judges(f"arms from {first_arm}", 1, plans, tests * len(taught)))
        tables = []
        for i in range(len(taught)):
            logits = np.empty((len(self.part), len(self.part.label_names)))
            for test, own in zip(tests, found[i * n_folds : (i + 1) * n_folds], strict=True):
                logits[test] = own
            tables.append(self._table(logits))
        return tables

    def _opinions(self, labels: Sequence[Ints]) -> list[list[Floats]]:
        """Of the models that leave two folds out, for each of `labels`; their slots follow those of the arms."""
        everything, n_pairs, first = np.ones(len(self.part)), len(self.pairs), self.n_arms * self.plan.n_folds
        plans = []
        for i, label in enumerate(labels):
            for plan in pair_plans(self.pairs, first + i * n_pairs, Targets(label, everything)):
                plans.append(replace(plan, name=f"noise {i}, {plan.name}"))
        with self.emitter.stage("opinions", f"Training {len(plans)} models, each without two folds, to judge labels"):
            tests = [pair.test for pair in self.pairs]
            found = logits_of(self.bench, self.config, Judges("pairs", 2, plans, tests * len(labels)))
            return [found[i * n_pairs : (i + 1) * n_pairs] for i in range(len(labels))]

    def _table(self, logits: Floats) -> Predictions:
        label, n = self.part.label, len(self.part)
        loss = row_log_loss(label, softmax(logits))
        return Predictions(
            self.part.example_id, np.zeros(n, dtype=np.int64), self.plan.fold, label, loss, np.ones(n), logits
        )


def _relabelled(table: Predictions, label: Ints) -> Predictions:
    """The same predictions as one would see them who only knows the spoilt labels."""
    assert table.logits is not None, "a classifier has logits"
    return replace(table, label=label, loss=row_log_loss(label, softmax(table.logits)))
