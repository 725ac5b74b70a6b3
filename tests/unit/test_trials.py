"""Who is ended early, who wins a fold, what the final model takes, and what a range test tells."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import models as m
import tuning_runs as tr
from honed.bases import ResolvedBase
from honed.errors import RunFolderError, TrainingError, UsageError
from honed.events import Emitter, Event
from honed.pipeline.trial_results import GroupResult, read_result, write_result
from honed.training.crossval import FINAL
from honed.training.loop import Loop, Rates
from honed.training.range_test import RangeTest, read_curve, round_rate, run_range_tests
from honed.training.trials import Halving, TrialRecord, TrialSlot, choose_final, winner


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ResolvedBase:
    return m.save_tiny_base(tmp_path_factory.mktemp("base"), "bert")


def one(trial: int, losses: list[float], *, fold: int = 0, status: str = "done") -> TrialRecord:
    return TrialRecord(trial, fold, status, [{"epoch": i, "stop_loss": x} for i, x in enumerate(losses)])


def halve(curves: list[list[float]], past: list[TrialRecord] | None = None, *, n_epochs: int = 4) -> list[int]:
    """How many epochs each trial of one fold trains, if its stop losses are these (None: it diverges there)."""
    slots = {TrialSlot(t, 0).name: TrialSlot(t, 0) for t in range(len(curves))}
    stack, examples = m.make_stack("bert", range(len(curves))), m.make_examples("bert")
    plan = m.make_plans(examples)[0]
    loop = Loop(stack, None, examples, m.QUICK, Emitter())
    runs = loop.start([replace(plan, name=name, slot=i, is_trial=True) for i, name in enumerate(slots)])
    referee = Halving(slots, past or [], n_epochs, Emitter(), is_last=True)
    for epoch in range(n_epochs):
        for run, losses in zip(runs, curves, strict=True):
            if run.status == "training":
                run.curve.append({"epoch": epoch, "train_loss": 0.0, "stop_loss": losses[epoch]})
                run.status = "diverged" if math.isnan(losses[epoch]) else "training"
        for run in referee(runs, epoch):
            run.status = "dropped"
    return [len(run.curve) for run in runs]


def test_the_better_half_goes_on_after_every_epoch() -> None:
    assert halve([[1.0] * 4, [0.8] * 4, [0.9] * 4, [0.7] * 4]) == [1, 2, 1, 4]
    assert halve([[0.1 * i] * 4 for i in range(8)]) == [4, 3, 2, 2, 1, 1, 1, 1]
    assert halve([[0.5] * 4]) == [4]


def test_what_counts_is_the_lowest_loss_so_far() -> None:
    assert halve([[0.5, 0.9, 0.9, 0.9], [0.6, 0.6, 0.1, 0.1]]) == [4, 1]
    assert halve([[0.6, 0.9, 0.9, 0.9], [0.5, 0.6, 0.1, 0.1]]) == [1, 4]


def test_ties_go_on_together() -> None:
    assert halve([[0.5] * 4] * 4) == [4] * 4
    assert halve([[0.5] * 4, [0.5, 0.4, 0.4, 0.4], [0.6] * 4]) == [2, 4, 1]


def test_a_trial_that_diverged_is_one_of_the_losers() -> None:
    nan = float("nan")
    assert halve([[nan] * 4, [nan] * 4, [0.6, 0.4, 0.4, 0.4], [0.5] * 4]) == [1, 1, 4, 2]
    with pytest.raises(TrainingError, match=r"All 2 trials diverged in fold 0.*--trials 'learning_rate=1e-5,1e-4'"):
        halve([[nan] * 4, [nan] * 4])


def test_trials_of_a_later_stack_are_measured_at_the_same_epoch() -> None:
    first = one(8, [0.9, 0.5, 0.3, 0.2])
    assert halve([[0.8, 0.6, 0.1, 0.1]], [first]) == [2]  # the better of two after epoch 0, the worse after epoch 1
    assert halve([[0.8, 0.4, 0.1, 0.1]], [first]) == [4]
    assert halve([[0.8, 0.4, 0.1, 0.1]], [one(8, [0.1], status="dropped")]) == [1]
    losses = [0.9, 0.35, 0.4]
    assert [one(8, losses, status="done").loss_at(e) for e in range(5)] == [0.9, 0.35, 0.35, 0.35, 0.35]
    assert [one(8, losses, status="dropped").loss_at(e) for e in range(4)] == [0.9, 0.35, 0.35, None]
    assert one(8, losses, status="diverged").loss_at(0) is None


def test_a_fold_is_won_on_its_own_stop_part() -> None:
    records = [one(0, [0.5, 0.4]), one(1, [0.6, 0.3]), one(1, [0.1], fold=1), one(0, [0.2], fold=1)]
    assert (winner(records, 0).trial, winner(records, 1).trial) == (1, 1)
    assert winner([one(1, [0.4]), one(0, [0.4])], 0).trial == 0, "of equal ones the first"
    assert winner([one(0, [0.1, 0.1], status="diverged"), one(1, [0.4], status="dropped")], 0).trial == 1
    with pytest.raises(TrainingError, match="All 1 trials diverged in fold 0"):
        winner([one(0, [0.1], status="diverged")], 0)


def test_the_final_model_takes_the_best_mean_and_the_median_epoch() -> None:
    losses = {0: [[0.5, 0.4], [0.9, 0.8], [0.5, 0.6]], 1: [[0.6], [0.3, 0.2], [0.55, 0.5, 0.4]]}
    records = [one(t, own, fold=k) for t, folds in losses.items() for k, own in enumerate(folds)]
    choice = choose_final(records)
    assert choice.trial == 1 and choice.epoch == 1  # best epochs 0, 1, 2
    assert choice.mean_stop_loss == pytest.approx({0: (0.4 + 0.8 + 0.5) / 3, 1: (0.6 + 0.2 + 0.4) / 3})
    # a fold in which it was ended early cannot say when it would have been best: the fold's winner does
    records = [replace(r, status="dropped") if (r.trial, r.fold) == (1, 0) else r for r in records]
    assert choose_final(records).epoch == 1  # 1 (of trial 0), 1, 2
    # one that diverged anywhere is out, however good elsewhere, unless all did
    lost = [replace(r, status="diverged") if (r.trial, r.fold) == (1, 2) else r for r in records]
    assert choose_final(lost).trial == 0 and choose_final(lost).mean_stop_loss[1] == math.inf
    both = [replace(r, status="diverged") if (r.trial, r.fold) == (0, 0) else r for r in lost]
    assert choose_final(both).trial == 1


def ramp(loss: Any) -> RangeTest:
    rate = np.geomspace(1e-6, 1, 100)
    return read_curve(rate.tolist(), [float(loss(r)) for r in rate])


def test_a_range_test_backs_off_from_the_lowest_loss() -> None:
    falls_then_breaks = ramp(lambda r: 2 - min(r, 0.01) * 100 + max(0.0, r - 0.01) * 200)
    assert falls_then_breaks.chosen == 1e-3
    assert falls_then_breaks.loss[0] == pytest.approx(2 - 1e-4) and len(falls_then_breaks.rate) == 100


@pytest.mark.parametrize("loss", [lambda r: 2.0, lambda r: 2 + r, lambda r: 2 - 0.02 * r, lambda r: float("nan")])
def test_a_loss_that_does_not_fall_says_nothing(loss: Any) -> None:
    assert ramp(loss).chosen is None


@pytest.mark.parametrize(("rate", "rounded"), [(1.1e-3, 1e-3), (2e-3, 3e-3), (6e-3, 1e-2), (2.7e-5, 3e-5), (0.1, 0.1)])
def test_rates_are_rounded_to_half_a_power_of_ten(rate: float, rounded: float) -> None:
    assert round_rate(rate) == rounded


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_range_test_leaves_the_slots_at_their_start(method: str) -> None:
    examples = m.make_examples("bert")
    stack = m.make_stack("bert", range(2), method=method)
    start = [stack.slot_state(slot) for slot in range(2)]
    events: list[Event] = []
    loop = Loop(stack, None, examples, m.QUICK, Emitter())
    tests = run_range_tests(loop, m.make_plans(examples)[:2], 10.0, Emitter((events.append,)))
    assert list(tests) == ["fold 0", "fold 1"]
    assert all(test.loss and len(test.rate) == len(test.loss) for test in tests.values())
    for slot in range(2):
        assert all(torch.equal(value, start[slot][key]) for key, value in stack.slot_state(slot).items())
    assert {event.kind for event in events} == {"progress"}, "a loss that breaks is what it looks for"


def test_a_sensible_rate_among_absurd_ones_is_found(base: ResolvedBase, tmp_path: Path) -> None:
    tuning = tr.tune(base, tmp_path, "head_learning_rate=1e-9,9,1e-2")
    assert set(tuning.choice.values()) == {2} and tuning.tuned.config.head_learning_rate == 1e-2
    assert [s["values"] for s in tuning.report["settings"]] == [{"head_learning_rate": r} for r in (1e-9, 9.0, 1e-2)]
    told = [event.fields["slot"] for event in tuning.events if event.kind == "trial.dropped"]
    ended = [t for t in tuning.report["trials"] if t["status"] == "dropped"]
    assert told and len(told) == len(ended)
    assert tuning.report["n_slot_epochs"] == sum(t["n_epochs"] for t in tuning.report["trials"]) < 3 * 3 * 3
    json.dumps(tuning.report, allow_nan=False)


def poison(names: str) -> Any:
    """Losses of a trial become NaN, as by an overflow."""
    real = Loop._update

    def update(self: Loop, run: Any, loss: float, factor: float) -> None:
        real(self, run, float("nan") if run.plan.name.endswith(names) else loss, factor)

    return update


def test_a_diverged_trial_is_lost_with_a_note_and_its_rivals_go_on(
    base: ResolvedBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Loop, "_update", poison("trial 1"))
    tuning = tr.tune(base, tmp_path, "learning_rate=1e-3,1e-2", epochs=2)
    assert set(tuning.choice.values()) == {0}
    assert {t["status"] for t in tuning.report["trials"] if t["trial"] == 1} == {"diverged"}
    assert tuning.report["settings"][1]["mean_stop_loss"] is None
    told = [event.message for event in tuning.events if event.kind == "slot.diverged"]
    assert len(told) == tr.FOLDS and all("the trial is lost" in message for message in told)


def test_if_all_trials_diverge_it_says_so(base: ResolvedBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loop, "_update", poison(""))
    with pytest.raises(TrainingError, match=r"All 2 trials diverged in fold 0"):
        tr.tune(base, tmp_path / "one stack", "learning_rate=1e-3,1e-2")
    with pytest.raises(TrainingError, match=r"All 2 trials diverged in fold 0"):
        tr.tune(base, tmp_path / "two stacks", "depth=1,2")


def test_a_fold_without_stop_rows_cannot_choose(base: ResolvedBase, tmp_path: Path) -> None:
    config = tr.tuning_config(base)
    context = tr.tuning_context(base, tmp_path, config)
    stop = np.where(context.plan.stop == 1, -1, context.plan.stop)
    context = replace(context, plan=replace(context.plan, stop=stop))
    settings = tr.plan_settings(config, "rank=1,2")
    with pytest.raises(UsageError, match="Fold 1 has no stop part"):
        tr.tune_and_cross_validate(tr.open_bench(context, settings), settings)


def test_auto_finds_a_rate_per_fold_and_keeps_the_ratio_of_the_head(base: ResolvedBase, tmp_path: Path) -> None:
    tuning = tr.tune(base, tmp_path, learning_rate="auto", epochs=2)
    (found,) = tuning.report["range_tests"]
    assert set(found["slots"]) == {"fold 0", "fold 1", "fold 2", FINAL} and found["trials"] == [0, 1, 2, 3]
    for trial in tuning.report["trials"]:
        centre = found["slots"][f"fold {trial['fold']}"]["chosen"] or 1e-4
        factor = (0.1, 0.32, 1.0, 3.2)[trial["trial"]]
        assert trial["learning_rate"] == round_rate(factor * centre)
        assert trial["head_learning_rate"] == pytest.approx(30 * trial["learning_rate"])  # 3e-2 over the method's 1e-3
    assert tuning.tuned.config.learning_rate == round_rate(
        (0.1, 0.32, 1.0, 3.2)[tuning.choice[FINAL]] * (found["slots"][FINAL]["chosen"] or 1e-4)
    )


def test_a_finished_group_is_read_back_and_a_foreign_one_refused(tmp_path: Path) -> None:
    result = GroupResult([one(0, [0.5])], {"fold 0": RangeTest([1e-6], [1.1], None)}, {0: np.array([[0.1, 1 / 3]])})
    place = tmp_path / "checkpoint" / "group 0"
    assert read_result(place, "mark") is None
    write_result(place, "mark", result)
    back = read_result(place, "mark")
    assert back is not None and (back.records, back.tests) == (result.records, result.tests)
    assert np.array_equal(back.logits[0], result.logits[0])
    with pytest.raises(RunFolderError, match="belongs to another configuration"):
        read_result(place, "other")
    place.with_suffix(".npz").write_bytes(b"half")
    with pytest.raises(RunFolderError, match=r"damaged.*Delete"):
        read_result(place, "mark")


def test_rates_of_a_trial_are_its_own() -> None:
    examples = m.make_examples("bert")
    plan = replace(m.make_plans(examples)[0], rates=Rates(1.0, 2.0, 0.5))
    (run,) = Loop(m.make_stack("bert", [0]), None, examples, m.QUICK, Emitter()).start([plan])
    assert [(g["lr"], g["weight_decay"]) for g in run.optimizer.param_groups] == [(1.0, 0.5), (2.0, 0.5)]
