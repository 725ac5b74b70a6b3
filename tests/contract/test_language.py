"""What a language model promises: slots that never meet, an exact trunk, replies that do not depend on the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import models as m
import tiny_language as l
from honed.artifact import Artifact, ArtifactInfo, load_artifact, save_artifact, tokenizer_sha256
from honed.data.conversations import Message
from honed.events import Emitter
from honed.methods.base import discover, get_method
from honed.serving.engine import load_specialist
from honed.serving.generation import Writing, write_replies
from honed.serving.replies import reply_losses, text_losses
from honed.training.loop import TrainingOptions, predict
from honed.training.stack import Stack
from tolerances import tolerance

MODELS = ("llama", "gemma3")
STACKING = [name for name in discover() if get_method(name).capabilities.stacks]
OPTIONS = TrainingOptions(epochs=2, batch_rows=9, learning_rate=5e-3, head_learning_rate=5e-3, micro_batch_tokens=600)
on_models = pytest.mark.parametrize("name", MODELS)
stacking = pytest.mark.parametrize("method", STACKING)


def trained(name: str, method: str, n_slots: int = 3) -> tuple[Stack, Any]:
    """A stack whose slots have learned different rows."""
    stack = l.language_stack(name, range(n_slots), method=method)
    examples = l.language_examples(stack)
    rate = 5 * get_method(method).learning_rate
    options = replace(OPTIONS, learning_rate=rate, epochs=4)
    m.train(stack, None, examples, m.make_plans(examples, has_stop=False)[:n_slots], options)
    return stack, examples


@stacking
@on_models
def test_a_stack_trains_each_slot_as_if_it_were_alone(name: str, method: str) -> None:
    stack = l.language_stack(name, (11, 12, 13), method=method)
    examples = l.language_examples(stack)
    plans = m.make_plans(examples, has_stop=False)[:3]
    together = m.train(stack, m.make_trunk(stack, examples), examples, plans, OPTIONS)
    for plan, seed in zip(plans, (11, 12, 13), strict=True):
        single = l.language_stack(name, (seed,), method=method)
        alone = m.train(single, m.make_trunk(single, examples), examples, [m.alone(plan)], OPTIONS)
        torch.testing.assert_close(
            together.state[plan.name], alone.state[plan.name], **tolerance("weights_after_training", "float64")
        )


@on_models
def test_the_loss_falls_and_the_base_stays(name: str) -> None:
    stack = l.language_stack(name, range(1))
    examples = l.language_examples(stack)
    rows = np.arange(18)
    before = predict(stack, examples.inputs, None, None, rows)
    np.testing.assert_array_equal(before, predict(stack, examples.inputs, None, 0, rows))  # step 0 is the base
    m.train(stack, None, examples, [m.alone(m.make_plans(examples, has_stop=False)[5])], replace(OPTIONS, epochs=4))
    after = predict(stack, examples.inputs, None, 0, rows)
    assert after.mean() < before.mean() - 0.05
    np.testing.assert_array_equal(before, predict(stack, examples.inputs, None, None, rows))


@on_models
def test_cached_is_uncached(name: str) -> None:
    stack, examples = trained(name, "lora")
    trunk, rows = m.make_trunk(stack, examples), np.array([4, 0, 9, 2])
    for slot in (None, 1):
        np.testing.assert_allclose(
            predict(stack, examples.inputs, trunk, slot, rows),
            predict(stack, examples.inputs, None, slot, rows),
            **tolerance("logits_same_weights", "float64"),
        )


def greedy(stack: Stack, prompt: Sequence[Message], slot: int | None, n: int) -> str:
    """The reply by whole forward passes, without any cache, batch or padding."""
    reader = stack.task.reader
    ids = reader.encode_prompt(tuple(prompt)).tolist()
    start = len(ids)
    stack.routing.only = slot
    stack.routing.segments = ()
    stack.adapters.use(slot)
    with torch.inference_mode():
        for _ in range(n):
            token = int(stack.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            if token in reader.end_ids:
                break
            ids.append(token)
    stack.routing.only = None
    text: str = reader.tokenizer.decode(ids[start:], skip_special_tokens=True)
    return text.strip()


@stacking
@on_models
def test_a_mixed_batch_with_a_cache_writes_what_each_writes_alone(name: str, method: str) -> None:
    stack, _ = trained(name, method)
    prompts = [row.prompt() for row in l.conversations(6)]
    prompts[3] = (Message("user", "Why?"),)  # much shorter: padding on the left
    slots: list[int | None] = [2, None, 0, 1, None, 2]
    written = write_replies(stack, prompts, slots, Writing(max_new_tokens=12), Emitter())
    assert written == [greedy(stack, prompt, slot, 12) for prompt, slot in zip(prompts, slots, strict=True)]
    assert len(set(written)) > 1


def test_a_method_that_does_not_stack_writes_slot_after_slot() -> None:
    stack, _ = trained("llama", "full", 2)
    prompts, slots = [row.prompt() for row in l.conversations(4)], [1, None, 0, 1]
    written = write_replies(stack, prompts, slots, Writing(max_new_tokens=8), Emitter())
    assert written == [greedy(stack, prompt, slot, 8) for prompt, slot in zip(prompts, slots, strict=True)]


@on_models
def test_losses_of_given_replies_do_not_depend_on_what_is_read_beside_them(name: str) -> None:
    stack, _ = trained(name, "lora")
    asked = l.conversations(7)
    together = reply_losses(stack, asked, Emitter(), slot=1)
    for i in (0, 4):
        alone = reply_losses(stack, [asked[i]], Emitter(), slot=1)
        np.testing.assert_allclose(together.base[i], alone.base[0], **tolerance("logits_same_weights", "float64"))
        np.testing.assert_allclose(
            together.specialist[i], alone.specialist[0], **tolerance("logits_same_weights", "float64")
        )
    texts = text_losses(stack, ["A plain text.", "Another one, longer."], Emitter(), slot=1)
    assert (texts.n_tokens == [len("A plain text.") - 1, len("Another one, longer.") - 1]).all()
    assert (texts.base != texts.specialist).all()


def test_train_on_all_has_more_targets_and_never_the_first_token() -> None:
    replies, everything = (
        l.language_stack("llama", (0,), train_on=train_on).task.encode(l.conversations(3))
        for train_on in ("responses", "all")
    )
    for few, many in zip(replies, everything, strict=True):
        assert (few.is_target <= many.is_target).all() and few.is_target.sum() < many.is_target.sum()
        assert not many.is_target[0]


@pytest.mark.parametrize("method", ["lora", "full", "bottleneck"])
def test_saved_is_loaded_with_its_template(method: str, tmp_path: Path) -> None:
    stack, examples = trained("llama", method, 1)
    base = l.tiny_base("llama")
    info = ArtifactInfo(
        base=str(base.path), base_hub_id=None, base_revision=None, base_sha256=base.sha256,
        tokenizer_sha256=tokenizer_sha256(stack.task.tokenizer), task="instruction", method=method,
        method_options={}, head="language", label_names=("reply",), max_tokens=256, temperature=1.0, n_layers=3,
        depth=2, dtype="float64", dataset_fingerprint="", reading=stack.task.to_json(),
    )  # fmt: skip
    save_artifact(tmp_path / "adapter", Artifact(info, stack.slot_state(0)), sites=stack.adapters.sites)
    assert not (tmp_path / "adapter" / "head.safetensors").exists()
    assert load_artifact(tmp_path / "adapter").info.reading["template"] == {"source": l.CHATML, "name": "model"}
    again = load_specialist(tmp_path / "adapter", device="cpu").stack
    rows = np.arange(18)
    np.testing.assert_array_equal(
        predict(again, examples.inputs, None, 0, rows), predict(stack, examples.inputs, None, 0, rows)
    )


def test_plain_peft_gives_equal_scores(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    stack, examples = trained("llama", "lora", 1)
    base = l.tiny_base("llama")
    info = ArtifactInfo(
        base=str(base.path), base_hub_id=None, base_revision=None, base_sha256=base.sha256, tokenizer_sha256="",
        task="instruction", method="lora", method_options={}, head="language", label_names=("reply",), max_tokens=256,
        temperature=1.0, n_layers=3, depth=2, dtype="float64", dataset_fingerprint="", reading=stack.task.to_json(),
    )  # fmt: skip
    save_artifact(tmp_path / "adapter", Artifact(info, stack.slot_state(0)), sites=stack.adapters.sites)
    plain = AutoModelForCausalLM.from_pretrained(base.path, dtype="float64")
    peft = PeftModel.from_pretrained(plain, str(tmp_path / "adapter")).eval()
    batch = stack.task.collate(examples.inputs.encoded[:3])
    read = {key: batch[key] for key in ("input_ids", "attention_mask")}
    stack.routing.only = 0
    with torch.inference_mode():
        torch.testing.assert_close(
            peft(**read).logits, stack.model(**read).logits, **tolerance("logits_same_weights", "float64")
        )
