"""Checks of the classes as a whole: spelled in several ways, names that mean "missing", too small for the folds."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict

from honed.data.dataset import Dataset
from honed.data.issue_table import Issue

MEANS_MISSING = frozenset({"na", "n/a", "nan", "null", "none", "nil", "<na>", "#n/a", "missing", "-", "--", "?", "."})
# + and # tell C from C++ and C#.
_BLANKS_AND_PUNCTUATION = re.compile(r"(?:[^\w+#]|_)+")


def spelling_key(label: str) -> str:
    """What remains of a label without case, blanks, punctuation and the zeros of a number (1, 01 and 1.0 are one).

    Signs count, and a label of punctuation only keeps it.
    """
    plain = unicodedata.normalize("NFKC", label).casefold().strip()
    if re.fullmatch(r"[+-]?\d+([.]\d+)?", plain, re.ASCII):
        return repr(float(plain))
    return _BLANKS_AND_PUNCTUATION.sub("", plain) or plain


def label_spelling(dataset: Dataset) -> list[Issue]:
    """`label_spelling`: classes whose names differ by case, blanks or punctuation only; one finding per family."""
    families: defaultdict[str, list[int]] = defaultdict(list)
    for j, name in enumerate(dataset.label_names):
        families[spelling_key(name)].append(j)
    counts = Counter(dataset.label.tolist())
    issues = []
    for family in families.values():
        if len(family) > 1:
            listed = " and ".join(f"{dataset.label_names[j]!r} ({counts[j]} rows)" for j in family)
            issues.append(Issue("label_spelling", 0.0, "review", f"Perhaps one class, spelled differently: {listed}."))
    return issues


def suspicious_labels(dataset: Dataset) -> list[Issue]:
    """`suspicious_label`: classes called "NA", "null", ...; they are kept as classes, since only the user can know."""
    counts = Counter(dataset.label.tolist())
    return [
        Issue(
            "suspicious_label",
            0.2,
            "review",
            f"Class {name!r} ({counts[j]} rows) looks like a missing value; if it is one, leave the cell empty.",
        )
        for j, name in enumerate(dataset.label_names)
        if name.casefold() in MEANS_MISSING
    ]


def small_classes(dataset: Dataset, *, folds: int) -> list[Issue]:
    """`small_class`: classes with fewer groups than the folds and the holdout need, one each."""
    groups: defaultdict[int, set[str]] = defaultdict(set)
    for label, group in zip(dataset.label.tolist(), dataset.group.tolist(), strict=True):
        groups[label].add(group)
    counts = Counter(dataset.label.tolist())
    issues = []
    for j, name in enumerate(dataset.label_names):
        n_groups = len(groups[j])
        if n_groups < folds + 1:
            evidence = f"Class {name!r} has {counts[j]} rows in {n_groups} groups, but {folds} folds and the holdout"
            issues.append(
                Issue("small_class", n_groups / (folds + 1), "review", f"{evidence} need {folds + 1}, one each.")
            )
    return issues
