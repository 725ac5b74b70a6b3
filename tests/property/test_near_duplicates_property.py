"""The join against comparing all with all, on any sets, also where memory forces it to work in pieces."""

from __future__ import annotations

import itertools
from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from honed.data import set_join
from honed.data.near_duplicates import near_pairs
from honed.data.set_join import SetStore, similar_pairs
from honed.data.shingles import Hashes, HashSets, mix, normalise, shingle_hashes, words

SETS = st.lists(st.frozensets(st.integers(0, 30), max_size=12), min_size=2, max_size=40)
THRESHOLDS = st.sampled_from([0.3, 0.5, 2 / 3, 0.75, 0.8, 1.0])
WORDS = st.sampled_from(["a", "of", "straße", "CARD", "card", "lost", "x_1", "2.5", "é", "e\u0301", "你好", "!", "-"])
TEXTS = st.lists(st.lists(WORDS, max_size=20).map(" ".join), min_size=2, max_size=12)


def stored(sets: list[frozenset[int]]) -> SetStore:
    store = SetStore()
    hashes: list[Hashes] = [np.sort(mix(np.array(sorted(s), dtype=np.uint64))) for s in sets]
    for part in (slice(0, len(sets) // 2), slice(len(sets) // 2, None)):
        chosen = hashes[part]
        size = np.array([len(h) for h in chosen], dtype=np.int64)
        store.append(HashSets(np.concatenate([np.zeros(0, np.uint64), *chosen]), size))
    return store


def all_pairs(sets: list[frozenset[int]], threshold: float) -> dict[tuple[int, int], float]:
    return {
        (i, j): len(x & y) / len(x | y)
        for (i, x), (j, y) in itertools.combinations(enumerate(sets), 2)
        if x & y and len(x & y) / len(x | y) >= threshold - 1e-9
    }


def found(store: SetStore, threshold: float, side: np.ndarray | None = None) -> dict[tuple[int, int], float]:
    pairs = {}
    for block in similar_pairs(store, np.arange(len(store)), threshold, side=side):
        for i, j, similarity in zip(block.i.tolist(), block.j.tolist(), block.similarity.tolist(), strict=True):
            pairs[min(i, j), max(i, j)] = similarity
    return pairs


@given(SETS, THRESHOLDS)
def test_every_pair_is_found_and_no_other(sets: list[frozenset[int]], threshold: float) -> None:
    with mock.patch.object(set_join, "MAX_PARTNERS", 1000):
        assert found(stored(sets), threshold) == all_pairs(sets, threshold)


@given(SETS, THRESHOLDS, st.integers(1, 20))
def test_pieces_change_nothing(sets: list[frozenset[int]], threshold: float, piece: int) -> None:
    limits = {"_PART": piece, "_BLOCK": piece, "_PENDING": piece, "_MAX_PLACES": 2, "MAX_PARTNERS": 1000}
    with mock.patch.multiple(set_join, **limits):
        assert found(stored(sets), threshold) == all_pairs(sets, threshold)


@given(SETS, THRESHOLDS, st.integers(0, 2**32 - 1))
def test_with_sides_the_pairs_across_them_are_found(sets: list[frozenset[int]], threshold: float, seed: int) -> None:
    side = np.random.default_rng(seed).random(len(sets)) < 0.5
    expected = {(i, j): s for (i, j), s in all_pairs(sets, threshold).items() if side[i] != side[j]}
    with mock.patch.object(set_join, "MAX_PARTNERS", 1000):
        assert found(stored(sets), threshold, side) == expected


def shingles(text: str, kind: int) -> set[object]:
    """Those of the documentation: 3 words of texts of 8 or more, 5 characters of texts of 1 to 12."""
    own = words(text)
    if kind == 0:
        return {tuple(own[i : i + 3]) for i in range(len(own) - 2)} if len(own) >= 8 else set()
    joined = " ".join(own)
    return {joined[i : i + 5] for i in range(max(len(joined) - 4, 1))} if 0 < len(own) <= 12 else set()


@given(TEXTS)
def test_hashes_stand_for_shingles_one_for_one(texts: list[str]) -> None:
    plain = [normalise(text) for text in texts]
    for kind, sets in enumerate(shingle_hashes(plain)):
        all_shingles: set[object] = set()
        all_hashes: set[int] = set()
        for text, size, end in zip(plain, sets.size.tolist(), np.cumsum(sets.size).tolist(), strict=True):
            hashes, expected = sets.values[end - size : end].tolist(), shingles(text, kind)
            assert hashes == sorted(set(hashes)) and len(hashes) == len(expected)
            all_shingles |= expected
            all_hashes |= set(hashes)
            assert len(all_hashes) == len(all_shingles), "a shingle has the same hash in every text"


@given(TEXTS, st.integers(0, 2**32 - 1))
def test_pairs_of_texts_do_not_depend_on_their_order(texts: list[str], seed: int) -> None:
    texts = list(dict.fromkeys(normalise(text) for text in texts))
    order = np.random.default_rng(seed).permutation(len(texts)).tolist()
    one = {frozenset((texts[p.i], texts[p.j])): p.similarity for p in near_pairs(texts)}
    moved = [texts[i] for i in order]
    assert {frozenset((moved[p.i], moved[p.j])): p.similarity for p in near_pairs(moved)} == one
