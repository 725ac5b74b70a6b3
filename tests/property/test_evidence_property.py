"""Promises of evidence/ that hold for every table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence_tables import draw
from honed.errors import EvidenceError
from honed.evidence.calibration import fit_temperature
from honed.evidence.comparison import paired_difference
from honed.evidence.intervals import estimate, score_interval
from honed.evidence.jackknife import jackknife
from honed.evidence.metrics import METRICS, softmax

tables = st.builds(
    draw,
    st.integers(24, 90),
    st.integers(2, 6),
    st.floats(-1, 4),
    seed=st.integers(0, 10_000),
    group_size=st.integers(1, 4),
    shared=st.sampled_from([0.0, 0.5]),
    n_folds=st.sampled_from([0, 3]),
)
names = st.sampled_from(list(METRICS))


def try_estimate(predictions, group, name, **options):
    try:
        return estimate(predictions, group, name, **options)
    except EvidenceError:
        return None


@given(tables, names)
def test_an_interval_holds_its_value_and_widens_with_the_level(drawn, name) -> None:
    narrow, wide = (try_estimate(*drawn, name, level=level) for level in (0.8, 0.95))
    if narrow is None or wide is None:
        assert narrow is wide
        return
    assert wide.low <= narrow.low <= narrow.value <= narrow.high <= wide.high
    highest = 1 if METRICS[name].in_unit_interval else METRICS[name].highest
    assert METRICS[name].lowest <= wide.low and wide.high <= highest


@given(tables, names, st.integers(0, 99))
def test_neither_row_order_nor_names_of_groups_nor_of_classes_matter(drawn, name, seed) -> None:
    predictions, group = drawn
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(predictions))
    classes = rng.permutation(predictions.logits.shape[1])
    if METRICS[name].is_ordinal:
        classes = np.sort(classes)  # grades have an order
    renamed = np.array([f"x{name}" for name in group])
    relabelled = replace(
        predictions, label=np.argsort(classes)[predictions.label], logits=predictions.logits[:, classes]
    )
    one = try_estimate(predictions, group, name)
    two = try_estimate(relabelled.take(order), renamed[order], name)
    if one is None or two is None:
        assert one is two
        return
    assert (one.value, one.low, one.high) == pytest.approx((two.value, two.low, two.high), abs=1e-9)


@given(tables, names)
def test_leaving_a_group_out_equals_computing_without_it(drawn, name) -> None:
    predictions, group = drawn
    probs = softmax(predictions.logits)
    _, index = np.unique(group, return_inverse=True)
    left = METRICS[name].leave_out(predictions.label, probs, index, index.max() + 1)
    for g in range(min(index.max() + 1, 6)):
        keep = index != g
        expected = METRICS[name].compute(predictions.label[keep], probs[keep])
        np.testing.assert_allclose(left[g], expected, atol=1e-12)


@given(tables, names)
def test_a_difference_turns_its_sign_with_its_sides_and_is_nothing_against_itself(drawn, name) -> None:
    predictions, group = drawn
    other = replace(predictions, logits=predictions.logits[:, ::-1].copy())
    try:
        there = paired_difference(predictions, other, group, name)
    except EvidenceError:
        return
    back = paired_difference(other, predictions, group, name)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low), abs=1e-12)
    assert there.p_value == pytest.approx(back.p_value)
    if abs(there.p_value - 0.05) > 1e-9:
        assert (there.p_value < 0.05) == (there.low > 0 or there.high < 0)
    same = paired_difference(predictions, predictions, group, name)
    assert same.value == 0
    assert same.p_value == 1


@given(tables)
def test_the_shift_of_a_mean_is_the_clustered_standard_error(drawn) -> None:
    predictions, group = drawn
    found = jackknife(predictions, group, METRICS["accuracy"]).variance
    right = (predictions.logits.argmax(1) == predictions.label) - np.mean(
        predictions.logits.argmax(1) == predictions.label
    )
    _, index = np.unique(group, return_inverse=True)
    naive = (np.bincount(index, weights=right) ** 2).sum() / len(right) ** 2
    assert naive <= found * (1 + 1e-9)
    assert found <= naive * 2.5 + 1e-12


@given(tables)
def test_a_temperature_is_positive_changes_no_prediction_and_worsens_no_loss(drawn) -> None:
    predictions, _ = drawn
    try:
        temperature = fit_temperature(predictions.logits, predictions.label)
    except EvidenceError:
        return
    assert temperature > 0
    cooled = predictions.logits / temperature
    np.testing.assert_array_equal(cooled.argmax(1), predictions.logits.argmax(1))
    loss = METRICS["log_loss"].compute
    before = loss(predictions.label, softmax(predictions.logits))
    assert loss(predictions.label, softmax(cooled)) <= before + 1e-9
    assert fit_temperature(predictions.logits * 3, predictions.label) == pytest.approx(3 * temperature, rel=1e-6)


@given(st.floats(0, 1), st.floats(1, 1e6), st.floats(0.1, 5))
def test_a_score_interval_lies_in_the_unit_interval_around_its_value(value: float, n: float, quantile: float) -> None:
    low, high = score_interval(value, n, quantile)
    assert 0 <= low <= value <= high <= 1
