"""Findings about texts that stand in several rows, or nearly: from numbers in memory to sentences about single rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from honed.data.dataset import Dataset, Rows
from honed.data.duplicate_groups import MergedGroups
from honed.data.issue_table import Action, Issue, shorten
from honed.data.near_duplicates import BestPartners, near_texts
from honed.data.personal.find import mask
from honed.data.set_join import Integers
from honed.data.text_index import NO_TEXT, SameTexts, TextIndex

_BLOCK = 4096
_SHOWN_CHARACTERS = 100


def blocks(positions: Integers) -> Iterator[Integers]:
    """Some thousands of the positions at a time."""
    for first in range(0, len(positions), _BLOCK):
        yield positions[first : first + _BLOCK]


def conflicting_texts(rows: Rows, same: SameTexts) -> npt.NDArray[np.bool_]:
    """(T,) whether the rows of a text have several labels."""
    if not len(same):
        return np.zeros(0, np.bool_)
    label = rows.label[same.order]
    highest = np.maximum.reduceat(label, same.start[:-1])
    lowest = np.minimum.reduceat(np.where(label < 0, len(rows.label_names), label), same.start[:-1])
    return np.asarray(lowest < highest)


def exact_duplicates(rows: Rows, same: SameTexts) -> Iterator[Issue]:
    """`exact_duplicate` for each row that repeats another one, `conflicting_label` where the labels differ."""
    conflicting = conflicting_texts(rows, same)
    n_rows, first = same.n_rows, same.first
    counted, counts = NO_TEXT, Counter[str]()
    for block in blocks(same.rows(n_rows > 1)):
        text = same.text[block]
        partner = np.where(block == first[text], same.order[same.start[text] + 1], first[text])
        mine, other = rows.take(block), rows.take(partner)
        for k, t in enumerate(text.tolist()):
            if conflicting[t]:
                if t != counted:  # rows of one text are neighbours
                    own = rows.label[same.order[same.start[t] : same.start[t + 1]]]
                    counted, counts = t, Counter(repr(rows.label_names[j]) for j in own.tolist() if j >= 0)
                listed = ", ".join(f"{label} x{n}" for label, n in sorted(counts.items()))
                evidence = f"One text, {len(counts)} labels ({listed}); see {_name(other, k)}."
                most = max(counts.values())
                score = 1 - 1 / most if counts[_label(mine, k)] == most else 0.0
                yield _row_issue(mine, k, "conflicting_label", score, "review", evidence)
            evidence = f"Same text as {_name(other, k)}, {n_rows[t]} times in all, but for case and blanks."
            yield _row_issue(mine, k, "exact_duplicate", 0.0, "group", evidence)


def near_duplicates(rows: Rows, same: SameTexts, best: BestPartners) -> Iterator[Issue]:
    """`near_duplicate` for each row whose text is nearly another's, with its most similar partner;
    `near_duplicate_conflict` too where that one has another label.
    """
    first = same.first
    for block in blocks(same.rows(best.text >= 0)):
        text = same.text[block]
        mine, other = rows.take(block), rows.take(first[best.text[text]])
        for k, similarity in enumerate(best.similarity[text].tolist()):
            differs = _label(mine, k) != _label(other, k)
            evidence = f"{similarity:.0%} of the shingles as {_name(other, k)}"
            quoted = f": {shorten(mask(str(other.inputs[k])), _SHOWN_CHARACTERS)}"
            yield _row_issue(mine, k, "near_duplicate", 1 - similarity, "group", evidence + quoted)
            if differs:
                evidence = f"Labelled {_label(mine, k)}, but {evidence}, which is labelled {_label(other, k)}{quoted}"
                yield _row_issue(mine, k, "near_duplicate_conflict", 1 - similarity, "review", evidence)


def split_duplicates(rows: Rows, same: SameTexts, merged: MergedGroups, bearer: Integers) -> Iterator[Issue]:
    """`split_duplicate` for each row with a duplicate in another group that was not merged with its own.

    bearer : (G,) the row after whose group each group is named.
    """
    place = np.full(len(same), -1, np.int64)
    place[merged.kept_apart] = np.arange(len(merged.kept_apart))
    for block in blocks(same.rows(merged.kept_apart)):
        apart = place[same.text[block]]
        mine = rows.take(block)
        names = [rows.take(bearer[part[apart]]).group.tolist() for part in (merged.low, merged.high)]
        for k, pair in enumerate(zip(*names, strict=True)):
            one, other = sorted(pair)
            evidence = (
                f"It has a (near) duplicate in another group; {mask(one)!r} and {mask(other)!r} stay apart, since"
            )
            evidence += " merging all such groups would leave too few for the folds: a fold may train on what it tests."
            yield _row_issue(mine, k, "split_duplicate", 0.3, "review", evidence)


def contamination(rows: Rows, index: TextIndex, test_texts: Iterable[Sequence[str]]) -> Iterator[Issue]:
    """`test_contamination` for each row that stands, exactly or nearly, in the test file too.

    index : of the rows' texts; the test file's are added to it.        test_texts : the texts of its rows, in batches.
    """
    n_own = len(index)
    for texts in test_texts:
        index.add(texts)
    same = index.same(np.arange(len(index)))
    test_text = same.text[n_own:]
    test_row = np.full(len(same) + 1, len(test_text))  # the last place is that of empty texts (-1)
    np.minimum.at(test_row, test_text, np.arange(len(test_text)))
    is_test = test_row[:-1] < len(test_text)
    best = BestPartners(len(same))
    for pairs in near_texts(index, same, side=is_test):
        for mine, other in ((pairs.i, pairs.j), (pairs.j, pairs.i)):
            best.update(mine[is_test[other]], other[is_test[other]], pairs.similarity[is_test[other]])
    best.text[is_test], best.similarity[is_test] = np.flatnonzero(is_test), 1.0
    own_text = same.text[:n_own]
    for block in blocks(np.flatnonzero((own_text >= 0) & (best.text[own_text] >= 0))):
        text = own_text[block]
        found = rows.take(block)
        for k, (similarity, row) in enumerate(
            zip(best.similarity[text].tolist(), test_row[best.text[text]].tolist(), strict=True)
        ):
            evidence = (
                f"Stands in the test file too (row {row + 1}, similarity {similarity:.2f}): its score will flatter."
            )
            yield _row_issue(found, k, "test_contamination", 1 - similarity, "review", evidence)


def _name(dataset: Dataset, i: int) -> str:
    return f"{mask(str(dataset.example_id[i]))!r} (row {int(dataset.row[i]) + 1})"


def _label(dataset: Dataset, i: int) -> str:
    return repr(dataset.label_names[dataset.label[i]]) if dataset.label[i] >= 0 else "no label"


def _row_issue(dataset: Dataset, i: int, check: str, score: float, action: Action, evidence: str) -> Issue:
    return Issue(check, score, action, evidence, str(dataset.example_id[i]), int(dataset.row[i]))
