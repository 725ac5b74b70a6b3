"""HonedClassifier keeps scikit-learn's promises."""

from __future__ import annotations

import copy
import inspect
import pickle
import random

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from honed.config import Config
from honed.errors import ConfigError, DataError, UsageError
from honed.estimator import HonedClassifier
from tolerances import tolerance

WORDS = {"sea": ["boat", "wave", "harbour", "sail", "fish"], "sky": ["cloud", "plane", "star", "bird", "kite"]}


@pytest.fixture(scope="module")
def rows() -> tuple[list[str], list[str]]:
    draw = random.Random(0)
    labels = ["sea" if i % 2 else "sky" for i in range(36)]
    return [" ".join(draw.sample(WORDS[label], 3)) + f" {i}" for i, label in enumerate(labels)], labels


def small(**parameters: object) -> HonedClassifier:
    return HonedClassifier(**{"epochs": 2, "depth": 1, "max_tokens": 16, **parameters})


@pytest.fixture(scope="module")
def fitted(minilm: None, rows: tuple[list[str], list[str]]) -> HonedClassifier:
    return small().fit(*rows)


def test_parameters_are_those_of_fit() -> None:
    defaults = {name: p.default for name, p in inspect.signature(HonedClassifier).parameters.items()}
    assert defaults.pop("stop_frac") == 0.0
    assert defaults.pop("method_options") is None
    assert (defaults.pop("base"), defaults.pop("head")) == ("minilm", "mean"), "what auto means for texts"
    assert defaults == {name: Config.model_fields[name].default for name in defaults}


def test_params_clone_and_repr() -> None:
    model = small(seed=3)
    again = clone(model)
    assert again is not model and again.get_params() == model.get_params()
    assert again.set_params(epochs=7).epochs == 7
    assert "seed=3" in repr(model)
    with pytest.raises(NotFittedError):
        model.predict(["x"])


def test_predicts(fitted: HonedClassifier, rows: tuple[list[str], list[str]]) -> None:
    texts, labels = rows
    probs = fitted.predict_proba(texts)
    assert fitted.classes_.tolist() == ["sea", "sky"] and probs.shape == (36, 2)
    np.testing.assert_allclose(probs.sum(axis=1), 1, **tolerance("metric", "float64"))
    assert (fitted.predict(texts) == fitted.classes_[probs.argmax(axis=1)]).all()
    assert fitted.score(texts, labels) > 0.9
    assert len(fitted.curve_) == 2 and fitted.curve_[0]["stop_loss"] is None


def test_the_same_seed_gives_the_same_model(fitted: HonedClassifier, rows: tuple[list[str], list[str]]) -> None:
    again, other = small().fit(*rows), small(seed=1).fit(*rows)
    assert (again.predict_proba(rows[0]) == fitted.predict_proba(rows[0])).all()
    assert (other.predict_proba(rows[0]) != fitted.predict_proba(rows[0])).any()


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
def test_a_copy_predicts_the_same(how: object, fitted: HonedClassifier, rows: tuple[list[str], list[str]]) -> None:
    twin = how(fitted)  # type: ignore[operator]
    assert not hasattr(twin, "_specialist"), "the base is not copied"
    np.testing.assert_allclose(
        twin.predict_proba(rows[0]), fitted.predict_proba(rows[0]), **tolerance("logits_same_weights", "float32")
    )


def test_cross_validation_and_pipeline_with_integer_labels(minilm: None, rows: tuple[list[str], list[str]]) -> None:
    texts, labels = rows
    numbers = np.array([7 if label == "sea" else 2 for label in labels])
    upper = FunctionTransformer(lambda some: [text.upper() for text in some])
    model = Pipeline([("upper", upper), ("honed", small(epochs=1))])
    scores = cross_val_score(model, np.array(texts), numbers, cv=2)
    assert scores.shape == (2,) and scores.mean() > 0.6
    predicted = model.fit(texts, numbers).predict(["boat sail wave", "star cloud kite"])
    assert predicted.tolist() == [7, 2] and predicted.dtype == numbers.dtype


def test_a_stop_part_only_if_asked(minilm: None, rows: tuple[list[str], list[str]]) -> None:
    texts, labels = rows
    groups = [i // 3 for i in range(36)]
    model = small(stop_frac=0.3).fit(texts, labels, groups)
    assert all(row["stop_loss"] is not None for row in model.curve_)


def test_mistakes_are_told(minilm: None, rows: tuple[list[str], list[str]]) -> None:
    texts, labels = rows
    with pytest.raises(DataError, match="36 texts but 35 labels"):
        small().fit(texts, labels[1:])
    with pytest.raises(DataError, match="one class only"):
        small().fit(texts, ["a"] * 36)
    with pytest.raises(ConfigError, match="--epochs"):
        small(epochs=0).fit(texts, labels)
    with pytest.raises(UsageError, match="1 to 6"):
        small(depth=9).fit(texts, labels)
    with pytest.raises(UsageError, match="Element 0"):
        small().fit([1.5] * 36, labels)
    with pytest.raises(ValueError, match="continuous"):
        small().fit(texts, np.linspace(0, 1, 36))
