"""The linear layer followed by one small network a slot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from honed.methods.bottleneck import BottleneckOptions
from honed.methods.slot_dropout import row_mask
from honed.routing import Routing, Segment

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
}


class SlotBottleneck(torch.nn.Module):
    """y = W x + b, then y + up_s(f(down_s(y))) for the rows of slot s. x: (rows, ..., in) -> (rows, ..., out)."""

    names = ("down.weight", "down.bias", "up.weight", "up.bias")

    def __init__(
        self, linear: torch.nn.Linear, routing: Routing, seeds: Sequence[int], options: Sequence[BottleneckOptions]
    ) -> None:
        super().__init__()
        self.linear = linear
        self.routing = routing
        self.options = options
        self.seeds = seeds
        self.slots = torch.nn.ModuleList()
        self.activations = [ACTIVATIONS[own.activation] for own in options]
        width, weight = linear.out_features, linear.weight
        # Adapters of a half-precision base are kept in float32: small updates would round away.
        dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
        for seed, own in zip(seeds, options, strict=True):
            generator = torch.Generator().manual_seed(seed)
            bound = 1 / math.sqrt(width)  # as torch.nn.Linear draws its weight
            start = (
                torch.empty(own.size, width).uniform_(-bound, bound, generator=generator),
                torch.zeros(own.size),
                torch.zeros(width, own.size),
                torch.zeros(width),
            )
            self.slots.append(torch.nn.ParameterList(torch.nn.Parameter(p.to(weight.device, dtype)) for p in start))

    def slot_parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """Leaf parameters of one slot: down (m, d), its bias (m,), up (d, m), its bias (d,)."""
        return dict(zip(self.names, self.slots[slot].parameters(), strict=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (rows, ..., in) -> (rows, ..., out); rows as the routing says."""
        y: torch.Tensor = self.linear(x)
        if self.routing.only is not None:
            return self._adapted(y, self.routing.only, None)
        segments = self.routing.segments
        if not segments:
            return y
        # `split` has one backward for all parts; slices would each build a gradient of the size of y. Between two
        # segments, and at both ends, lies a part (mostly empty) of rows that see the base alone.
        bounds = [0, *(row for s in segments for row in (s.start, s.stop)), y.shape[0]]
        parts = list(torch.split(y, np.diff(bounds).tolist()))
        for i, segment in enumerate(segments):
            parts[2 * i + 1] = self._adapted(parts[2 * i + 1], segment.slot, segment)
        parts = [part for part in parts if part.shape[0]]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _adapted(self, y: torch.Tensor, slot: int, segment: Segment | None) -> torch.Tensor:
        """y + up(f(down(y))) with the parameters of one slot. y: (own rows, ..., d)."""
        own = self.options[slot]
        down, down_bias, up, up_bias = (p.to(y.dtype) for p in self.slots[slot].parameters())
        inner = self.activations[slot](functional.linear(y, down, down_bias))
        if own.dropout and segment is not None:
            mask = row_mask(self.routing, segment, self.seeds[slot], own.dropout, inner)
            inner = inner if mask is None else inner * mask
        return functional.linear(inner, up, up_bias) + y
