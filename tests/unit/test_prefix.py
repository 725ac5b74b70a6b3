"""The attention function of prefix tuning against a dense formula, and what it must leave alone."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import models as m
from honed.errors import UsageError
from honed.methods.base import get_method
from honed.methods.prefix import Prefix, PrefixOptions
from honed.methods.prefix_attention import ATTRIBUTE, attend
from honed.methods.slot_prefix import KeyShape, Learned, SlotPrefix
from honed.routing import Routing, Segment
from honed.tasks.heads import LinearHead
from honed.training.loop import predict
from honed.training.stack import Adaptation, Stack
from tolerances import tolerance

EXACT = tolerance("logits_same_weights", "float64")
N_ROWS, N_TOKENS, HEADS, GROUPS, SIZE = 6, 5, 2, 2, 3
LENGTHS = (4, 2)
SEGMENTS = (Segment(1, 1, 3), Segment(0, 3, 5))  # rows 0 and 5 have no prefix
on_models = pytest.mark.parametrize("name", m.TINY_MODELS)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Attention(torch.nn.Module):
    """What transformers' attention functions read of a module."""

    def __init__(self, *, is_causal: bool, segments: tuple[Segment, ...] = SEGMENTS) -> None:
        super().__init__()
        self.is_causal, self.num_key_value_groups = is_causal, GROUPS
        shape, routing = KeyShape(HEADS, SIZE), Routing()
        routing.segments = segments
        slots = [Learned(normal(n, shape.width, seed=n)) for n in LENGTHS]
        self.add_module(ATTRIBUTE, SlotPrefix(routing, shape, slots))
        self.key_value = [own.key_value.detach() for own in slots]


def dense(module: Attention, qkv: list[torch.Tensor], sees: torch.Tensor, window: int | None) -> torch.Tensor:
    """Row by row, head by head: softmax(q [P; K]^T / sqrt(d)) [P; V]. sees: (rows, tokens, tokens)."""
    query, key, value = qkv
    slot_of = {row: s.slot for s in SEGMENTS for row in range(s.start, s.stop)}
    result = torch.zeros(N_ROWS, N_TOKENS, HEADS * GROUPS, SIZE, dtype=torch.float64)
    for row in range(N_ROWS):
        prefix = module.key_value[slot_of[row]] if row in slot_of else torch.zeros(0, 2 * HEADS * SIZE).double()
        for head in range(HEADS * GROUPS):
            kv = head // GROUPS
            keys = torch.cat([prefix[:, kv * SIZE : (kv + 1) * SIZE], key[row, kv]])
            values = torch.cat([prefix[:, (HEADS + kv) * SIZE : (HEADS + kv + 1) * SIZE], value[row, kv]])
            for i in range(N_TOKENS):
                position = torch.arange(len(keys)) - len(prefix)
                seen = torch.cat([torch.ones(len(prefix), dtype=torch.bool), sees[row, i]])
                if window is not None:
                    seen &= position > i - window
                scores = keys @ query[row, head, i] / math.sqrt(SIZE)
                result[row, i, head] = torch.softmax(scores.masked_fill(~seen, -torch.inf), 0) @ values
    return result


@pytest.mark.parametrize("kind", ["none", "boolean", "added"])
@pytest.mark.parametrize(("is_causal", "window"), [(False, None), (True, None), (True, 3), (False, 3)])
def test_attention_is_the_dense_formula(kind: str, is_causal: bool, window: int | None) -> None:
    """In a bidirectional layer a window of the model's own lies in the mask, and hides nothing of the prefix."""
    module = Attention(is_causal=is_causal)
    qkv = [normal(N_ROWS, h, N_TOKENS, SIZE, seed=s) for s, h in ((5, HEADS * GROUPS), (6, HEADS), (7, HEADS))]
    sees = torch.ones(N_TOKENS, N_TOKENS, dtype=torch.bool)
    if is_causal:
        sees = sees.tril()
        if window is not None and kind != "none":  # transformers gives no mask only if everything is inside
            sees = sees.triu(1 - window)
    sees = sees.expand(N_ROWS, -1, -1).clone()
    mask = None
    if kind != "none":
        sees[2, :, -1] = False  # padding on the right
        sees[2, -1, -1] = True
        mask = sees[:, None]
    if kind == "added":
        mask = torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, torch.finfo(torch.float64).min)
    if kind == "none" and is_causal and window is not None:
        window = N_TOKENS  # the same: all tokens inside, so only the prefix can lie outside
    output, _ = attend("sdpa", module, *qkv, mask, sliding_window=window)
    expected = dense(module, qkv, sees, window if is_causal else None)
    torch.testing.assert_close(output, expected, **EXACT)


