"""Rows that are far from all others: pasted rubbish, a row of another domain, a field in the wrong column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.data.dataset import Dataset
from honed.data.issue_table import Issue, shorten
from honed.data.personal.find import mask
from honed.data.sampling import drawn, sample_groups

MAX_ROWS = 10_000
MAX_TOLD = 20
MIN_ROWS = 100
_NEIGHBOURS = 10
_CHARACTERS = 500  # of a text
_DIMENSIONS = 100
_MAX_NGRAMS = 30_000
_BLOCK = 1000
# Among five real sets the farthest row that is no rubbish stands at 4.2; keyboard mash at 10 and more.
_Z = 4.5
_FAR = 0.5  # of the usual similarity; so rows of very even texts are not told for being a little shorter


def outliers(dataset: Dataset, n_all: int | None = None, features: npt.NDArray[Any] | None = None) -> list[Issue]:
    """`outlier`: the rows whose 10 nearest others are far less similar than is usual, at most 20, the farthest first.

    n_all : rows of the file, if the dataset is a sample of them.
    features : (n, d) embeddings of a base. Without them, texts are compared by their runs of 3 and 4 characters
        (TF-IDF), reduced to the 100 directions that most texts share; what a text does not share counts as far.

    The mean similarity s of the 10 nearest becomes log(s / (1 - s)); a row is told if it lies 4.5 robust standard
    deviations (1.48 times the median absolute deviation) below the median and s is at most half the median.
    At most 10,000 rows are compared.
    """
    index = sample_groups(dataset.group, MAX_ROWS)
    if len(index) < MIN_ROWS:
        return []
    rows = dataset.take(index)
    seen = drawn(len(rows), n_all or len(dataset))
    vectors = _text_vectors(rows.inputs) if features is None else _unit(np.asarray(features, dtype=np.float32)[index])
    if vectors is None:
        return []
    similarity = _similarity(vectors)
    odds = np.log(similarity / (1 - similarity))
    usual = float(np.median(similarity))
    spread = 1.4826 * float(np.median(np.abs(odds - np.median(odds))))
    far = (np.median(odds) - odds) / max(spread, 1e-9)
    told = np.flatnonzero((far >= _Z) & (similarity <= _FAR * usual))
    order = told[np.lexsort((rows.example_id[told], -far[told]))][:MAX_TOLD]
    more = f"; {len(told) - MAX_TOLD} more are as far" if len(told) > MAX_TOLD else ""
    return [
        Issue(
            "outlier",
            float(similarity[i]),
            "review",
            f"Unlike all others: similarity {similarity[i]:.2f} to its {_NEIGHBOURS} nearest, where {usual:.2f} is"
            f" usual{seen}{more}: {shorten(mask(str(rows.inputs[i])), 80)!r}",
            str(rows.example_id[i]),
            int(rows.row[i]),
        )
        for i in order.tolist()
    ]


def _text_vectors(texts: Sequence[str]) -> npt.NDArray[np.float32] | None:
    """(n, d) of length at most 1: what is missing of 1 lies outside the directions that the texts share."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 4), min_df=2, max_features=_MAX_NGRAMS, sublinear_tf=True, dtype=np.float32
    )
    try:
        ngrams = vectorizer.fit_transform([text[:_CHARACTERS] for text in texts])
    except ValueError:  # no run of characters stands in two texts
        return None
    n_dimensions = min(_DIMENSIONS, ngrams.shape[1] - 1)
    if n_dimensions < 1:
        return None
    return np.asarray(TruncatedSVD(n_dimensions, n_iter=2, random_state=0).fit_transform(ngrams), dtype=np.float32)


def _unit(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Centred rows of length 1: embeddings of one base share a direction, which says nothing."""
    centred = features - features.mean(axis=0)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9), dtype=np.float32)


def _similarity(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """(n,) mean dot product with the nearest others, kept within (0, 1)."""
    result = np.empty(len(vectors))
    for start in range(0, len(vectors), _BLOCK):
        dots = vectors[start : start + _BLOCK] @ vectors.T
        here = np.arange(len(dots))
        dots[here, start + here] = -np.inf
        result[start : start + _BLOCK] = np.partition(dots, -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS:].mean(axis=1)
    return np.clip(result, 1e-3, 1 - 1e-3)
