"""The loop's verdicts: who diverged, who is restarted, who stops, and which epoch the final model takes."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import models as m
from honed.errors import TrainingError
from honed.events import Emitter, Event
from honed.training.crossval import FINAL, CrossValidated, cross_validate
from honed.training.loop import Loop, SlotRun
from honed.training.stack import Stack
from tolerances import tolerance

CALM = replace(m.QUICK, patience=99)
SAME = tolerance("weights_after_training", "float64")


def poison(stack: Stack, slot: int, at_step: int, n_times: int = 1) -> Any:
    """A listener that makes one slot's weights NaN after a step, as an overflow would."""
    seen: list[int] = []

    def listener(event: Event) -> None:
        if event.kind == "progress" and event.fields.get("done") == at_step and len(seen) < n_times:
            seen.append(at_step)
            with torch.no_grad():
                # The head too: on some processors fused attention makes finite numbers of a query that is none.
                for parameters in (stack.adapter_parameters(slot), stack.head_parameters(slot)):
                    next(iter(parameters.values())).fill_(float("nan"))

    return listener


def setting(n_slots: int = 3) -> tuple[Stack, Any, list[Any]]:
    examples = m.make_examples("bert")
    return m.make_stack("bert", range(n_slots)), examples, m.make_plans(examples)[:n_slots]


def test_a_slot_that_diverges_is_reported_restarted_once_and_leaves_the_others_alone() -> None:
    stack, examples, plans = setting()
    events: list[Event] = []
    hurt = m.train(stack, None, examples, plans, CALM, listeners=(poison(stack, 1, 3), events.append))
    told = [event for event in events if event.kind == "slot.diverged"]
    assert [event.fields["slot"] for event in told] == ["fold 1"]
    assert told[0].fields == {"slot": "fold 1", "step": 4, "loss": None} and "quarter" in told[0].message
    assert [run.attempt for run in hurt.runs.values()] == [0, 1, 0]
    stack, examples, plans = setting()
    whole = m.train(stack, None, examples, plans, CALM)
    for name in ("fold 0", "fold 2"):
        torch.testing.assert_close(hurt.state[name], whole.state[name], **SAME)
    # The restart is training from the start at a quarter of both rates, and nothing else.
    slow = replace(CALM, learning_rate=CALM.learning_rate / 4, head_learning_rate=CALM.head_learning_rate / 4)
    expected = m.train(m.make_stack("bert", [1]), None, examples, [m.alone(plans[1])], slow)
    torch.testing.assert_close(hurt.state["fold 1"], expected.state["fold 1"], **SAME)
    assert len(hurt.runs["fold 1"].step_losses) == len(expected.runs["fold 1"].step_losses)


def test_a_slot_that_diverges_twice_ends_training_with_its_name_and_a_smaller_rate() -> None:
    stack, examples, plans = setting()
    with pytest.raises(TrainingError, match=r"'fold 1' diverged twice.*0\.005 and 0\.00125.*--learning-rate 0\.0005"):
        m.train(stack, None, examples, plans, CALM, listeners=(poison(stack, 1, 2, n_times=2),))


def test_an_absurd_rate_diverges_twice() -> None:
    stack, examples, plans = setting(1)
    events: list[Event] = []
    wild = replace(CALM, epochs=30, learning_rate=1e6, head_learning_rate=1e6)
    with pytest.raises(TrainingError, match=r"'fold 0' diverged twice.*1e\+06.*--learning-rate 100000"):
        m.train(stack, None, examples, plans, wild, listeners=(events.append,))
    assert [event.message.count("giving up") for event in events if event.kind == "slot.diverged"] == [0, 1]


def test_a_loss_far_above_its_start_is_divergence_and_a_noisy_one_is_not() -> None:
    """Finite all the way: only the level tells."""
    stack, examples, plans = setting(1)
    loop = Loop(stack, None, examples, CALM, Emitter())
    for level, status in ((4.0, "diverged"), (2.0, "training")):
        (run,) = loop.start(plans)
        run.step_losses += [1.0] * 5 + [level] * 20
        loop._update(run, level, 1.0)
        assert run.status == status


