"""Dropout that is the same for a slot trained alone and for the same slot inside a stack."""

from __future__ import annotations

import numpy as np
import torch

from honed.routing import Routing, Segment


def row_mask(routing: Routing, segment: Segment, seed: int, dropout: float, like: torch.Tensor) -> torch.Tensor | None:
    """What the rows of one segment are multiplied with: 0, or 1 / (1 - dropout); None outside training.

    like : (rows of the segment, ..., width), whose shape the mask has.
    A row's mask depends on slot, step and example alone: neighbours in the stack, padding and micro-batches change
    nothing, and no two rows of a step share a mask.
    """
    if routing.step_seed is None or routing.rows is None:
        return None
    keep = 1 - dropout
    mask = torch.empty(like.shape)
    for own, row in zip(mask, routing.rows[segment.start : segment.stop].tolist(), strict=True):
        state = np.random.SeedSequence((seed, routing.step_seed, row)).generate_state(2)
        own.bernoulli_(keep, generator=torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1))
    return mask.to(like.device, like.dtype).div_(keep)
