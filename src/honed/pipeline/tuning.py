"""Tuning and cross-validation: all settings in all folds, the best of each fold scored, the best of all shipped.

The final model trains after the folds, once, with the setting and for the epochs that they chose: candidates of it that
train beside the folds would cost as much as another fold, and would be ended on less evidence.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.config import Config
from honed.data.targets import NO_TARGETS, Targets, TargetsByFold
from honed.errors import ConfigError, UsageError
from honed.methods.base import get_method
from honed.oof import Predictions
from honed.pipeline.bench import Bench, Group, TuningContext, make_groups
from honed.pipeline.trial_results import GroupResult, read_result, write_result
from honed.pipeline.trial_sampling import values_of
from honed.pipeline.trial_space import Setting, parse_trials
from honed.training.checkpoint import CheckpointFolder
from honed.training.crossval import FINAL, CrossValidated, cross_validate, out_of_fold
from honed.training.loop import Rates, SlotPlan, SlotRun
from honed.training.range_test import RangeTest, round_rate, run_range_tests
from honed.training.stack import Stack
from honed.training.trials import FinalChoice, Halving, TrialRecord, TrialSlot, choose_final, record, winner

RATE_FACTORS = (0.1, 0.32, 1.0, 3.2)
"""The rates tried around the one that the range test finds: half a power of ten apart."""
GOLDEN_MEAN = 1e-4
"""The rate to try around where the range test says nothing."""


@dataclass(frozen=True)
class Tuned:
    """What training leaves behind.

    config : with which the final model was trained, in the slot `slot` of `stack`.
    report : the part `tuning` of metrics.json; None if there was nothing to choose.
    """

    trained: CrossValidated
    config: Config
    stack: Stack
    slot: int
    report: dict[str, Any] | None


def plan_settings(config: Config, trials: str = "", n_trials: int | None = None) -> tuple[Setting, ...]:
    """The settings to try: those of `--trials`, each at several rates with `--learning-rate auto`; else one.

    Raises ConfigError for a text that cannot be read, UsageError if no row would be left to choose by.
    """
    if n_trials is not None and not trials:
        raise ConfigError("--n-trials draws from --trials, which is not given.", remedy="Name the options to try.")
    drawn = values_of(parse_trials(trials, config), n_trials, config.seed) if trials else [{}]
    factors = RATE_FACTORS if config.learning_rate == "auto" else (None,)
    settings = tuple(Setting(values, factor) for values in drawn for factor in factors)
    if len(settings) > 1 and config.stop_frac == 0:
        raise UsageError(
            f"--stop-frac 0 leaves no rows by which one of {len(settings)} settings could be chosen.",
            cause="In each fold the stop part chooses; the test part must not.",
            remedy="Use `--stop-frac 0.1`, or give one learning rate and no --trials.",
        )
    for setting in settings:
        setting.apply(config)  # values may be fit alone and not together
    return settings


def open_bench(context: TuningContext, settings: Sequence[Setting]) -> Bench:
    """The bench with the stack that trains first."""
    bench = Bench(context)
    open_first(bench, settings)
    return bench


def open_first(bench: Bench, settings: Sequence[Setting]) -> None:
    """Open the stack that trains first, whichever is open now."""
    bench.open(make_groups(bench.context.config, settings)[0])


def tune_and_cross_validate(bench: Bench, settings: Sequence[Setting], targets: TargetsByFold = NO_TARGETS) -> Tuned:
    """Train all folds and the final model, and score every development row by the fold that never saw it.

    targets : what each of them is taught, where that is not what the data say.

    With one setting this is `cross_validate`. With more, each fold's model is the one that its own stop part chose, and
    the final model's setting is the best in the mean over the folds.

    Raises TrainingError if all settings diverge in a fold, UsageError if a fold has no stop part to choose by.
    """
    context, plan = bench.context, bench.context.plan
    groups = make_groups(context.config, settings)
    if len(settings) == 1:
        assert bench.group is not None, "open_bench comes first"
        how = "as one stack" if bench.stack.is_shared else "one after another"
        with context.emitter.stage("train", f"Training {plan.n_folds} folds and the final model {how}"):
            checkpoint = _checkpoint(bench, "train")
            trained = cross_validate(bench.loop(), plan, checkpoint, targets)
        return Tuned(trained, groups[0].config, bench.stack, bench.slot(0, None), None)
    empty = [fold for fold in range(plan.n_folds) if not plan.split(fold).stop.size]
    if empty:
        raise UsageError(
            f"Fold {empty[0]} has no stop part by which a setting could be chosen.",
            cause="The file is too small for its --stop-frac.",
            remedy="Use a larger --stop-frac, fewer --folds, or one setting.",
        )
    records: list[TrialRecord] = []
    results: list[GroupResult] = []
    logits: dict[int, npt.NDArray[np.float64]] = {}
    for _ in groups:
        results.append(_run_group(bench, groups, results, targets))
        records += results[-1].records
        logits |= results[-1].logits
    choice = choose_final(records)
    at = next(i for i, group in enumerate(groups) if choice.trial in group.trials)
    winners = [winner(records, fold) for fold in range(plan.n_folds)]
    context.emitter.emit(
        "tuning.choice",
        f"Chosen by all folds: {settings[choice.trial].label}; it won "
        f"{sum(one.trial == choice.trial for one in winners)} of {plan.n_folds} folds.",
        trial=choice.trial, folds=[one.trial for one in winners],
    )  # fmt: skip
    final, predictions = _train_final(bench, groups[at], results[at].tests, choice, logits, targets.get(None))
    curves = {f"fold {one.fold}": one.curve for one in winners}
    best_epoch = {f"fold {one.fold}": one.best_epoch for one in winners}
    last = len(final.curve) - 1
    trained = CrossValidated(
        predictions, final.snapshots[last], curves | {FINAL: final.curve}, best_epoch | {FINAL: last}
    )
    rates = _final_rates(groups[at], choice.trial, results[at].tests)
    index = groups[at].trials.index(choice.trial)
    chosen = {"learning_rate": rates.learning_rate, "head_learning_rate": rates.head_learning_rate}
    config = groups[at].configs[index].model_copy(update=chosen)
    report = _report(groups, results, records, winners, choice)
    report["final"] = chosen | {"n_epochs": last + 1}
    return Tuned(trained, config, bench.stack, bench.slot(index, None), report)


def _run_group(
    bench: Bench, groups: Sequence[Group], before: Sequence[GroupResult], targets: TargetsByFold
) -> GroupResult:
    """Train the next group's trials in all folds; a group that an interrupted run had finished is read back.

    before : the results of the groups before it.
    """
    number = len(before)
    context, plan, group = bench.context, bench.context.plan, groups[number]
    past = [one for result in before for one in result.records]
    mark = f"{context.fingerprint} {[setting.label for setting in group.settings]}"
    place = context.checkpoint / f"group {number}"
    done = read_result(place, mark)
    if done is not None:
        return done
    if bench.group != group:
        bench.open(group)
    n_trials = sum(len(one.trials) for one in groups)
    name = f"Training {len(group.trials)} of {n_trials} settings in {plan.n_folds} folds"
    alike = [result.tests for other, result in zip(groups, before, strict=False) if other.common == group.common]
    tests = alike[0] if alike else _range_tests(bench, group, targets)
    with context.emitter.stage("train", name):
        slots, plans = {}, []
        for index, trial in enumerate(group.trials):
            for fold in range(plan.n_folds):
                slot, split = TrialSlot(trial, fold), plan.split(fold)
                slots[slot.name] = slot
                rates = _rates(group, index, tests.get(f"fold {fold}"))
                own = SlotPlan(
                    slot.name, bench.slot(index, fold), split.train, split.stop, rates, is_trial=True,
                    targets=targets.get(fold),
                )  # fmt: skip
                plans.append(own)
        is_last = number == len(groups) - 1
        referee = Halving(slots, past, group.config.epochs, context.emitter, is_last=is_last)
        loop = bench.loop(referee=referee)
        runs = loop.start(plans)
        checkpoint = _checkpoint(bench, f"{place.name} now", mark)
        loop.train(runs, checkpoint.restore(runs), checkpoint)
        records = [record(slots[run.plan.name], run) for run in runs]
        living = {one.fold for one in [*past, *records] if not one.is_lost}
        leaders = [winner([*past, *records], fold) for fold in sorted(living)]
        logits = {
            one.fold: loop.predict(bench.slot(group.trials.index(one.trial), one.fold), plan.split(one.fold).test)
            for one in leaders
            if one.trial in group.trials
        }
        result = GroupResult(records, tests, logits)
        write_result(place, mark, result)
        shutil.rmtree(checkpoint.folder, ignore_errors=True)
    return result


def _range_tests(bench: Bench, group: Group, targets: TargetsByFold) -> dict[str, RangeTest]:
    """One for each fold, on its own training rows, and one for the final model; none if the rate is known."""
    if group.settings[0].rate_factor is None:
        return {}
    context = bench.context
    with context.emitter.stage("range_test", "Looking for learning rates at which the loss falls"):
        empty = np.zeros(0, dtype=np.int64)
        plans = [
            SlotPlan(name, bench.slot(0, fold), context.plan.split(fold).train, empty, targets=targets.get(fold))
            for name, fold in [(f"fold {fold}", fold) for fold in range(context.plan.n_folds)] + [(FINAL, None)]
        ]
        ratio = _head_ratio(group.config)
        tests = run_range_tests(bench.loop(), plans, ratio, context.emitter)
    told = ", ".join(f"{name} {test.chosen:g}" if test.chosen else f"{name}: no sign" for name, test in tests.items())
    context.emitter.emit("tuning.range_test", f"Range test: {told}.", chosen={n: t.chosen for n, t in tests.items()})
    return tests


def _head_ratio(config: Config) -> float:
    """With `--learning-rate auto` the head keeps its ratio to the method's own rate."""
    return config.head_learning_rate / get_method(config.method).learning_rate


