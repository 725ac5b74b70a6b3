"""Structural checks before the folds are made: rows that leak into each other become one group.

No check ever drops a row that can be scored, nor alters its text or label: scoring only what survived a cleaning
flatters. Each finding is a row of `issues.parquet`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from honed.data.dataset import Dataset
from honed.data.duplicate_groups import MergedGroups, merge_groups
from honed.data.issue_table import Issue, IssueTable, shorten
from honed.data.label_checks import label_spelling, small_classes, suspicious_labels
from honed.data.near_duplicates import NearPair, near_pairs, normalise
from honed.data.personal.find import mask
from honed.data.personal_checks import personal_data
from honed.data.text_checks import strange_characters
from honed.data.token_checks import Tokenizer, token_checks

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


def structural_checks(
    dataset: Dataset,
    *,
    folds: int,
    tokenize: Callable[[Sequence[str]], list[list[int]]] | None = None,
    decode: Callable[[list[int]], str] | None = None,
    max_tokens: int | None = None,
    test_inputs: Sequence[str] | None = None,
) -> CheckResult:
    """Run every structural check on a text dataset.

    folds : number of folds that are planned; a class needs one group for each and one for the holdout.
    tokenize : texts -> token ids, special tokens included and nothing cut off.
    decode : token ids -> text, to show what the model will see.        max_tokens : the length at which it cuts.
    test_inputs : texts of a test file that the user keeps apart.

    Promises: `dataset` has the same rows; groups, findings and their evidence do not depend on the order of the rows
    (only the order of the findings does).
    """
    texts = [normalise(text) for text in dataset.inputs]
    same = _positions(dataset, texts)
    pairs = near_pairs(texts)
    near = [(texts[pair.i], texts[pair.j]) for pair in pairs]
    limit = len(dataset) // (_MERGED_GROUPS_PER_PART * (folds + 1))
    merged = merge_groups(dataset, same, near, max_group_rows=limit)
    grouped = replace(dataset, group=merged.group)
    issues = _duplicates(dataset, same)
    issues += _near_duplicates(dataset, texts, same, pairs)
    issues += _kept_apart(dataset, same, merged)
    if test_inputs is not None:
        issues += _contamination(dataset, texts, [normalise(text) for text in test_inputs])
    issues += [found for i in range(len(dataset)) for found in strange_characters(dataset, i)]
    personal_issues, personal_summary = personal_data(dataset)
    issues += personal_issues
    issues += label_spelling(dataset) + suspicious_labels(dataset) + small_classes(grouped, folds=folds)
    group_sizes = Counter(grouped.group.tolist())
    n_before = len(set(dataset.group.tolist()))
    largest = max(group_sizes.values(), default=0)
    if largest > max(1, _MANY_TEXTS_SHARE_A_GROUP * len(dataset)):
        evidence = f"The largest group holds {largest} of {len(dataset)} rows, so the folds cannot have even sizes."
        issues.append(Issue("large_group", 1 - largest / len(dataset), "review", evidence))
    token_issues, token_summary = token_checks(dataset, Tokenizer(tokenize, decode, max_tokens))
    table = IssueTable.from_issues(issues + token_issues)
    class_counts = Counter(dataset.label[dataset.label >= 0].tolist())
    summary = {
        "counts": table.counts(),
        "n_rows": len(dataset),
        "n_groups": len(group_sizes),
        "n_groups_before": n_before,
        "largest_group": largest,
        "texts_kept_apart": len(merged.kept_apart),
        "conflicts": sum(len(_labels(dataset, rows)) > 1 for rows in same.values()),
        "class_counts": {name: class_counts[j] for j, name in enumerate(dataset.label_names)},
        **token_summary,
        **personal_summary,
    }
    return CheckResult(grouped, table, summary)


def _positions(dataset: Dataset, texts: Sequence[str]) -> dict[str, list[int]]:
    """Normalised text -> its positions, in the order of their example ids; empty texts are no duplicates."""
    same: defaultdict[str, list[int]] = defaultdict(list)
    for i in np.argsort(dataset.example_id, kind="stable").tolist():
        if texts[i]:
            same[texts[i]].append(i)
    return dict(same)


def _labels(dataset: Dataset, rows: Sequence[int]) -> list[str]:
    """The distinct labels of the rows, sorted."""
    return sorted({dataset.label_names[dataset.label[i]] for i in rows if dataset.label[i] >= 0})


def _name(dataset: Dataset, i: int) -> str:
    return f"{mask(str(dataset.example_id[i]))!r} (row {int(dataset.row[i]) + 1})"


def _label(dataset: Dataset, i: int) -> str:
    return repr(dataset.label_names[dataset.label[i]]) if dataset.label[i] >= 0 else "no label"


def _row_issue(dataset: Dataset, i: int, check: str, score: float, action: Any, evidence: str) -> Issue:
    return Issue(check, score, action, evidence, str(dataset.example_id[i]), int(dataset.row[i]))


def _duplicates(dataset: Dataset, same: dict[str, list[int]]) -> list[Issue]:
    """`exact_duplicate` for each row that repeats another one, `conflicting_label` where the labels differ."""
    issues = []
    for rows in same.values():
        if len(rows) < 2:
            continue
        counts = Counter(_label(dataset, i) for i in rows if dataset.label[i] >= 0)
        for i in rows:
            other = rows[1] if i == rows[0] else rows[0]
            if len(counts) > 1:
                listed = ", ".join(f"{label} x{n}" for label, n in sorted(counts.items()))
                evidence = f"One text, {len(counts)} labels ({listed}); see {_name(dataset, other)}."
                score = 1 - 1 / max(counts.values()) if counts[_label(dataset, i)] == max(counts.values()) else 0.0
                issues.append(_row_issue(dataset, i, "conflicting_label", score, "review", evidence))
            evidence = f"Same text as {_name(dataset, other)}, {len(rows)} times in all, but for case and blanks."
            issues.append(_row_issue(dataset, i, "exact_duplicate", 0.0, "group", evidence))
    return issues


def _kept_apart(dataset: Dataset, same: dict[str, list[int]], merged: MergedGroups) -> list[Issue]:
    """`split_duplicate` for each row with a duplicate in another group that was not merged with its own."""
    issues = []
    for text, (one, other) in merged.kept_apart.items():
        for i in same[text]:
            evidence = (
                f"It has a (near) duplicate in another group; {mask(one)!r} and {mask(other)!r} stay apart, since"
            )
            evidence += (
                " merging all such groups would leave too few for the folds: a fold may train on a text that it tests."
            )
            issues.append(_row_issue(dataset, i, "split_duplicate", 0.3, "review", evidence))
    return issues


def _near_duplicates(
    dataset: Dataset, texts: Sequence[str], same: dict[str, list[int]], pairs: Sequence[NearPair]
) -> list[Issue]:
    """`near_duplicate` for each row whose text is nearly another's, with its most similar partner."""
    partner: dict[str, tuple[float, str]] = {}
    for pair in pairs:
        for mine, other in ((texts[pair.i], texts[pair.j]), (texts[pair.j], texts[pair.i])):
            known = partner.get(mine)
            partner[mine] = min(known or (1.0, other), (-pair.similarity, other))
    issues = []
    for mine, (negative, other) in partner.items():
        o = same[other][0]
        for i in same[mine]:
            differs = _label(dataset, i) != _label(dataset, o)
            evidence = f"{-negative:.0%} of the shingles as {_name(dataset, o)}"
            evidence += f", which is labelled {_label(dataset, o)}" if differs else ""
            evidence += f": {shorten(mask(str(dataset.inputs[o])), 100)}"
            action = "review" if differs else "group"
            issues.append(_row_issue(dataset, i, "near_duplicate", 1 + negative, action, evidence))
    return issues


def _contamination(dataset: Dataset, texts: Sequence[str], test_texts: Sequence[str]) -> list[Issue]:
    """`test_contamination` for each row that stands, exactly or nearly, in the test file too."""
    test_row: dict[str, int] = {}
    for j, text in enumerate(test_texts):
        test_row.setdefault(text, j)
    found: dict[str, tuple[float, int]] = {text: (1.0, test_row[text]) for text in texts if text and text in test_row}
    ours = set(texts)
    # Near pairs are sought among all texts at once, each once; a pair counts where one side is ours and one is theirs.
    both = sorted(ours | set(test_row))
    for pair in near_pairs(both):
        for mine, other in ((both[pair.i], both[pair.j]), (both[pair.j], both[pair.i])):
            if mine in ours and other in test_row and found.get(mine, (0.0, 0))[0] < pair.similarity:
                found[mine] = (pair.similarity, test_row[other])
    issues = []
    for i, text in enumerate(texts):
        if text in found:
            similarity, j = found[text]
            evidence = (
                f"Stands in the test file too (row {j + 1}, similarity {similarity:.2f}): its score will flatter."
            )
            issues.append(_row_issue(dataset, i, "test_contamination", 1 - similarity, "review", evidence))
    return issues
