"""A parameter budget: what it is read as, what it buys, what it refuses, and that the smallest it buys can learn."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

import models as m
from honed.errors import UsageError
from honed.methods.base import discover, get_method
from honed.planning.budget import Choice, choose, parse_parameters
from honed.planning.rehearsal import Rehearsal, Specialist
from honed.planning.shapes import BaseShape, read_base_shape
from honed.planning.sizes import Sizes
from honed.training.stack import Stack

BUDGETS = ("1", "20", "400", "3k", "100%")


def shape(name: str) -> BaseShape:
    if name == "minilm":
        return read_base_shape(name)
    config = m.tiny_config(name)
    return BaseShape(name, config, config.num_hidden_layers, config.hidden_size, None, None)


def built(name: str, choice: Choice) -> int:
    stack = m.make_stack(name, [0], method=choice.method, depth=choice.depth, **choice.method_options)
    return trained(stack)


def trained(stack: Stack) -> int:
    return sum(p.numel() for p in stack.adapter_parameters(0).values())


def within(name: str, budget: str, **fixed: Any) -> Choice | None:
    try:
        return choose(shape(name), parse_parameters(budget), **fixed)
    except UsageError:
        return None


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("3e-4", 29_737_896),
        ("3e-7", 29_737),
        ("0.03%", 29_737_896),
        ("100%", 99_126_323_200),
        ("50k", 50_000),
        ("1.5M", 1_500_000),
        ("1.5 m", 1_500_000),
        ("2B", 2_000_000_000),
        ("30000", 30_000),
        ("30_000", 30_000),
        ("3e4", 30_000),
        ("1", 1),
        (".5", 49_563_161_600),
    ],
)
def test_a_budget_is_a_share_or_a_number(text: str, weights: int) -> None:
    assert parse_parameters(text).weights(99_126_323_200) == weights


def test_a_share_is_not_rounded_by_binary_fractions() -> None:
    assert parse_parameters("0.1").value == Fraction(1, 10)
    assert parse_parameters("0.1").weights(30) == 3


@pytest.mark.parametrize(
    "text", ["", "0", "0%", "-3e-4", "-5", "nan", "inf", "many", "3x", "50 k weights", "1,5", "1e9999"]
)
def test_what_is_no_positive_number_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(UsageError, match=r"--parameters .*") as refused:
        parse_parameters(text)
    assert refused.value.remedy


@pytest.mark.parametrize("text", ["1.0", "1.5", "0.0001k"])
def test_neither_a_share_nor_whole_weights(text: str) -> None:
    with pytest.raises(UsageError, match="100%"):
        parse_parameters(text)


@pytest.mark.parametrize("name", [*m.TINY_MODELS, m.REAL])
def test_a_choice_is_as_large_as_it_says_and_within_the_budget(name: str) -> None:
    seen = set()
    for budget in BUDGETS:
        choice = within(name, budget)
        assert choice is not None
        assert 0 < choice.n_parameters <= choice.budget
        seen.add(choice.method)
        assert built(name, choice) == choice.n_parameters, choice
    assert len(seen) >= 3, "from full fine-tuning to a single weight, one method cannot do it all"


@pytest.mark.parametrize("method", discover())
@pytest.mark.parametrize("name", m.TINY_MODELS)
def test_sizes_are_counted_and_descend(name: str, method: str) -> None:
    """The search relies on the order; the count must be that of a real stack."""
    base = shape(name)
    sizes = Sizes(base)
    rungs = get_method(method).ladder(sizes.top_layer, 2)
    try:
        counts = [sizes.adapter(method, rung, 2) for rung in rungs]
    except UsageError:
        pytest.skip(f"{method} finds nothing to adapt in {name}")
    assert counts == sorted(set(counts), reverse=True)
    for rung, count in {0: (rungs[0], counts[0]), 1: (rungs[-1], counts[-1])}.values():
        assert trained(m.make_stack(name, [0], method=method, depth=2, **rung)) == count
    assert all(p.is_meta for p in sizes.top_layer.parameters())


@pytest.mark.parametrize("method", ["full", "lora", "bottleneck"])
def test_the_plan_counts_the_same(method: str) -> None:
    base = shape("llama")
    plan = Rehearsal(base, Specialist(method, get_method(method).options(), "mean", 2, "float32", 2), 1)
    sizes = Sizes(base)
    assert sizes.adapter(method, {}, 2) == plan.parameters.adapter
    assert sizes.n_base == plan.parameters.base


@pytest.mark.parametrize("method", discover())
def test_more_budget_never_buys_less_of_the_same_method(method: str) -> None:
    bought = [
        within("bert", str(budget), method=method) for budget in (1, 2, 7, 30, 100, 200, 700, 3000, 20_000, 60_000)
    ]
    counts = [choice.n_parameters if choice else 0 for choice in bought]
    assert counts == sorted(counts)
    assert counts[-1] > 0
    assert all(choice.method == method for choice in bought if choice)


def test_everything_fits_into_everything() -> None:
    choice = within("bert", "100%")
    assert choice is not None
    assert (choice.method, choice.depth) == ("full", 3)
    assert choice == replace(choice, budget=choice.n_base)


def test_depth_falls_before_a_method_is_given_up() -> None:
    base = read_base_shape("100b")
    deep, shallow = (choose(base, parse_parameters(text)) for text in ("1e-5", "3e-7"))
    assert deep.method == shallow.method
    assert deep.depth == 15
    assert shallow.depth < 15


def test_three_ten_millionths_of_a_hundred_billion() -> None:
    psutil = pytest.importorskip("psutil")
    before = psutil.Process().memory_info().rss
    choice = choose(read_base_shape("100b"), parse_parameters("3e-7"))
    assert psutil.Process().memory_info().rss - before < 1e9, "the base alone would take 400 GB"
    assert 20_000 < choice.n_parameters <= choice.budget == 29_737
    assert choice.n_base == 99_126_323_200
    assert choice.method_options["target"].endswith("v_proj")


def test_a_given_depth_stays() -> None:
    choice = choose(shape("bert"), parse_parameters("500"), depth=3)
    assert choice.depth == 3
    with pytest.raises(UsageError, match="leave out --depth all"):
        choose(shape("bert"), parse_parameters("9000"), method="full", depth="all")


def test_the_reason_names_the_choice_the_share_and_what_was_too_large() -> None:
    choice = choose(shape("bert"), parse_parameters("600"))
    assert choice.method in choice.why
    assert f"{choice.n_parameters:,} weights" in choice.why
    assert f"{choice.n_parameters / 600:.0%} of the budget of 600" in choice.why
    assert "full from 8,544 (14.2 times the budget)" in choice.why
    assert "its next size" in choice.why
    assert "head is not counted" in choice.why


def test_options_that_the_budget_leaves_open_are_kept() -> None:
    choice = choose(shape("bert"), parse_parameters("600"), method="lora", options={"dropout": 0.1})
    assert choice.method_options["dropout"] == 0.1
    assert get_method("lora").options(**choice.method_options)


@pytest.mark.parametrize(
    ("budget", "fixed", "said"),
    [
        ("1e-9", {}, "The smallest that any method can train here is 1 weight: "),
        ("10", {"method": "lora"}, "method 'lora' can train here is 64 weights"),
        ("600", {"method": "lora", "options": {"rank": 4}}, "--option rank=4 contradict"),
        ("600", {"options": {"rank": 4}}, "--option rank needs a method"),
        ("600", {"method": "lara"}, "Did you mean 'lora'"),
        ("600", {"depth": 9}, "--depth 9 does not fit a base with 3 layers"),
    ],
)
def test_refusals_say_what_can_be_done(budget: str, fixed: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        choose(shape("bert"), parse_parameters(budget), **fixed)
    assert said in str(refused.value)
    assert refused.value.remedy


@m.needs_minilm
@pytest.mark.parametrize("budget", ["800", "200", "4"])
def test_what_a_tiny_budget_buys_learns(budget: str) -> None:
    """Beside a head that learns alone: all that differs is whether the adapter moves."""
    choice = choose(shape("minilm"), parse_parameters(budget))
    examples = m.make_examples("minilm", 30)
    plan = m.alone(m.make_plans(examples, has_stop=False)[-1])
    losses = []
    for rate in (0.0, 1e-2):
        stack = m.make_stack(
            "minilm", [0], method=choice.method, depth=choice.depth, dtype="float32", **choice.method_options
        )
        trunk = m.make_trunk(stack, examples)
        options = replace(m.QUICK, epochs=8, learning_rate=rate, head_learning_rate=1e-2)
        m.train(stack, trunk, examples, [plan], options)
        with torch.no_grad():
            logits = stack.logits(examples.inputs, trunk, [(0, np.arange(30))])
        losses.append(float(stack.task.loss(logits, torch.from_numpy(examples.label)).mean()))
    assert losses[1] < 0.98 * losses[0] < np.log(3)
