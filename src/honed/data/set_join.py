"""All pairs of sets whose Jaccard similarity reaches a threshold: an exact join, vectorised, in bounded memory.

Two sets with |x and y| / |x or y| >= t must share one of the first |x| - ceil(t |x|) + 1 elements of each, in any order
that is the same for all sets (Chaudhuri, Ganti, Kaushik 2006). The order here is from rare to common by a table of
counts of fixed size, in which different elements may share a place: that makes a few elements look more common than
they are, and changes nothing else. The first elements of all sets are sorted, so that sets with a common one stand
together; pairs whose sizes (Bayardo, Ma, Srikant 2007) or whose places of the common element (Xiao et al. 2008) rule
the threshold out are left; all others are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from honed.data.shingles import Hashes, HashSets
from honed.data.spill import GrowingArray

# Only for thousands of texts made from one mould: then a set is compared with this many neighbours in size for each of
# its elements, and with no more once it has this many partners. Components hardly change; the time stays linear.
MAX_NEIGHBOURS = 300
MAX_PARTNERS = 16

_MAX_PLACES = 1 << 24  # of the table of counts: 64 MB
_COMMON = np.iinfo(np.uint16).max  # counts from here on are the same
_BLOCK = 1 << 21  # elements read at once
_PART = 1 << 21  # first elements sorted at once
_PENDING = 1 << 20  # pairs compared at once
_ROUNDING = 1e-9
_PADDING = np.iinfo(np.uint64).max

_ENTRY = np.dtype([("hash", np.uint64), ("number", np.uint32), ("place", np.uint32)])
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Pairs of positions i, j (in no order) and their similarities in [0, 1]; (m,) each."""

    i: Integers
    j: Integers
    similarity: npt.NDArray[np.float64]


class SetStore:
    """Sets of 64-bit hashes, one after another; a position may hold no elements."""

    def __init__(self) -> None:
        self.values = GrowingArray(np.uint64)
        self._size = GrowingArray(np.int32)

    def __len__(self) -> int:
        return len(self._size)

    def append(self, sets: HashSets) -> None:
        """Add the sets at the end."""
        self.values.append(sets.values)
        self._size.append(sets.size)

    def start(self) -> Integers:
        """(n + 1,) where each set begins in `values`."""
        return np.concatenate([[0], np.cumsum(self._size.view(), dtype=np.int64)])


class _Members:
    """The sets to be compared, numbered from small to large, equal ones as they were given.

    position : number -> position in the store.    given : number -> position among the members.
    size, start, parity : of each number.    n_partners : found so far that are not larger.
    """

    def __init__(self, sets: SetStore, members: Integers, threshold: float) -> None:
        begin = sets.start()
        size = begin[members + 1] - begin[members]
        order = np.argsort(size, kind="stable")
        self.given = order[size[order] > 0]
        self.position = members[self.given]
        self.size = size[self.given]
        self.start = begin[self.position]
        self.threshold = threshold
        self.parity = np.zeros((len(self.given), 2), np.uint64)
        self.n_partners = np.zeros(len(self.given), np.uint16)


def similar_pairs(
    sets: SetStore, members: Integers, threshold: float, *, side: npt.NDArray[np.bool_] | None = None
) -> Iterator[Pairs]:
    """Blocks of pairs of the members with a similarity of at least the threshold; a pair may come twice.

    members : positions in the store, in an order that does not depend on the order of the rows.
    side : (len(members),) if given, only pairs of one member of either side count.

    Promises: no pair of these is missed unless over `MAX_NEIGHBOURS` sets share an element that is among the rarest
    1 - threshold of both, or one has over `MAX_PARTNERS` partners that are not larger.
    """
    ours = _Members(sets, members, threshold - _ROUNDING)
    own_side = None if side is None else side[ours.given]
    for part in _first_elements(sets, ours):
        for x, y in _candidates(part.view(), ours, own_side):
            similarity = _jaccard(sets, ours, x, y)
            is_similar = similarity >= ours.threshold
            np.add.at(ours.n_partners, x[is_similar], 1)
            yield Pairs(ours.given[x[is_similar]], ours.given[y[is_similar]], similarity[is_similar])


