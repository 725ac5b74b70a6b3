"""What every method promises, over every method that is discovered and every kind of model."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import models as m
from honed.artifact import Artifact, ArtifactInfo, load_artifact, save_artifact
from honed.methods.base import MethodOptions, discover, get_method
from honed.training.loop import predict
from honed.training.stack import Stack
from tolerances import tolerance

METHODS = list(discover())
STACKING = [name for name in METHODS if get_method(name).capabilities.stacks]
OPTIONS = replace(m.QUICK, epochs=3, patience=99)
methods = pytest.mark.parametrize("method", METHODS)
stacking = pytest.mark.parametrize("method", STACKING)
on_models = pytest.mark.parametrize("name", [*m.TINY_MODELS, m.REAL])
on_models_with_heads = pytest.mark.parametrize(
    ("name", "head"),
    [*((name, head) for name in m.TINY_MODELS for head in ("mean", "native")), ("bert", "cls"), ("dinov2", "both")],
)


def trained(name: str, method: str, n_slots: int = 3, **changes: Any) -> tuple[Stack, Any, m.Trained]:
    stack, examples = m.make_stack(name, range(n_slots), method=method, **changes), m.make_examples(name)
    plans = m.make_plans(examples, has_stop=False)[:n_slots]
    return stack, examples, m.train(stack, None, examples, plans, options_of(method))


def options_of(method: str) -> Any:
    return replace(OPTIONS, learning_rate=5 * get_method(method).learning_rate)


def test_lora_is_discovered() -> None:
    assert "lora" in METHODS and get_method("lora") is discover()["lora"]


@pytest.mark.parametrize("method", discover())
def test_a_method_says_what_it_is(method: str) -> None:
    described = get_method(method)
    assert described.name == method and "arXiv" in described.reference
    assert issubclass(described.options, MethodOptions)
    with pytest.raises(ValidationError, match="no_such_option"):
        described.options(no_such_option=1)
    assert all(field.description for field in described.options.model_fields.values())


@methods
@on_models_with_heads
def test_only_declared_parameters_train(name: str, method: str, head: str) -> None:
    stack, examples = m.make_stack(name, range(2), method=method, head=head), m.make_examples(name)
    everything = {**dict(stack.model.named_parameters()), **{f"head {k}": p for k, p in stack.head.named_parameters()}}
    declared = {
        id(p)
        for slot in range(2)
        for own in (stack.adapter_parameters(slot), stack.head_parameters(slot))
        for p in own.values()
    }
    trainable = {id(p) for p in everything.values() if p.requires_grad}
    assert trainable == declared
    before = {key: p.detach().clone() for key, p in everything.items()}
    buffers = {key: b.clone() for key, b in stack.model.named_buffers()}
    m.train(stack, None, examples, m.make_plans(examples, has_stop=False)[:2], options_of(method))
    for key, p in everything.items():
        assert torch.equal(p, before[key]) == (id(p) not in declared), key
    assert all(torch.equal(b, buffers[key]) for key, b in stack.model.named_buffers())


@methods
@on_models
def test_the_base_inside_is_the_base_that_came(name: str, method: str) -> None:
    """Every tensor of the untouched model is found in the trained stack, bit by bit, once no slot is in use."""
    stack, _, _ = trained(name, method, 2)
    live = {id(p) for slot in range(2) for p in stack.adapter_parameters(slot).values()}
    base = {
        key
        for key, p in stack.model.named_parameters()
        if id(p) not in live or get_method(method).capabilities.touches_base
    }
    stack.adapters.use(None)
    values = {
        re.sub(r"\.(linear|base_layer)\.", ".", key): p for key, p in stack.model.named_parameters() if key in base
    }
    for key, p in m.tiny_model(name).named_parameters():
        assert torch.equal(values[key], p), key


@methods
@on_models
def test_step_zero_is_the_base(name: str, method: str) -> None:
    """Where it is promised; and with no slot in use the model is the base in any case."""
    stack, examples = m.make_stack(name, range(2), method=method, depth="all"), m.make_examples(name)
    rows = np.array([5, 1, 8])
    batch = stack.to_model(stack.task.collate([examples.inputs.encoded[i] for i in rows]))
    with torch.inference_mode():
        base = m.tiny_model(name)(**batch).last_hidden_state
        for slot in range(2) if get_method(method).capabilities.starts_at_base else ():
            stack.logits(examples.inputs, None, [(slot, rows)])  # routes the batch to the slot
            adapted = stack.model(**batch).last_hidden_state
            torch.testing.assert_close(adapted, base, **tolerance("logits_same_weights", "float64"))
        features = stack.features(examples.inputs, None, rows)
        mask = batch["attention_mask"].unsqueeze(-1) if "attention_mask" in batch else torch.ones(1, 5, 1)
        mask[:, : name == "dinov2"] = 0  # of an image, the patches alone
        expected = (base * mask).sum(1) / mask.sum(1)
        torch.testing.assert_close(features, expected, **tolerance("logits_same_weights", "float64"))


@methods
@on_models
def test_the_loss_falls(name: str, method: str) -> None:
    _, _, result = trained(name, method)
    for run in result.runs.values():
        losses = [row["train_loss"] for row in run.curve]
        assert losses[-1] < losses[0]


@methods
@on_models
def test_a_mixed_batch_is_one_slot_at_a_time(name: str, method: str) -> None:
    stack, examples, _ = trained(name, method)
    pairs = [(2, np.array([3, 1])), (0, np.array([3, 7, 2])), (1, np.array([0])), (0, np.array([16]))]
    with torch.inference_mode():
        mixed = stack.logits(examples.inputs, None, pairs)
        one_row = [(slot, np.array([row])) for slot, rows in pairs for row in rows]
        single = torch.cat([stack.logits(examples.inputs, None, [pair]) for pair in one_row])
    torch.testing.assert_close(mixed, single, **tolerance("logits_same_weights", "float64"))
    assert not torch.allclose(mixed[0], mixed[2]), "slots 2 and 0 should say different things of row 3"


@methods
@on_models
def test_trained_together_is_trained_alone(name: str, method: str) -> None:
    _, examples, together = trained(name, method, 2)
    for slot, plan in enumerate(m.make_plans(examples, has_stop=False)[:2]):
        own = m.train(m.make_stack(name, [slot], method=method), None, examples, [m.alone(plan)], options_of(method))
        torch.testing.assert_close(
            own.state[plan.name], together.state[plan.name], **tolerance("weights_after_training", "float64")
        )


@methods
@on_models_with_heads
def test_merged_is_unmerged(name: str, method: str, head: str) -> None:
    """Where it is promised; the merged model holds nothing but what the base's class has."""
    if not get_method(method).capabilities.merges:
        pytest.skip(f"{method} does not merge")
    stack, examples, _ = trained(name, method, 2, head=head)
    expected = predict(stack, examples.inputs, None, 1, examples.rows)
    stack.adapters.merge(1)
    names = {key.replace(".copies.1.", ".") for key in stack.model.state_dict() if ".copies.0." not in key}
    assert names == m.tiny_model(name, n_classes=m.N_CLASSES if head == "native" else 0).state_dict().keys()
    merged = predict(stack, examples.inputs, None, 1, examples.rows)
    assert np.allclose(merged, expected, rtol=1e-8, atol=1e-10)


