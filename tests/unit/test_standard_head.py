"""Heads that read standardised features: alone, folded into plain ones, and through a whole training."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import models as m
from honed.routing import Routing, Segment
from honed.tasks.heads import LinearHead, plain_head
from tolerances import tolerance

DTYPES = ("float32", "float64")


def features(n: int = 40, width: int = 6, dtype: str = "float64", seed: int = 0) -> torch.Tensor:
    """Features of different means and scales."""
    draw = torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (draw * torch.logspace(-0.5, 1, width) + torch.linspace(-2, 2, width)).to(getattr(torch, dtype))


def head_of(n_slots: int, dtype: str = "float64", width: int = 6) -> LinearHead:
    head = LinearHead(Routing(), n_slots, 3, width, getattr(torch, dtype), pool=lambda hidden, _: hidden[:, 0])
    torch.manual_seed(3)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    return head


def logits(head: LinearHead, slot: int, rows: torch.Tensor) -> torch.Tensor:
    head.routing.segments = (Segment(slot, 0, len(rows)),)
    with torch.no_grad():
        return head(SimpleNamespace(last_hidden_state=rows[:, None]), None)


def test_a_slot_reads_features_of_mean_0_and_variance_1() -> None:
    head, rows = head_of(1), features()
    head.standardise(0, rows)
    standard = (rows - rows.mean(0)) / rows.std(0, correction=0)
    expected = standard @ head.weight[0].T + head.bias[0]
    torch.testing.assert_close(logits(head, 0, rows), expected.detach(), **tolerance("logits_same_weights", "float64"))


def test_a_constant_feature_keeps_its_scale() -> None:
    head, rows = head_of(1), features()
    rows[:, 2] = 7.0
    head.standardise(0, rows)
    assert head.standard[0]["scale"][2] == 1 and head.standard[0]["center"][2] == 7
    assert torch.isfinite(logits(head, 0, rows)).all()


def test_the_rounding_of_a_large_constant_feature_is_not_blown_up() -> None:
    """A few bits of noise in float32 say nothing, however large the feature is."""
    head, rows = head_of(1, "float32"), features(dtype="float32")
    rows[:, 2] = 500.0
    rows[::2, 2] = torch.nextafter(torch.tensor(500.0), torch.tensor(501.0))
    head.standardise(0, rows)
    assert head.standard[0]["scale"][2] == 1


def test_slots_do_not_influence_one_another() -> None:
    head, rows = head_of(3), features()
    before = [logits(head, slot, rows) for slot in range(3)]
    head.standardise(1, rows)
    assert torch.equal(logits(head, 0, rows), before[0]) and torch.equal(logits(head, 2, rows), before[2])
    alone = logits(head, 1, rows)
    assert not torch.allclose(alone, before[1])
    head.standardise(0, features(seed=5))
    assert torch.equal(logits(head, 1, rows), alone)
    head.routing.segments = (Segment(0, 0, 15), Segment(1, 15, 40))
    mixed = head(SimpleNamespace(last_hidden_state=rows[:, None]), None)
    torch.testing.assert_close(mixed[15:], alone[15:], **tolerance("logits_same_weights", "float64"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_folded_head_gives_the_same_logits(dtype: str) -> None:
    head, rows = head_of(1, dtype), features(dtype=dtype)
    head.standardise(0, rows)
    state = {f"head.{name}": value.detach() for name, value in head.slot_parameters(0).items()}
    standard = {f"head.{name}": value for name, value in head.standard[0].items()}
    plain = plain_head({**state, **standard, "adapter.x": torch.ones(2)})
    assert plain.keys() == {"head.weight", "head.bias", "adapter.x"}
    assert plain["head.weight"].dtype == getattr(torch, dtype)
    folded = rows @ plain["head.weight"].T + plain["head.bias"]
    torch.testing.assert_close(folded, logits(head, 0, rows), **tolerance("folded_head", dtype))


def test_a_plain_head_stays_as_it_is() -> None:
    state = {"head.weight": torch.ones(3, 6), "head.bias": torch.zeros(3)}
    assert plain_head(state) == state


def test_training_leaves_center_and_scale_as_the_base_gave_them_and_the_artifact_is_the_final_model() -> None:
    """Through the whole of a stack: each slot's scaling is that of its own training rows, and outlives the training."""
    examples = m.make_examples("dinov2", 18)
    stack = m.make_stack("dinov2", range(6), head="both", depth=1)
    plans = m.make_plans(examples)
    trunk = m.make_trunk(stack, examples)
    trained = m.train(stack, trunk, examples, plans, replace(m.QUICK, patience=9))
    for plan in plans:
        own = m.make_stack("dinov2", [0], head="both", depth=1)
        with torch.no_grad():
            seen = own.features(examples.inputs, m.make_trunk(own, examples), plan.train)
        state = trained.state[plan.name]
        torch.testing.assert_close(state["head.center"], seen.mean(0), **tolerance("logits_same_weights", "float64"))
    final = len(plans) - 1
    rows = np.arange(18)
    with torch.no_grad():
        standard = stack.logits(examples.inputs, trunk, [(final, rows)])
    shipped = m.make_stack("dinov2", [0], head="both", depth=1)
    shipped.load_slot_state(0, plain_head(copy.deepcopy(stack.slot_state(final))))
    with torch.no_grad():
        plain = shipped.logits(examples.inputs, trunk, [(0, rows)])
    torch.testing.assert_close(plain, standard, **tolerance("folded_head", "float64"))
