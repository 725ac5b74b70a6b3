"""The learned keys and values of many slots in one block a layer, each row with its own: for serving alone."""

from __future__ import annotations

from typing import Any

import torch

from honed.methods.base import Host, Packed, check_names
from honed.methods.prefix import LIKE_PEFT, UNLIKE_PEFT, PrefixOptions
from honed.methods.prefix_attention import ATTRIBUTE, RowPrefix, route_attention, shift_positions
from honed.methods.slot_prefix import KeyShape, attention_of, is_like_peft, key_shape
from honed.routing import Routing
from honed.slot_buffer import SlotBuffer


class PackedPrefix(torch.nn.Module):
    """The prefixes of one attention module; shorter ones are hidden where they have no token.

    n_tokens : of each slot, shared by all layers.
    """

    def __init__(self, routing: Routing, shape: KeyShape, like: torch.Tensor, n_tokens: list[int]) -> None:
        super().__init__()
        self.routing, self.shape, self.n_tokens = routing, shape, n_tokens
        self.key_value = SlotBuffer(like, 2)  # (slots, tokens, 2 * heads * head size); the last token first

    def for_rows(self, key: torch.Tensor, value: torch.Tensor) -> RowPrefix | None:
        """The prefix of each row as the routing says. key, value : (rows, heads, tokens, head size) of the batch.

        Raises UsageError if they are not shaped as the model's configuration says.
        """
        self.shape.check(key, value)
        only, slot_of_row = self.routing.only, self.routing.slot_of_row
        if only is not None:
            longest = self.n_tokens[only]
            flat = self.key_value.values[only : only + 1].expand(key.shape[0], -1, -1)
            own = [longest]
        elif slot_of_row is not None:
            own = [self.n_tokens[slot] for slot in slot_of_row.tolist()]
            longest, flat = max(own), self.key_value.of_rows(slot_of_row)
        else:
            return None
        # Kept from the last token to the first, a shorter one ends in zeros; turned round, these come first.
        flat = flat[:, :longest].flip(1)
        k, v = flat.view(len(flat), longest, 2, self.shape.heads, self.shape.head_size).permute(2, 0, 3, 1, 4)
        first = [longest - n for n in own]
        return RowPrefix(k, v, torch.tensor(first, device=key.device) if any(first) else None)


class PackedPrefixes(Packed):
    """The prefixes of the adapted layers by the layer's number. stem : first part of all names."""

    def __init__(self, layers: dict[int, PackedPrefix], n_tokens: list[int], stem: str) -> None:
        self._layers, self._n_tokens, self._stem = layers, n_tokens, stem

    @property
    def slot_bytes(self) -> int:
        """See `Packed`."""
        return sum(layer.key_value.slot_bytes for layer in self._layers.values())

    def load(self, slot: int, options: PrefixOptions, state: dict[str, torch.Tensor]) -> None:
        """See `Packed`."""
        del options
        names = {i: f"{self._stem}.{i}.key_value" for i in self._layers}
        check_names(set(names.values()), state)
        for i, layer in self._layers.items():
            layer.key_value.put(slot, state[names[i]].flip(0))
        self._n_tokens.extend([0] * (slot + 1 - len(self._n_tokens)))
        self._n_tokens[slot] = len(state[next(iter(names.values()))])


def pack(host: Host) -> PackedPrefixes:
    """Give every adapted layer its block and let the model's attention use it.

    Raises UsageError as `slot_prefix.install` does.
    """
    attention: list[Any] = [attention_of(path, layer)[1] for path, layer in host.adapted]
    shapes = [key_shape(module) for module in attention]
    first = next(host.adapted[0][1].parameters())
    n_tokens: list[int] = []
    route_attention(host.model, attention)
    layers = {}
    for i, module in enumerate(attention):
        layers[host.cut + i] = PackedPrefix(host.routing, shapes[i], first, n_tokens)
        module.add_module(ATTRIBUTE, layers[host.cut + i])
    like_peft = is_like_peft(host, attention, shapes)
    if like_peft:
        shift_positions(host.backbone, lambda _: _prefix_tokens(host.routing, n_tokens))
    return PackedPrefixes(layers, n_tokens, LIKE_PEFT if like_peft else UNLIKE_PEFT)


def _prefix_tokens(routing: Routing, n_tokens: list[int]) -> list[int] | None:
    if routing.only is not None:
        return [n_tokens[routing.only]]
    return None if routing.slot_of_row is None else [n_tokens[slot] for slot in routing.slot_of_row.tolist()]
