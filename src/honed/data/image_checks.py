"""Structural checks of images before the folds are made: copies become one group, oddities are told.

As for texts, no check drops a row that can be scored, nor alters it. Each finding is a row of `issues.parquet`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.data.checks import CheckResult
from honed.data.dataset import Dataset
from honed.data.duplicate_groups import MergedGroups, NearPairStore, merge_groups
from honed.data.image_files import ImageFile
from honed.data.image_likeness import near_image_pairs
from honed.data.issue_table import Action, Issue, IssueTable
from honed.data.label_checks import label_spelling, small_classes, suspicious_labels
from honed.data.label_typos import label_typos
from honed.data.near_duplicates import NearPair
from honed.data.set_join import Integers
from honed.data.text_index import SameTexts

TINY_PIXELS = 8
_LARGE_GROUP_FRAC = 0.2
_MERGED_GROUPS_PER_PART = 3  # as for texts: see `checks`


@dataclass(frozen=True)
class _Images:
    """The images of a dataset, the distinct ones numbered by their sha256.

    rows : positions of the rows of each distinct image, in the order of their example ids.
    near : pairs of distinct images that are nearly the same.
    """

    dataset: Dataset
    files: list[ImageFile]
    rows: list[list[int]]
    near: list[NearPair]

    def name(self, i: int) -> str:
        """How evidence names the row."""
        return f"{self.files[i].name!r} (row {int(self.dataset.row[i]) + 1})"

    def label(self, i: int) -> str:
        """The label of the row, quoted."""
        label = self.dataset.label[i]
        return repr(self.dataset.label_names[label]) if label >= 0 else "no label"

    def issue(self, i: int, check: str, score: float, action: Action, evidence: str) -> Issue:
        """A finding about one row."""
        return Issue(check, score, action, evidence, str(self.dataset.example_id[i]), int(self.dataset.row[i]))


def image_checks(dataset: Dataset, *, folds: int, test_inputs: Sequence[object] | None = None) -> CheckResult:
    """Run every structural check on a dataset of `ImageFile`s.

    folds : number of folds that are planned.        test_inputs : images of a test file that the user keeps apart.

    Promises: `dataset` has the same rows; groups and findings do not depend on the order of the rows.
    """
    images = _compare(dataset)
    names, group = np.unique(dataset.group, return_inverse=True)
    limit = len(dataset) // (_MERGED_GROUPS_PER_PART * (folds + 1))
    merged = _merge(images, group, max_group_rows=limit)
    merged_group = merged.component[group]
    grouped = replace(dataset, group=names[merged_group])
    issues = _duplicates(images) + _near_duplicates(images) + _kept_apart(images, merged, names)
    issues += _contamination(images, [image for image in test_inputs or () if isinstance(image, ImageFile)])
    issues += [found for i in range(len(dataset)) for found in _oddities(images, i)]
    issues += (
        label_spelling(dataset)
        + label_typos(dataset)
        + suspicious_labels(dataset)
        + small_classes(dataset, merged_group, folds=folds)
    )
    largest = int(np.bincount(merged_group).max())
    if largest > max(1, _LARGE_GROUP_FRAC * len(dataset)):
        evidence = f"The largest group holds {largest} of {len(dataset)} rows, so the folds cannot have even sizes."
        issues.append(Issue("large_group", 1 - largest / len(dataset), "review", evidence))
    table = IssueTable.from_issues(issues)
    class_counts = Counter(dataset.label[dataset.label >= 0].tolist())
    summary: dict[str, Any] = {
        "counts": table.counts(),
        "n_rows": len(dataset),
        "n_groups": len(np.unique(merged_group)),
        "n_groups_before": len(names),
        "largest_group": largest,
        "texts_kept_apart": len(merged.kept_apart),
        "conflicts": sum(len({images.label(i) for i in rows}) > 1 for rows in images.rows),
        "class_counts": {name: class_counts[j] for j, name in enumerate(dataset.label_names)},
        "truncation_frac": None,
        "token_length": None,
        "preview": [],
        "image_sizes": [
            {"width": width, "height": height, "n": n}
            for (width, height), n in Counter((file.width, file.height) for file in images.files).most_common(5)
        ],
        "image_modes": dict(Counter(f"{file.format} {file.mode}" for file in images.files).most_common()),
    }
    return CheckResult(grouped, table, summary)


def _compare(dataset: Dataset) -> _Images:
    files: list[ImageFile] = dataset.inputs
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for i in np.argsort(dataset.example_id, kind="stable").tolist():
        rows[files[i].sha256].append(i)
    distinct = [rows[sha] for sha in sorted(rows)]
    return _Images(dataset, files, distinct, near_image_pairs([files[own[0]].grey for own in distinct]))


def _merge(images: _Images, group: Integers, *, max_group_rows: int) -> MergedGroups:
    """Merge the groups, (n,) numbers, of equal and nearly equal images."""
    n_rows = [len(own) for own in images.rows]
    order = np.array([i for own in images.rows for i in own], dtype=np.int64)
    image = np.empty(len(order), dtype=np.int64)
    image[order] = np.repeat(np.arange(len(n_rows)), n_rows)
    same = SameTexts(image, order, np.concatenate([[0], np.cumsum(n_rows)]), np.ones(len(n_rows), np.int64))
    near = NearPairStore()
    near.append(*(np.array([getattr(pair, side) for pair in images.near], dtype=np.int64) for side in "ij"))
    return merge_groups(group, same, near, max_group_rows=max_group_rows)


def _duplicates(images: _Images) -> list[Issue]:
    """`exact_duplicate` for each row whose file is another row's too, `conflicting_label` where the labels differ."""
    issues = []
    for rows in images.rows:
        counts = Counter(images.label(i) for i in rows)
        for i in rows if len(rows) > 1 else ():
            other = images.name(rows[1] if i == rows[0] else rows[0])
            if len(counts) > 1:
                listed = ", ".join(f"{label} x{n}" for label, n in sorted(counts.items()))
                evidence = f"One image, {len(counts)} labels ({listed}); see {other}."
                score = 1 - 1 / max(counts.values()) if counts[images.label(i)] == max(counts.values()) else 0.0
                issues.append(images.issue(i, "conflicting_label", score, "review", evidence))
            evidence = f"Same image as {other}, {len(rows)} times in all."
            issues.append(images.issue(i, "exact_duplicate", 0.0, "group", evidence))
    return issues


