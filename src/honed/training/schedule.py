"""Who trains on which rows in which step: one global order of the rows, shared by all slots.

A batch holds rows of every fold in equal shares and of similar length; each slot trains on those rows of the batch that
are its own. So a row is loaded once for all slots, padding stays small, and a slot's steps are the same whether it
trains alone or in a stack.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


def shared_batch_rows(batch_size: int, n_folds: int, n_left_out: int = 1) -> int:
    """Rows of the batch that all slots share: each trains on (n_folds - n_left_out) / n_folds of it."""
    return round(batch_size * n_folds / (n_folds - n_left_out))


def epoch_batches(rows: Rows, stratum: Rows, n_tokens: Rows, batch_rows: int, *, seed: int, epoch: int) -> list[Rows]:
    """The batches of one epoch: each row of `rows` once, about `batch_rows` a batch, strata in equal shares.

    stratum, n_tokens : of every example (indexed by the values of `rows`).
    Rows are sorted by a noisy length within their stratum, cut into as many slices as there are batches, and batch j
    takes slice j of every stratum; then the batches are shuffled. Rows of equal length are in random order.
    """
    rng = np.random.default_rng([seed, epoch])
    n_batches = max(1, math.ceil(len(rows) / batch_rows))
    parts: list[list[Rows]] = [[] for _ in range(n_batches)]
    for value in np.unique(stratum[rows]):
        own = np.sort(rows[stratum[rows] == value])
        noise = rng.uniform(0.85, 1.15, len(own))
        own = own[np.argsort(n_tokens[own] * noise, kind="stable")]
        for j, part in enumerate(np.array_split(own, n_batches)):
            parts[j].append(part)
    batches = [np.concatenate(part) for part in parts]
    return [batches[j] for j in rng.permutation(n_batches)]


def learning_rate_factor(step: int, n_steps: int, warmup_frac: float) -> float:
    """Linear warm-up over `warmup_frac` of the steps, then linear decay to zero; in (0, 1] for step < n_steps."""
    n_warmup = max(1, round(warmup_frac * n_steps))
    if step < n_warmup:
        return (step + 1) / n_warmup
    return (n_steps - step) / max(1, n_steps - n_warmup)
