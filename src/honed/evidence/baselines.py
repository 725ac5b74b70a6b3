"""Small models that every specialist must beat (honesty rule 9), on the same rows and folds.

`majority` knows only how frequent the classes are; `tfidf_logreg` counts words (the strong cheap way to classify text);
`linear_probe` puts a linear model on features of the frozen base, so what adaptation itself bought becomes visible.
`gradient_boosting` reads the columns that a template joined, where there is one: on tables it is the model to beat.
`pixels_logreg` is for images what `tfidf_logreg` is for texts: principal components of small thumbnails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError, UsageError
from honed.evidence.metrics import Floats, Ints, row_log_loss, softmax
from honed.oof import HOLDOUT_FOLD, Predictions

TFIDF_C = 10.0
PROBE_C = 0.01  # frozen features are many for few rows: on 600 abstracts C = 1 gave macro F1 .526, C = .01 gave .571
DEAD = 1e-6  # of the usual deviation: what varies less is rounding (a dimension of MiniLM varies by 1e-31)
N_COMPONENTS = 100  # on 1,200 fundus photographs 50 and 100 components, of 16 x 16 and 28 x 28 pixels, are alike
MAX_ITER = 2000
MANY_ROWS = 500  # from here on words that stand in one row only are noise
Fit = Callable[[Any, Ints, Any, int], tuple[Ints, Floats]]


@dataclass(frozen=True)
class BaselineRows:
    """What a baseline is given: n rows.

    inputs : n strings (majority, tfidf_logreg), an (n, d) array of features (linear_probe), an (n, f) array of
        numbers with NaN where a cell is empty (gradient_boosting), or an (n, p) array of pixels (pixels_logreg).
    label : (n,) indices in 0..n_classes-1.    example_id : (n,) strings.
    """

    inputs: Sequence[str] | Floats
    label: Ints
    example_id: npt.NDArray[np.str_]
    n_classes: int


def _majority(_train: Any, label: Ints, test: Any, _seed: int) -> tuple[Ints, Floats]:
    classes, count = np.unique(label, return_counts=True)
    return classes, np.tile(np.log(count / count.sum()), (len(test), 1))


@dataclass(frozen=True)
class _Settings:
    c: float
    class_weight: str | None
    seed: int


def _logistic(train: Any, label: Ints, test: Any, settings: _Settings) -> tuple[Ints, Floats]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=settings.c, class_weight=settings.class_weight, max_iter=MAX_ITER, tol=1e-3, random_state=settings.seed
    )
    model.fit(train, label)
    return np.asarray(model.classes_, dtype=np.int64), np.asarray(model.predict_log_proba(test), dtype=np.float64)


def _tfidf_logreg(train: Any, label: Ints, test: Any, seed: int) -> tuple[Ints, Floats]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    rarest = 2 if len(train) >= MANY_ROWS else 1
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), strip_accents="unicode", min_df=rarest)
    try:
        features = vectorizer.fit_transform(train)
    except ValueError:  # texts without a word of two letters: their characters must do
        vectorizer = TfidfVectorizer(sublinear_tf=True, analyzer="char", ngram_range=(1, 3))
        features = vectorizer.fit_transform(train)
    return _logistic(features, label, vectorizer.transform(test), _Settings(TFIDF_C, "balanced", seed))


def _linear_probe(train: Any, label: Ints, test: Any, seed: int) -> tuple[Ints, Floats]:
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    return _logistic(scaler.transform(train), label, scaler.transform(test), _Settings(PROBE_C, None, seed))


def linear_probe_weights(features: Floats, label: Ints, n_classes: int, *, seed: int = 0) -> tuple[Floats, Floats]:
    """The linear probe as one affine map of unscaled features: logits = features @ weight.T + bias.

    features : (n, d).    label : (n,).    -> weight (n_classes, d), bias (n_classes,).
    Of two classes each gets half of the one logit, so that either can be explained. A class without rows is never
    predicted. Features that hardly vary, which some bases have, get no weight: scaled up, their rounding would drown
    every gradient.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    spread = features.std(axis=0)
    features = np.where(spread < DEAD * np.median(spread), 0.0, features)
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=PROBE_C, max_iter=MAX_ITER, tol=1e-3, random_state=seed)
    model.fit(scaler.transform(features), label)
    slope, start = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        slope, start = np.concatenate([-slope, slope]) / 2, np.concatenate([-start, start]) / 2
    scaled = slope / scaler.scale_
    weight, bias = np.zeros((n_classes, features.shape[1])), np.full(n_classes, -1e4)
    weight[model.classes_], bias[model.classes_] = scaled, start - scaled @ scaler.mean_
    return weight, bias


