"""How well one trait alone tells the class: out-of-fold predictions of a cheap model, and a test against chance.

Folds stand in a row, and each is predicted by a model of the folds *before* it. In the usual cross-validation every
pair of folds predicts each other, so that a chance likeness of two of them counts twice; simulated on traits that know
nothing, p values below .001 were then 2 to 13 times too frequent. Here the deviations are a martingale: each has mean 0
given all before it, their variances add, and p is what it says. (Dawid 1984, "The prequential approach".)
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.data.dataset import Dataset
from honed.data.group_assignment import assign_groups
from honed.data.traits import Trait

N_FOLDS = 8
FIRST_SCORED = 2
"""A quarter of the rows only trains."""
_MAX_PIECES = 20_000
_PIECE_CHARACTERS = 2000  # of a cell; the rest of a long one is not looked at
_MIN_LEAF_ROWS = 5
_LEAVES_PER_CLASS = 2
_MIN_LEAVES = 16
_PIECE = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")


@dataclass(frozen=True)
class TraitScore:
    """How the out-of-fold predictions of a model of one trait fit the labels; c classes.

    balanced_accuracy, chance : the mean recall of the classes, and what predictions that know nothing reach: 1 / c.
    p : probability of so high a balanced accuracy if trait and label were independent, one-sided.
    recall, false_alarm : (c,) share of the class's own rows, and of all other rows, that are predicted as the class.
    class_p : (c,) like `p`, for telling one class from the rest.
    """

    balanced_accuracy: float
    chance: float
    p: float
    recall: npt.NDArray[np.float64]
    false_alarm: npt.NDArray[np.float64]
    class_p: npt.NDArray[np.float64]

    @property
    def skill(self) -> float:
        """Where the balanced accuracy stands between chance (0) and perfection (1)."""
        return (self.balanced_accuracy - self.chance) / (1 - self.chance)

    @property
    def gain(self) -> npt.NDArray[np.float64]:
        """(c,) recall less false alarms; their mean is about the skill."""
        return self.recall - self.false_alarm


@dataclass(frozen=True)
class JudgedRows:
    """The n rows by which traits are judged: their class 0..c-1, their group 0..g-1 and the fold of their group."""

    label: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]
    fold: npt.NDArray[np.int64]

    @property
    def n_classes(self) -> int:
        """Number of classes; each has rows."""
        return int(self.label.max()) + 1


def judged_rows(dataset: Dataset) -> JudgedRows:
    """Folds by group, stratified, whatever the order of the rows; every class of the dataset must have rows."""
    names, group = np.unique(dataset.group, return_inverse=True)
    counts: list[Counter[int]] = [Counter() for _ in names]
    for g, label in zip(group.tolist(), dataset.label.tolist(), strict=True):
        counts[g][label] += 1
    parts = assign_groups(
        names.tolist(), counts, [1 / N_FOLDS] * N_FOLDS, salt="traits", fill=(), forbidden=[-1] * len(names)
    )
    return JudgedRows(dataset.label, group.astype(np.int64), parts[group])


def score_trait(trait: Trait, rows: JudgedRows) -> TraitScore:
    """Predict the class of each fold's rows by the trait alone, with a model of the folds before it, and judge it.

    Strings: naive Bayes over the value and its pieces (words, numbers, marks). Numbers: a shallow decision tree. Both
    weigh all classes alike, so that a rare one counts as much as a frequent one.
    """
    features: Any = trait.values
    if trait.is_text:
        from sklearn.feature_extraction.text import CountVectorizer

        vectorizer = CountVectorizer(
            analyzer=_pieces, binary=True, min_df=2, max_features=_MAX_PIECES, dtype=np.float64
        )
        features = vectorizer.fit_transform(features)
    else:
        features = features.reshape(len(features), -1)
    predicted = np.full(len(rows.label), -1)
    for k in range(FIRST_SCORED, N_FOLDS):
        train, test = rows.fold < k, rows.fold == k
        if train.any() and test.any():
            model = _model(trait, int(train.sum()), rows.n_classes)
            weight = 1 / np.bincount(rows.label[train], minlength=rows.n_classes)[rows.label[train]]
            model.fit(features[train], rows.label[train], sample_weight=weight * train.sum() / rows.n_classes)
            predicted[test] = model.predict(features[test])
    return judge(predicted, rows)


def _model(trait: Trait, n_train: int, n_classes: int) -> Any:
    if trait.is_text:
        from sklearn.naive_bayes import MultinomialNB

        return MultinomialNB(fit_prior=False)
    from sklearn.tree import DecisionTreeClassifier

    n_leaves = max(_MIN_LEAVES, _LEAVES_PER_CLASS * n_classes)
    return DecisionTreeClassifier(
        max_leaf_nodes=n_leaves,
        min_samples_leaf=max(_MIN_LEAF_ROWS, n_train // (4 * n_leaves)),
        random_state=0,
    )


def _pieces(cell: str) -> list[str]:
    """The whole value, its pieces, the first of them once more, and "", which every cell has."""
    cell = cell[:_PIECE_CHARACTERS].casefold()
    pieces = _PIECE.findall(cell)
    return ["", f"={cell}", *pieces, f"^{pieces[0]}" if pieces else "^"]


def judge(predicted: npt.NDArray[np.int64], rows: JudgedRows) -> TraitScore:
    """Compare (n,) predictions with labels where there is one (it is not -1); groups are the independent units.

    The deviation of a row is hit minus the share of such predictions in its fold, so that it is 0 on average if trait
    and label are independent, whatever the model predicts. Deviations are summed by group; the variance is the
    sum of the squares (the cluster-robust "sandwich"); the ratio is compared with Student's t. For a single class the
    exact hypergeometric probability is taken where it is larger, since a normal approximation flatters small counts.
    """
    from scipy.stats import hypergeom, t

    scored, c = predicted >= 0, rows.n_classes
    predicted, label, fold = predicted[scored], rows.label[scored], rows.fold[scored]
    group = np.unique(rows.group[scored], return_inverse=True)[1]
    n, n_label = len(label), np.maximum(np.bincount(label, minlength=c), 1)
    share = np.zeros((N_FOLDS, c))
    for k in np.unique(fold):
        share[k] = np.bincount(predicted[fold == k], minlength=c) / (fold == k).sum()
    hit = predicted == label
    n_hit = np.bincount(label, weights=hit, minlength=c)
    n_predicted = np.bincount(predicted, minlength=c)
    recall, false_alarm = n_hit / n_label, (n_predicted - n_hit) / np.maximum(n - n_label, 1)
    class_p = np.ones(c)
    for j in np.flatnonzero(recall > false_alarm).tolist():
        deviation = ((predicted == j) - share[fold, j]) * ((label == j) - n_label[j] / n)
        freedom = len(np.unique(group[label == j])) - 1
        exact = hypergeom.sf(n_hit[j] - 1, n, n_label[j], n_predicted[j])
        class_p[j] = max(float(t.sf(_ratio(deviation, group), max(freedom, 1))), float(exact))
    ratio = _ratio((hit - share[fold, label]) / n_label[label], group)
    return TraitScore(
        balanced_accuracy=float(recall.mean()),
        chance=1 / c,
        p=float(t.sf(ratio, max(int(group.max(initial=0)), 1))),
        recall=recall,
        false_alarm=false_alarm,
        class_p=class_p,
    )


def _ratio(deviation: npt.NDArray[np.float64], group: npt.NDArray[np.int64]) -> float:
    """The summed deviation over its cluster-robust standard error."""
    by_group = np.bincount(group, weights=deviation)
    spread = float(np.sqrt((by_group**2).sum()))
    return float(by_group.sum()) / spread if spread else 0.0
