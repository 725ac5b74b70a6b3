"""Which slot each row of a batch belongs to: the one thing that adapted layers and heads must know of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch


@dataclass(frozen=True)
class Segment:
    """Rows `start:stop` of the batch belong to `slot`."""

    slot: int
    start: int
    stop: int


@dataclass(frozen=True)
class SharedInput:
    """A batch in which several slots read the same rows: batch = values[index].

    values : (u, ...), each row once.    index : (rows,).    batch : (rows, ...), the very tensor that the layer gets.
    """

    values: torch.Tensor
    index: torch.Tensor
    batch: torch.Tensor


class Routing:
    """Shared by all slot modules of one stack; the stack sets `segments` before each forward pass.

    Rows outside every segment see the frozen base alone. `step_seed` and `rows` (which example each row of the batch
    is) make dropout reproducible: they are the same for a slot trained alone and for the same slot inside a stack.
    `shared_input` lets a frozen product of the lowest adapted layer be computed once a row instead of once a row and
    slot. `only`: every row belongs to this slot, however many rows there are (an export traces a batch of any size).
    `left_padding`, (rows,): padded tokens before each row's first one, where a batch is padded on the left.
    `slot_of_row`, (rows,): in the place of segments where slots are packed for serving; rows come in any order.
    """

    def __init__(self) -> None:
        self.only: int | None = None
        self.segments: tuple[Segment, ...] = ()
        self.slot_of_row: torch.Tensor | None = None
        self.left_padding: torch.Tensor | None = None
        self.step_seed: int | None = None
        self.rows: npt.NDArray[np.int64] | None = None
        self.shared_input: SharedInput | None = None

    def split(self, x: torch.Tensor) -> list[tuple[int, torch.Tensor]]:
        """Slot and rows of each part of a batch x: (rows, ...)."""
        if self.only is not None:
            return [(self.only, x)]
        return [(s.slot, x[s.start : s.stop]) for s in self.segments]
