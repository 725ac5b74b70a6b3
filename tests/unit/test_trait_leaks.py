"""Planted leaks of the label through a trait are caught; clean data stay quiet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from honed.data.dataset import Dataset
from honed.data.trait_leaks import trait_leaks

N_ROWS = 400
WORDS = [f"word{i}" for i in range(300)]
MOST_FALSE_ALARMS = 1
N_SEEDS = 20


def clean(seed: int, n_classes: int = 2, share: float = 0.5) -> Dataset:
    """Texts, a numeric, a categorical and a gappy column that know nothing of the class."""
    rng = np.random.default_rng(seed)
    weight = np.array([share, *[(1 - share) / (n_classes - 1)] * (n_classes - 1)])
    label = rng.choice(n_classes, N_ROWS, p=weight)
    texts = [" ".join(rng.choice(WORDS, rng.integers(5, 30))) for _ in range(N_ROWS)]
    ids = np.array([f"r{i}" for i in range(N_ROWS)])
    traits = {
        "age": [str(v) for v in rng.integers(18, 90, N_ROWS)],
        "site": [str(v) for v in rng.choice(["north", "south", "east"], N_ROWS)],
        "remark": [str(v) for v in rng.choice(["", "seen", "late"], N_ROWS)],
        "file": [f"images/{v:06d}.png" for v in rng.permutation(N_ROWS)],
    }
    return Dataset(
        ids, texts, label, ids, tuple(f"class {j}" for j in range(n_classes)), np.arange(N_ROWS),
        traits={name: np.array(cells, dtype=np.object_) for name, cells in traits.items()},
    )  # fmt: skip


def with_trait(rows: Dataset, name: str, value: Callable[[int, np.random.Generator], object]) -> Dataset:
    rng = np.random.default_rng(99)
    cells = np.array([value(int(j), rng) for j in rows.label], dtype=np.object_)
    rows.traits[name] = cells
    return rows


def told(rows: Dataset) -> str:
    return " ".join(f"{issue.check}: {issue.evidence}" for issue in trait_leaks(rows)[0])


def flip(j: int, rng: np.random.Generator, truth: float = 0.85) -> int:
    return j if rng.random() < truth else 1 - j


LEAKS: dict[str, Callable[[Dataset], Dataset]] = {
    "'scanner'": lambda rows: with_trait(rows, "scanner", lambda j, rng: ["siemens", "philips"][flip(j, rng)]),
    "'dose'": lambda rows: with_trait(rows, "dose", lambda j, rng: f"{rng.normal(2.5 * j, 1):.2f}"),
    "'follow_up'": lambda rows: with_trait(rows, "follow_up", lambda j, rng: "yes" if flip(j, rng) else ""),
    "'path'": lambda rows: with_trait(rows, "path", lambda j, rng: f"{['a', 'b'][j]}/{rng.integers(10**6)}.png"),
    "image size": lambda rows: measured(rows, "image size", lambda j, rng: [512.0 if flip(j, rng) else 640.0, 512.0]),
    "image border": lambda rows: measured(rows, "image border", lambda j, rng: [rng.normal(3.0 * j)]),
}


def measured(rows: Dataset, name: str, value: Callable[[int, np.random.Generator], list[float]]) -> Dataset:
    rng = np.random.default_rng(98)
    rows.traits[name] = np.array([value(int(j), rng) for j in rows.label], dtype=np.float64)
    return rows


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_caught_and_named(name: str) -> None:
    assert name in told(LEAKS[name](clean(0))).casefold()


def test_a_leak_through_the_order_of_the_rows_is_caught() -> None:
    rows = clean(0)
    assert "row_order" in told(replace(rows, label=np.sort(rows.label), traits={}))


def test_a_leak_through_the_surface_of_the_texts_is_caught() -> None:
    rows = clean(0)
    rows.inputs[:] = [text + (" ..." if j else "") for text, j in zip(rows.inputs, rows.label, strict=True)]
    assert "trait_leak" in told(rows) or "label_giveaway" in told(rows)


def test_a_mark_that_one_class_alone_carries_is_caught() -> None:
    rows = clean(0)
    is_marked = (rows.label == 1) & (np.arange(N_ROWS) % 3 > 0)
    rows.inputs[:] = [f"[FORM-7] {text}" if own else text for text, own in zip(rows.inputs, is_marked, strict=True)]
    assert "FORM-7" in told(rows).upper()


@pytest.mark.parametrize(("n_classes", "share"), [(2, 0.5), (2, 0.9), (8, 0.3)])
def test_clean_data_stay_quiet(n_classes: int, share: float) -> None:
    alarms = [seed for seed in range(N_SEEDS) if trait_leaks(clean(seed, n_classes, share))[0]]
    assert len(alarms) <= MOST_FALSE_ALARMS


def test_too_few_rows_are_said_not_to_be_judged() -> None:
    issues, not_run = trait_leaks(clean(0).take(np.arange(20)))
    assert not issues and "not run, because" in not_run[0]
