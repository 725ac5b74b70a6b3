"""The attention function that puts a learned prefix in front of the keys and values of each row.

It is registered in transformers' `AttentionInterface`, once over each implementation that a base may have been loaded
with, and hands the longer keys and values to that implementation. A module or a row without a prefix gets what it got.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from honed.errors import UsageError

ATTRIBUTE = "honed_prefix"
"""Name of an attention module's `SlotPrefix`."""
BASES = ("sdpa", "eager")
Attention = Callable[..., tuple[torch.Tensor, torch.Tensor | None]]


@dataclass(frozen=True)
class RowPrefix:
    """Keys and values in front of a batch, each (rows, heads, tokens, head size).

    first : (rows,) the first token that the row sees, where rows have fewer of them or none; None: all see all.
    """

    key: torch.Tensor
    value: torch.Tensor
    first: torch.Tensor | None


def route_attention(model: Any, modules: Sequence[Any]) -> None:
    """Make all attention of `model` go through `attend`, over the implementation it was loaded with.

    Raises UsageError if that is not one that takes a mask of keys (sdpa, eager).
    """
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    loaded = {module.config._attn_implementation for module in modules}
    base = next(iter(loaded))
    name = f"{ATTRIBUTE}_{base}"
    if loaded <= set(BASES) and len(loaded) == 1:
        ALL_ATTENTION_FUNCTIONS.register(name, partial(attend, base))
        ALL_MASK_ATTENTION_FUNCTIONS.register(name, ALL_MASK_ATTENTION_FUNCTIONS[base])
        model.set_attn_implementation(name)
    if {module.config._attn_implementation for module in modules} != {name}:
        raise UsageError(
            f"Prefix tuning cannot reach the attention of {type(model).__name__} ({', '.join(map(str, loaded))}).",
            cause="It works over the attention implementations sdpa and eager.",
            remedy="Load the base with one of them, or use another method.",
        )


def attend(
    base: str,
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attention of implementation `base` over [prefix; key] and [prefix; value].

    query : (rows, query heads, tokens, head size).    key, value : (rows, heads, tokens, head size).
    attention_mask : (rows or 1, 1, tokens or 1, tokens), boolean or added to the scores; None: all tokens see all, or
    those before them if the module is causal.
    """
    forward = _implementation(base, module)
    slots: Any = getattr(module, ATTRIBUTE, None)
    prefix = None if slots is None else slots.for_rows(key, value)
    if prefix is None:
        return forward(module, query, key, value, attention_mask, **kwargs)
    given = kwargs.get("is_causal")
    is_causal = bool(module.is_causal if given is None else given)
    window = kwargs.get("sliding_window") if is_causal else None
    if attention_mask is None and is_causal:
        position = torch.arange(key.shape[2], device=query.device)
        attention_mask = (position <= position[-query.shape[2] :, None])[None, None]  # a cache may stand before
    if attention_mask is None and prefix.first is not None:
        attention_mask = query.new_ones(1, 1, 1, key.shape[2], dtype=torch.bool)
    if attention_mask is not None:
        first = key.shape[2] - query.shape[2]  # of the tokens of `query`, behind what a cache holds
        place = torch.arange(first, key.shape[2], device=query.device)[None]
        if slots.routing.left_padding is not None:
            place = place - slots.routing.left_padding[:, None]
        attention_mask = _extended(attention_mask, prefix, place, window)
    longer = torch.cat([prefix.key, key], dim=2), torch.cat([prefix.value, value], dim=2)
    return forward(module, query, *longer, attention_mask, **kwargs)


def shift_positions(backbone: torch.nn.Module, prefix_tokens: Callable[[int], Sequence[int] | None]) -> None:
    """Let the tokens of a row begin at the position after its prefix.

    prefix_tokens : of a batch of so many rows, the length of each row's prefix, or one for all; None: no row has one.
    """
    config: Any = backbone.config
    limit = getattr(config, "max_position_embeddings", None)

    def shift(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tokens = args[0] if args else kwargs.get("input_ids")
        tokens = kwargs["inputs_embeds"] if tokens is None else tokens
        rows, length = tokens.shape[:2]
        own = prefix_tokens(rows)
        if own is None:
            return None
        if limit is not None and not torch.compiler.is_exporting() and length + max(own) > limit:
            raise UsageError(
                f"{length} tokens of text and {max(own)} of the prefix are more than the base can read ({limit}).",
                remedy=f"Use --max-tokens {limit - max(own)} or less, or `--option tokens={max(1, limit - length)}`.",
            )
        position = kwargs.get("position_ids")
        if position is None:
            position = torch.arange(length, device=tokens.device)[None]
        return args, {**kwargs, "position_ids": position + torch.tensor(list(own), device=tokens.device)[:, None]}

    backbone.register_forward_pre_hook(shift, with_kwargs=True)


def _implementation(base: str, module: torch.nn.Module) -> Attention:
    if base == "eager":  # every model has its own
        own: Attention = sys.modules[type(module).__module__].eager_attention_forward
        return own
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    registered: Attention = ALL_ATTENTION_FUNCTIONS[base]
    return registered


def _extended(mask: torch.Tensor, prefix: RowPrefix, place: torch.Tensor, window: int | None) -> torch.Tensor:
    """The mask with columns for the prefix in front. place : (rows or 1, tokens) how far each token of the query is
    from the row's first.

    The prefix ends just before the first token. A token sees of it what lies inside the sliding window, as in
    transformers' masks over a cache of the same keys.
    """
    n_tokens = prefix.key.shape[2]
    column = torch.arange(n_tokens, device=place.device)
    sees = torch.ones_like(column, dtype=torch.bool)[None, None, None]
    if window is not None:
        sees = (column - n_tokens > place[:, :, None] - window)[:, None]
    if prefix.first is not None:
        sees = sees & (column >= prefix.first[:, None])[:, None, None]
    if mask.dtype != torch.bool:
        sees = torch.zeros_like(sees, dtype=mask.dtype).masked_fill(~sees, torch.finfo(mask.dtype).min)
    rows = -1 if sees.shape[0] == 1 else sees.shape[0]  # a traced batch has no number of rows
    mask = mask.expand(rows, -1, place.shape[1], -1)
    return torch.cat([sees.expand(*mask.shape[:3], n_tokens), mask], dim=-1)