def _blocks(start: Integers) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of neighbouring sets with about `_BLOCK` elements, at most 65,536 sets."""
    first = 0
    while first < len(start) - 1:
        last = int(np.searchsorted(start, start[first] + _BLOCK, side="right")) - 1
        last = min(max(last, first + 1), first + (1 << 16), len(start) - 1)
        yield first, last
        first = last


def _counts(sets: SetStore, start: Integers) -> npt.NDArray[np.uint16]:
    """How often the elements of each place of a table occur; an element's place is given by its last bits."""
    n_places = 1 << min(_MAX_PLACES.bit_length() - 1, max(10, (4 * len(sets.values)).bit_length()))
    counts = np.zeros(n_places, np.uint32)
    for first, last in _blocks(start):
        places, n = np.unique(sets.values.read(start[first], start[last]) & np.uint64(n_places - 1), return_counts=True)
        counts[places] += n.astype(np.uint32)
    return np.minimum(counts, _COMMON).astype(np.uint16)


def _first_elements(sets: SetStore, ours: _Members) -> list[GrowingArray]:
    """The prefixes of all members that may lead to another one, divided by hash into parts of bounded size."""
    start = sets.start()
    counts = _counts(sets, start)
    number = np.full(len(sets), -1, np.int64)
    number[ours.position] = np.arange(len(ours.position))
    n_first = ours.size - np.ceil(ours.threshold * ours.size).astype(np.int64) + 1
    n_parts = 1 + int(n_first.sum()) // _PART
    parts = [GrowingArray(_ENTRY, budget_bytes=(_PART * _ENTRY.itemsize) // n_parts) for _ in range(n_parts)]
    for first, last in _blocks(start):
        values = sets.values.read(start[first], start[last])
        size = np.diff(start[first : last + 1])
        own = number[first:last]
        owner = np.repeat(np.arange(last - first, dtype=np.uint16), size)
        is_full = (size > 0) & (own >= 0)
        ours.parity[own[is_full]] = _parity(values, start[first:last][is_full] - start[first], size[is_full])
        count = counts[values & np.uint64(len(counts) - 1)]
        # Elements of a set are sorted by hash already, and stay so where their counts are equal.
        order = np.argsort(count, kind="stable")
        order = order[np.argsort(owner[order], kind="stable")]
        place = np.arange(len(values)) - np.repeat(start[first:last] - start[first], size)
        n_leading = np.zeros(len(own), np.int64)
        n_leading[own >= 0] = n_first[own[own >= 0]]
        # An element that occurs once takes its place but can lead to no other set.
        leads = np.flatnonzero((place < np.repeat(n_leading, size)) & (count[order] > 1))
        found = np.empty(len(leads), _ENTRY)
        found["hash"], found["place"] = values[order[leads]], place[leads]
        found["number"] = own[owner[order[leads]]]
        part = ((found["hash"] >> np.uint64(40)) * np.uint64(n_parts)) >> np.uint64(24)
        by_part = np.argsort(part.astype(np.uint16), kind="stable")
        bounds = np.searchsorted(part[by_part], np.arange(n_parts + 1))
        for target, a, b in zip(parts, bounds, bounds[1:], strict=False):
            target.append(found[by_part[a:b]])
    return parts


def _parity(values: Hashes, start: Integers, size: Integers) -> Hashes:
    """(n, 2): which of 128 bits an odd number of the elements of each set has set, one bit an element.

    In two sets at most as many of these bits differ as elements stand in one of the sets alone.
    """
    owner = np.repeat(np.arange(len(start)), size)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(size) - size, size)
    own = values[start[owner] + within]
    bit = np.uint64(1) << (own & np.uint64(63))
    is_second = (own >> np.uint64(6)) & np.uint64(1)
    first = np.cumsum(size) - size
    halves = [np.bitwise_xor.reduceat(bit * (is_second == half), first) for half in (0, 1)]
    return np.stack(halves, axis=1) if len(start) else np.zeros((0, 2), np.uint64)


def _candidates(
    entries: npt.NDArray[np.void], ours: _Members, side: npt.NDArray[np.bool_] | None
) -> Iterator[tuple[Integers, Integers]]:
    """Blocks of numbers (x, y), y not larger, that share a first element and may be similar; each pair once a block."""
    order = np.lexsort((entries["number"], entries["hash"]))
    hashes, number = entries["hash"][order], entries["number"][order].astype(np.int64)
    place = entries["place"][order].astype(np.int64)
    n_after = ours.size[number] - place  # elements from the common one on
    alive = np.arange(len(order))
    pending: list[npt.NDArray[np.uint64]] = []
    for distance in range(1, MAX_NEIGHBOURS + 1):
        alive = alive[alive >= distance]
        x, y = number[alive], number[alive - distance]
        # Neighbours are sorted by size: where one is too small, all further ones are.
        goes_on = (hashes[alive] == hashes[alive - distance]) & (ours.size[y] >= ours.threshold * ours.size[x])
        goes_on &= ours.n_partners[x] < MAX_PARTNERS
        alive, x, y = alive[goes_on], x[goes_on], y[goes_on]
        needed = ours.threshold / (1 + ours.threshold) * (ours.size[x] + ours.size[y])
        # Were this the first common element, no more than the rest of either could be common.
        is_possible = np.minimum(n_after[alive], n_after[alive - distance]) >= needed
        if side is not None:
            is_possible &= side[x] != side[y]
        x, y, needed = x[is_possible], y[is_possible], needed[is_possible]
        n_differ = np.bitwise_count(ours.parity[x] ^ ours.parity[y]).sum(axis=1, dtype=np.int64)
        is_possible = n_differ <= ours.size[x] + ours.size[y] - 2 * needed
        pending.append((x[is_possible].astype(np.uint64) << np.uint64(32)) | y[is_possible].astype(np.uint64))
        is_round = distance >= 8 and distance & (distance - 1) == 0
        if is_round or not len(alive) or distance == MAX_NEIGHBOURS or sum(map(len, pending)) > _PENDING:
            pairs = np.unique(np.concatenate(pending))
            pending.clear()
            for a in range(0, len(pairs), _PENDING):
                block = pairs[a : a + _PENDING]
                yield (block >> np.uint64(32)).astype(np.int64), (block & np.uint64(0xFFFFFFFF)).astype(np.int64)
        if not len(alive):
            return


def _jaccard(sets: SetStore, ours: _Members, x: Integers, y: Integers) -> npt.NDArray[np.float64]:
    """The similarity of each pair of numbers."""
    n_shared = np.zeros(len(x), np.int64)
    values = sets.values.view()
    first = 0
    while first < len(x):  # pairs stand in the order of x, the larger set: those of a block are about equally large
        width = 2 * ours.size[x[first : first + _BLOCK // 2]]
        last = first + max(1, int(np.searchsorted(width * np.arange(1, len(width) + 1), _BLOCK, side="right")))
        n_shared[first:last] = _n_shared(values, ours, x[first:last], y[first:last])
        first = last
    return np.asarray(n_shared / (ours.size[x] + ours.size[y] - n_shared))


def _n_shared(values: Hashes, ours: _Members, x: Integers, y: Integers) -> Integers:
    """How many elements each pair has in common: both sets are sorted into one row, where these stand twice."""
    width = int(ours.size[x].max())
    rows = np.full((len(x), 2 * width), _PADDING, np.uint64)
    within = np.arange(width)
    for number, place in ((x, rows[:, :width]), (y, rows[:, width:])):
        is_own = within < ours.size[number][:, None]
        place[is_own] = values[(ours.start[number][:, None] + within)[is_own]]
    rows.sort(axis=1)
    n_padding = 2 * width - ours.size[x] - ours.size[y]
    return np.asarray((rows[:, 1:] == rows[:, :-1]).sum(axis=1) - np.maximum(n_padding - 1, 0))
