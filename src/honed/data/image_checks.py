"""Structural checks of images before the folds are made: copies become one group, oddities are told.

As for texts, no check drops a row that can be scored, nor alters it. Each finding is a row of `issues.parquet`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from honed.data.checks import CheckResult
from honed.data.dataset import Dataset
from honed.data.duplicate_groups import MergedGroups, merge_groups
from honed.data.image_files import ImageFile
from honed.data.image_likeness import near_image_pairs
from honed.data.issue_table import Action, Issue, IssueTable
from honed.data.label_checks import label_spelling, small_classes, suspicious_labels

TINY_PIXELS = 8
_LARGE_GROUP_FRAC = 0.2
_MERGED_GROUPS_PER_PART = 3  # as for texts: see `checks`


@dataclass(frozen=True)
class _Images:
    """The images of a dataset.

    rows : sha256 -> positions of its rows, in the order of their example ids.
    near : pairs of sha256 whose images are nearly the same, with their correlation.
    """

    dataset: Dataset
    files: list[ImageFile]
    rows: dict[str, list[int]]
    near: list[tuple[str, str, float]]

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
    near = [(a, b) for a, b, _ in images.near]
    limit = len(dataset) // (_MERGED_GROUPS_PER_PART * (folds + 1))
    merged = merge_groups(dataset, images.rows, near, max_group_rows=limit)
    grouped = replace(dataset, group=merged.group)
    issues = _duplicates(images) + _near_duplicates(images) + _kept_apart(images, merged)
    issues += _contamination(images, [image for image in test_inputs or () if isinstance(image, ImageFile)])
    issues += [found for i in range(len(dataset)) for found in _oddities(images, i)]
    issues += label_spelling(dataset) + suspicious_labels(dataset) + small_classes(grouped, folds=folds)
    group_sizes = Counter(grouped.group.tolist())
    largest = max(group_sizes.values(), default=0)
    if largest > max(1, _LARGE_GROUP_FRAC * len(dataset)):
        evidence = f"The largest group holds {largest} of {len(dataset)} rows, so the folds cannot have even sizes."
        issues.append(Issue("large_group", 1 - largest / len(dataset), "review", evidence))
    table = IssueTable.from_issues(issues)
    class_counts = Counter(dataset.label[dataset.label >= 0].tolist())
    summary: dict[str, Any] = {
        "counts": table.counts(),
        "n_rows": len(dataset),
        "n_groups": len(group_sizes),
        "n_groups_before": len(set(dataset.group.tolist())),
        "largest_group": largest,
        "texts_kept_apart": len(merged.kept_apart),
        "conflicts": sum(len({images.label(i) for i in rows}) > 1 for rows in images.rows.values()),
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
    distinct = sorted(rows)
    pairs = near_image_pairs([files[rows[sha][0]].grey for sha in distinct])
    near = [(distinct[pair.i], distinct[pair.j], pair.similarity) for pair in pairs]
    return _Images(dataset, files, dict(rows), near)


def _duplicates(images: _Images) -> list[Issue]:
    """`exact_duplicate` for each row whose file is another row's too, `conflicting_label` where the labels differ."""
    issues = []
    for rows in images.rows.values():
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
    """`near_duplicate` for each row whose image is nearly another's, with its most similar partner."""
    partner: dict[str, tuple[float, str]] = {}
    for a, b, similarity in images.near:
        for mine, other in ((a, b), (b, a)):
            partner[mine] = min(partner.get(mine, (1.0, other)), (-similarity, other))
    issues = []
    for mine, (negative, other) in partner.items():
        o = images.rows[other][0]
        for i in images.rows[mine]:
            differs = images.label(i) != images.label(o)
            evidence = f"Nearly the same image as {images.name(o)} (correlation {-negative:.3f})"
            evidence += f", which is labelled {images.label(o)}." if differs else "."
            issues.append(images.issue(i, "near_duplicate", 1 + negative, "review" if differs else "group", evidence))
    return issues


def _kept_apart(images: _Images, merged: MergedGroups) -> list[Issue]:
    """`split_duplicate` for each row with a copy in another group that was not merged with its own."""
    return [
        images.issue(
            i,
            "split_duplicate",
            0.3,
            "review",
            f"It has a (near) copy in another group; {one!r} and {other!r} stay apart, since merging all such groups"
            " would leave too few for the folds: a fold may train on an image that it tests.",
        )
        for sha, (one, other) in merged.kept_apart.items()
        for i in images.rows[sha]
    ]


def _contamination(images: _Images, test: Sequence[ImageFile]) -> list[Issue]:
    """`test_contamination` for each row whose image stands, exactly or nearly, in the test file too."""
    theirs = {file.sha256: file for file in reversed(test)}
    if not theirs:
        return []
    ours = {sha: images.files[rows[0]] for sha, rows in images.rows.items()}
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
        for i in images.rows[sha]
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
