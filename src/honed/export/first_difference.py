"""Which layer of an export first computes something else than the specialist that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from honed.export.other_program import Array, OtherProgram

if TYPE_CHECKING:
    from honed.serving.engine import Specialist


@dataclass(frozen=True)
class LayerGap:
    """How far two programs are apart in one place.

    layer : its path in the model, or `embeddings`, or `head`.
    max_difference : largest absolute difference over rows, tokens and width; allowed : the most it may be.
    """

    layer: str
    max_difference: float
    allowed: float

    @property
    def differs(self) -> bool:
        """Whether it is more than rounding; a value that is not a number is."""
        return not self.max_difference <= self.allowed

    def to_json(self) -> dict[str, Any]:
        """Plain types; a difference that is not finite becomes None."""
        gap = self.max_difference if np.isfinite(self.max_difference) else None
        return asdict(self) | {"max_difference": gap, "differs": self.differs}


def layer_gaps(specialist: Specialist, other: OtherProgram, examples: Sequence[Any], max_frac: float) -> list[LayerGap]:
    """The gap after the embeddings, after each layer and after the head, on one batch; padding is left out.

    max_frac : largest difference allowed, as a fraction of the root mean square of what the specialist has there.
    """
    batch = other.batch(examples)
    logits, hidden = _own(specialist, examples)
    other_logits, other_hidden = other.forward(batch, hidden=True)
    mask = batch.get("attention_mask", np.ones(hidden[0].shape[:2])).astype(bool)
    path, n_layers = specialist.stack.layers_path, len(specialist.stack.layers)
    names = ["embeddings", *(f"{path}.{i}" for i in range(n_layers))]
    gaps = [
        _gap(name, ours[mask], theirs[mask], max_frac)
        for name, ours, theirs in zip(names, hidden, other_hidden, strict=False)  # an export may have lost layers
    ]
    return [*gaps, _gap("head", logits, other_logits, max_frac)]


def first_difference(gaps: Sequence[LayerGap]) -> LayerGap | None:
    """The lowest place that differs; None if all agree."""
    return next((gap for gap in gaps if gap.differs), None)


def _gap(name: str, ours: Array, theirs: Array, max_frac: float) -> LayerGap:
    allowed = max_frac * float(np.sqrt((ours**2).mean()))
    gap = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else float("inf")
    return LayerGap(name, gap, allowed)


def _own(specialist: Specialist, examples: Sequence[Any]) -> tuple[Array, list[Array]]:
    """Logits and hidden states of the specialist itself."""
    import torch

    stack = specialist.stack
    batch = stack.to_model(stack.task.collate(stack.task.encode(examples)))
    stack.routing.only = 0
    stack.adapters.use(0)
    try:
        with torch.inference_mode():
            output = stack.model(**batch, output_hidden_states=True)
            logits = stack.head(output, batch)
    finally:
        stack.routing.only = None
    return logits.double().cpu().numpy(), [state.double().cpu().numpy() for state in output.hidden_states]
