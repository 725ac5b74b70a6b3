"""Batches and learning rates."""

from __future__ import annotations

import numpy as np
import pytest

from honed.training.schedule import epoch_batches, learning_rate_factor
from honed.training.stack import token_batches

RNG = np.random.default_rng(0)
ROWS = np.setdiff1d(np.arange(220), [3, 50, 199])
STRATUM = np.arange(220) % 5
N_TOKENS = RNG.integers(3, 128, 220)


def batches(seed: int = 1, epoch: int = 0, batch_rows: int = 20) -> list[np.ndarray]:
    return epoch_batches(ROWS, STRATUM, N_TOKENS, batch_rows, seed=seed, epoch=epoch)


@pytest.mark.parametrize("batch_rows", [1, 7, 20, 217, 1000])
def test_every_row_once_an_epoch(batch_rows: int) -> None:
    parts = batches(batch_rows=batch_rows)
    assert np.array_equal(np.sort(np.concatenate(parts)), ROWS)
    assert len(parts) == max(1, -(-len(ROWS) // batch_rows))


def test_strata_have_equal_shares_of_every_batch() -> None:
    for batch in batches():
        counts = np.bincount(STRATUM[batch], minlength=5)
        assert counts.max() - counts.min() <= 1


def test_batches_hold_rows_of_similar_length() -> None:
    within = np.mean([N_TOKENS[batch].std() for batch in batches()])
    assert within < 0.4 * N_TOKENS[ROWS].std()


def test_the_order_follows_seed_and_epoch_alone() -> None:
    def flat(seed: int, epoch: int) -> list[int]:
        return np.concatenate(batches(seed, epoch)).tolist()

    assert flat(1, 0) == flat(1, 0)
    assert flat(1, 0) != flat(2, 0) and flat(1, 0) != flat(1, 1) and flat(2, 0) != flat(1, 1)
    shuffled = RNG.permutation(ROWS)
    again = epoch_batches(shuffled, STRATUM, N_TOKENS, 20, seed=1, epoch=0)
    assert np.concatenate(again).tolist() == flat(1, 0)


def test_batches_are_not_sorted_by_length() -> None:
    """Short texts first in every epoch would be a curriculum that nobody asked for."""
    means = [N_TOKENS[batch].mean() for batch in batches()]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.8


@pytest.mark.parametrize(("n_steps", "warmup_frac"), [(1, 0.1), (10, 0.0), (10, 0.5), (1000, 0.1), (7, 0.99)])
def test_the_rate_rises_then_falls_and_is_never_zero_or_above_one(n_steps: int, warmup_frac: float) -> None:
    factors = np.array([learning_rate_factor(step, n_steps, warmup_frac) for step in range(n_steps)])
    assert (factors > 0).all() and factors.max() == 1
    peak = int(factors.argmax())
    assert (np.diff(factors[: peak + 1]) > 0).all() and (np.diff(factors[peak + 1 :]) < 0).all()
    assert abs(peak + 1 - max(1, round(warmup_frac * n_steps))) <= 1


def test_token_batches_stay_within_their_limit() -> None:
    order = np.argsort(N_TOKENS, kind="stable")
    parts = token_batches(order, N_TOKENS, 256)
    assert np.concatenate(parts).tolist() == order.tolist()
    assert all(len(part) * N_TOKENS[part].max() <= 256 for part in parts)
    assert [len(part) for part in token_batches(order, N_TOKENS, 1)] == [1] * len(order)
    assert token_batches(order[:0], N_TOKENS, 256) == []
