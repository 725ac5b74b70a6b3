"""Attention probabilities, which the fast implementations never hold: within a block, a model attends eagerly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from honed.errors import BaseModelError
from honed.methods.prefix_attention import attend

WATCHED = "honed_watched"


@dataclass
class Watched:
    """What one forward pass attended to, layer by layer.

    probs : L tensors (rows, heads, queries, keys), in the graph of the pass.
    n_prefix : of each layer, how many of its keys, the first ones, are learned and no tokens (prefix tuning).
    """

    probs: list[torch.Tensor] = field(default_factory=list)
    n_prefix: list[int] = field(default_factory=list)


@contextmanager
def watched(model: Any, n_layers: int) -> Iterator[Watched]:
    """Within the block, one forward pass of `model` leaves its attention in what is yielded; results stay the same.

    Afterwards the model attends as before. Works for every method: a prefix takes part as it does in serving.

    Raises BaseModelError if the model does not attend through transformers' interface, once in each of its layers.
    """
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    seen = Watched()

    def record(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if attention_mask is not None and attention_mask.dtype == torch.float64:
            # transformers masks with the least number of the type, and some models then scale in float32: it would be
            # minus infinity there, and a padding token that sees nothing would become NaN
            attention_mask = attention_mask.clamp(min=torch.finfo(torch.float32).min)
        result, probs = attend("eager", module, query, key, value, attention_mask, **kwargs)
        if probs is not None:
            seen.probs.append(probs)
            seen.n_prefix.append(probs.shape[-1] - key.shape[2])
        return result, probs

    before = model.config._attn_implementation
    ALL_ATTENTION_FUNCTIONS.register(WATCHED, record)
    ALL_MASK_ATTENTION_FUNCTIONS.register(WATCHED, ALL_MASK_ATTENTION_FUNCTIONS["eager"])
    try:
        model.set_attn_implementation(WATCHED)
        yield seen
    finally:
        model.set_attn_implementation(before)
    if len(seen.probs) != n_layers:
        raise BaseModelError(
            f"The attention of {type(model).__name__} cannot be watched: {len(seen.probs)} of its {n_layers} layers "
            "told where they look.",
            cause="It does not attend through transformers' attention interface once a layer.",
            remedy="Choose another base for this analysis; everything else works with this one.",
        )
