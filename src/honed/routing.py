"""Which slot each row of a batch belongs to: the one thing that adapted layers and heads must know of a batch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """Rows `start:stop` of the batch belong to `slot`."""

    slot: int
    start: int
    stop: int


class Routing:
    """Shared by all slot modules of one stack; the stack sets `segments` before each forward pass.

    Rows outside every segment see the frozen base alone. `step_seed` makes dropout reproducible: it is the same for a
    slot trained alone and for the same slot inside a stack.
    """

    def __init__(self) -> None:
        self.segments: tuple[Segment, ...] = ()
        self.step_seed: int | None = None

    @property
    def n_rows(self) -> int:
        """Rows covered by the segments, which are contiguous from row 0."""
        return self.segments[-1].stop if self.segments else 0
