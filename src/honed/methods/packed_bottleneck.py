"""The linear layer followed by the small networks of many slots, each row by its own: for serving alone."""

from __future__ import annotations

import torch

from honed.methods.bottleneck import BottleneckOptions
from honed.methods.slot_bottleneck import ACTIVATIONS, SlotBottleneck
from honed.routing import Routing
from honed.slot_buffer import SlotBuffer


class PackedBottleneck(torch.nn.Module):
    """y = W x + b, then y + up_s(f(down_s(y))), s = slot of the row. x: (rows, ..., in) -> (rows, ..., out).

    Narrower slots are filled up with zeros, which add nothing since f(0) = 0.
    """

    names = SlotBottleneck.names

    def __init__(self, linear: torch.nn.Linear, routing: Routing, activation: str) -> None:
        super().__init__()
        self.linear, self.routing, self.activation = linear, routing, ACTIVATIONS[activation]
        # down (slots, m, d), its bias (slots, m), up transposed (slots, m, d), its bias (slots, d)
        self.blocks = [SlotBuffer(linear.weight, n_dims) for n_dims in (2, 1, 2, 1)]

    @property
    def slot_bytes(self) -> int:
        """See `PackedSite`."""
        return sum(block.slot_bytes for block in self.blocks)

    def load(self, slot: int, options: BottleneckOptions, *tensors: torch.Tensor) -> None:
        """See `PackedSite`."""
        del options
        down, down_bias, up, up_bias = tensors
        for block, tensor in zip(self.blocks, (down, down_bias, up.T, up_bias), strict=True):
            block.put(slot, tensor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (rows, ..., in) -> (rows, ..., out)."""
        y: torch.Tensor = self.linear(x)
        if self.routing.only is not None:
            only = self.routing.only
            down, down_bias, up, up_bias = (block.values[only : only + 1] for block in self.blocks)
        elif self.routing.slot_of_row is not None:
            down, down_bias, up, up_bias = (block.of_rows(self.routing.slot_of_row) for block in self.blocks)
        else:
            return y
        flat = y.reshape(len(down), -1, y.shape[-1])
        inner = self.activation(torch.baddbmm(down_bias[:, None], flat, down.transpose(1, 2)))
        return (flat + torch.baddbmm(up_bias[:, None], inner, up)).view(y.shape)
