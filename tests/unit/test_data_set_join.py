"""The join where it must not compare all with all: many sets from one mould, sets of very different sizes."""

from __future__ import annotations

import numpy as np
import pytest

from honed.data import set_join
from honed.data.near_duplicates import near_pairs
from honed.data.set_join import SetStore, similar_pairs
from honed.data.shingles import HashSets, mix

MOULD = "dear customer your order {} was shipped today and will arrive at your door within two days " + " ".join(
    f"part{i}" for i in range(20)
)
FRAME = "the first {} and {} of " + " ".join(f"part{i}" for i in range(24))  # 3 and 3 of 28 shingles differ


def n_compared(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many pairs were compared element by element."""
    counted = 0
    compare = set_join._jaccard

    def count(sets: object, ours: object, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        nonlocal counted
        counted += len(x)
        return compare(sets, ours, x, y)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(set_join, "_jaccard", count)
        near_pairs(texts)
    return counted


def test_work_on_one_mould_grows_with_the_number_of_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = [n_compared([MOULD.format(i) for i in range(n)], monkeypatch) for n in (500, 1000, 2000)]
    assert compared[0] > 0
    assert compared[2] / compared[1] < 2.2 and compared[1] / compared[0] < 2.2
    assert compared[2] < 2000 * 2 * set_join.MAX_PARTNERS


def test_texts_that_share_a_frame_but_are_not_near_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [FRAME.format(f"x{i}", f"y{i}") for i in range(500)]
    assert near_pairs(texts) == []
    assert n_compared(texts, monkeypatch) < len(texts)


def test_large_and_small_sets_in_one_block() -> None:
    rng = np.random.default_rng(0)
    sizes = [3] * 50 + [20_000, 19_000, 4, 5]
    sets = [np.sort(mix(rng.integers(0, 10**9, n).astype(np.uint64))) for n in sizes]
    sets[51] = sets[50][:19_000]
    sets[53] = np.sort(np.append(sets[52], np.uint64(7)))
    store = SetStore()
    store.append(HashSets(np.concatenate(sets), np.array([len(s) for s in sets])))
    pairs = [p for p in similar_pairs(store, np.arange(len(sets)), 0.8) if len(p.i)]
    found = {
        tuple(sorted((int(i), int(j)))): float(s) for p in pairs for i, j, s in zip(p.i, p.j, p.similarity, strict=True)
    }
    assert found == {(50, 51): pytest.approx(0.95), (52, 53): pytest.approx(0.8)}


def test_nothing_to_join() -> None:
    store = SetStore()
    assert list(similar_pairs(store, np.arange(0), 0.8)) == []
    store.append(HashSets(np.zeros(0, np.uint64), np.zeros(3, np.int64)))
    assert all(not len(p.i) for p in similar_pairs(store, np.arange(3), 0.8))