@methods
@on_models_with_heads
def test_a_batch_of_one_slot_needs_no_segments(name: str, method: str, head: str) -> None:
    """What an export traces."""
    stack, examples, _ = trained(name, method, 2, head=head)
    expected = stack.logits(examples.inputs, None, [(1, examples.rows)])
    batch = stack.to_model(stack.task.collate(examples.inputs.encoded))
    stack.routing.segments, stack.routing.only = (), 1
    output = stack.model(**batch)
    torch.testing.assert_close(stack.head(output, batch), expected, **tolerance("logits_same_weights", "float64"))


@methods
@on_models
def test_recomputing_activations_changes_nothing(name: str, method: str) -> None:
    _, examples, plain = trained(name, method, 2)
    again = m.make_stack(name, range(2), method=method, recompute=True)
    result = m.train(again, None, examples, m.make_plans(examples, has_stop=False)[:2], options_of(method))
    for slot, state in plain.state.items():
        torch.testing.assert_close(result.state[slot], state, **tolerance("weights_after_training", "float64"))


@methods
def test_a_poisoned_slot_is_its_own_affair(method: str) -> None:
    stack, examples, _ = trained("bert", method, 3)
    before = [predict(stack, examples.inputs, None, slot, examples.rows) for slot in range(3)]
    stack.load_slot_state(1, {key: torch.full_like(t, float("nan")) for key, t in stack.slot_state(1).items()})
    after = [predict(stack, examples.inputs, None, slot, examples.rows) for slot in range(3)]
    assert np.isnan(after[1]).all()
    assert np.array_equal(before[0], after[0]) and np.array_equal(before[2], after[2])


