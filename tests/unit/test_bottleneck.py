"""Bottleneck adapters: where they sit in a layer, and the layer against a loop over rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import models as m
from honed.errors import UsageError
from honed.methods.base import get_method
from honed.methods.bottleneck import BottleneckOptions
from honed.methods.slot_bottleneck import SlotBottleneck
from honed.routing import Routing, Segment
from honed.training.layers import find_layers
from tolerances import tolerance

CLOSE = tolerance("logits_same_weights", "float64")
SEGMENTS = (Segment(1, 1, 3), Segment(0, 3, 4), Segment(1, 5, 6))  # rows 0, 4 and 6 belong to nobody
SLOT_OF_ROW = {1: 1, 2: 1, 3: 0, 5: 1}
ATTENTION_OUTPUT = {
    "bert": "attention.output.dense",
    "llama": "self_attn.o_proj",
    "gemma3": "self_attn.o_proj",
    "modernbert": "attn.Wo",
    "dinov2": "attention.o_proj",
}
FEED_FORWARD_OUTPUT = {
    "bert": "output.dense",
    "llama": "mlp.down_proj",
    "gemma3": "mlp.down_proj",
    "modernbert": "mlp.Wo",
    "dinov2": "mlp.fc2",
}


@pytest.mark.parametrize("name", m.TINY_MODELS)
def test_adapters_sit_after_attention_and_feed_forward(name: str) -> None:
    one = m.make_stack(name, [0], method="bottleneck", depth=1, variant="pfeiffer").adapters.sites
    two = m.make_stack(name, [0], method="bottleneck", depth=1, variant="houlsby").adapters.sites
    path, layers = find_layers(m.tiny_model(name))
    top = f"{path}.{len(layers) - 1}"
    assert one == (f"{top}.{FEED_FORWARD_OUTPUT[name]}",)
    assert two == (f"{top}.{ATTENTION_OUTPUT[name]}", f"{top}.{FEED_FORWARD_OUTPUT[name]}")


class MixtureLayer(torch.nn.Module):
    """Attention, and two experts that each see the rows that a router sends them."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = torch.nn.ModuleDict({"query": torch.nn.Linear(8, 8), "output": torch.nn.Linear(8, 8)})
        self.experts = torch.nn.ModuleList(torch.nn.Linear(16, 8) for _ in range(2))


@pytest.mark.parametrize("layer", [MixtureLayer(), torch.nn.Sequential(torch.nn.Linear(8, 8)), torch.nn.ReLU()])
@pytest.mark.parametrize("variant", ["houlsby", "pfeiffer"])
def test_a_layer_without_a_place_for_it_is_refused(layer: Any, variant: Any) -> None:
    method = get_method("bottleneck")
    with pytest.raises(UsageError, match=r"feed-forward in .*--method lora"):
        method.targets(layer, BottleneckOptions(variant=variant))  # type: ignore[attr-defined]


def make(dropout: float = 0.0) -> SlotBottleneck:
    """6 -> 7 features, two slots that differ in all they may differ in, every tensor drawn, in float64."""
    torch.manual_seed(0)
    linear = torch.nn.Linear(6, 7, dtype=torch.float64).requires_grad_(False)
    routing = Routing()
    routing.segments, routing.rows = SEGMENTS, np.array([9, 7, 2, 7, 3, 0, 1])
    routing.step_seed = 4 if dropout else None
    options = [
        BottleneckOptions(size=3, activation="gelu", dropout=dropout),
        BottleneckOptions(size=5, activation="silu", dropout=dropout),
    ]
    layer = SlotBottleneck(linear, routing, [3, 8], options)
    with torch.no_grad():
        for slot in range(2):
            for parameter in layer.slot_parameters(slot).values():
                parameter.normal_()
    return layer


def inputs(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


def by_row(layer: SlotBottleneck, x: torch.Tensor) -> torch.Tensor:
    """The formula, one row after another."""
    rows = []
    for i, row in enumerate(x):
        y = row @ layer.linear.weight.T + layer.linear.bias
        if i in SLOT_OF_ROW:
            slot = SLOT_OF_ROW[i]
            down, down_bias, up, up_bias = layer.slot_parameters(slot).values()
            y = y + (functional.gelu, functional.silu)[slot](y @ down.T + down_bias) @ up.T + up_bias
        rows.append(y)
    return torch.stack(rows)


@pytest.mark.parametrize("shape", [(7, 4, 6), (7, 6), (7, 2, 3, 6)], ids=str)
def test_forward_and_backward_are_the_formula(shape: tuple[int, ...]) -> None:
    layer, x = make(), inputs(*shape)
    leaves = [x, *layer.slot_parameters(0).values(), *layer.slot_parameters(1).values()]
    results = []
    for y in (layer(x), by_row(layer, x)):
        results.append((y, torch.autograd.grad((y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum(), leaves)))
    torch.testing.assert_close(*results, **CLOSE)


def test_rows_of_nobody_see_the_frozen_layer_exactly() -> None:
    layer, x = make(), inputs(7, 4, 6)
    y, plain = layer(x), layer.linear(x)
    assert all(torch.equal(y[i], plain[i]) == (i not in SLOT_OF_ROW) for i in range(7))
    layer.routing.segments = ()
    assert torch.equal(layer(x), plain)


def test_a_new_slot_gives_what_the_frozen_layer_gives() -> None:
    linear = torch.nn.Linear(6, 7)
    layer = SlotBottleneck(linear, Routing(), [3], [BottleneckOptions(size=2)])
    layer.routing.segments = (Segment(0, 0, 5),)
    x = torch.randn(5, 6)
    assert torch.equal(layer(x), linear(x))
    assert layer.slot_parameters(0)["down.weight"].abs().min() > 0, "else nothing would ever train"


def test_dropout_acts_inside_and_only_in_training() -> None:
    layer, x = make(0.5), inputs(7, 50, 6)
    noisy = layer(x)
    assert torch.equal(noisy, layer(x)), "the same step draws the same masks"
    torch.testing.assert_close(layer(x[:, :20]), noisy[:, :20], **CLOSE)  # padding changes nothing
    plain = by_row(layer, x)
    assert not torch.allclose(noisy[1], plain[1]) and torch.allclose(noisy[0], plain[0])
    layer.routing.step_seed = 5
    assert not torch.equal(layer(x)[1], noisy[1])
    layer.routing.step_seed = None
    torch.testing.assert_close(layer(x), plain, **CLOSE)


def test_an_export_takes_any_number_of_rows() -> None:
    layer, x = make(), inputs(3, 4, 6).detach()
    layer.routing.segments, layer.routing.only = (), 1
    program = torch.export.export(
        layer, (x,), dynamic_shapes=({0: torch.export.Dim("rows"), 1: torch.export.Dim("n")},)
    )
    more = inputs(5, 9, 6).detach()
    torch.testing.assert_close(program.module()(more), layer(more), **CLOSE)


@pytest.mark.parametrize("base_dtype", [torch.bfloat16, torch.float16])
def test_adapters_of_a_half_precision_base_are_kept_in_float32(base_dtype: torch.dtype) -> None:
    linear = torch.nn.Linear(6, 7, dtype=base_dtype)
    layer = SlotBottleneck(linear, Routing(), [3], [BottleneckOptions()])
    layer.routing.segments = (Segment(0, 0, 5),)
    assert {p.dtype for p in layer.slot_parameters(0).values()} == {torch.float32}
    assert layer(torch.randn(5, 6, dtype=base_dtype)).dtype == base_dtype
