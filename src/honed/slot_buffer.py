"""Tensors of many slots in one block, so that those of a mixed batch are gathered in one step and never restacked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class SlotBuffer:
    """values : (slots, ...). Slots may differ in size: each is filled up with zeros at the end of its dimensions."""

    def __init__(self, like: torch.Tensor, n_dims: int) -> None:
        self.values = like.new_zeros((0,) * (n_dims + 1))

    @property
    def slot_bytes(self) -> int:
        """What one slot takes."""
        n_slots = self.values.shape[0]
        return self.values.numel() // n_slots * self.values.element_size() if n_slots else 0

    def put(self, slot: int, tensor: torch.Tensor) -> None:
        """Set the tensor of a slot; the block grows where it must."""
        have = self.values.shape
        need = [max(old, new) for old, new in zip(have[1:], tensor.shape, strict=True)]
        if slot >= have[0] or need != list(have[1:]):
            n_slots = max(slot + 1, have[0] + have[0] // 2) if slot >= have[0] else have[0]
            grown = self.values.new_zeros((n_slots, *need))
            grown[tuple(slice(n) for n in have)] = self.values
            self.values = grown
        self.values[slot].zero_()
        self.values[slot][tuple(slice(n) for n in tensor.shape)] = tensor.to(self.values)

    def of_rows(self, slot_of_row: torch.Tensor) -> torch.Tensor:
        """(rows, ...): for each row, what its slot has."""
        return self.values.index_select(0, slot_of_row)
