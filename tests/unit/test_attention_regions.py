"""The region table: shares, density, pointing, entropy, their test under groups; what is empty is counted."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from honed.errors import EvidenceError
from honed.evidence.attention_regions import (
    average,
    entropy,
    normalised,
    paired,
    pointing,
    region_shares,
    region_table,
    sign_flip_p,
)

GRID = (4, 4)


def corner(n: int) -> np.ndarray:
    """The upper left quarter of the grid, (n, 4, 4)."""
    covered = np.zeros((n, *GRID))
    covered[:, :2, :2] = 1
    return covered


def maps(n: int, seed: int, lift: float = 1.0) -> np.ndarray:
    """Random maps whose corner is lifted."""
    heat = np.random.default_rng(seed).gamma(2.0, size=(n, *GRID))
    return np.where(corner(n) > 0, lift * heat, heat)


def ids(n: int, group_size: int = 1) -> np.ndarray:
    return np.array([f"g{i // group_size}" for i in range(n)])


def test_shares_are_of_the_whole_map() -> None:
    heat = np.ones((2, *GRID))
    heat[1, 0, 0] = 5
    shares = region_shares(heat, {"corner": corner(2), "all": np.ones((2, *GRID))})
    assert shares["corner"].tolist() == pytest.approx([0.25, 8 / 20])
    assert shares["all"].tolist() == pytest.approx([1, 1])


def test_entropy_lies_between_one_patch_and_all() -> None:
    one = np.zeros((1, *GRID))
    one[0, 1, 1] = 3
    assert entropy(one)[0] == 0
    assert entropy(np.ones((1, *GRID)))[0] == pytest.approx(1)
    half = np.zeros((1, *GRID))
    half[0, :2] = 1
    assert entropy(half)[0] == pytest.approx(math.log(8) / math.log(16))


def test_pointing_takes_the_strongest_patch_and_averages_ties() -> None:
    heat = np.ones((3, *GRID))
    heat[0, 0, 0] = heat[1, 3, 3] = 2
    heat[2, 0, 0] = heat[2, 3, 3] = 2
    covered = corner(3)
    covered[0, 0, 0] = 0.3
    assert pointing(heat, covered).tolist() == pytest.approx([0.3, 0, 0.5])


def test_maps_without_heat_are_not_numbers() -> None:
    heat = np.ones((3, *GRID))
    heat[0] = 0
    heat[1, 0, 0] = np.nan
    for figures in (normalised(heat)[:, 0, 0], entropy(heat), pointing(heat, corner(3))):
        assert np.isnan(figures).tolist() == [True, True, False]
    with pytest.raises(EvidenceError, match="row 1 is negative"):
        normalised(np.stack([np.ones(GRID), -np.ones(GRID)]))
    with pytest.raises(EvidenceError, match="shape"):
        normalised(np.ones(GRID))


def test_planted_region_is_found_and_nothing_else() -> None:
    n = 120
    elsewhere = np.zeros((n, *GRID))
    elsewhere[:, 2:] = 1
    table = region_table(
        maps(n, 0), maps(n, 1, lift=2), {"corner": corner(n), "below": elsewhere}, ids(n), classes=None
    )
    found, other = table.overall
    assert found.region == "corner" and found.corrected_p is not None and found.corrected_p < 0.001
    assert found.density.base is not None and found.density.specialist is not None
    assert 0.9 < found.density.base.value < 1.1 and 1.4 < found.density.specialist.value < 1.8
    assert found.density.difference is not None and found.density.difference.low > 0.3
    assert found.base_share == pytest.approx(0.25 * found.density.base.value)
    assert other.density.difference is not None and other.density.difference.value < 0
    same = region_table(maps(n, 2), maps(n, 3), {"corner": corner(n)}, ids(n)).overall[0]
    assert same.corrected_p is not None and same.corrected_p > 0.05


def test_difference_is_specialist_minus_base_everywhere() -> None:
    table = region_table(maps(30, 0), maps(30, 0, lift=3), {"corner": corner(30)}, ids(30))
    row = table.overall[0].to_json()
    for figure in (row["density"], row["pointing"]):
        change = figure["difference"]
        assert change["value"] == pytest.approx(figure["specialist"]["value"] - figure["base"]["value"])
        assert change["low"] <= change["value"] <= change["high"]
    assert row["specialist_share"] / row["area"] == pytest.approx(row["density"]["specialist"]["value"])
    assert table.entropy.difference is not None


@pytest.mark.parametrize("group_size", [1, 5])
def test_without_a_difference_p_values_are_even(group_size: int) -> None:
    """Base and specialist alike, rows of a group alike in which way they lean: false alarms stay nominal."""
    n, rng = 60, np.random.default_rng(4)
    p_values, misses = [], 0
    for _ in range(300):
        lean = np.repeat(rng.normal(size=n // group_size), group_size)
        base, specialist = 0.3 + 0.02 * rng.normal(size=(2, n))
        found = paired(base, specialist + 0.05 * lean, ids(n, group_size), weight=np.full(n, 0.25))
        assert found.p_value is not None and found.difference is not None
        p_values.append(found.p_value)
        misses += not found.difference.low <= 0 <= found.difference.high
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.085
    assert 0.4 < np.mean(p_values) < 0.6
    assert misses / 300 < 0.085
    if group_size > 1:
        ignored = [paired(np.zeros(n), np.repeat(rng.normal(size=n // 5), 5), ids(n)).p_value for _ in range(100)]
        assert np.mean(np.array(ignored) < 0.05) > 0.2, "the test could not fail: groups make no difference"


def test_false_alarms_of_a_whole_table_are_held_by_holm() -> None:
    n, rng, alarms = 40, np.random.default_rng(5), 0
    for _ in range(60):
        coverage = {f"r{i}": (rng.random((1, *GRID)) < 0.4) * np.ones((n, 1, 1)) + 1e-9 for i in range(6)}
        heat = rng.gamma(2.0, size=(2, n, *GRID))
        table = region_table(heat[0], heat[1], coverage, ids(n, 4))
        alarms += any(figure.corrected_p is not None and figure.corrected_p < 0.05 for figure in table.overall)
    assert alarms <= 8, "binomial(60, .05) exceeds 8 once in 500"


def test_empty_regions_are_dropped_and_counted() -> None:
    n = 20
    covered, heat = corner(n), maps(n, 0)
    covered[:5] = 0
    heat[6] = 0
    table = region_table(heat, maps(n, 1), {"corner": covered, "none": np.zeros((n, *GRID))}, ids(n))
    found, never = table.overall
    assert (found.n_empty, found.n_no_heat, found.density.n) == (5, 1, 14)
    assert (never.n_empty, never.density.n, never.corrected_p, never.area) == (20, 0, None, None)
    assert "0 rows of 0 groups" in never.density.not_run
    assert never.density.base is None
    json.dumps(table.to_json(), allow_nan=False)


def test_per_class_holds_the_rows_of_each() -> None:
    n = 60
    label = np.arange(n) % 3
    heat = np.where(label[:, None, None] == 2, maps(n, 1, lift=4), maps(n, 1))
    table = region_table(maps(n, 0), heat, {"corner": corner(n)}, ids(n), classes=(label, ["a", "b", "c"]))
    changes = {f.class_name: f.density.difference for f in table.per_class}
    assert [f.density.n for f in table.per_class] == [20, 20, 20]
    assert changes["c"] is not None and changes["a"] is not None and changes["c"].low > 0.5 > abs(changes["a"].value)


def test_rows_of_one_group_are_no_evidence() -> None:
    found = paired(np.zeros(9), np.ones(9), np.array(["g"] * 9))
    assert found.difference is None and "9 rows of 1 groups" in found.not_run
    assert average(np.ones(9), np.array(["g"] * 9)) is None


def test_sign_flips_of_few_groups_are_counted_out() -> None:
    assert sign_flip_p(np.ones(5)) == 2 / 32
    assert sign_flip_p(np.array([1.0, -1.0])) == 1.0
    assert sign_flip_p(np.zeros(20)) == 1.0
    assert sign_flip_p(np.ones(40)) == 1 / 20_000


def flat(values: dict[str, Any]) -> dict[str, Any]:
    """The numbers of nested figures, by path."""
    found = {}
    for name, value in values.items():
        inner = flat(value) if isinstance(value, dict) else {"": value}
        found |= {f"{name}.{path}": own for path, own in inner.items() if isinstance(own, int | float)}
    return found


def test_figures_do_not_depend_on_the_order_or_scale_of_maps() -> None:
    heat, other = maps(30, 0), maps(30, 1, lift=2)
    order = np.random.default_rng(0).permutation(30)
    one = region_table(heat, other, {"corner": corner(30)}, ids(30)).overall[0].to_json()
    two = region_table(7 * heat[order], other[order] / 3, {"corner": corner(30)}, ids(30)[order]).overall[0].to_json()
    assert flat(two) == pytest.approx(flat(one))


def test_shapes_must_agree() -> None:
    with pytest.raises(EvidenceError, match="coverage of 'corner' has shape"):
        region_table(maps(3, 0), maps(3, 1), {"corner": corner(2)}, ids(3))
    with pytest.raises(EvidenceError, match="2 rows"):
        region_table(maps(3, 0), maps(3, 1), {}, ids(2))
