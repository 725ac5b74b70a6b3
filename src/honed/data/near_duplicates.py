"""Which texts are nearly the same: all pairs whose shingle sets have a Jaccard similarity of at least 0.8.

An exact set-similarity join (`set_join`) instead of MinHash: MinHash with 128 permutations only *probably* proposes a
pair (and then needs this same verification), while the prefix filter proposes every pair, in less time.
Broder 1997 for shingles; docs/decisions/002 for the measurement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from honed.data.set_join import Integers, Pairs, similar_pairs
from honed.data.text_index import NO_TEXT, SameTexts, TextIndex

THRESHOLD = 0.8


@dataclass(frozen=True)
class NearPair:
    """Two positions `i < j` in the order of the texts, and their Jaccard similarity in [0, 1]."""

    i: int
    j: int
    similarity: float


def near_texts(
    index: TextIndex, same: SameTexts, threshold: float = THRESHOLD, *, side: npt.NDArray[np.bool_] | None = None
) -> Iterator[Pairs]:
    """Blocks of pairs of different texts (their numbers in `same`) that are nearly the same; a pair may come twice.

    side : (T,) if given, only pairs of one text of either side.
    """
    for sets in (index.by_word, index.by_character):
        yield from similar_pairs(sets, same.first, threshold, side=side)


class BestPartners:
    """Of each of T texts, the most similar partner so far; of equally similar ones, that with the lowest number.

    text : (T,) its number, -1 if there is none.        similarity : (T,).
    """

    def __init__(self, n_texts: int) -> None:
        self.text = np.full(n_texts, NO_TEXT, np.int64)
        self.similarity = np.zeros(n_texts)

    def update(self, mine: Integers, other: Integers, similarity: npt.NDArray[np.float64]) -> None:
        """Learn of pairs, in one direction."""
        order = np.lexsort((other, -similarity, mine))
        mine, other, similarity = mine[order], other[order], similarity[order]
        is_best = np.ones(len(mine), np.bool_)
        is_best[1:] = mine[1:] != mine[:-1]
        mine, other, similarity = mine[is_best], other[is_best], similarity[is_best]
        known, partner = self.similarity[mine], self.text[mine]
        is_better = (similarity > known) | ((similarity == known) & (other < partner))
        self.text[mine[is_better]], self.similarity[mine[is_better]] = other[is_better], similarity[is_better]


def near_pairs(texts: Sequence[str], threshold: float = THRESHOLD) -> list[NearPair]:
    """All pairs of texts that are nearly but not exactly the same, each with its Jaccard similarity.

    texts : n texts; those that are equal but for case and blanks are reported for the first of them only.

    Promises: the pairs are the same whatever the order of the texts (up to which of several equal texts stands for
    them), and no pair is missed but in the cases that `similar_pairs` names.
    """
    index = TextIndex()
    index.add(texts)
    same = index.same(np.arange(len(texts)))
    best: dict[tuple[int, int], float] = {}
    for pairs in near_texts(index, same, threshold):
        low, high = np.sort(np.stack([same.first[pairs.i], same.first[pairs.j]]), axis=0)
        for i, j, similarity in zip(low.tolist(), high.tolist(), pairs.similarity.tolist(), strict=True):
            best[i, j] = max(best.get((i, j), 0.0), similarity)
    return [NearPair(i, j, similarity) for (i, j), similarity in sorted(best.items())]
