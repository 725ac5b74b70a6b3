"""What a client is told: calibrated probabilities, the label, or that the specialist would rather not say."""

from __future__ import annotations

from typing import Any

import numpy as np

from honed.evidence.clinical import positive_probability
from honed.evidence.metrics import median_grade
from honed.serving.batcher import Answer


def told(name: str, answer: Answer, abstain_below: float) -> dict[str, Any]:
    """An answer as JSON; every number in it is finite. abstain_below : no label is given at a lower probability."""
    info = answer.info
    scaled = answer.logits / info.temperature
    exp = np.exp(scaled - scaled.max())
    probs = exp / exp.sum()
    top = int(probs.argmax())
    abstained = bool(probs[top] < abstain_below)
    fields: dict[str, Any] = {
        "model": name,
        "label": None if abstained else info.label_names[top],
        "probability": float(probs[top]),
        "abstained": abstained,
        "probabilities": dict(zip(info.label_names, probs.tolist(), strict=True)),
        "n_tokens": answer.n_tokens,
    }
    if info.ordinal:
        fields["grade"] = None if abstained else info.label_names[int(median_grade(probs[None])[0])]
    if info.threshold is not None:
        positive = positive_probability(probs[None], [info.label_names.index(own) for own in info.positive])
        fields["positive_probability"] = float(positive[0])
        fields["positive"] = bool(positive[0] >= info.threshold)
    return fields
