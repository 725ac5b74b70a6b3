"""Marks that stand in the texts of one class only: a prefix, a last word, a token that a form or a script left."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_FEWEST_GROUPS = 10
_PURE = 0.98
_LARGEST_P = 1e-3
_WORDS_READ = 400  # of a text; the last word is always read
# What a mark must reach of its class. Ordinary words say what a class is about: on five real sets the most telling
# one ("contactless") stands in 80 % of its class at such purity, the most telling first or last word in 40 %.
_RECALL_ANYWHERE = 0.9
_RECALL_AT_AN_END = 0.5
_RECALL_ODD = 0.25
_VOCABULARY = 3
_ORDINARY_EDGE = ".,;:!?\"'()\u2018\u2019\u201c\u201d\u2026"


@dataclass(frozen=True)
class Marker:
    """A mark and its place ("anywhere", "first", "last"), its class, and where it stands.

    recall : share of the class's rows that have it.        n, n_class : rows that have it, in all and in the class.
    """

    mark: str
    place: str
    label: int
    recall: float
    n: int
    n_class: int


def find_markers(
    texts: Sequence[str], label: npt.NDArray[np.int64], group: npt.NDArray[np.int64], n_classes: int
) -> list[Marker]:
    """The most telling mark of each class that has one.

    Rows are counted once a group, since a patient's or document's own name is no mark of its class.
    """
    from scipy.stats import hypergeom

    # (place, mark) -> groups with it, and how many rows of each class have it
    seen: defaultdict[tuple[str, str], set[tuple[int, int]]] = defaultdict(set)
    rows: defaultdict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for text, j, g in zip(texts, label.tolist(), group.tolist(), strict=True):
        for key in set(_marks(text)):
            rows[key][j] += 1
            seen[key].add((g, j))
    n_rows = Counter(label.tolist())
    n_groups = Counter(j for _, j in {(g, j) for g, j in zip(group.tolist(), label.tolist(), strict=True)})
    often = {key: Counter(j for _, j in pairs) for key, pairs in seen.items() if len(pairs) >= _FEWEST_GROUPS}
    found: defaultdict[int, list[Marker]] = defaultdict(list)
    for (place, mark), counts in often.items():
        j, k = max(counts.items(), key=lambda item: (item[1], -item[0]))
        n_marked, recall = counts.total(), rows[place, mark][j] / n_rows[j]
        if k < _FEWEST_GROUPS or k < _PURE * n_marked:
            continue
        # chance of k marked groups in the class, among all marks and classes, if mark and class were independent
        if hypergeom.sf(k - 1, n_groups.total(), n_groups[j], n_marked) * len(often) * n_classes <= _LARGEST_P:
            found[j].append(Marker(mark, place, j, recall, rows[place, mark].total(), rows[place, mark][j]))
    told = [_most_telling(found[j]) for j in sorted(found)]
    return [marker for marker in told if marker]


def _most_telling(pure: Sequence[Marker]) -> Marker | None:
    """Of the words that stand in one class only, the one that stands in most of it, if it is a mark.

    Where others are at least half as frequent, they are what the class is about: its vocabulary. Words that stand in
    the same rows are one, so different numbers of rows are counted.
    """
    told = []
    for marker in pure:
        rivals = {m.n for m in pure if m.place == marker.place and m.recall >= marker.recall / 2}
        if marker.recall >= _needed(marker.place, marker.mark) and len(rivals) < _VOCABULARY:
            told.append(marker)
    return min(told, key=lambda m: (-m.recall, m.place == "anywhere", -len(m.mark), m.mark), default=None)


def _marks(text: str) -> Iterator[tuple[str, str]]:
    words = text.casefold().split()
    if not words:
        return
    yield "first", words[0]
    yield "last", words[-1]
    for word in words[:_WORDS_READ]:
        yield "anywhere", word.strip(_ORDINARY_EDGE) or word
    for place, character in (("first", words[0][0]), ("last", words[-1][-1])):
        if not character.isalnum():
            yield place, character


def _needed(place: str, mark: str) -> float:
    core = mark.strip(_ORDINARY_EDGE)
    if len(mark) > 1 and core and not core.isalpha():
        return _RECALL_ODD
    return _RECALL_ANYWHERE if place == "anywhere" else _RECALL_AT_AN_END