def _near_duplicates(images: _Images) -> list[Issue]:
    """`near_duplicate` for each row whose image is nearly another's, with its most similar partner;
    `near_duplicate_conflict` too where that one has another label.
    """
    partner: dict[int, tuple[float, int]] = {}
    for pair in images.near:
        for mine, other in ((pair.i, pair.j), (pair.j, pair.i)):
            partner[mine] = min(partner.get(mine, (1.0, other)), (-pair.similarity, other))
    issues = []
    for mine, (negative, other) in partner.items():
        o = images.rows[other][0]
        for i in images.rows[mine]:
            evidence = f"Nearly the same image as {images.name(o)} (correlation {-negative:.3f})"
            issues.append(images.issue(i, "near_duplicate", 1 + negative, "group", f"{evidence}."))
            if images.label(i) != images.label(o):
                told = f"Labelled {images.label(i)}; n{evidence[1:]}, which is labelled {images.label(o)}."
                issues.append(images.issue(i, "near_duplicate_conflict", 1 + negative, "review", told))
    return issues


def _kept_apart(images: _Images, merged: MergedGroups, names: npt.NDArray[np.str_]) -> list[Issue]:
    """`split_duplicate` for each row with a copy in another group that was not merged with its own."""
    issues = []
    for image, low, high in zip(merged.kept_apart.tolist(), merged.low.tolist(), merged.high.tolist(), strict=True):
        evidence = f"It has a (near) copy in another group; {str(names[low])!r} and {str(names[high])!r} stay apart,"
        evidence += " since merging all such groups would leave too few for the folds: a fold may train on an image"
        evidence += " that it tests."
        issues += [images.issue(i, "split_duplicate", 0.3, "review", evidence) for i in images.rows[image]]
    return issues


def _contamination(images: _Images, test: Sequence[ImageFile]) -> list[Issue]:
    """`test_contamination` for each row whose image stands, exactly or nearly, in the test file too."""
    theirs = {file.sha256: file for file in reversed(test)}
    if not theirs:
        return []
    rows = {images.files[own[0]].sha256: own for own in images.rows}
    ours = {sha: images.files[own[0]] for sha, own in rows.items()}
    found = {sha: (1.0, theirs[sha].name) for sha in ours if sha in theirs}
    both = sorted(ours.keys() | theirs.keys())
    for pair in near_image_pairs([(ours.get(sha) or theirs[sha]).grey for sha in both]):
        for mine, other in ((both[pair.i], both[pair.j]), (both[pair.j], both[pair.i])):
            if mine in ours and other in theirs and found.get(mine, (0.0, ""))[0] < pair.similarity:
                found[mine] = (pair.similarity, theirs[other].name)
    return [
        images.issue(
            i,
            "test_contamination",
            1 - similarity,
            "review",
            f"Stands in the test file too ({name!r}, correlation {similarity:.3f}): its score will flatter.",
        )
        for sha, (similarity, name) in sorted(found.items())
        for i in rows[sha]
    ]


def _oddities(images: _Images, i: int) -> list[Issue]:
    """What is strange about the image of one row, though it can be read."""
    file = images.files[i]
    issues = []
    if min(file.width, file.height) < TINY_PIXELS:
        evidence = f"It has only {file.width} x {file.height} pixels."
        issues.append(images.issue(i, "tiny_image", 0.1, "review", evidence))
    elif np.ptp(file.grey) == 0:
        issues.append(images.issue(i, "blank_image", 0.1, "review", f"All of it is one grey value ({file.grey[0]})."))
    if file.is_mislabelled:
        evidence = f"{file.name!r} is a {file.format} file; it was read as what it is."
        issues.append(images.issue(i, "mislabelled_format", 0.7, "none", evidence))
    if file.is_animated:
        issues.append(images.issue(i, "several_frames", 0.5, "none", "It has several frames; only the first is read."))
    return issues
