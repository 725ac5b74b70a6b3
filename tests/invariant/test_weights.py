"""What must not matter does not: rows of weight 0, how a batch is cut, who shares it, and in which order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import models as m
from honed.data.targets import Targets
from honed.training.loop import predict
from tolerances import tolerance

FAST = replace(m.QUICK, epochs=2)
WEIGHTS = tolerance("weights_after_training", "float64")


def one_slot(examples: object, plan: object, name: str = "bert", **changes: object) -> m.Trained:
    stack = m.make_stack(name, [3])
    return m.train(stack, None, examples, [m.alone(plan)], replace(FAST, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_a_row_of_weight_zero_is_a_row_removed(name: str) -> None:
    examples = m.make_examples(name)
    plan = m.make_plans(examples, has_stop=False)[0]
    light = plan.train[[0, 3, 4]]
    weight = examples.weight.copy()
    weight[light] = 0
    weighted = one_slot(replace(examples, weight=weight), plan, name)
    removed = one_slot(examples, replace(plan, train=np.setdiff1d(plan.train, light)), name)
    torch.testing.assert_close(weighted.state, removed.state, **WEIGHTS)
    np.testing.assert_allclose(weighted.runs["fold 0"].step_losses, removed.runs["fold 0"].step_losses, **WEIGHTS)


def test_a_row_of_weight_two_counts_twice() -> None:
    """Planted fault: weights that were ignored would leave the result as it is."""
    examples = m.make_examples("bert")
    plan = m.make_plans(examples, has_stop=False)[0]
    weight = examples.weight.copy()
    weight[plan.train[:4]] = 2
    heavy = one_slot(replace(examples, weight=weight), plan).state["fold 0"]
    even = one_slot(examples, plan).state["fold 0"]
    assert not torch.allclose(heavy["head.weight"], even["head.weight"], **WEIGHTS)
    doubled = one_slot(replace(examples, weight=2 * examples.weight), plan).state["fold 0"]
    torch.testing.assert_close(doubled, even, **WEIGHTS)  # only shares count


def test_targets_of_a_slot_are_what_it_is_taught_and_reach_no_other_slot() -> None:
    """Two slots of one stack, one with spoilt labels and a lost row: each ends as it would alone."""
    examples = m.make_examples("bert")
    plan = m.make_plans(examples)[0]
    label, weight = (examples.label + 1) % m.N_CLASSES, examples.weight.copy()
    weight[plan.train[:2]] = 0
    taught = replace(plan, name="taught", slot=1, targets=Targets(label, weight))
    both = m.train(m.make_stack("bert", [3, 3]), None, examples, [m.alone(plan), taught], FAST)
    own = one_slot(replace(examples, label=label, weight=weight), plan)
    torch.testing.assert_close(both.state["taught"], own.state["fold 0"], **WEIGHTS)
    torch.testing.assert_close(both.state["fold 0"], one_slot(examples, plan).state["fold 0"], **WEIGHTS)
    stop = [row["stop_loss"] for row in both.runs["taught"].curve]  # the stop part is on the training side
    assert stop == pytest.approx([row["stop_loss"] for row in own.runs["fold 0"].curve], abs=1e-9)
    assert not torch.allclose(both.state["taught"]["head.weight"], both.state["fold 0"]["head.weight"], **WEIGHTS)


def test_a_slot_with_no_weight_in_a_batch_makes_no_step() -> None:
    examples = m.make_examples("bert")
    plan = m.make_plans(examples, has_stop=False)[0]
    trained = one_slot(examples, replace(plan, train=plan.train[:1]))
    assert len(trained.runs["fold 0"].step_losses) == FAST.epochs  # its one row stands in one batch an epoch


@pytest.mark.parametrize("name", m.TINY_MODELS)
def test_many_micro_batches_are_one_batch(name: str) -> None:
    examples = m.make_examples(name)
    plans = m.make_plans(examples, has_stop=False)[:2]
    results = []
    for micro_batch_tokens in (1, 10_000):
        stack = m.make_stack(name, [3, 4])
        results.append(m.train(stack, None, examples, plans, replace(FAST, micro_batch_tokens=micro_batch_tokens)))
    torch.testing.assert_close(results[0].state, results[1].state, **WEIGHTS)
    for slot in ("fold 0", "fold 1"):
        np.testing.assert_allclose(results[0].runs[slot].step_losses, results[1].runs[slot].step_losses, **WEIGHTS)


@pytest.mark.parametrize("head", ["mean", "native"])
@pytest.mark.parametrize("name", ["bert", "llama"])
def test_the_order_of_the_rows_is_irrelevant_for_predict(name: str, head: str) -> None:
    examples = m.make_examples(name)
    stack = m.make_stack(name, [3], head=head)
    m.train(stack, None, examples, [m.alone(m.make_plans(examples)[0])], FAST)
    rows = np.random.default_rng(0).permutation(examples.rows)
    close = tolerance("logits_same_weights", "float64")
    sorted_ = predict(stack, examples.inputs, None, 0, examples.rows)
    np.testing.assert_allclose(predict(stack, examples.inputs, None, 0, rows), sorted_[rows], **close)
    for batch_tokens in (1, 20):
        small = predict(stack, examples.inputs, None, 0, rows, batch_tokens=batch_tokens)
        np.testing.assert_allclose(small, sorted_[rows], **close)
    twice = predict(stack, examples.inputs, None, 0, np.array([5, 5, 1]))
    np.testing.assert_allclose(twice, sorted_[[5, 5, 1]], **close)
