"""The promises of `plan_folds`, on any table that it accepts."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan, plan_folds
from honed.errors import DataError


def make(labels: list[int], groups: list[int]) -> Dataset:
    n_classes = max(labels) + 1
    return Dataset(
        example_id=np.array([f"e{i}" for i in range(len(labels))]),
        inputs=[f"text {i}" for i in range(len(labels))],
        label=np.array(labels, dtype=np.int64),
        group=np.array([f"g{g}" for g in groups]),
        label_names=tuple(f"class {j:02d}" for j in range(n_classes)),
        row=np.arange(len(labels), dtype=np.int64),
    )


@st.composite
def datasets(draw: st.DrawFn, *, single_rows: bool = False) -> Dataset:
    """20 to 150 rows of 1 to 5 classes, unevenly many of each, in groups of uneven size (or each row its own)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(20, 150))
    n_classes = draw(st.integers(1, 5))
    labels = rng.choice(n_classes, n, p=rng.dirichlet([2.0] * n_classes))
    n_groups = draw(st.integers(n // 3, n))
    groups = np.arange(n) if single_rows else rng.choice(n_groups, n, p=rng.dirichlet([0.7] * n_groups))
    return make(labels.tolist(), groups.tolist())


def plan_or_none(dataset: Dataset, folds: int, seed: int = 0) -> FoldPlan | None:
    try:
        return plan_folds(dataset, folds=folds, seed=seed)
    except DataError:
        return None


FOLDS = st.integers(2, 6)


@settings(deadline=None, max_examples=60)
@given(datasets(), FOLDS, st.integers(0, 5))
def test_parts_are_disjoint_whole_and_complete(dataset: Dataset, folds: int, seed: int) -> None:
    plan = plan_or_none(dataset, folds, seed)
    assume(plan is not None)
    assert plan is not None
    tested: list[int] = []
    for k in range(folds):
        split = plan.split(k)
        parts = [set(split.train.tolist()), set(split.stop.tolist()), set(split.test.tolist())]
        assert sum(map(len, parts)) == len(set.union(*parts))
        assert set.union(*parts) == set(plan.development.tolist())
        names = [{str(dataset.group[i]) for i in part} for part in [*parts, set(plan.holdout.tolist())]]
        assert sum(map(len, names)) == len(set.union(*names)), "a group is split"
        assert parts[0]
        assert parts[2]
        tested += split.test.tolist()
    assert sorted(tested) == plan.development.tolist()
    assert sorted([*plan.holdout.tolist(), *plan.development.tolist()]) == list(range(len(dataset)))
    assert len(plan.holdout)


@settings(deadline=None, max_examples=60)
@given(datasets(), FOLDS, st.randoms(use_true_random=False))
def test_order_of_rows_and_names_of_classes_change_nothing(dataset: Dataset, folds: int, random: object) -> None:
    plan = plan_or_none(dataset, folds)
    assume(plan is not None)
    assert plan is not None
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    order = rng.permutation(len(dataset))
    moved = plan_folds(dataset.take(order), folds=folds)
    assert moved.fold.tolist() == plan.fold[order].tolist()
    assert moved.stop.tolist() == plan.stop[order].tolist()
    assert moved.dataset_fingerprint == plan.dataset_fingerprint
    new_index = rng.permutation(len(dataset.label_names))
    relabelled = Dataset(
        example_id=dataset.example_id,
        inputs=dataset.inputs,
        label=new_index[dataset.label].astype(np.int64),
        group=dataset.group,
        label_names=tuple(f"renamed {j}" for j in range(len(new_index))),
        row=dataset.row,
    )
    renamed = plan_folds(relabelled, folds=folds)
    assert renamed.fold.tolist() == plan.fold.tolist()
    assert renamed.stop.tolist() == plan.stop.tolist()


@settings(deadline=None, max_examples=60)
@given(datasets(single_rows=True), FOLDS)
def test_single_rows_are_stratified_to_within_one(dataset: Dataset, folds: int) -> None:
    plan = plan_or_none(dataset, folds)
    assume(plan is not None)
    assert plan is not None
    for label in set(dataset.label.tolist()):
        counts = Counter(plan.fold[dataset.label == label].tolist())
        sizes = [counts[k] for k in range(folds)]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1
        n = sum(counts.values())
        assert counts[-1] >= 1
        assert abs(counts[-1] - 0.15 * n) <= 1.5
        for k in range(folds):
            assert (dataset.label[plan.split(k).train] == label).any()


@settings(deadline=None, max_examples=30)
@given(datasets(single_rows=True), FOLDS)
def test_seed_decides(dataset: Dataset, folds: int) -> None:
    plan = plan_or_none(dataset, folds, seed=1)
    assume(plan is not None)
    assert plan is not None
    again = plan_folds(dataset, folds=folds, seed=1)
    assert (again.fold.tolist(), again.stop.tolist()) == (plan.fold.tolist(), plan.stop.tolist())
    others = [plan_folds(dataset, folds=folds, seed=seed).fold.tolist() for seed in range(2, 5)]
    assert any(other != plan.fold.tolist() for other in others)
