"""Attention, rollout and relevance against transformers' own probabilities and plain implementations of the papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import models as m
from honed.evidence.baselines import BaselineRows, holdout_baseline, linear_probe_weights
from honed.probes.gradients import integrated_gradients
from honed.probes.maps import explain, reading_of
from honed.probes.subject import Probe, Subject
from honed.probes.watch import watched


def drawn(name: str, head: str, method: str = "lora", **options: Any) -> Any:
    """A stack of one slot whose adapter and head are no longer at their start."""
    stack = m.make_stack(name, [0], head=head, method=method, **options)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in (*stack.head_parameters(0).values(), *stack.adapter_parameters(0).values()):
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * 0.1)
    return stack


def batch_of(stack: Any, name: str, n: int = 5) -> dict[str, torch.Tensor]:
    encoded = m.make_examples(name).inputs.encoded[:n]
    batch: dict[str, torch.Tensor] = stack.to_model(stack.task.collate(encoded))
    return batch


@pytest.mark.parametrize("name", m.TINY_MODELS)
def test_probabilities_are_those_that_transformers_gives(name: str) -> None:
    stack = m.make_stack(name, [0], dtype="float32")
    batch = batch_of(stack, name)
    stack.routing.segments = ()
    with watched(stack.model, len(stack.layers)) as seen:
        own = stack.model(**batch).last_hidden_state
    plain = m.tiny_model(name, "float32")
    plain.set_attn_implementation("eager")
    expected = plain(**batch, output_attentions=True)
    assert len(seen.probs) == len(expected.attentions) and seen.n_prefix == [0] * len(seen.probs)
    keep = batch["attention_mask"].bool() if "attention_mask" in batch else torch.ones(own.shape[:2], dtype=torch.bool)
    for mine, theirs in zip(seen.probs, expected.attentions, strict=True):
        torch.testing.assert_close(mine.transpose(1, 2)[keep], theirs.transpose(1, 2)[keep], rtol=0, atol=1e-6)
    torch.testing.assert_close(own[keep], expected.last_hidden_state[keep], rtol=0, atol=1e-6)
    assert stack.model.config._attn_implementation == "sdpa"


def plain_rollout(attention: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """One image. Abnar & Zuidema 2020: attention with residual connections, multiplied from the first layer up."""
    joint = np.eye(attention[0].shape[-1])
    for layer in attention:
        augmented = np.mean(layer, axis=0) + np.eye(layer.shape[-1])
        augmented /= augmented.sum(axis=-1, keepdims=True)
        joint = augmented @ joint
    return joint


def plain_relevance(attention: list[Any], gradient: list[Any]) -> np.ndarray[Any, Any]:
    """One image. Chefer et al. 2021, equations 5 and 6."""
    relevance = np.eye(attention[0].shape[-1])
    for layer, slope in zip(attention, gradient, strict=True):
        relevance = relevance + np.maximum(layer * slope, 0).mean(axis=0) @ relevance
    return relevance


@pytest.mark.parametrize("head", ["cls", "mean", "native"])
def test_rollout_and_relevance_are_those_of_the_papers(head: str) -> None:
    stack = drawn("dinov2", head)
    batch = batch_of(stack, "dinov2")
    found = explain(Subject(stack), batch)
    for i in range(5):
        one = {"pixel_values": batch["pixel_values"][i : i + 1].clone().requires_grad_(True)}
        stack.routing.only = 0
        stack.model.set_attn_implementation("eager")
        output = stack.model(**one, output_attentions=True)
        for own in output.attentions:
            own.retain_grad()
        logits = stack.head(output, {})
        target = int(logits.argmax())
        logits[0, target].backward()
        stack.routing.only = None
        stack.model.set_attn_implementation("sdpa")
        attention = [own[0].detach().numpy() for own in output.attentions]
        gradient = [own.grad[0].numpy() for own in output.attentions]
        if head == "cls":
            read = np.eye(5)[0]
        elif head == "mean":
            read = np.array([0, 1, 1, 1, 1]) / 4
        else:
            read = found.reading[i].double().numpy()
            assert read[0] > read[1] > 0 and np.ptp(read[1:]) < 1e-6  # [CLS] beside the mean of the patches
        assert target == int(found.target[i])
        np.testing.assert_allclose(found.reading[i], read, atol=1e-6)
        np.testing.assert_allclose(found.rollout[i], read @ plain_rollout(attention), atol=1e-6)
        expected = read @ plain_relevance(attention, gradient) - read
        np.testing.assert_allclose(found.relevance[i], expected, atol=1e-6 * expected.max())
        np.testing.assert_allclose(found.last[i], read @ attention[-1].mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(found.heads[i], np.stack([read @ own for own in attention]), atol=1e-6)


def test_a_head_that_reads_nothing_reads_all_alike() -> None:
    assert reading_of(torch.zeros(2, 4, 3)).tolist() == [[0.25] * 4] * 2


def test_what_a_prefix_takes_is_told_and_left_out() -> None:
    stack = drawn("dinov2", "cls", "prefix", tokens=3, depth=1)
    found = explain(Subject(stack), batch_of(stack, "dinov2"))
    assert found.prefix[:, :2].abs().max() == 0 and (found.prefix[:, 2] > 0.2).all()
    torch.testing.assert_close(found.heads.sum(-1).mean(2), 1 - found.prefix, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.rollout.sum(1), torch.ones(5), rtol=0, atol=1e-6)
    width = m.HIDDEN_SIZE
    base = Subject(stack, Probe(torch.ones(3, width, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)))
    assert explain(base, batch_of(stack, "dinov2")).prefix.max() == 0


@pytest.mark.parametrize("name", ["dinov2", "bert"])
def test_integrated_gradients_add_up_to_the_change_of_the_logit(name: str) -> None:
    pytest.importorskip("captum")
    stack = drawn(name, "mean")
    if name == "bert":
        stack.task.tokenizer = m.SimpleNamespace(
            pad_token_id=0, all_special_ids=[0], unk_token_id=None, mask_token_id=None
        )
    batch, subject = batch_of(stack, name), Subject(stack)
    with torch.no_grad():
        logits = subject.logits(batch)
        target = logits.argmax(dim=1)
        blank = subject.logits(stack.task.blanked(batch, stack.task.content(batch)))
    change = (logits - blank).gather(1, target[:, None])[:, 0]
    found = integrated_gradients(subject, batch, target).sum(dim=1)
    torch.testing.assert_close(found.to(change), change, rtol=0.02, atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_head_of_the_base_is_the_linear_probe(n_classes: int) -> None:
    rng = np.random.default_rng(0)
    label = np.arange(60) % n_classes
    features = rng.normal(5, 3, (60, 6)) + label[:, None]
    features[:, 2] = rng.normal(0, 1e-31, 60)
    weight, bias = linear_probe_weights(features[:40], label[:40], n_classes)
    logits = features[40:] @ weight.T + bias
    rows = BaselineRows(features, label, np.arange(60).astype(str), n_classes)
    assert (weight[:, 2] == 0).all() and np.abs(weight).max() < 1  # else 1e30: no gradient could be compared
    features[:, 2] = 0
    expected = holdout_baseline("linear_probe", rows, np.arange(40), np.arange(40, 60))
    assert expected.logits is not None
    mine = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(mine, expected.logits, atol=1e-9)
