"""Tables of predictions whose truth is known, for the tests of `evidence/`."""

from __future__ import annotations

import numpy as np

from honed.evidence.metrics import row_log_loss, softmax
from honed.oof import Predictions


def table(label: np.ndarray, logits: np.ndarray, fold: np.ndarray | int = -1, repeat: int = 0) -> Predictions:
    m = len(label)
    label = np.asarray(label, dtype=np.int64)
    logits = np.asarray(logits, dtype=np.float64)
    return Predictions(
        example_id=np.array([f"e{i}" for i in range(m)]),
        repeat=np.full(m, repeat),
        fold=np.full(m, fold) if np.isscalar(fold) else np.asarray(fold),
        label=label,
        loss=row_log_loss(label, softmax(logits)),
        weight=np.ones(m),
        logits=logits,
    )


def singles(predictions: Predictions) -> np.ndarray:
    return predictions.example_id


def draw(
    m: int,
    n_classes: int,
    strength: float,
    *,
    seed: int = 0,
    group_size: int = 1,
    shared: float = 0.0,
    n_folds: int = 0,
) -> tuple[Predictions, np.ndarray]:
    """Rows whose label's logit is lifted by `strength`; `shared` of the noise is common to a group."""
    rng = np.random.default_rng(seed)
    group = np.arange(m) // group_size
    label = rng.integers(0, n_classes, m)
    logits = rng.normal(size=(m, n_classes))
    common = rng.normal(size=group.max() + 1)[group]
    mine = np.arange(m), label
    logits[mine] = np.sqrt(1 - shared) * logits[mine] + np.sqrt(shared) * common + strength
    fold = group % n_folds if n_folds else np.full(m, -1)
    return table(label, logits, fold), np.array([f"g{g}" for g in group])


def from_predicted(label: list[int], predicted: list[int], n_classes: int) -> Predictions:
    """A table with these predictions, each fairly sure."""
    return table(np.array(label), 3.0 * np.eye(n_classes)[predicted])