@pytest.mark.parametrize("is_causal", [False, True])
def test_gradients_reach_only_the_slots_in_use(is_causal: bool) -> None:
    module = Attention(is_causal=is_causal, segments=(Segment(1, 0, N_ROWS),))
    qkv = [normal(N_ROWS, h, N_TOKENS, SIZE, seed=h) for h in (HEADS * GROUPS, HEADS, HEADS)]
    attend("sdpa", module, *qkv, None)[0].square().sum().backward()
    slots = getattr(module, ATTRIBUTE).slots
    assert slots["0"].key_value.grad is None
    assert (slots["1"].key_value.grad != 0).all()


@on_models
@pytest.mark.parametrize("depth", [2, "all"])
def test_without_a_slot_the_model_is_the_base_bit_by_bit(name: str, depth: int | str) -> None:
    stack, examples = m.make_stack(name, range(2), method="prefix", depth=depth), m.make_examples(name)
    batch = stack._collate(examples.inputs, examples.rows)
    with torch.inference_mode():
        base, untouched = m.tiny_model(name)(**batch), stack.model(**batch)
        stack.logits(examples.inputs, None, [(1, examples.rows)])
        adapted = stack.model(**batch)
    assert torch.equal(untouched.last_hidden_state, base.last_hidden_state)
    assert not torch.allclose(adapted.last_hidden_state, base.last_hidden_state)


@on_models
def test_layers_below_are_the_base_bit_by_bit(name: str) -> None:
    """So a stored trunk is exact, also where positions are a learned table."""
    stack, examples = m.make_stack(name, range(2), method="prefix", depth=2), m.make_examples(name)
    trunk = m.make_trunk(stack, examples)
    pairs = [(0, examples.rows[:9]), (1, examples.rows[5:])]
    with torch.inference_mode():
        cached, uncached = stack.logits(examples.inputs, trunk, pairs), stack.logits(examples.inputs, None, pairs)
        batch = stack._collate(examples.inputs, np.concatenate([rows for _, rows in pairs]))
        hidden = stack.model(**batch, output_hidden_states=True).hidden_states[stack.cut]
        base = m.tiny_model(name)(**batch, output_hidden_states=True).hidden_states[stack.cut]
    assert torch.equal(hidden, base)
    torch.testing.assert_close(cached, uncached, **EXACT)


@on_models
@pytest.mark.parametrize("depth", [2, "all"])
def test_rows_of_no_slot_are_the_base_beside_others(name: str, depth: int | str) -> None:
    stack, examples = m.make_stack(name, range(2), method="prefix", depth=depth), m.make_examples(name)
    batch = stack._collate(examples.inputs, examples.rows)
    stack.routing.segments = (Segment(1, 2, 4), Segment(0, 4, 9), Segment(1, 12, 15))
    inside = np.isin(examples.rows, [*range(2, 9), *range(12, 15)])
    with torch.inference_mode():
        base = m.tiny_model(name)(**batch).last_hidden_state
        mixed = stack.model(**batch).last_hidden_state
    torch.testing.assert_close(mixed[~inside], base[~inside], **EXACT)
    assert ((mixed[inside] - base[inside]).abs().amax((1, 2)) > 0).all()


