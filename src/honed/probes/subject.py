"""The two models that are looked at: the specialist, and its base under the linear probe that honed compares with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from honed.training.stack import Stack

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Probe:
    """A linear head on the pooled features of the frozen base. weight : (c, d).    bias : (c,).

    n_rows : on how many it was fitted.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    n_rows: int = 0


@dataclass(frozen=True)
class Subject:
    """One model over a stack whose slot 0 is the specialist.

    probe : the head of the base; None is the specialist, with its own.    temperature : divides its logits.
    """

    stack: Stack
    probe: Probe | None = None
    temperature: float = 1.0

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits before the temperature: (rows, c), in the graph if there is one."""
        stack, mask = self.stack, batch.get("attention_mask")
        if self.probe is not None:
            stack.routing.segments = ()
            stack.adapters.use(None)
            hidden = stack.model.base_model(**batch).last_hidden_state
            pooled = stack.head.pool(hidden, mask).to(self.probe.weight.dtype)
            return functional.linear(pooled, self.probe.weight, self.probe.bias)
        stack.adapters.use(0)
        stack.routing.only = 0
        try:
            result: torch.Tensor = stack.head(stack.model(**batch), batch)
            return result
        finally:
            stack.routing.only = None

    @torch.inference_mode()
    def probability(self, batch: Batch, target: torch.Tensor) -> torch.Tensor:
        """Probability of the class `target` (rows,) of each row: (rows,)."""
        probs = (self.logits(batch).double() / self.temperature).softmax(dim=1)
        return probs.gather(1, target[:, None])[:, 0]


@contextmanager
def redrawn(stack: Stack, seed: int) -> Iterator[None]:
    """Within the block the specialist has learned nothing: every weight, of base, adapter and head, is drawn anew.

    Each tensor gets normal values with its own mean and deviation, so that signals keep their size; afterwards the
    weights are what they were. It is the randomisation of Adebayo et al. 2018, Sanity Checks for Saliency Maps.
    """
    stack.adapters.use(0)
    own: dict[int, torch.nn.Parameter] = {id(p): p for part in (stack.model, stack.head) for p in part.parameters()}
    kept = {key: parameter.detach().to("cpu", copy=True) for key, parameter in own.items()}
    generator = torch.Generator().manual_seed(seed)
    try:
        with torch.no_grad():
            for key, parameter in own.items():
                values = kept[key].double()
                spread = values.std(correction=0) if values.numel() else 0.0
                drawn: Any = torch.randn(values.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(values.mean() + spread * drawn)
        yield
    finally:
        with torch.no_grad():
            for key, parameter in own.items():
                parameter.copy_(kept[key])
