"""Fold plans on tables of known shape, on real data, and on disk."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from honed.data.checks import structural_checks
from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan, plan_folds
from honed.data.loading import load_dataset
from honed.data.readers import read_table
from honed.data.roles import Roles
from honed.errors import DataError, RunFolderError, UsageError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def make(labels: list[str], groups: list[str] | None = None) -> Dataset:
    names = tuple(sorted(set(labels)))
    ids = [f"e{i}" for i in range(len(labels))]
    return Dataset(
        example_id=np.array(ids),
        inputs=[f"text {i}" for i in range(len(labels))],
        label=np.array([names.index(label) for label in labels], dtype=np.int64),
        group=np.array(groups or ids),
        label_names=names,
        row=np.arange(len(labels), dtype=np.int64),
    )


def test_sizes_are_as_asked() -> None:
    plan = plan_folds(make(["a"] * 600 + ["b"] * 400))
    assert len(plan.holdout) == pytest.approx(150, abs=2)
    for k in range(5):
        split = plan.split(k)
        assert len(split.test) == pytest.approx(170, abs=2)
        assert len(split.stop) == pytest.approx(68, abs=3)


def test_final_model_trains_on_the_whole_development_part() -> None:
    plan = plan_folds(make(["a", "b"] * 50))
    split = plan.split(None)
    assert split.train.tolist() == plan.development.tolist()
    assert len(split.stop) == len(split.test) == 0


@pytest.mark.parametrize(("holdout_frac", "stop_frac"), [(0, 0.1), (0.15, 0), (0, 0), (0.5, 0.5), (0.05, 0.05)])
def test_parts_can_be_switched_off_or_made_large(holdout_frac: float, stop_frac: float) -> None:
    plan = plan_folds(make(["a", "b"] * 100), folds=3, holdout_frac=holdout_frac, stop_frac=stop_frac)
    assert len(plan.holdout) == pytest.approx(200 * holdout_frac, abs=2)
    for k in range(3):
        split = plan.split(k)
        n_learns = len(split.train) + len(split.stop)
        assert len(split.stop) == pytest.approx(n_learns * stop_frac, abs=3)
        assert len(split.train)


def test_class_with_as_many_rows_as_parts_is_in_every_part() -> None:
    plan = plan_folds(make(["a"] * 300 + ["rare"] * 6), holdout_frac=0.05)
    assert sorted(plan.fold[300:].tolist()) == [-1, 0, 1, 2, 3, 4]


def test_class_of_two_rows_is_learned_before_it_tells_when_to_stop() -> None:
    plan = plan_folds(make(["a"] * 60 + ["rare"] * 3), folds=2, stop_frac=0.5)
    for k in range(2):
        assert (plan.split(k).train >= 60).any()


def test_one_small_class_is_refused_with_the_remedy() -> None:
    with pytest.raises(DataError) as caught:
        plan_folds(make(["a"] * 30 + ["refund"] * 3))
    assert str(caught.value).startswith("Class 'refund' has 3 rows but folds=5: 3 of the 5 test folds and the holdout")
    assert caught.value.remedy == "Use --folds 2, merge the class, or add 3 rows."


def test_all_small_classes_are_listed_at_once() -> None:
    labels = ["a"] * 30 + ["b"] * 2 + ["c"] * 8 + ["d"]
    groups = [f"g{i}" for i in range(32)] + ["one"] * 8 + ["last"]
    with pytest.raises(DataError) as caught:
        plan_folds(make(labels, groups))
    assert "'d' (1 row), 'c' (8 rows in 1 group), 'b' (2 rows)" not in str(caught.value)
    for part in ("3 classes", "'b' (2 rows)", "'c' (8 rows in 1 group)", "'d' (1 row)", "Merge the classes"):
        assert part in str(caught.value)


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(DataError, match=r"form 3 groups, but folds=5 and the holdout need at least 6.*--group"):
        plan_folds(make(["a", "b"] * 30, [f"g{i % 3}" for i in range(60)]))


@pytest.mark.parametrize("wrong", [{"folds": 1}, {"holdout_frac": 0.9}, {"stop_frac": -0.1}])
def test_parameters_out_of_range_are_usage_errors(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="must lie in"):
        plan_folds(make(["a", "b"] * 30), **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no fold 5"):
        plan_folds(make(["a", "b"] * 30)).split(5)


def test_plan_is_written_and_read_back(tmp_path: Path) -> None:
    plan = plan_folds(make(["a", "b"] * 30), seed=7)
    plan.write(tmp_path / "folds.parquet")
    assert pq.read_table(tmp_path / "folds.parquet").column_names == ["example_id", "group", "fold", "stop"]
    back = FoldPlan.read(tmp_path / "folds.parquet")
    for name in ("example_id", "group", "fold", "stop"):
        assert getattr(back, name).tolist() == getattr(plan, name).tolist()
    assert (back.seed, back.n_folds, back.dataset_fingerprint) == (7, 5, plan.dataset_fingerprint)


@pytest.mark.parametrize("damage", ["missing", "truncated", "no metadata", "no column"])
def test_damaged_plan_is_a_run_folder_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "folds.parquet"
    plan_folds(make(["a", "b"] * 30)).write(path)
    table = pq.read_table(path)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-30])
    elif damage == "no metadata":
        pq.write_table(table.replace_schema_metadata(None), path)
    else:
        pq.write_table(table.drop_columns(["stop"]), path)
    with pytest.raises(RunFolderError, match=r"folds\.parquet"):
        FoldPlan.read(path)


@pytest.mark.parametrize("name", ["banking77.csv", "medical_abstracts.csv", "legal_roles.csv"])
def test_real_data_get_even_folds_with_every_class(name: str) -> None:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    dataset = load_dataset(read_table(str(path)), Roles(), require_label=True).dataset
    dataset = structural_checks(dataset, folds=5).dataset
    plan = plan_folds(dataset)
    n = len(plan.development)
    assert len(plan.holdout) == pytest.approx(0.15 * len(dataset), rel=0.15)
    for k in range(5):
        split = plan.split(k)
        assert len(split.test) == pytest.approx(n / 5, rel=0.15)
        assert len(split.stop) == pytest.approx((n - len(split.test)) / 10, rel=0.35)
        for part in (split.train, split.test):
            assert len(set(dataset.label[part].tolist())) == len(dataset.label_names)
    if name != "legal_roles.csv":
        for label in range(len(dataset.label_names)):
            per_fold = Counter(plan.fold[dataset.label == label].tolist())
            sizes = [per_fold[k] for k in range(5)]
            assert max(sizes) - min(sizes) <= 2
