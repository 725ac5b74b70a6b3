"""Hints of groups that nobody named: rows of one patient, document or customer, which random folds would tear apart."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.data.dataset import Dataset
from honed.data.issue_table import Issue, shorten
from honed.data.personal.columns import kind_of_cells
from honed.data.personal.find import find_personal_batch, mask
from honed.data.personal.hit import KINDS
from honed.data.sampling import sample_groups
from honed.data.surface_traits import own_texts
from honed.data.traits import column_traits

MAX_ROWS = 12_000
MAX_COLUMNS = 200
MIN_ROWS = 50
_FEWEST_GROUPS = 10
_LARGEST_FRAC = 0.2
_SHARED_FRAC = 0.8  # of the rows stand in a group with another row
_GROUPED_FRAC = 0.5  # groups per row, below which the user has named groups
_ID_LIKE = 0.9  # of the values are unique: then what ids or file names begin with may be the group
_N_SHUFFLES = 20
_Z = 6.0
# Rows of one group are told only if they are clearly more alike than rows of other groups of their class. On 40 court
# judgments: sentences of one 2.3 times, neighbouring sentences 6.6 times; medical abstracts in any order: 1.0 times.
_LIKER_RATIO = 1.5
_LIKER_BY = 0.01
_AGREE_BY = 0.25
_FEW_ROWS = 50
_THING = (
    "patient|person|subject|participant|document|doc|customer|client|user|author|speaker|writer|reviewer|case|thread"
    "|conversation|session|visit|episode|family|household|hospital|site|clinic|ward|device|scanner|camera|video|study"
    "|series|claim|ticket|account|company|firm|school|student|pupil|sender|recipient|article|paper|report|page"
)
_NAMED = re.compile(
    rf"(.*[_\W])?({_THING}|pid|mrn)s?([_\W]?(id|no|nr|num|number|name|key|code|uuid|hash))?", re.IGNORECASE
)
# "patient12_img3.png" -> "patient12": all before the last number, if a number stands in it.
_BEFORE_LAST_NUMBER = re.compile(r"(.*\d.*?)[^\d]+\d+[^\d/]*")


@dataclass(frozen=True)
class _Candidate:
    """A way to group n rows: (n,) names, "" where a row has none; of `column`, told as `title`, with the `remedy`."""

    column: str
    title: str
    remedy: str
    name: list[str]
    is_named: bool


def group_hints(dataset: Dataset) -> list[Issue]:
    """`group_hint`: columns, beginnings of ids and file names, or the order of the file, that seem to group the rows.

    A candidate groups at least 80 % of the rows into 10 groups or more, none of more than a fifth of the rows. It is
    told if its column is named like a person or a thing that has several rows, or if its rows share words, or the
    label, far more than rows of the same class that are drawn at random (20 shuffles). Quiet where the dataset's
    groups keep these rows together already; where it has groups of its own, only the name of a column counts. At most
    12,000 rows are compared.

    Promises: independent of the order of the rows (but for their `row` numbers).
    """
    rows = dataset.take(sample_groups(dataset.group, MAX_ROWS))
    rows = rows.take(np.argsort(rows.row, kind="stable"))
    if len(rows) < MIN_ROWS:
        return []
    has_groups = len(set(rows.group.tolist())) < _GROUPED_FRAC * len(rows)
    found = []
    texts = own_texts(rows)
    vectors = _vectors(texts or [""] * len(rows))
    for candidate in _candidates(rows):
        if has_groups and not candidate.is_named:
            continue
        index = _index(candidate.name, rows)
        if index is None:
            continue
        alike = _alike(index, rows.label, vectors)
        reason = f"texts of one are {alike}" if alike else _agree(index, rows.label)
        if reason or candidate.is_named:
            found.append(_issue(candidate, index, reason))
    return found if found or has_groups or not texts else _neighbours(rows, vectors)


def _candidates(rows: Dataset) -> Iterator[_Candidate]:
    for name, values in list(rows.traits.items())[:MAX_COLUMNS]:
        if values.dtype.kind == "f":
            continue
        cells = [cell.strip() for cell in values.tolist()]
        is_named = _NAMED.fullmatch(name) is not None
        yield _Candidate(name, f"Column {name!r}", f"--group {shlex.quote(name)}", cells, is_named)
        if len(set(cells)) < _ID_LIKE * len(cells) or not any(t.is_text for t in column_traits(name, cells)):
            continue
        remedy = "put that part into a column of its own and name it with --group"
        folder = [cell.rpartition("/")[0] for cell in cells]
        yield _Candidate(name, f"The folder in {name!r}", remedy, folder, is_named=False)
        start = [found[1] if (found := _BEFORE_LAST_NUMBER.fullmatch(cell)) else "" for cell in cells]
        if start != folder:
            yield _Candidate(name, f"What {name!r} begins with", remedy, start, is_named=True)


def _index(names: Sequence[str], rows: Dataset) -> npt.NDArray[np.int64] | None:
    """(n,) group of each row, rows without a name alone; None if the names do not look like groups, or are kept."""
    n_rows = Counter(name for name in names if name)
    n_shared = sum(n for n in n_rows.values() if n > 1)
    n_groups = sum(n > 1 for n in n_rows.values())
    largest = max(n_rows.values(), default=0)
    if n_groups < _FEWEST_GROUPS or largest > _LARGEST_FRAC * len(rows) or n_shared < _SHARED_FRAC * len(rows):
        return None
    pairs = {(name, group) for name, group in zip(names, rows.group.tolist(), strict=True) if name}
    if len(pairs) == len(n_rows):
        return None
    keys = [f"{name}" if name else f"\0{i}" for i, name in enumerate(names)]
    return np.asarray(np.unique(keys, return_inverse=True)[1], dtype=np.int64)


def _vectors(texts: Sequence[str]) -> Any:
    """(n, d) sparse rows of length 1: the words that stand in few of the texts, weighed by rarity."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2, max_df=0.2)
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:  # no word of two letters stands in two texts and few enough
        from scipy.sparse import csr_matrix

        return csr_matrix((len(texts), 1))


