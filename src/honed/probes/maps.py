"""Where a model looks: attention of every layer and head, rollout, gradient-weighted relevance.

A map has one number a token, and needs a query: the token that asks. What asks here is the head. How strongly it reads
token t is measured, the norm of the gradient of the explained logit with respect to the last hidden state of t; for a
head that reads [CLS] alone that is [CLS], for one that takes the mean it is every token alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from honed.probes.subject import Batch, Subject
from honed.probes.watch import watched


@dataclass(frozen=True)
class Explained:
    """Where one model looked, for each of `rows` inputs of T tokens; all maps are >= 0, without a fixed sum.

    probs : (rows, c) after the temperature.    target : (rows,) the class that is explained.
    reading : (rows, T) how strongly the head reads each token, sum 1.
    heads : (rows, L, H, T) attention of each head of each layer, asked as the head reads.
    rollout, relevance, last : (rows, T).
    prefix : (rows, L) share of the attention that went to learned keys (prefix tuning), which the maps leave out.
    """

    probs: torch.Tensor
    target: torch.Tensor
    reading: torch.Tensor
    heads: torch.Tensor
    rollout: torch.Tensor
    relevance: torch.Tensor
    last: torch.Tensor
    prefix: torch.Tensor


def explain(subject: Subject, batch: Batch, target: torch.Tensor | None = None) -> Explained:
    """One forward and one backward pass. target : (rows,), by default the class that the model predicts.

    Raises BaseModelError if the model's attention cannot be watched.
    """
    stack = subject.stack
    with torch.enable_grad(), _gradients_from(stack.layers[0]), _last_hidden(stack.model.base_model) as last_hidden:
        with watched(stack.model, len(stack.layers)) as seen:
            logits = subject.logits(batch)
        probs = (logits.detach().double() / subject.temperature).softmax(dim=1)
        target = logits.argmax(dim=1) if target is None else target
        score = logits.gather(1, target[:, None]).sum()  # rows do not mix: each keeps its own gradient
        found = torch.autograd.grad(score, [*seen.probs, last_hidden[-1]])
    *gradients, on_hidden = (gradient.detach().float() for gradient in found)
    attention = [own.detach().float() for own in seen.probs]
    reading = reading_of(on_hidden)
    asked = [torch.einsum("rt,rhtk->rhk", reading, own) for own in attention]
    tokens = [own[..., n:] for own, n in zip(attention, seen.n_prefix, strict=True)]
    heads = torch.stack([own[..., n:] for own, n in zip(asked, seen.n_prefix, strict=True)], dim=1)
    prefix = torch.stack([own[..., :n].sum(-1).mean(1) for own, n in zip(asked, seen.n_prefix, strict=True)], dim=1)
    on_tokens = [own[..., n:] for own, n in zip(gradients, seen.n_prefix, strict=True)]
    return Explained(
        probs=probs,
        target=target,
        reading=reading,
        heads=heads,
        rollout=rollout(tokens, reading),
        relevance=relevance(tokens, on_tokens, reading),
        last=heads[:, -1].mean(dim=1),
        prefix=prefix,
    )


def reading_of(gradient: torch.Tensor) -> torch.Tensor:
    """Share of each token in the gradient's norm: (rows, T, d) -> (rows, T). Where it is 0 everywhere, all alike."""
    norm = gradient.double().norm(dim=-1).float()
    total = norm.sum(dim=1, keepdim=True)
    return torch.where(total > 0, norm / total.clamp(min=1e-30), torch.full_like(norm, 1 / norm.shape[1]))


def rollout(attention: Sequence[torch.Tensor], reading: torch.Tensor) -> torch.Tensor:
    """Attention rollout: w (A_L' ... A_1') with A' = (mean over heads of A + I) / 2, its rows scaled to sum 1.

    attention : L tensors (rows, heads, T, T).    reading : w, (rows, T).    -> (rows, T)
    Abnar & Zuidema 2020, Quantifying Attention Flow in Transformers, arXiv:2005.00928.
    """
    flow = reading
    for own in reversed(attention):
        mean = own.mean(dim=1)
        mean = mean / mean.sum(dim=-1, keepdim=True).clamp(min=1e-12)  # what a prefix took is given back
        flow = (torch.einsum("rt,rtk->rk", flow, mean) + flow) / 2
    return flow


def relevance(
    attention: Sequence[torch.Tensor], gradient: Sequence[torch.Tensor], reading: torch.Tensor
) -> torch.Tensor:
    """Gradient-weighted relevance: R <- R + B R from R = I, with B the mean over heads of relu(gradient * attention).

    The answer is w (R - I): what reached the read tokens through attention, without what they held themselves.
    attention, gradient : L tensors (rows, heads, T, T).    reading : w, (rows, T).    -> (rows, T)
    Chefer, Gur & Wolf 2021, Generic Attention-model Explainability, arXiv:2103.15679, equations 5 and 6.
    """
    found = torch.zeros_like(reading)
    for own, slope in zip(reversed(attention), reversed(gradient), strict=True):
        found = found + torch.einsum("rt,rtk->rk", reading + found, (own * slope).clamp(min=0).mean(dim=1))
    return found


@contextmanager
def _gradients_from(layer: torch.nn.Module) -> Iterator[None]:
    """Within the block, what enters the first layer has a gradient, though no weight of the base may have one."""

    def start(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden: torch.Tensor = args[0] if args else kwargs["hidden_states"]
        if not hidden.requires_grad:
            hidden.requires_grad_(True)

    handle = layer.register_forward_pre_hook(start, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _last_hidden(backbone: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """Within the block, every last hidden state that the backbone gives."""
    found: list[torch.Tensor] = []

    def keep(_: torch.nn.Module, __: Any, output: Any) -> None:
        found.append(output.last_hidden_state)

    handle = backbone.register_forward_hook(keep)
    try:
        yield found
    finally:
        handle.remove()