@stacking
@on_models_with_heads
def test_a_poisoned_slot_leaves_the_others_as_they_are(name: str, method: str, head: str) -> None:
    stack, examples = m.make_stack(name, range(3), method=method, head=head), m.make_examples(name)
    pairs = [(0, np.array([3, 1])), (1, np.array([3, 7])), (2, np.array([0]))]

    def logits_and_gradients() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        logits = stack.logits(examples.inputs, None, pairs)
        stack.task.loss(logits, torch.from_numpy(examples.label[[3, 1, 3, 7, 0]])).sum().backward()
        own = {**stack.adapter_parameters(0), **stack.head_parameters(0)}
        gradients = {key: p.grad.clone() for key, p in own.items() if p.grad is not None}
        for p in own.values():
            p.grad = None
        return logits.detach(), gradients

    before, expected = logits_and_gradients()
    with torch.no_grad():
        for p in (*stack.adapter_parameters(1).values(), *stack.head_parameters(1).values()):
            p.fill_(float("nan"))
    after, gradients = logits_and_gradients()
    assert torch.isnan(after[2:4]).all()
    assert torch.equal(after[:2], before[:2]) and torch.equal(after[4:], before[4:])
    assert expected and all(torch.equal(gradients[key], expected[key]) for key in expected)


@methods
def test_a_slot_begins_by_its_own_seed_alone(method: str) -> None:
    stack = m.make_stack("bert", [5, 9, 5], method=method)
    single = m.make_stack("bert", [9], method=method)
    states = [stack.slot_state(slot) for slot in range(3)]
    assert all(torch.equal(states[0][key], states[2][key]) for key in states[0])
    assert all(torch.equal(states[1][key], single.slot_state(0)[key]) for key in states[1])


@stacking
def test_dropout_is_the_same_alone_and_in_the_stack(method: str) -> None:
    """Whatever the neighbours' lengths and however the batch is cut."""
    if "dropout" not in get_method(method).options.model_fields:
        pytest.skip(f"{method} has no dropout")
    examples = m.make_examples("bert")
    plans = m.make_plans(examples, has_stop=False)[:3]
    together = m.make_stack("bert", range(3), method=method, dropout=0.3)
    state = m.train(together, None, examples, plans, OPTIONS).state
    without = m.train(m.make_stack("bert", range(3), method=method), None, examples, plans, OPTIONS).state
    for slot, plan in enumerate(plans):
        single = m.make_stack("bert", [slot], method=method, dropout=0.3)
        own = m.train(single, None, examples, [m.alone(plan)], OPTIONS).state[plan.name]
        torch.testing.assert_close(own, state[plan.name], **tolerance("weights_after_training", "float64"))
        assert not torch.allclose(own["head.weight"], without[plan.name]["head.weight"]), "dropout should do something"


@methods
def test_there_is_no_dropout_in_predictions(method: str) -> None:
    if "dropout" not in get_method(method).options.model_fields:
        pytest.skip(f"{method} has no dropout")
    stack, examples, _ = trained("bert", method, 1, dropout=0.5)
    plain = m.make_stack("bert", [0], method=method)
    plain.load_slot_state(0, stack.slot_state(0))
    results = [predict(s, examples.inputs, None, 0, examples.rows) for s in (stack, plain)]
    assert np.array_equal(*results)


@methods
@on_models_with_heads
def test_saved_is_loaded(name: str, method: str, head: str, tmp_path: Path) -> None:
    stack, examples, _ = trained(name, method, 2, head=head)
    info = ArtifactInfo(
        base=name, base_hub_id=None, base_revision=None, base_sha256="0", tokenizer_sha256="0",
        task="text_classification", method=method, method_options={}, head=head,
        label_names=tuple("abc"), max_tokens=64, temperature=1.5, n_layers=len(stack.layers), depth=2, dtype="float64",
        dataset_fingerprint="0", head_modules=stack.head.module_names,
    )  # fmt: skip
    save_artifact(tmp_path / "adapter", Artifact(info, stack.slot_state(1)), sites=stack.adapters.sites)
    loaded = load_artifact(tmp_path / "adapter")
    assert loaded.info == info
    assert loaded.state.keys() == stack.slot_state(1).keys()
    again = m.make_stack(name, [99], method=method, head=head)
    again.load_slot_state(0, loaded.state)
    expected = predict(stack, examples.inputs, None, 1, examples.rows)
    assert np.array_equal(predict(again, examples.inputs, None, 0, examples.rows), expected)
    assert not np.allclose(predict(stack, examples.inputs, None, 0, examples.rows), expected)
