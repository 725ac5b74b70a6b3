"""Planted label noise: labels that are wrong because we made them so, to see what is found and what it costs."""

from __future__ import annotations

from typing import Literal

import numpy as np

from honed.errors import EvidenceError
from honed.evidence.metrics import Ints

NoiseKind = Literal["uniform", "confusion"]


def plant_noise(label: Ints, rate: float, confusion: Ints | None, n_classes: int, seed: int) -> Ints:
    """Labels of which round(rate * m) are changed, each to another class. (m,) -> (m,).

    confusion : (c, c) counts, row = given, column = predicted: a label turns into a class with which its own is
        confused, as a tired person's would; rows without any confusion fall back on the uniform. None: uniform.

    Promises: a smaller rate changes a subset of the rows that a larger one changes, to the same classes.

    Raises EvidenceError for a rate outside (0, 1), or fewer than two classes.
    """
    if not 0 < rate < 1:
        raise EvidenceError(f"A noise rate must lie in (0, 1). Got {rate:g} instead.")
    if n_classes < 2:
        raise EvidenceError("Label noise needs at least two classes.")
    weight = np.ones((n_classes, n_classes)) if confusion is None else confusion.astype(np.float64)
    np.fill_diagonal(weight, 0)
    uniform = 1 - np.eye(n_classes)
    weight = np.where(weight.sum(axis=1, keepdims=True) > 0, weight, uniform)
    cumulative = np.cumsum(weight / weight.sum(axis=1, keepdims=True), axis=1)
    rng = np.random.default_rng(seed)
    order, draw = rng.permutation(len(label)), rng.random(len(label))
    chosen = order[: round(rate * len(label))]
    noisy = label.copy()
    # searchsorted "right" on a row's cumulative shares: a class of share 0, above all the own one, is never drawn.
    noisy[chosen] = [np.searchsorted(cumulative[label[i]], draw[i] * cumulative[label[i], -1], "right") for i in chosen]
    return noisy
