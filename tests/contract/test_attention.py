"""Looking at a model changes nothing, whatever method adapted it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import models as m
from honed.errors import BaseModelError
from honed.events import Emitter
from honed.methods.base import discover
from honed.probes.measure import MAPS, Encoded, measure_curves, measure_maps
from honed.probes.subject import Probe, Subject, redrawn
from honed.probes.watch import watched
from honed.training.loop import predict

ROWS = np.arange(18)


def prepared(name: str, method: str) -> tuple[Any, Any]:
    stack, examples = m.make_stack(name, [0], method=method), m.make_examples(name)
    if name != "dinov2":
        stack.task.tokenizer = SimpleNamespace(all_special_ids=[0], unk_token_id=None, mask_token_id=None)
    stack.adapters.use(0)
    with torch.no_grad():
        for parameter in (*stack.head_parameters(0).values(), *stack.adapter_parameters(0).values()):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    return stack, examples


@pytest.mark.parametrize("method", discover())
@pytest.mark.parametrize("name", m.TINY_MODELS)
def test_looking_changes_no_prediction(name: str, method: str) -> None:
    stack, examples = prepared(name, method)
    before = predict(stack, examples.inputs, None, 0, ROWS)
    encoded = Encoded(examples.inputs.encoded, examples.inputs.n_tokens)
    specialist = Subject(stack)
    maps = measure_maps(specialist, encoded, Emitter(), "")
    exp = np.exp(before - before.max(axis=1, keepdims=True))
    np.testing.assert_allclose(maps.probs, exp / exp.sum(axis=1, keepdims=True), atol=1e-6)
    assert maps.heat.keys() == set(MAPS) and maps.heads.shape[:3] == (18, len(stack.layers), 4)
    for heat in maps.heat.values():
        assert (np.isnan(heat).sum(axis=1) == heat.shape[1] - (examples.inputs.n_tokens - (name == "dinov2"))).all()
        assert ((np.nansum(heat, axis=1) - 1) ** 2 < 1e-12).all() and np.nanmin(heat) >= 0
    np.testing.assert_array_equal(predict(stack, examples.inputs, None, 0, ROWS), before)
    with redrawn(stack, 5):
        other = measure_maps(specialist, encoded, Emitter(), "", maps.target)
    assert np.abs(other.probs - maps.probs).max() > 1e-3
    np.testing.assert_array_equal(predict(stack, examples.inputs, None, 0, ROWS), before)


@pytest.mark.parametrize("method", discover())
def test_the_base_is_the_untouched_one(method: str) -> None:
    stack, examples = prepared("dinov2", method)
    generator = torch.Generator().manual_seed(0)
    probe = Probe(torch.randn(3, 32, generator=generator, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    encoded = Encoded(examples.inputs.encoded, examples.inputs.n_tokens)
    found = measure_maps(Subject(stack, probe), encoded, Emitter(), "")
    plain = m.tiny_model("dinov2")
    hidden = plain(**stack.to_model(stack.task.collate(examples.inputs.encoded))).last_hidden_state
    expected = (hidden[:, 1:].mean(1) @ probe.weight.T).softmax(dim=1).detach().numpy()
    np.testing.assert_allclose(found.probs, expected, atol=1e-9)


def test_curves_delete_and_insert_in_the_order_of_the_map() -> None:
    stack, examples = prepared("dinov2", "lora")
    encoded, subject = Encoded(examples.inputs.encoded, examples.inputs.n_tokens), Subject(stack)
    target = np.zeros(18, dtype=np.int64)
    heat = np.tile([np.nan, 0.1, 0.4, 0.3, 0.2], (18, 1))
    found = measure_curves(subject, encoded, {"map": heat, "chance": None}, target, Emitter())
    deletion, insertion = found["map"]
    pixels = stack.to_model(stack.task.collate(encoded.rows))["pixel_values"]

    def answer(blank: list[tuple[int, int]]) -> np.ndarray[Any, Any]:
        changed = pixels.clone()
        for row, column in blank:
            changed[:, :, 14 * row : 14 * row + 14, 14 * column : 14 * column + 14] = pixels.mean((2, 3), keepdim=True)
        wanted: np.ndarray[Any, Any] = subject.probability({"pixel_values": changed}, torch.from_numpy(target)).numpy()
        return wanted

    everything = [(0, 0), (0, 1), (1, 0), (1, 1)]
    np.testing.assert_allclose(deletion[:, 0], answer([]), atol=1e-9)
    np.testing.assert_allclose(deletion[:, 1], answer([(0, 1)]), atol=1e-9)  # one of four is a sixth, rounded
    np.testing.assert_allclose(deletion[:, 3], answer([(0, 1), (1, 0)]), atol=1e-9)
    np.testing.assert_allclose(deletion[:, -1], answer(everything), atol=1e-9)
    np.testing.assert_allclose(insertion[:, 1], answer([(0, 0), (1, 0), (1, 1)]), atol=1e-9)
    np.testing.assert_array_equal(insertion[:, 0], deletion[:, -1])
    np.testing.assert_array_equal(insertion[:, -1], deletion[:, 0])
    assert np.abs(found["chance"][0] - deletion).max() > 1e-6


def test_a_model_that_attends_in_its_own_way_is_told() -> None:
    stack, examples = prepared("dinov2", "lora")
    batch = stack.to_model(stack.task.collate(examples.inputs.encoded[:1]))
    with pytest.raises(BaseModelError, match="3 of its 4 layers"), watched(stack.model, 4):
        stack.model(**batch)
    assert stack.model.config._attn_implementation == "sdpa"
