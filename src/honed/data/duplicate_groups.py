"""Groups in which equal and nearly equal texts stand together, so that no fold trains on what it tests.

Groups are numbers 0 .. G-1 here, texts those of `SameTexts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

import numpy as np

from honed.data.set_join import Integers
from honed.data.spill import GrowingArray
from honed.data.text_index import SameTexts

Member = TypeVar("Member", int, str)
_BLOCK = 1 << 20


class Components(Generic[Member]):
    """Union-find: which members belong together.

    Promises: the name of a component is its smallest member, whatever the order of the unions.
    """

    def __init__(self, members: Iterable[Member]) -> None:
        self._parent: dict[Member, Member] = {member: member for member in members}

    def find(self, member: Member) -> Member:
        """The name of the member's component."""
        root = member
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[member] != root:
            self._parent[member], member = root, self._parent[member]
        return root

    def join(self, a: Member, b: Member) -> None:
        """Put the components of two members together."""
        low, high = sorted((self.find(a), self.find(b)))
        self._parent[high] = low


class NearPairStore:
    """Pairs of texts, in memory or on disk."""

    def __init__(self) -> None:
        self._numbers = GrowingArray(np.uint32)

    def append(self, i: Integers, j: Integers) -> None:
        """Add pairs."""
        self._numbers.append(np.stack([i, j], axis=1).ravel())

    def blocks(self) -> Iterator[tuple[Integers, Integers]]:
        """(i, j) of some pairs at a time."""
        for first in range(0, len(self._numbers), 2 * _BLOCK):
            block = self._numbers.read(first, min(first + 2 * _BLOCK, len(self._numbers))).astype(np.int64)
            yield block[::2], block[1::2]


@dataclass(frozen=True)
class MergedGroups:
    """The groups after merging, and the texts whose groups stayed apart.

    component : (G,) the lowest group with which each group was merged.
    kept_apart : numbers of the texts that, or whose near duplicates, still stand in several groups.
    low, high : two of these groups, for each such text.
    """

    component: Integers
    kept_apart: Integers
    low: Integers
    high: Integers


def merge_groups(group: Integers, same: SameTexts, near: NearPairStore, *, max_group_rows: int) -> MergedGroups:
    """Merge the groups of equal and nearly equal texts.

    group : (n,) the group of each row, numbered in an order that does not depend on the order of the rows.
    max_group_rows : where the user's groups have several rows (documents, patients), two of them are merged only
        while they hold at most so many rows together. Else a few stock sentences ("Appeal dismissed.") would chain
        all documents into one and leave nothing to divide. The longest shared texts come first, since they
        are the surest copies.

    Promises: independent of the order of the rows.
    """
    n_rows = np.bincount(group)
    links = _links(group, same, near)
    if (n_rows <= 1).all() or not len(same):
        none = np.zeros(0, np.int64)
        return MergedGroups(_connected(len(n_rows), links), none, none, none)
    component = _merged_within_limits(n_rows, _longest_first(links), max_group_rows)
    return MergedGroups(component, *_apart(component[group], same, near))


@dataclass(frozen=True)
class _Links:
    """Pairs of groups a < b that share a text, its number and its length; (m,) each."""

    a: Integers
    b: Integers
    text: Integers
    n_characters: Integers


def _links(group: Integers, same: SameTexts, near: NearPairStore) -> Iterator[_Links]:
    """All links, some at a time: each text's lowest group with its other groups, then with those of similar texts."""
    if not len(same):
        return
    lowest = np.minimum.reduceat(group[same.order], same.start[:-1])
    for first in range(0, len(same.order), _BLOCK):
        rows = same.order[first : first + _BLOCK]
        text = same.text[rows]
        yield _different(lowest[text], group[rows], text, same.n_characters[text])
    for i, j in near.blocks():
        n_characters = np.maximum(same.n_characters[i], same.n_characters[j])
        yield _different(lowest[i], lowest[j], np.minimum(i, j), n_characters)


def _different(a: Integers, b: Integers, text: Integers, n_characters: Integers) -> _Links:
    is_link = a != b
    a, b = a[is_link], b[is_link]
    return _Links(np.minimum(a, b), np.maximum(a, b), text[is_link], n_characters[is_link])


def _connected(n_groups: int, links: Iterable[_Links]) -> Integers:
    """(n_groups,) the lowest group that any chain of links leads to."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    component = np.arange(n_groups)
    for block in links:
        a, b = component[block.a], component[block.b]
        touched, ends = np.unique(np.concatenate([a, b]), return_inverse=True)
        if not len(touched):
            continue
        edges = (np.ones(len(a), np.bool_), (ends[: len(a)], ends[len(a) :]))
        _, found = connected_components(coo_array(edges, shape=(len(touched), len(touched))), directed=False)
        lowest = np.full(int(found.max()) + 1, n_groups)
        np.minimum.at(lowest, found, touched)
        goes_to = np.arange(n_groups)
        goes_to[touched] = lowest[found]
        component = goes_to[component]
    return component


def _longest_first(links: Iterable[_Links]) -> list[tuple[int, int]]:
    """Each pair of groups once, those that share the longest text first."""
    blocks = [_once(block) for block in links]
    joined = (np.concatenate([getattr(block, field.name) for block in blocks]) for field in fields(_Links))
    found = _once(_Links(*joined))
    order = np.lexsort((found.b, found.a, found.text, -found.n_characters))
    return list(zip(found.a[order].tolist(), found.b[order].tolist(), strict=True))


def _once(links: _Links) -> _Links:
    """Of the links between the same two groups, that of the longest text."""
    order = np.lexsort((links.text, -links.n_characters, links.b, links.a))
    a, b = links.a[order], links.b[order]
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    order = order[is_new]
    return _Links(links.a[order], links.b[order], links.text[order], links.n_characters[order])


def _merged_within_limits(n_rows: Integers, links: Sequence[tuple[int, int]], max_group_rows: int) -> Integers:
    """(G,) the lowest group with which each group was merged, link by link."""
    linked = sorted({group for link in links for group in link})
    components = Components(linked)
    size = dict(zip(linked, n_rows[linked].tolist(), strict=True))
    is_wide = {group: n > 1 for group, n in size.items()}
    for one, other in links:
        a, b = components.find(one), components.find(other)
        n_together = size[a] + size[b]
        is_chain = (is_wide[a] or is_wide[b]) and min(size[a], size[b]) > 1
        if a == b or (is_chain and n_together > max_group_rows):
            continue
        components.join(a, b)
        merged = components.find(a)
        size[merged] = n_together
        is_wide[merged] = is_wide[a] or is_wide[b]
    component = np.arange(len(n_rows))
    component[linked] = [components.find(group) for group in linked]
    return component


def _apart(component: Integers, same: SameTexts, near: NearPairStore) -> tuple[Integers, Integers, Integers]:
    """The texts whose rows, or whose similar texts' rows, stand in several components; two of these each.

    component : (n,) of each row.
    """
    own = component[same.order]
    low, high = np.minimum.reduceat(own, same.start[:-1]), np.maximum.reduceat(own, same.start[:-1])
    low_near, high_near = low.copy(), high.copy()
    for i, j in near.blocks():
        for mine, other in ((i, j), (j, i)):
            np.minimum.at(low_near, mine, low[other])
            np.maximum.at(high_near, mine, high[other])
    apart = np.flatnonzero(low_near != high_near)
    return apart, low_near[apart], high_near[apart]
