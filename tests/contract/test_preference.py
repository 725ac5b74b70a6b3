"""What preference tuning promises: pairs that stay together in any stack, an exact trunk, the base as reference."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

import models as m
import tiny_language as l
from honed.data.conversations import Message
from honed.data.preferences import Preference
from honed.events import Emitter
from honed.methods.base import discover, get_method
from honed.serving.replies import losses
from honed.training.build import encode, make_trunk, with_reference
from honed.training.loop import Examples, TrainingOptions, predict
from honed.training.stack import Stack
from tolerances import tolerance

MODELS = ("llama", "gemma3")
STACKING = [name for name in discover() if get_method(name).capabilities.stacks]
OPTIONS = TrainingOptions(epochs=2, batch_rows=9, learning_rate=5e-3, head_learning_rate=5e-3, micro_batch_tokens=900)
on_models = pytest.mark.parametrize("name", MODELS)


def examples_of(stack: Stack, n: int = 18) -> Examples:
    inputs = l.preference_inputs(stack, None, n)
    return Examples(inputs, np.zeros(n, dtype=np.int64), np.ones(n), (np.arange(n) // 3) % 5, np.arange(n))


def trunk_of(stack: Stack, examples: Examples, path):
    return make_trunk(stack, examples.inputs, 32, path / "trunk.bin", 0.5, Emitter())


@pytest.mark.parametrize("method", STACKING)
@on_models
def test_a_stack_trains_each_slot_as_if_it_were_alone(name: str, method: str, tmp_path) -> None:
    stack = l.preference_stack(name, (11, 12, 13), method=method)
    examples = examples_of(stack)
    plans = m.make_plans(examples, has_stop=False)[:3]
    together = m.train(stack, trunk_of(stack, examples, tmp_path), examples, plans, OPTIONS)
    for plan, seed in zip(plans, (11, 12, 13), strict=True):
        single = l.preference_stack(name, (seed,), method=method)
        alone = m.train(single, trunk_of(single, examples, tmp_path), examples, [m.alone(plan)], OPTIONS)
        torch.testing.assert_close(
            together.state[plan.name], alone.state[plan.name], **tolerance("weights_after_training", "float64")
        )


@on_models
def test_the_base_is_its_own_reference_and_the_loss_begins_at_log_2(name: str, tmp_path) -> None:
    stack = l.preference_stack(name, (0, 1))
    examples = examples_of(stack)
    trunk, rows = trunk_of(stack, examples, tmp_path), np.arange(18)
    for slot in (None, 1):
        rewards = predict(stack, examples.inputs, trunk, slot, rows)
        np.testing.assert_allclose(rewards, np.zeros((18, 2)), **tolerance("logits_same_weights", "float64"))
    loss = stack.task.loss(torch.from_numpy(rewards), torch.zeros(18, dtype=torch.int64))
    np.testing.assert_allclose(loss, math.log(2), **tolerance("logits_same_weights", "float64"))


@on_models
def test_rewards_are_those_of_the_dense_formula_with_and_without_a_trunk(name: str, tmp_path) -> None:
    stack = l.preference_stack(name, (0, 1), beta=0.3)
    examples = examples_of(stack)
    rows = np.array([5, 0, 11, 2])
    m.train(stack, None, examples, m.make_plans(examples, has_stop=False)[:2], replace(OPTIONS, epochs=4))
    expected = []
    for row in rows:
        for encoded in examples.inputs.encoded[2 * row : 2 * row + 2]:
            said = []
            for slot in (1, None):
                stack.routing.only, stack.routing.segments = slot, ()
                ids = torch.from_numpy(encoded.ids.astype(np.int64))
                with torch.inference_mode():
                    scores = functional.log_softmax(stack.model(input_ids=ids[None]).logits[0, :-1], -1)
                own = scores.gather(1, ids[1:, None])[:, 0]
                said.append(float(own[torch.from_numpy(encoded.is_target[1:])].sum()))
            expected.append(0.3 * (said[0] - said[1]))
    stack.routing.only = None
    for trunk in (None, trunk_of(stack, examples, tmp_path)):
        found = predict(stack, examples.inputs, trunk, 1, rows)
        np.testing.assert_allclose(found.ravel(), expected, **tolerance("logits_same_weights", "float64"))
    assert abs(found).min() > 1e-3


def test_a_planted_preference_is_learned_for_pairs_that_were_not_seen() -> None:
    stack = l.preference_stack("llama", (0,))
    examples = examples_of(stack, 24)
    train, unseen = np.arange(18), np.arange(18, 24)
    plan = m.alone(replace(m.make_plans(examples, has_stop=False)[5], train=train))
    m.train(stack, None, examples, [plan], replace(OPTIONS, epochs=6))
    rewards = predict(stack, examples.inputs, None, 0, unseen)
    assert (rewards[:, 0] > rewards[:, 1]).all()
    assert stack.task.loss(torch.from_numpy(rewards), torch.zeros(6, dtype=torch.int64)).mean() < math.log(2) - 0.05


def test_what_is_used_gives_the_likelihoods_that_training_saw() -> None:
    """The artifact that ships is a model of instructions; the gate scores its pairs through that."""
    stack = l.preference_stack("llama", (0,))
    examples = examples_of(stack)
    m.train(stack, None, examples, [m.alone(m.make_plans(examples, has_stop=False)[5])], OPTIONS)
    used = l.language_stack("llama", (0,))
    used.load_slot_state(0, stack.slot_state(0))
    found = losses(used, examples.inputs.encoded, Emitter(), slot=0)
    rewards = 0.1 * ((found.base - found.specialist) * found.n_tokens).reshape(-1, 2)
    np.testing.assert_allclose(
        rewards, predict(stack, examples.inputs, None, 0, np.arange(18)), **tolerance("logits_same_weights", "float64")
    )


def test_earlier_replies_of_a_conversation_carry_no_loss() -> None:
    stack = l.preference_stack("llama", (0,))
    said = (Message("user", "One?"), Message("assistant", "Two."), Message("user", "Three?"))
    pair = Preference((*said, Message("assistant", "Four.")), "No.")
    read = stack.task.reader.tokenizer.decode
    chosen, rejected = stack.task.encode([pair])
    assert read(chosen.ids[chosen.is_target]) == "Four.<|im_end|>"
    assert read(rejected.ids[rejected.is_target]) == "No.<|im_end|>"


def test_a_base_in_few_bits_keeps_its_reference_exact() -> None:
    stack = l.preference_stack("llama", (0,), dtype="bfloat16")
    inputs = with_reference(stack, encode(stack, l.preferences(4)), None)
    batch = stack.to_model(stack.task.collate(inputs.encoded))
    assert batch["reference"].dtype == torch.float32
    assert (batch["reference"].to(torch.bfloat16) != batch["reference"]).any()
    assert abs(predict(stack, inputs, None, 0, np.arange(4))).max() < 1e-4
