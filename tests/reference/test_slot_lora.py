"""The hand-written LoRA layer against a dense formula, numerical differentiation and plain autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from honed.methods.lora import LoraOptions
from honed.methods.slot_lora import SlotLora
from honed.routing import Routing, Segment
from tolerances import tolerance

SEGMENTS = (Segment(1, 0, 2), Segment(0, 2, 3), Segment(1, 3, 5))
SHAPES = [(5, 4, 6), (5, 6), (5, 2, 3, 6)]


def make(dropout: float = 0.0, *, has_bias: bool = True, rslora: bool = False) -> SlotLora:
    """6 -> 7 features, two slots of rank 3 with both matrices drawn, in float64."""
    torch.manual_seed(0)
    linear = torch.nn.Linear(6, 7, bias=has_bias, dtype=torch.float64).requires_grad_(False)
    routing = Routing()
    routing.segments = SEGMENTS
    routing.step_seed = 4 if dropout else None
    routing.rows = np.array([7, 2, 7, 0, 9])
    layer = SlotLora(linear, routing, [3, 8], [LoraOptions(rank=3, alpha=5.0, dropout=dropout, rslora=rslora)] * 2)
    with torch.no_grad():
        for slot in range(2):
            for parameter in layer.slot_parameters(slot).values():
                parameter.normal_()
    return layer


def inputs(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


def masks_of(layer: SlotLora, x: torch.Tensor) -> list[torch.Tensor]:
    """The dropout masks the layer itself draws, seen through an identity: y = mask * x."""
    drawn = layer._dropout_masks(x, SEGMENTS)
    return drawn if drawn is not None else [torch.ones_like(x[s.start : s.stop]) for s in SEGMENTS]


def dense(layer: SlotLora, x: torch.Tensor, masks: list[torch.Tensor]) -> torch.Tensor:
    """W x + b + scaling * (B_s A_s) (mask * x), with the full matrix B A, by plain autograd."""
    parts = []
    for s, mask in zip(SEGMENTS, masks, strict=True):
        a, b = layer.slot_parameters(s.slot).values()
        own = x[s.start : s.stop]
        bias = 0 if layer.linear.bias is None else layer.linear.bias
        parts.append(own @ layer.linear.weight.T + bias + layer.options[s.slot].scaling * (own * mask) @ (b @ a).T)
    return torch.cat(parts)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("has_bias", [True, False])
def test_forward_and_backward_are_the_dense_formula(shape: tuple[int, ...], dropout: float, has_bias: bool) -> None:
    layer, x = make(dropout, has_bias=has_bias, rslora=has_bias), inputs(shape)
    leaves: list[torch.Tensor] = [x, *layer.lora_a, *layer.lora_b]
    results = []
    for y in (layer(x), dense(layer, x, masks_of(layer, x))):
        results.append((y, torch.autograd.grad((y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum(), leaves)))
    torch.testing.assert_close(*results, **tolerance("logits_same_weights", "float64"))


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_those_of_numerical_differentiation(dropout: float) -> None:
    layer, x = make(dropout), inputs((5, 2, 6))
    leaves: list[Any] = [x, *layer.lora_a, *layer.lora_b]
    assert torch.autograd.gradcheck(lambda *_: layer(x), leaves)


def test_an_input_without_gradient_gets_none() -> None:
    """The lowest adapted layer reads the frozen trunk."""
    layer, x = make(), inputs((5, 4, 6)).detach()
    layer(x).sum().backward()
    assert x.grad is None and all(p.grad is not None for p in layer.slot_parameters(0).values())


def test_a_slot_without_rows_gets_no_gradient() -> None:
    layer, x = make(), inputs((5, 4, 6))
    layer.routing.segments = (Segment(1, 0, 5),)
    layer(x).sum().backward()
    assert all(p.grad is None for p in layer.slot_parameters(0).values())
    assert all(p.grad is not None for p in layer.slot_parameters(1).values())


def test_without_segments_it_is_the_frozen_layer() -> None:
    layer, x = make(), inputs((5, 4, 6))
    layer.routing.segments = ()
    assert torch.equal(layer(x), layer.linear(x))


def test_dropout_masks_change_with_step_and_slot_and_keep_the_mean() -> None:
    layer, x = make(0.25), torch.ones(5, 200, 6, dtype=torch.float64)
    first = masks_of(layer, x)
    assert all(torch.equal(a, b) for a, b in zip(first, masks_of(layer, x), strict=True))
    assert set(torch.cat(first).unique().tolist()) == {0.0, 1 / 0.75}
    assert abs(float(torch.cat(first).mean()) - 1) < 0.05  # 6000 draws: a standard error of 0.007
    assert not torch.equal(first[0][0], first[1][0]), "example 7 in slot 1 and in slot 0"
    layer.routing.step_seed = 5
    assert not torch.equal(masks_of(layer, x)[1], first[1])


def test_a_rows_dropout_depends_on_neither_padding_nor_neighbours() -> None:
    layer, x = make(0.5), torch.ones(5, 50, 6, dtype=torch.float64)
    wide, narrow = masks_of(layer, x), masks_of(layer, x[:, :20])
    assert all(torch.equal(a[:, :20], b) for a, b in zip(wide, narrow, strict=True))
    layer.routing.rows, layer.routing.segments = np.array([0]), (Segment(1, 0, 1),)
    (alone,) = layer._dropout_masks(x[:1], layer.routing.segments) or ()
    assert torch.equal(alone[0], wide[2][0])
    assert not torch.equal(wide[2][0], wide[2][1]), "two rows of one slot must not share a mask"
