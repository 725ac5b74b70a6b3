"""The rule by which measured settings are chosen."""

from __future__ import annotations

import numpy as np
import pytest

from honed.evidence.choice import Candidate, choose, standard_error

ROWS = np.array([f"row {i}" for i in range(200)])


def candidate(name: str, cost: float, mean: float, spread: float = 0.0, seed: int = 0) -> Candidate:
    noise = np.random.default_rng(seed).normal(0, 1, 200)
    return Candidate({"layers": name}, cost, mean + spread * (noise - noise.mean()))


def test_a_cheaper_one_that_is_not_told_from_the_best_is_taken() -> None:
    found = [candidate("deep", 12, 1.00, 0.5, 1), candidate("half", 6, 1.01, 0.5, 2), candidate("low", 4, 1.5, 0.5, 3)]
    chosen, rows = choose(found, ROWS)
    assert chosen == 1
    assert [row["is_tied"] for row in rows] == [True, True, False]
    assert [row["is_chosen"] for row in rows] == [False, True, False]
    assert rows[0]["behind"] == rows[0]["standard_error"] == 0
    assert rows[1]["behind"] == pytest.approx(0.01) and rows[2]["log_loss"] == pytest.approx(1.5)


def test_one_that_is_always_a_little_worse_is_told_from_the_best() -> None:
    """The difference is paired: on the same hard rows a loss that is higher by .01 everywhere is no tie."""
    chosen, rows = choose([candidate("deep", 12, 1.00, 0.5), candidate("half", 6, 1.01, 0.5)], ROWS)
    assert chosen == 0 and not rows[1]["is_tied"]


def test_of_equal_cost_the_better_one_is_taken() -> None:
    assert choose([candidate("a", 6, 1.01, 0.5, 2), candidate("b", 6, 1.0, 0.5, 1)], ROWS)[0] == 1


def test_rows_of_one_group_count_as_one() -> None:
    value = np.random.default_rng(0).normal(size=200)
    assert standard_error(value, ROWS) == pytest.approx(value.std(ddof=1) / np.sqrt(200))
    repeated, group = np.repeat(value, 5), np.repeat(ROWS, 5)
    assert standard_error(repeated, group) == pytest.approx(standard_error(value, ROWS))
    assert standard_error(repeated, np.arange(1000).astype(str)) < 0.5 * standard_error(repeated, group)
    assert standard_error(value, np.full(200, "all")) == 0