def _alike(index: npt.NDArray[np.int64], label: npt.NDArray[np.int64], vectors: Any) -> str:
    """That rows of one group share more words than rows of their class dealt out at random, in words; or ""."""
    rng = np.random.default_rng(0)
    others = [_likeness(_shuffle_within(index, label, rng), vectors) for _ in range(_N_SHUFFLES)]
    alike, usual = _likeness(index, vectors), float(np.mean(others))
    if _stands_out(alike, others) and alike >= max(_LIKER_RATIO * usual, usual + _LIKER_BY):
        return f"more alike than others of their class ({alike:.2f} against {usual:.2f})"
    return ""


def _agree(index: npt.NDArray[np.int64], label: npt.NDArray[np.int64]) -> str:
    """That rows of one small group share the label far more often than rows at random, in words; or ""."""
    size = np.bincount(index)
    if size[size > 1].mean() > _FEW_ROWS:
        return ""
    rng = np.random.default_rng(0)
    others = [_agreement(rng.permutation(index), label) for _ in range(_N_SHUFFLES)]
    agree, usual = _agreement(index, label), float(np.mean(others))
    if _stands_out(agree, others) and agree >= usual + _AGREE_BY:
        return f"rows of one share the label in {agree:.0%} of the pairs, others in {usual:.0%}"
    return ""


def _stands_out(value: float, others: Sequence[float]) -> bool:
    return value > float(np.mean(others)) + _Z * max(float(np.std(others)), 1e-9)


def _shuffle_within(
    index: npt.NDArray[np.int64], label: npt.NDArray[np.int64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The groups dealt out anew among the rows of each class, so that a class's own words count for nothing."""
    result = index.copy()
    for j in np.unique(label):
        own = np.flatnonzero(label == j)
        result[own] = index[rng.permutation(own)]
    return result


def _likeness(index: npt.NDArray[np.int64], vectors: Any) -> float:
    """The mean cosine of two rows of one group, over all such pairs: |sum of a group|^2 holds them all."""
    from scipy.sparse import csr_matrix

    n = len(index)
    size = np.bincount(index)
    total = csr_matrix((np.ones(n), (index, np.arange(n)))) @ vectors
    own = float(vectors.multiply(vectors).sum())
    return (float(total.multiply(total).sum()) - own) / max(int((size * (size - 1)).sum()), 1)


def _agreement(index: npt.NDArray[np.int64], label: npt.NDArray[np.int64]) -> float:
    """The share of pairs of rows of one group that have the same label."""
    size = np.bincount(index)
    same = np.unique(np.column_stack([index, label]), axis=0, return_counts=True)[1]
    return float((same * (same - 1)).sum() / max(int((size * (size - 1)).sum()), 1))


def _issue(candidate: _Candidate, index: npt.NDArray[np.int64], reason: str) -> Issue:
    size = np.bincount(index)
    n_groups = int((size > 1).sum())
    typical = np.argsort(size, kind="stable")[len(size) - (n_groups + 1) // 2]
    example = candidate.name[int(np.flatnonzero(index == typical)[0])]
    kind = kind_of_cells(candidate.column, sorted(set(candidate.name)), find_personal_batch)
    shown = f"[{KINDS[kind].one}]" if kind else mask(example)
    because = f"; {reason}" if reason else ""
    evidence = (
        f"{shorten(candidate.title, 50)} may say which rows belong together: {n_groups} groups, such as"
        f" {shorten(shown, 30)!r} with {size[typical]} rows{because}. If so: {candidate.remedy}."
    )
    return Issue("group_hint", 0.2 if reason else 0.5, "review", evidence)


def _neighbours(rows: Dataset, vectors: Any) -> list[Issue]:
    """A hint where rows that follow each other in the file are alike, as the sentences of one document are."""
    first = np.arange(0, len(rows) - 1, 2)
    first = first[rows.group[first] != rows.group[first + 1]]  # copies of a text are kept together already
    if 2 * len(first) < MIN_ROWS:
        return []
    both = np.concatenate([first, first + 1])
    reason = _alike(np.tile(np.arange(len(first)), 2), rows.label[both], vectors[both])
    if not reason:
        return []
    evidence = (
        f"Rows that follow each other are {reason}. If the file runs through documents, patients or customers, add a"
        " column that says which, and name it with --group."
    )
    return [Issue("group_hint", 0.3, "review", evidence)]