@on_models
@pytest.mark.parametrize("depth", [2, "all"])
def test_slots_may_differ_in_every_option(name: str, depth: int | str) -> None:
    """Also in their number of tokens and in whether an MLP makes them."""
    own = [
        {"tokens": 3},
        {"tokens": 8, "init_std": 0.5},
        {"tokens": 5, "reparameterise": True, "hidden_size": 6},
        {"tokens": 5, "reparameterise": True, "hidden_size": 9},
    ]
    stack, examples = stack_of(name, own, depth), m.make_examples(name)
    pairs = [(3, np.array([1, 2])), (0, np.array([2])), (1, np.array([4, 2])), (2, np.array([0, 2]))]
    with torch.inference_mode():
        mixed = stack.logits(examples.inputs, None, pairs).split([len(rows) for _, rows in pairs])
        for (slot, rows), logits in zip(pairs, mixed, strict=True):
            single = stack_of(name, [own[slot]], depth, seeds=[slot])
            single.load_slot_state(0, stack.slot_state(slot))
            torch.testing.assert_close(logits, single.logits(examples.inputs, None, [(0, rows)]), **EXACT)


def stack_of(name: str, own: list[dict[str, Any]], depth: int | str, seeds: list[int] | None = None) -> Stack:
    """A stack with one set of options a slot, and heads that say something."""
    method, stack = get_method("prefix"), m.make_stack(name, range(len(own)), depth=depth)
    options = [method.options(**values) for values in own]
    head = LinearHead(Routing(), len(own), m.N_CLASSES, m.HIDDEN_SIZE, torch.float64)
    stack = Stack(
        m.tiny_model(name), head, stack.task, Adaptation(method, options, depth, seeds or list(range(len(own))))
    )
    with torch.no_grad():
        for slot, seed in enumerate(seeds or range(len(own))):
            head.weight[slot].copy_(normal(m.N_CLASSES, m.HIDDEN_SIZE, seed=seed))
    return stack


@pytest.mark.parametrize("name", ["bert", "gemma3"])
def test_the_mlp_trains_alike_however_it_is_run(name: str) -> None:
    """Together, alone, and with activations that are computed again."""
    examples = m.make_examples(name)
    plans = m.make_plans(examples, has_stop=False)[:2]
    options: dict[str, Any] = {"method": "prefix", "tokens": 3, "reparameterise": True, "hidden_size": 5}
    together = m.train(m.make_stack(name, range(2), **options), None, examples, plans)
    again = m.train(m.make_stack(name, range(2), recompute=True, **options), None, examples, plans)
    single = m.train(m.make_stack(name, [1], **options), None, examples, [m.alone(plans[1])])
    weights, last = tolerance("weights_after_training", "float64"), plans[1].name
    torch.testing.assert_close(again.state, together.state, **weights)
    torch.testing.assert_close(single.state[last], together.state[last], **weights)
    start = m.make_stack(name, range(2), **options).slot_state(1)
    assert all(not torch.equal(tensor, start[key]) for key, tensor in together.state[last].items())


@on_models
def test_the_mlp_vanishes_and_nothing_changes(name: str) -> None:
    method = get_method("prefix")
    options = PrefixOptions.model_validate({"tokens": 3, "reparameterise": True, "hidden_size": 5})
    stack, examples = m.make_stack(name, [4], method="prefix", **options.model_dump()), m.make_examples(name)
    with torch.no_grad():
        stack.head.weight[0].copy_(normal(m.N_CLASSES, m.HIDDEN_SIZE))
    plain, state = method.shipped(options, stack.adapters.state(0))
    assert plain == options.model_copy(update={"reparameterise": False})
    assert method.shipped(plain, state) == (plain, state)
    other = m.make_stack(name, [9], method="prefix", **plain.model_dump())
    heads = {f"head.{key}": tensor for key, tensor in stack.head_parameters(0).items()}
    other.load_slot_state(0, {f"adapter.{key}": tensor for key, tensor in state.items()} | heads)
    logits = [predict(s, examples.inputs, None, 0, examples.rows) for s in (stack, other)]
    assert np.array_equal(*logits)


@pytest.mark.parametrize("name", ["bert", "gemma3", "modernbert"])
def test_over_eager_attention_it_is_the_same(name: str) -> None:
    examples = m.make_examples(name)
    logits = []
    for implementation in ("sdpa", "eager"):
        model = m.tiny_model(name, "float32")  # eager attention computes its softmax in float32 in any case
        model.set_attn_implementation(implementation)
        stack = rebuilt(model, depth="all")
        assert model.config._attn_implementation == f"{ATTRIBUTE}_{implementation}"
        logits.append(predict(stack, examples.inputs, None, 0, examples.rows))
    np.testing.assert_allclose(logits[1], logits[0], **tolerance("logits_same_weights", "float32"))


