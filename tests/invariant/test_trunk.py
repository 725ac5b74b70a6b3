"""The trunk is exact: capture and replay change no bit, cached training is uncached training, disk is RAM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import models as m
from honed.training.loop import predict
from honed.training.trunk import TrunkCache, capture, replay
from tolerances import tolerance

MODELS = [*m.TINY_MODELS, m.REAL]
ROWS = np.array([4, 0, 9, 2])


def outputs(name: str, dtype: str, depth: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Last hidden state of one batch: (straight through the model, captured at the cut and replayed there)."""
    stack, examples = m.make_stack(name, [0], depth=depth, dtype=dtype), m.make_examples(name)
    batch = stack.task.collate([examples.inputs.encoded[i] for i in ROWS])
    with torch.inference_mode():
        straight = stack.model(**batch).last_hidden_state
        hidden = capture(lambda: stack.model(**batch), stack.layers, stack.cut)
        with replay(stack.layers, stack.cut, hidden):
            replayed = stack.model(**batch).last_hidden_state
    return straight, replayed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_capture_and_replay_change_no_bit(name: str, dtype: str) -> None:
    for depth in (1, 2):
        straight, replayed = outputs(name, dtype, depth)
        assert torch.equal(straight, replayed)


@pytest.mark.parametrize("name", MODELS)
def test_replay_computes_from_what_was_put_in(name: str) -> None:
    """Planted fault: another hidden state at the cut must come out as another result."""
    stack, examples = m.make_stack(name, [0]), m.make_examples(name)
    batch = stack.task.collate([examples.inputs.encoded[i] for i in ROWS])
    with torch.inference_mode():
        hidden = capture(lambda: stack.model(**batch), stack.layers, stack.cut)
        with replay(stack.layers, stack.cut, hidden * 1.1 + 0.1):
            planted = stack.model(**batch).last_hidden_state
        assert not torch.allclose(planted, stack.model(**batch).last_hidden_state)


@pytest.mark.parametrize("name", MODELS)
def test_cached_training_is_uncached_training_in_float64(name: str) -> None:
    examples = m.make_examples(name)
    plans, states = m.make_plans(examples)[:3], []
    for is_cached in (True, False):
        stack = m.make_stack(name, range(3))
        trunk = m.make_trunk(stack, examples) if is_cached else None
        states.append(m.train(stack, trunk, examples, plans, replace(m.QUICK, epochs=2)).state)
    torch.testing.assert_close(*states, **tolerance("weights_after_training", "float64"))


@pytest.mark.parametrize("name", MODELS)
def test_cached_training_has_the_losses_of_uncached_training_in_float32(name: str) -> None:
    examples = m.make_examples(name)
    plans, losses = m.make_plans(examples)[-2:], []
    plans = [replace(plan, slot=i, stop=plan.stop[:0]) for i, plan in enumerate(plans)]
    for is_cached in (True, False):
        stack = m.make_stack(name, [1, 2], dtype="float32")
        trunk = m.make_trunk(stack, examples) if is_cached else None
        runs = m.train(stack, trunk, examples, plans, replace(m.QUICK, epochs=2)).runs
        losses.append([run.step_losses for run in runs.values()])
    np.testing.assert_allclose(*losses, **tolerance("step_loss", "float32"))


@pytest.mark.parametrize("head", ["mean", "native"])
def test_spilled_trunk_is_the_one_in_memory(head: str, tmp_path: Path) -> None:
    examples = m.make_examples("bert")
    stack = m.make_stack("bert", [0, 1], head=head)
    in_memory = m.make_trunk(stack, examples)
    spilled = m.make_trunk(stack, examples, tmp_path / "trunk.bin")
    assert torch.equal(in_memory.buffer, spilled.buffer)
    assert (tmp_path / "trunk.bin").stat().st_size == spilled.n_bytes == in_memory.n_bytes
    results = [predict(stack, examples.inputs, trunk, 1, examples.rows) for trunk in (in_memory, spilled)]
    assert np.array_equal(*results)


def test_cache_gives_back_rows_in_any_order_and_width() -> None:
    length = np.array([2, 5, 1, 3])
    cache = TrunkCache(length, 4, torch.float64)
    hidden = torch.randn(4, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cache.put(np.arange(4), hidden)
    rows = np.array([3, 0, 3, 1])
    got = cache.get(rows, 7)
    assert got.shape == (4, 7, 4)
    for i, row in enumerate(rows):
        assert torch.equal(got[i, : length[row]], hidden[row, : length[row]])
    assert torch.isfinite(got).all()


@pytest.mark.parametrize("name", m.TINY_MODELS)
def test_model_is_whole_again_after_an_error(name: str) -> None:
    stack, examples = m.make_stack(name, [0]), m.make_examples(name)
    batch = stack.task.collate([examples.inputs.encoded[i] for i in ROWS])

    def fail() -> None:
        raise RuntimeError("planted")

    def state() -> tuple[list[int], list[bool]]:
        layers = list(stack.layers)
        return [len(x._forward_pre_hooks) for x in layers], ["forward" in vars(x) for x in layers]

    before = state()
    straight = stack.model(**batch).last_hidden_state
    with pytest.raises(RuntimeError, match="planted"):
        capture(fail, stack.layers, stack.cut)

    def fail_in_replay() -> None:
        with replay(stack.layers, stack.cut, straight):
            assert state() != before
            fail()

    with pytest.raises(RuntimeError, match="planted"):
        fail_in_replay()
    assert state() == before
    assert torch.equal(stack.model(**batch).last_hidden_state, straight)


def test_capture_says_when_its_layer_is_never_called() -> None:
    stack = m.make_stack("bert", [0])
    with pytest.raises(RuntimeError, match="never called"):
        capture(lambda: None, stack.layers, stack.cut)