def run_with(stop_losses: list[float]) -> tuple[SlotRun, list[dict[str, torch.Tensor]]]:
    """A slot whose loss on the stop part is planted; with the state that it had after each epoch."""
    stack, examples, plans = setting(1)
    states: list[dict[str, torch.Tensor]] = []

    class Planted(Loop):
        def _stop_loss(self, run: SlotRun) -> float:
            states.append(stack.slot_state(run.plan.slot))
            return stop_losses[len(states) - 1]

    loop = Planted(stack, None, examples, replace(m.QUICK, epochs=len(stop_losses), patience=2), Emitter())
    (run,) = runs = loop.start(plans)
    loop.train(runs)
    states.append(stack.slot_state(0))
    return run, states


@pytest.mark.parametrize(
    ("stop_losses", "n_epochs", "best"),
    [
        ([3.0, 2.0, 1.0, 0.5], 4, 3),
        ([3.0, 1.0, 2.0, 1.5, 0.1], 4, 1),  # patience 2: the better epoch 4 is never reached
        ([1.0, 1.0, 1.0, 0.0], 3, 0),  # a tie is no improvement
        ([3.0, 1.0, 2.0, 0.5, 0.7, 0.6], 6, 3),
    ],
)
def test_early_stopping_restores_the_best_state(stop_losses: list[float], n_epochs: int, best: int) -> None:
    run, states = run_with(stop_losses)
    assert (len(run.curve), run.best_epoch) == (n_epochs, best)
    assert [row["stop_loss"] for row in run.curve] == stop_losses[:n_epochs]
    *after_epoch, restored = states
    assert all(torch.equal(restored[key], after_epoch[best][key]) for key in restored)
    if best != n_epochs - 1:
        assert any(not torch.equal(restored[key], after_epoch[-1][key]) for key in restored)


def test_a_stop_loss_that_is_not_finite_is_divergence() -> None:
    with pytest.raises(TrainingError, match="'fold 0' diverged twice"):
        run_with([1.0, float("nan"), float("nan"), float("nan")])
    stack, examples, plans = setting()
    events: list[Event] = []
    m.train(stack, None, examples, plans, CALM, listeners=(poison(stack, 1, 2), events.append))  # 2 steps an epoch
    assert [e.fields for e in events if e.kind == "slot.diverged"] == [{"slot": "fold 1", "step": 2, "loss": None}]


def crossvalidated(*, has_stop: bool, **changes: Any) -> CrossValidated:
    examples = m.make_examples("bert")
    plan = m.make_plan(examples, has_stop=has_stop)
    stack = m.make_stack("bert", range(plan.n_folds + 1))
    return cross_validate(Loop(stack, None, examples, replace(m.QUICK, **changes), Emitter()), plan)


def test_the_final_model_takes_the_median_of_the_best_epochs() -> None:
    changes: dict[str, Any] = {"epochs": 6, "learning_rate": 3e-2, "head_learning_rate": 1e-1, "patience": 1}
    result = crossvalidated(has_stop=True, **changes)
    folds = [epoch for name, epoch in result.best_epoch.items() if name != FINAL]
    assert len(set(folds)) > 1, "the folds should disagree"
    assert result.best_epoch[FINAL] == round(statistics.median(folds))
    # and its state is the one that it had then: that of a run which is read at that epoch
    examples = m.make_examples("bert")
    plan = m.alone(m.make_plans(examples)[-1])
    single = m.train(m.make_stack("bert", [5]), None, examples, [plan], replace(m.QUICK, **changes))
    expected = single.runs[FINAL].snapshots[result.best_epoch[FINAL]]
    torch.testing.assert_close(result.final_state, expected, **SAME)


def test_without_stop_parts_every_slot_trains_to_the_end() -> None:
    result = crossvalidated(has_stop=False, epochs=3)
    assert set(result.best_epoch.values()) == {2}
    assert all(row["stop_loss"] is None for curve in result.curves.values() for row in curve)


def test_the_out_of_fold_table_holds_every_row_once_scored_by_its_own_fold() -> None:
    result = crossvalidated(has_stop=True)
    examples = m.make_examples("bert")
    p = result.predictions
    assert p.example_id.tolist() == [f"row {i}" for i in range(len(examples.label))]
    assert np.array_equal(p.fold, examples.stratum) and np.array_equal(p.label, examples.label)
    assert p.logits is not None
    log_prob = p.logits - np.log(np.exp(p.logits).sum(1, keepdims=True))
    np.testing.assert_allclose(p.loss, -log_prob[np.arange(len(p)), p.label])
