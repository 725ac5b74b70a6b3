"""Groups in which equal and nearly equal texts stand together, so that no fold trains on what it tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from honed.data.dataset import Dataset
from honed.data.near_duplicates import Components


@dataclass(frozen=True)
class MergedGroups:
    """The (n,) groups after merging, and the texts whose groups stayed apart.

    kept_apart : text -> (one group, another group) for each text that still stands in several groups.
    """

    group: npt.NDArray[np.str_]
    kept_apart: dict[str, tuple[str, str]]


def merge_groups(
    dataset: Dataset, same: Mapping[str, Sequence[int]], near: Sequence[tuple[str, str]], *, max_group_rows: int
) -> MergedGroups:
    """Merge the groups of equal and nearly equal texts; a merged group is named after the smallest name in it.

    same : text -> positions of its rows.        near : pairs of texts that are nearly the same.
    max_group_rows : where the user's groups have several rows (documents, patients), two of them are merged only
        while they hold at most so many rows together. Else a few stock sentences ("Appeal dismissed.") would chain
        all documents into one and leave nothing to divide. The longest shared texts come first, since they
        are the surest copies.

    Promises: independent of the order of the rows.
    """
    group: list[str] = dataset.group.tolist()
    n_rows = Counter(group)
    is_wide = {name: n > 1 for name, n in n_rows.items()}
    components = Components(n_rows)
    links: list[tuple[tuple[str, ...], list[str]]] = [
        ((text,), sorted({group[i] for i in rows})) for text, rows in same.items() if len(rows) > 1
    ]
    links += [((a, b), sorted({group[i] for t in (a, b) for i in same[t]})) for a, b in near]
    links.sort(key=lambda link: (-max(map(len, link[0])), sorted(link[0])))
    for _, names in links:
        for name in names[1:]:
            a, b = components.find(names[0]), components.find(name)
            n_together = n_rows[a] + n_rows[b]
            is_chain = (is_wide[a] or is_wide[b]) and min(n_rows[a], n_rows[b]) > 1
            if a == b or (is_chain and n_together > max_group_rows):
                continue
            components.join(a, b)
            merged = components.find(a)
            n_rows[merged] = n_together
            is_wide[merged] = is_wide[a] or is_wide[b]
    kept_apart: dict[str, tuple[str, str]] = {}
    for texts, names in links:
        found = sorted({components.find(name) for name in names})
        if len(found) > 1:
            for text in texts:
                kept_apart.setdefault(text, (found[0], found[1]))
    return MergedGroups(np.array([components.find(name) for name in group], dtype=np.str_), kept_apart)
