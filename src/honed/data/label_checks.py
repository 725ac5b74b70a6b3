"""Checks of the classes as a whole: spelled in several ways, names that mean "missing", too small for the folds."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict

import numpy as np
import numpy.typing as npt

from honed.data.dataset import Rows
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


def label_spelling(rows: Rows) -> list[Issue]:
    """`label_spelling`: classes whose names differ by case, blanks or punctuation only; one finding per family."""
    families: defaultdict[str, list[int]] = defaultdict(list)
    for j, name in enumerate(rows.label_names):
        families[spelling_key(name)].append(j)
    counts = Counter(rows.label.tolist())
    issues = []
    for family in families.values():
        if len(family) > 1:
            listed = " and ".join(f"{rows.label_names[j]!r} ({counts[j]} rows)" for j in family)
            issues.append(Issue("label_spelling", 0.0, "review", f"Perhaps one class, spelled differently: {listed}."))
    return issues


def suspicious_labels(rows: Rows) -> list[Issue]:
    """`suspicious_label`: classes called "NA", "null", ...; they are kept as classes, since only the user can know."""
    counts = Counter(rows.label.tolist())
    return [
        Issue(
            "suspicious_label",
            0.2,
            "review",
            f"Class {name!r} ({counts[j]} rows) looks like a missing value; if it is one, leave the cell empty.",
        )
        for j, name in enumerate(rows.label_names)
        if name.casefold() in MEANS_MISSING
    ]


def small_classes(rows: Rows, group: npt.NDArray[np.int64], *, folds: int) -> list[Issue]:
    """`small_class`: classes with fewer groups than the folds and the holdout need, one each. group: (n,) numbers."""
    counts = Counter(rows.label.tolist())
    issues = []
    for j, n_groups in enumerate(groups_per_class(rows.label, group, len(rows.label_names)).tolist()):
        name = rows.label_names[j]
        if n_groups < folds + 1:
            evidence = f"Class {name!r} has {counts[j]} rows in {n_groups} groups, but {folds} folds and the holdout"
            issues.append(
                Issue("small_class", n_groups / (folds + 1), "review", f"{evidence} need {folds + 1}, one each.")
            )
    return issues


def groups_per_class(
    label: npt.NDArray[np.int64], group: npt.NDArray[np.int64], n_classes: int
) -> npt.NDArray[np.int64]:
    """(n_classes,) how many different groups the rows of each class have."""
    is_labelled = label >= 0
    pairs = np.unique(label[is_labelled] * (int(group.max(initial=0)) + 1) + group[is_labelled])
    return np.bincount(pairs // (int(group.max(initial=0)) + 1), minlength=n_classes)