def _rates(group: Group, index: int, test: RangeTest | None) -> Rates:
    config, factor = group.configs[index], group.settings[index].rate_factor
    if factor is None:
        assert isinstance(config.learning_rate, float), "make_config fills it in"
        return Rates(config.learning_rate, config.head_learning_rate, config.weight_decay)
    rate = round_rate(factor * ((test.chosen if test else None) or GOLDEN_MEAN))
    return Rates(rate, rate * _head_ratio(config), config.weight_decay)


def _final_rates(group: Group, trial: int, tests: Mapping[str, RangeTest]) -> Rates:
    return _rates(group, group.trials.index(trial), tests.get(FINAL))


def _train_final(
    bench: Bench, group: Group, tests: Mapping[str, RangeTest], choice: FinalChoice,
    logits: Mapping[int, npt.NDArray[np.float64]], targets: Targets | None,
) -> tuple[SlotRun, Predictions]:  # fmt: skip
    context, index = bench.context, group.trials.index(choice.trial)
    if bench.group != group:
        bench.open(group)
    with context.emitter.stage("train", f"Training the final model: {group.settings[index].label}"):
        split = context.plan.split(None)
        n_epochs = min(choice.epoch + 1, group.configs[index].epochs)
        rates = _final_rates(group, choice.trial, tests)
        loop = bench.loop(index)
        slot = bench.slot(index, None)
        plan = SlotPlan(FINAL, slot, split.train, split.stop, rates, n_epochs=n_epochs, targets=targets)
        runs = loop.start([plan])
        checkpoint = _checkpoint(bench, FINAL, group.settings[index].label)
        loop.train(runs, checkpoint.restore(runs), checkpoint)
        return runs[0], out_of_fold(loop, context.plan, [logits[fold] for fold in range(context.plan.n_folds)])


