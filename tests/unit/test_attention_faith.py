"""Faithfulness: areas against a random order, survival of random weights, and the verdict in words."""

from __future__ import annotations

import json

import numpy as np
import pytest

from honed.errors import EvidenceError
from honed.evidence.attention_faith import Curves, area_under, faithfulness, rank_correlations

FRAC = np.linspace(0, 1, 11)


def ids(n: int) -> np.ndarray:
    return np.array([f"g{i}" for i in range(n)])


def curves(n: int, *, power: float, seed: int = 0) -> Curves:
    """Falling and rising curves; power > 1: the map finds what matters sooner than a random order (power 1)."""
    noise = 0.02 * np.random.default_rng(seed).normal(size=(4, n, 1))
    fall, even = (1 - FRAC) ** power, 1 - FRAC
    named = (fall, 1 - (1 - FRAC) ** power, even, 1 - even)
    return Curves(FRAC, *(np.clip(curve + own, 0, 1) for curve, own in zip(named, noise, strict=True)))


def test_area_is_the_trapezoids() -> None:
    assert area_under(np.array([0.0, 0.5, 1.0]), np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])).tolist() == [0.25, 1.0]


def test_a_map_that_finds_what_matters_and_dies_with_the_weights_is_proven() -> None:
    own = faithfulness("rollout", ids(40), curves(40, power=3), np.random.default_rng(0).normal(0.1, 0.1, 40))
    assert own.is_proven and not own.is_withheld
    assert own.deletion is not None and own.deletion.difference is not None and own.deletion.difference.low > 0.15
    assert own.insertion is not None and own.insertion.difference is not None and own.insertion.difference.low > 0.15
    assert own.sentence.startswith("The map (rollout) passes both checks")
    assert "With random weights the map becomes another one (rank correlation 0.0" in own.sentence


@pytest.mark.parametrize("sign", [1, -1])
def test_a_map_that_survives_random_weights_is_withheld_however_well_it_deletes(sign: int) -> None:
    survival = sign * np.random.default_rng(0).normal(0.8, 0.05, 40)
    own = faithfulness("rollout", ids(40), curves(40, power=3), survival)
    assert own.is_withheld and not own.is_proven
    assert "is withheld: a map that survives random weights explains nothing." in own.sentence


def test_a_random_map_is_not_proven_and_a_wrong_one_is_said_to_point_away() -> None:
    same = faithfulness("x", ids(40), curves(40, power=1), np.full(40, 0.1) + 0.01 * np.arange(40) / 40)
    assert not same.is_proven and not same.is_withheld
    assert "cannot be told from a random order" in same.sentence and "not proven" in same.sentence
    worse = faithfulness("x", ids(40), curves(40, power=0.4), np.zeros(40))
    assert "points away from what matters" in worse.sentence and not worse.is_proven


def test_few_rows_leave_survival_open() -> None:
    own = faithfulness("x", ids(4), curves(4, power=3), np.array([0.1, 0.9, 0.2, 0.5]))
    assert not own.is_withheld and not own.is_proven
    assert "cannot be ruled out" in own.sentence


def test_what_was_not_measured_is_said_and_proves_nothing() -> None:
    own = faithfulness("x", ids(1), curves(1, power=3), None)
    assert "Deletion and insertion: not run, because 1 rows of 1 groups" in own.sentence
    assert "Random weights: not run, because" in own.sentence and not own.is_proven
    constant = faithfulness("x", ids(4), curves(4, power=3), np.array([np.nan] * 3 + [0.1]))
    assert constant.n_constant == 3 and constant.survival is None
    assert "maps that differ within themselves" in constant.sentence
    json.dumps([own.to_json(), constant.to_json()], allow_nan=False)


def test_false_verdicts_on_random_maps_are_nominal() -> None:
    rng, proven = np.random.default_rng(1), 0
    for _ in range(200):
        noise = np.clip(0.5 + 0.1 * rng.normal(size=(4, 25, 11)), 0, 1)
        proven += faithfulness("x", ids(25), Curves(FRAC, *noise), rng.normal(0, 0.1, 25)).is_proven
    assert proven <= 5, "both checks must pass by chance: .025 squared"


def test_rank_correlations_of_constant_maps_are_none() -> None:
    heat = np.arange(12.0).reshape(1, 3, 4)
    assert rank_correlations(heat, heat**3)[0] == pytest.approx(1)
    assert rank_correlations(heat, -heat)[0] == pytest.approx(-1)
    assert np.isnan(rank_correlations(heat, np.ones((1, 3, 4))))[0]


def test_curves_of_another_shape_are_refused() -> None:
    with pytest.raises(EvidenceError, match="deletion curves have shape"):
        faithfulness("x", ids(3), curves(4, power=1), None)
    bad = curves(3, power=1)
    with pytest.raises(EvidenceError, match="rise from 0 to 1"):
        faithfulness("x", ids(3), Curves(FRAC / 2, bad.deletion, bad.insertion, bad.deletion, bad.insertion), None)