def _pixels_logreg(train: Any, label: Ints, test: Any, seed: int) -> tuple[Ints, Floats]:
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pca = PCA(min(N_COMPONENTS, len(train) - 1, train.shape[1]), svd_solver="full")
    components = make_pipeline(StandardScaler(), pca).fit(train)
    settings = _Settings(PROBE_C, None, seed)
    return _logistic(components.transform(train), label, components.transform(test), settings)


def _gradient_boosting(train: Any, label: Ints, test: Any, seed: int) -> tuple[Ints, Floats]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Small steps and leaves of 20: the settings at which a few thousand rows do not overfit; no early stopping, which
    # would take its own rows from the training side.
    model = HistGradientBoostingClassifier(learning_rate=0.05, early_stopping=False, random_state=seed)
    model.fit(train, label)
    with np.errstate(divide="ignore"):
        log_probs = np.log(model.predict_proba(test))
    return np.asarray(model.classes_, dtype=np.int64), np.asarray(log_probs, dtype=np.float64)


BASELINES: dict[str, Fit] = {
    "majority": _majority,
    "tfidf_logreg": _tfidf_logreg,
    "linear_probe": _linear_probe,
    "gradient_boosting": _gradient_boosting,
    "pixels_logreg": _pixels_logreg,
}


def _predict(name: str, rows: BaselineRows, train: Ints, test: Ints, seed: int) -> Floats:
    """Log-probabilities of the test rows, fitted on the train rows only. -> (len(test), n_classes)."""
    if name not in BASELINES:
        raise UsageError(f"There is no baseline {name!r}.", remedy=f"Choose one of: {', '.join(BASELINES)}.")
    if np.intersect1d(train, test).size:
        raise EvidenceError(f"The baseline {name} would be scored on rows that it trains on.")
    if not len(train):
        raise EvidenceError(f"The baseline {name} cannot be fitted: its training side is empty.")

    def part(index: Ints) -> Any:
        return rows.inputs[index] if isinstance(rows.inputs, np.ndarray) else [rows.inputs[i] for i in index]

    fit = BASELINES[name] if len(np.unique(rows.label[train])) > 1 else _majority
    classes, log_probs = fit(part(train), rows.label[train], part(test), seed)
    # A class that training never saw gets the probability of half a row, not minus infinity.
    floor = np.log(0.5 / (len(train) + 1))
    logits = np.full((len(test), rows.n_classes), floor)
    logits[:, classes] = np.maximum(log_probs, -700.0)
    return logits


def _table(rows: BaselineRows, index: Ints, fold: Ints, logits: Floats) -> Predictions:
    label = rows.label[index]
    return Predictions(
        example_id=rows.example_id[index],
        repeat=np.zeros(len(index), dtype=np.int64),
        fold=fold,
        label=label,
        loss=row_log_loss(label, softmax(logits)),
        weight=np.ones(len(index)),
        logits=logits,
    )


def out_of_fold_baseline(
    name: str, rows: BaselineRows, splits: Sequence[tuple[int, Ints, Ints]], *, seed: int = 0
) -> Predictions:
    """Each fold's test rows scored by a baseline fitted on its training rows: vocabulary, scaling and all.

    splits : (fold, train positions, test positions), the specialist's own.

    Raises UsageError for an unknown name, EvidenceError if a fold trains on rows that it scores.
    """
    tests = [np.asarray(test, dtype=np.int64) for _, _, test in splits]
    logits = [
        _predict(name, rows, np.asarray(train, dtype=np.int64), test, seed)
        for (_, train, _), test in zip(splits, tests, strict=True)
    ]
    fold = np.repeat(np.asarray([fold for fold, _, _ in splits], dtype=np.int64), [len(test) for test in tests])
    return _table(rows, np.concatenate(tests), fold, np.concatenate(logits))


def holdout_baseline(name: str, rows: BaselineRows, train: Ints, test: Ints, *, seed: int = 0) -> Predictions:
    """The holdout scored by a baseline fitted on everything outside it (fold -1).

    Raises UsageError for an unknown name, EvidenceError if it would train on rows that it scores.
    """
    train, test = np.asarray(train, dtype=np.int64), np.asarray(test, dtype=np.int64)
    fold = np.full(len(test), HOLDOUT_FOLD, dtype=np.int64)
    return _table(rows, test, fold, _predict(name, rows, train, test, seed))