def rebuilt(model: Any, depth: int | str = 2, **options: Any) -> Stack:
    """A prefix stack of one slot over a given text model, its head drawn."""
    head = LinearHead(Routing(), 1, m.N_CLASSES, model.config.hidden_size, torch.float32)
    with torch.no_grad():
        head.weight[0].copy_(normal(m.N_CLASSES, model.config.hidden_size))
    task, method = m.make_stack("bert", [0]).task, get_method("prefix")
    return Stack(model, head, task, Adaptation(method, [method.options(**options)], depth, [3]))


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_over_half_precision_the_prefix_is_kept_in_float32(name: str) -> None:
    examples = m.make_examples(name)
    half, full = (rebuilt(m.tiny_model(name, dtype)) for dtype in ("bfloat16", "float32"))
    assert {p.dtype for p in half.adapter_parameters(0).values()} == {torch.float32}
    assert half.adapters.state(0).keys() == full.adapters.state(0).keys()
    logits = [predict(stack, examples.inputs, None, 0, examples.rows) for stack in (half, full)]
    np.testing.assert_allclose(logits[0], logits[1], **tolerance("logits_same_weights", "bfloat16"))


@pytest.mark.parametrize(("name", "depth"), [("llama", "all"), ("modernbert", 2)])
def test_one_slot_can_be_traced_with_open_batch_and_length(name: str, depth: int | str) -> None:
    stack = rebuilt(m.tiny_model(name), depth)
    stack.routing.only = 0
    small, large = (torch.full(shape, 7) for shape in ((2, 6), (3, 11)))
    small_mask, large_mask = torch.ones_like(small), torch.ones_like(large)
    large_mask[1, -4:] = 0
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    program = torch.export.export(
        stack.model, (small, small_mask), dynamic_shapes={"input_ids": axes, "attention_mask": axes}
    )
    with torch.inference_mode():
        traced = program.module()(large, large_mask).last_hidden_state
        torch.testing.assert_close(traced, stack.model(large, large_mask).last_hidden_state, **EXACT)


def test_the_positions_of_the_prefix_are_counted() -> None:
    stack = rebuilt(m.tiny_model("llama"), "all", tokens=60)
    stack.routing.only = 0
    ids = torch.full((1, 4), 7)
    stack.model(ids)
    with pytest.raises(UsageError, match=re.escape("5 tokens of text and 60 of the prefix are more than")):
        stack.model(torch.full((1, 5), 7))
    above = rebuilt(m.tiny_model("llama"), 2, tokens=60)  # no position is taken where PEFT has no say
    above.routing.only = 0
    above.model(torch.full((1, 64), 7))


def test_a_model_that_it_cannot_reach_is_refused() -> None:
    model = m.tiny_model("bert")
    model.config._attn_implementation = "flex_attention"
    with pytest.raises(UsageError, match=r"cannot reach the attention of BertModel \(flex_attention\)"):
        rebuilt(model)
    model = m.tiny_model("bert")
    del model.encoder.layer[2].attention.self.is_causal
    with pytest.raises(UsageError, match=r"encoder\.layer\.2 \(BertLayer\)"):
        rebuilt(model)
    model = m.tiny_model("llama")
    model.config.num_attention_heads = 8
    stack = rebuilt(model)
    stack.routing.only = 0
    with pytest.raises(UsageError, match=r"4 heads of 8 numbers, but the attention has \(2, 8\)"):
        stack.model(torch.full((1, 4), 7))


def test_files_of_another_kind_are_refused() -> None:
    for config in ({"peft_type": "LORA"}, {"peft_type": "PREFIX_TUNING", "num_transformer_submodules": 2}):
        with pytest.raises(UsageError, match="cannot read this adapter"):
            Prefix().from_peft(SimpleNamespace(config=config, tensors={}))  # type: ignore[arg-type]
