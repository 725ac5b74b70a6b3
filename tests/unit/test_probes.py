"""What counts as content, how it is blanked, and what does not fit the memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch

import models as m
from honed.errors import UsageError
from honed.events import Emitter
from honed.probes import measure
from honed.probes.measure import Encoded, measure_maps
from honed.probes.subject import Subject
from honed.tasks.text_classification import TextClassification


def test_blank_patches_have_the_mean_colour_of_their_image() -> None:
    task = m.tiny_task("dinov2")
    batch = {"pixel_values": torch.arange(2 * 3 * 28 * 28, dtype=torch.float64).view(2, 3, 28, 28)}
    assert task.content(batch).tolist() == [[False, True, True, True, True]] * 2
    chosen = torch.tensor([[True, False, True, False, False], [False, False, False, False, True]])
    blank = task.blanked(batch, chosen)["pixel_values"]
    mean = batch["pixel_values"].mean(dim=(2, 3), keepdim=True)
    expected = batch["pixel_values"].clone()
    expected[0, :, :14, 14:] = mean[0]  # the second patch: upper right; the special token has no pixels
    expected[1, :, 14:, 14:] = mean[1]
    torch.testing.assert_close(blank, expected, rtol=0, atol=0)


def test_words_are_content_and_special_tokens_are_not() -> None:
    tokenizer = SimpleNamespace(pad_token_id=0, all_special_ids=[0, 1, 2, 3], unk_token_id=3, mask_token_id=None)
    task = TextClassification(tokenizer, 16)
    batch = {
        "input_ids": torch.tensor([[1, 7, 3, 2, 0], [1, 2, 0, 0, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]]),
    }
    content = task.content(batch)
    assert content.tolist() == [[False, True, True, False, False], [True, True, False, False, False]]
    assert task.blanked(batch, content)["input_ids"].tolist() == [[1, 3, 3, 2, 0], [3, 3, 0, 0, 0]]
    tokenizer.mask_token_id = 9
    assert task.blanked(batch, content)["input_ids"].tolist() == [[1, 9, 9, 2, 0], [9, 9, 0, 0, 0]]


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stack, examples = m.make_stack("dinov2", [0]), m.make_examples("dinov2")
    encoded = Encoded(examples.inputs.encoded, examples.inputs.n_tokens)
    whole = measure_maps(Subject(stack), encoded, Emitter(), "")
    monkeypatch.setattr(measure, "_CHUNK_BYTES", 1)
    single = measure_maps(Subject(stack), encoded, Emitter(), "")
    for name, heat in whole.heat.items():
        np.testing.assert_allclose(heat, single.heat[name], atol=1e-6)


def test_a_map_that_is_not_finite_is_empty_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    stack, examples = m.make_stack("dinov2", [0]), m.make_examples("dinov2")
    real = measure.explain

    def spoilt(*arguments: Any) -> Any:
        found = real(*arguments)
        found.rollout[3] = torch.nan
        return found

    monkeypatch.setattr(measure, "explain", spoilt)
    told: list[str] = []
    emitter = Emitter((lambda event: told.append(event.message),))
    maps = measure_maps(
        Subject(stack), Encoded(examples.inputs.encoded, examples.inputs.n_tokens), emitter, "attention of the base"
    )
    assert maps.heat["rollout"][3, 1:].tolist() == [0, 0, 0, 0] and np.isnan(maps.heat["rollout"][:, 0]).all()
    assert "1 of 18 rows have no map (attention of the base, rollout): it is 0 or not finite." in told


def test_what_does_not_fit_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stack, examples = m.make_stack("dinov2", [0]), m.make_examples("dinov2")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(UsageError, match="one row of 5 tokens takes"):
        measure_maps(Subject(stack), Encoded(examples.inputs.encoded, examples.inputs.n_tokens), Emitter(), "")
