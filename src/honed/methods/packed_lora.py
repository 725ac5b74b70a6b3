"""The linear layer with the low-rank pairs of many slots in two blocks, each row with its own: for serving alone."""

from __future__ import annotations

import torch

from honed.methods.lora import LoraOptions
from honed.methods.slot_lora import SlotLora
from honed.routing import Routing
from honed.slot_buffer import SlotBuffer


class PackedLora(torch.nn.Module):
    """y = W x + b + scaling * B_s A_s x, s = slot of the row. x: (rows, ..., in) -> (rows, ..., out).

    Slots of a lower rank are filled up with zeros; the scaling lies in B.
    """

    names = SlotLora.peft_names

    def __init__(self, linear: torch.nn.Linear, routing: Routing) -> None:
        super().__init__()
        self.linear, self.routing = linear, routing
        self.a, self.b = SlotBuffer(linear.weight, 2), SlotBuffer(linear.weight, 2)  # (slots, rank, in), (.., out)

    @property
    def slot_bytes(self) -> int:
        """See `PackedSite`."""
        return self.a.slot_bytes + self.b.slot_bytes

    def load(self, slot: int, options: LoraOptions, *tensors: torch.Tensor) -> None:
        """See `PackedSite`."""
        a, b = tensors
        self.a.put(slot, a)
        self.b.put(slot, options.scaling * b.T)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (rows, ..., in) -> (rows, ..., out)."""
        y: torch.Tensor = self.linear(x)
        if self.routing.only is not None:
            a, b = self.a.values[self.routing.only], self.b.values[self.routing.only]
            y.view(-1, y.shape[-1]).addmm_(x.reshape(-1, x.shape[-1]) @ a.T, b)
        elif self.routing.slot_of_row is not None:
            a, b = self.a.of_rows(self.routing.slot_of_row), self.b.of_rows(self.routing.slot_of_row)
            low = torch.bmm(x.reshape(len(a), -1, x.shape[-1]), a.transpose(1, 2))
            y.view(len(b), -1, y.shape[-1]).baddbmm_(low, b)
        return y
