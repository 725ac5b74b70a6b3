"""The note on what random folds would have promised: a planted leak is seen, none is not, and the holdout stays out."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from honed.data.dataset import Dataset
from honed.data.folds import plan_folds
from honed.data.sampling import sample_groups
from honed.pipeline import group_leak
from honed.pipeline.demo import demo_config
from honed.pipeline.group_leak import group_leak_note, random_folds
from honed.pipeline.prepare import development


def dataset(*, leaks: bool, n_groups: int = 60) -> Dataset:
    """Four rows a group. With a leak a row's words say which group it is of, and nothing else; without, its class."""
    draw = random.Random(0)
    inputs, label, group = [], [], []
    for g in range(n_groups):
        own = " ".join(f"word{g}x{j}" for j in range(8))
        for i in range(4):
            inputs.append(f"{own if leaks else ('alpha', 'omega')[g % 2]} noise{draw.randint(0, 9)} {i}")
            label.append(g % 2)
            group.append(f"g{g}")
    n = len(inputs)
    ids = np.array([f"r{i:03}" for i in range(n)], dtype=np.str_)
    return Dataset(ids, inputs, np.array(label), np.array(group, dtype=np.str_), ("a", "b"), np.arange(n))


def note(data: Dataset) -> str:
    plan = plan_folds(data, folds=4, holdout_frac=0.2, stop_frac=0.1, seed=0)
    return group_leak_note(*development(data, plan), "patient")


def test_a_planted_leak_is_told() -> None:
    text = note(dataset(leaks=True))
    random_folds_say, grouped_folds_say = (float(number) for number in re.findall(r"on ([\d.]+)%", text))
    assert random_folds_say > 95 and grouped_folds_say < 65
    assert "points too much" in text and "'patient'" in text


def test_where_nothing_leaks_nothing_is_claimed() -> None:
    assert "grouping changes little" in note(dataset(leaks=False))


def test_many_rows_are_sampled_by_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    group = np.array([f"g{i // 4}" for i in range(400)], dtype=np.str_)
    kept = sample_groups(group, 100, "1 ")
    assert len(kept) == 100 and (np.unique(group[kept], return_counts=True)[1] == 4).all()
    assert sample_groups(group, 400, "1 ").tolist() == list(range(400))
    monkeypatch.setattr(group_leak, "MAX_ROWS", 120)
    assert "rows drawn by group" in note(dataset(leaks=True))


def test_random_folds_are_stratified_and_even() -> None:
    label = np.array([0] * 50 + [1] * 25)
    fold = random_folds(label, 5, seed=0)
    assert np.bincount(fold).tolist() == [15] * 5
    assert np.bincount(fold[label == 1]).tolist() == [5] * 5


def test_the_demo_is_grouped_by_licence() -> None:
    config = demo_config("there")
    assert (config.data, config.group, config.out) == ("demo:licences", "licence", "there")