def _checkpoint(bench: Bench, name: str, mark: str = "") -> CheckpointFolder:
    context = bench.context
    fingerprint = f"{context.fingerprint} {mark}".strip()
    return CheckpointFolder(context.checkpoint / name, bench.stack, fingerprint, context.every_s)


def _report(
    groups: Sequence[Group], results: Sequence[GroupResult], records: Sequence[TrialRecord],
    winners: Sequence[TrialRecord], choice: FinalChoice,
) -> dict[str, Any]:  # fmt: skip
    settings: dict[int, dict[str, Any]] = {}
    trials: list[dict[str, Any]] = []
    tests: list[dict[str, Any]] = []
    for group, result in zip(groups, results, strict=True):
        if result.tests:
            own = {name: test.to_json() for name, test in result.tests.items()}
            same = next((test for test in tests if test["slots"] == own), None)
            if same is None:
                tests.append({"trials": list(group.trials), "slots": own})
            else:
                same["trials"] += group.trials
        for index, (trial, setting) in enumerate(zip(group.trials, group.settings, strict=True)):
            settings[trial] = {
                "trial": trial, "label": setting.label, "values": dict(setting.values),
                "mean_stop_loss": _finite(choice.mean_stop_loss[trial]),
            }  # fmt: skip
            for one in (one for one in result.records if one.trial == trial):
                rates = _rates(group, index, result.tests.get(f"fold {one.fold}"))
                trials.append(
                    one.to_json()
                    | {
                        "learning_rate": rates.learning_rate, "head_learning_rate": rates.head_learning_rate,
                        "stop_loss": _finite(one.stop_loss), "n_epochs": len(one.curve),
                    }
                )  # fmt: skip
    n_epochs = sum(len(one.curve) for one in records)
    return {
        "settings": [settings[trial] for trial in sorted(settings)],
        "range_tests": tests,
        "trials": trials,
        "choice": {**{f"fold {one.fold}": one.trial for one in winners}, FINAL: choice.trial},
        "n_slot_epochs": n_epochs,
    }  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
