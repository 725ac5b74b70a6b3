"""A stack of slots trains each slot exactly as if it were alone: folds, final model, stop parts, early stopping."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import models as m
from honed.training.loop import TrainingOptions
from tolerances import tolerance

SEEDS = (11, 12, 13, 14, 15, 16)
MODELS = [*m.TINY_MODELS, m.REAL]


def compare(
    name: str,
    dtype: str,
    options: TrainingOptions = m.QUICK,
    *,
    head: str = "mean",
    slots: tuple[int, ...] = (*range(6),),
) -> tuple[m.Trained, m.Trained]:
    """(all six slots in one stack, each of `slots` in a stack of its own), trained by the same plan."""
    examples = m.make_examples(name)
    plans = m.make_plans(examples)
    stack = m.make_stack(name, SEEDS, dtype=dtype, head=head)
    together = m.train(stack, m.make_trunk(stack, examples), examples, plans, options)
    runs, state = {}, {}
    for plan, seed in ((plans[slot], SEEDS[slot]) for slot in slots):
        single = m.make_stack(name, [seed], dtype=dtype, head=head)
        one = m.train(single, m.make_trunk(single, examples), examples, [m.alone(plan)], options)
        runs |= one.runs
        state |= one.state
    return together, m.Trained(runs, state)


def assert_same_weights(together: m.Trained, alone: m.Trained) -> None:
    """Each slot's weights agree; a slot without a stop part is compared at each epoch that both reached."""
    for name, other in alone.runs.items():
        run = together.runs[name]
        epochs = run.snapshots.keys() & other.snapshots.keys()
        assert epochs
        for epoch in epochs:
            torch.testing.assert_close(
                run.snapshots[epoch], other.snapshots[epoch], **tolerance("weights_after_training", "float64")
            )
        if run.plan.stop.size:
            assert run.best_epoch == other.best_epoch and len(run.curve) == len(other.curve)
            torch.testing.assert_close(
                together.state[name], alone.state[name], **tolerance("weights_after_training", "float64")
            )


@pytest.mark.parametrize("name", MODELS)
def test_stack_of_six_equals_each_slot_alone_in_float64(name: str) -> None:
    together, alone = compare(name, "float64", slots=(0, 3, 5) if name == "minilm" else (*range(6),))
    assert_same_weights(together, alone)
    assert all(len(run.step_losses) >= 3 for run in together.runs.values())


@pytest.mark.parametrize("name", MODELS)
def test_stack_of_six_has_the_losses_of_each_slot_alone_in_float32(name: str) -> None:
    together, alone = compare(name, "float32", replace(m.QUICK, patience=99), slots=(0, 3, 5))
    for slot, run in alone.runs.items():
        np.testing.assert_allclose(
            together.runs[slot].step_losses, run.step_losses, **tolerance("step_loss", "float32")
        )


def test_slots_that_stop_early_leave_the_others_as_they_are() -> None:
    """Rates at which some folds stop and others go on: the stack shrinks while it trains."""
    options = replace(m.QUICK, epochs=6, learning_rate=3e-2, head_learning_rate=1e-1)
    together, alone = compare("bert", "float64", options)
    n_epochs = {len(run.curve) for run in together.runs.values() if run.plan.stop.size}
    assert len(n_epochs) > 1 and min(n_epochs) < options.epochs, "the plan should stop folds at different epochs"
    assert_same_weights(together, alone)


@pytest.mark.parametrize("name", m.TEXT_MODELS)
def test_native_heads_in_a_stack_equal_each_alone(name: str) -> None:
    """Six slots and three or four layers: the head's copies must not be taken for the model's layers."""
    assert_same_weights(*compare(name, "float64", replace(m.QUICK, epochs=2), head="native"))


def test_a_planted_leak_between_slots_is_caught() -> None:
    """The comparison can fail: one slot trained on one row more is seen."""
    examples = m.make_examples("bert")
    plan = m.make_plans(examples)[0]
    results = []
    for rows in (plan.train, plan.train[:-1]):
        stack = m.make_stack("bert", SEEDS[:1])
        results.append(m.train(stack, None, examples, [replace(plan, train=rows)]))
    with pytest.raises(AssertionError):
        assert_same_weights(*results)
