"""Structural checks before the folds are made: rows that leak into each other become one group.

No check ever drops a row that can be scored, nor alters its text or label: scoring only what survived a cleaning
flatters. Each finding is a row of `issues.parquet`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from honed.data.dataset import Dataset, Rows
from honed.data.duplicate_groups import NearPairStore, merge_groups
from honed.data.duplicates import (
    blocks,
    conflicting_texts,
    contamination,
    exact_duplicates,
    near_duplicates,
    split_duplicates,
)
from honed.data.issue_table import Issue, IssueTable
from honed.data.label_checks import label_spelling, small_classes, suspicious_labels
from honed.data.label_typos import label_typos
from honed.data.near_duplicates import BestPartners, near_texts
from honed.data.personal.find import find_personal_batch
from honed.data.personal.hit import Finder
from honed.data.personal_checks import PersonalData
from honed.data.set_join import Integers
from honed.data.spill import GrowingArray
from honed.data.text_checks import strange_characters
from honed.data.text_index import TextIndex, name_keys
from honed.data.token_checks import Tokenizer, TokenLengths
from honed.events import Emitter

_MANY_TEXTS_SHARE_A_GROUP = 0.2
# The user's groups are not merged beyond a third of the size of a fold, so that the folds can still be balanced.
_MERGED_GROUPS_PER_PART = 3


@dataclass(frozen=True)
class CheckResult:
    """What `structural_checks` found.

    dataset : the same rows in the same order; rows that must not be split share a group.
    issues : one row per finding.
    summary : for machines and the report (JSON types): `counts` per check, `n_rows`, `n_groups`,
        `n_groups_before`, `largest_group` (rows), `texts_kept_apart` (duplicates in several groups),
        `conflicts` (texts with several labels), `class_counts`,
        `truncation_frac` and `token_length` (quantiles; None without a tokenizer), `preview` of 3 rows,
        `personal_data` (`n_rows` and `n_places` of each kind).
    """

    dataset: Dataset
    issues: IssueTable
    summary: dict[str, Any]


@dataclass(frozen=True)
class CheckSettings:
    """How rows are checked.

    folds, tokenizer : see `structural_checks`.        test_texts : the texts of a test file, in batches.
    finder : finds personal data.
    """

    folds: int
    tokenizer: Tokenizer
    test_texts: Iterable[Sequence[str]] | None = None
    finder: Finder = find_personal_batch


@dataclass(frozen=True)
class CheckedRows:
    """What `check_rows` learned of n rows.

    bearer : (n,) for each row, a row after whose group its merged group is named.
    group : (n,) the number of each row's merged group.        summary : as in `CheckResult`.
    """

    bearer: Integers
    group: Integers
    summary: dict[str, Any]


def structural_checks(
    dataset: Dataset,
    *,
    folds: int,
    tokenize: Callable[[Sequence[str]], list[list[int]]] | None = None,
    decode: Callable[[list[int]], str] | None = None,
    max_tokens: int | None = None,
    test_inputs: Sequence[str] | None = None,
) -> CheckResult:
    """Run every structural check on a text dataset in memory: see `check_dataset`.

    folds : number of folds that are planned; a class needs one group for each and one for the holdout.
    tokenize : texts -> token ids, special tokens included and nothing cut off.
    decode : token ids -> text, to show what the model will see.        max_tokens : the length at which it cuts.
    test_inputs : texts of a test file that the user keeps apart.

    Promises: `dataset` has the same rows; groups, findings and their evidence do not depend on the order of the rows
    (only the order of the findings does).
    """
    tokenizer = Tokenizer(tokenize, decode, max_tokens)
    return check_dataset(dataset, CheckSettings(folds, tokenizer, None if test_inputs is None else [test_inputs]))


def check_dataset(dataset: Dataset, settings: CheckSettings) -> CheckResult:
    """Run every structural check on rows in memory; `check_rows` does the same for rows on disk.

    Promises: as `structural_checks`.
    """
    issues: list[Issue] = []
    checked = check_rows(dataset, settings, issues.append, Emitter())
    grouped = replace(dataset, group=dataset.group[checked.bearer])
    return CheckResult(grouped, IssueTable.from_issues(issues), checked.summary)


def check_rows(rows: Rows, settings: CheckSettings, tell: Callable[[Issue], None], emitter: Emitter) -> CheckedRows:
    """Run every structural check; `tell` hears each finding as it is made.

    Some 100 bytes a row are kept in memory, and at most `SPILL_BYTES` of each array beyond: see `spill`.
    """
    counts: Counter[str] = Counter()

    def found(issues: Iterable[Issue]) -> None:
        for issue in issues:
            counts[issue.check] += issue.is_issue
            tell(issue)

    index, id_key, group_key = TextIndex(), GrowingArray(np.uint64), GrowingArray(np.uint64)
    lengths, personal = TokenLengths(settings.tokenizer), PersonalData(settings.finder)
    with emitter.stage("rows", "Looking at every row"):
        for batch in rows.batches():
            index.add(batch.inputs)
            id_key.append(name_keys(batch.example_id.tolist()))
            group_key.append(name_keys(batch.group.tolist()))
            for i in range(len(batch)):
                found(strange_characters(batch, i))
            found(personal.add(batch))
            found(lengths.add(batch))
            emitter.emit("progress", "rows looked at", done=len(index), total=len(rows), unit="row")
    with emitter.stage("near", "Comparing the texts"):
        same = index.same(id_key.view())
        best, near = BestPartners(len(same)), NearPairStore()
        for pairs in near_texts(index, same):
            near.append(pairs.i, pairs.j)
            best.update(pairs.i, pairs.j, pairs.similarity)
            best.update(pairs.j, pairs.i, pairs.similarity)
        _, first_row, group = np.unique(group_key.view(), return_index=True, return_inverse=True)
        limit = len(rows) // (_MERGED_GROUPS_PER_PART * (settings.folds + 1))
        merged = merge_groups(group, same, near, max_group_rows=limit)
        bearer = first_row[_name_bearers(rows, first_row, merged.component)]
        merged_group = merged.component[group]
    with emitter.stage("findings", "Writing down what was found"):
        found(exact_duplicates(rows, same))
        found(near_duplicates(rows, same, best))
        found(split_duplicates(rows, same, merged, bearer))
    if settings.test_texts is not None:
        with emitter.stage("test_file", "Comparing with the test file"):
            found(contamination(rows, index, settings.test_texts))
    found(
        label_spelling(rows)
        + label_typos(rows)
        + suspicious_labels(rows)
        + small_classes(rows, merged_group, folds=settings.folds)
    )
    largest = int(np.bincount(merged_group, minlength=1).max())
    if largest > max(1, _MANY_TEXTS_SHARE_A_GROUP * len(rows)):
        evidence = f"The largest group holds {largest} of {len(rows)} rows, so the folds cannot have even sizes."
        found([Issue("large_group", 1 - largest / len(rows), "review", evidence)])
    token_issues, token_summary = lengths.summary()
    found(token_issues)
    class_counts = np.bincount(rows.label[rows.label >= 0], minlength=len(rows.label_names))
    summary = {
        "counts": dict(sorted((name, n) for name, n in counts.items() if n)),
        "n_rows": len(rows),
        "n_groups": len(np.unique(merged.component)),
        "n_groups_before": len(first_row),
        "largest_group": largest,
        "texts_kept_apart": len(merged.kept_apart),
        "conflicts": int(conflicting_texts(rows, same).sum()),
        "class_counts": dict(zip(rows.label_names, class_counts.tolist(), strict=True)),
        **token_summary,
        **personal.summary(),
    }
    return CheckedRows(bearer[group], merged_group, summary)


def _name_bearers(rows: Rows, first_row: Integers, component: Integers) -> Integers:
    """(G,) for each group the group whose name its component bears: the smallest of all.

    first_row : (G,) a row of each group.        component : (G,).
    """
    size = np.bincount(component, minlength=len(component))
    smallest: dict[int, tuple[str, int]] = {}
    for block in blocks(np.flatnonzero(size[component] > 1)):
        names = rows.take(first_row[block]).group.tolist()
        for group, own, name in zip(block.tolist(), component[block].tolist(), names, strict=True):
            smallest[own] = min(smallest.get(own, (name, group)), (name, group))
    bearer = component.copy()
    bearer[list(smallest)] = [group for _, group in smallest.values()]
    return bearer[component]
