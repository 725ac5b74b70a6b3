"""Label quality, flags and suggestions on tables whose errors are known; planted noise; cleaning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evidence_tables import draw
from honed.errors import EvidenceError
from honed.evidence.cleaning import MOST_OF_A_CLASS, JudgedRows, clean
from honed.evidence.label_errors import (
    LabelErrors,
    confident_errors,
    find_label_errors,
    judge,
    label_quality,
    loss_quality,
    pool,
)
from honed.evidence.metrics import row_log_loss, softmax
from honed.evidence.neighbours import nearest
from honed.evidence.noise import plant_noise
from honed.oof import Predictions


def spoilt(
    rate: float = 0.1, m: int = 600, n_classes: int = 4, strength: float = 4.0
) -> tuple[Predictions, np.ndarray]:
    """A table under labels of which `rate` were spoilt, and where."""
    true, _ = draw(m, n_classes, strength, n_folds=5)
    label = plant_noise(true.label, rate, None, n_classes, seed=1)
    assert true.logits is not None
    return replace(true, label=label, loss=row_log_loss(label, softmax(true.logits))), label != true.label


def test_planted_errors_come_first_and_are_flagged() -> None:
    given, is_error = spoilt()
    found = find_label_errors([given])
    assert found.example_id.tolist() == given.example_id.tolist()
    worst = np.argsort(found.quality)[: is_error.sum()]
    assert is_error[worst].mean() > 0.85
    assert is_error[found.is_flagged].mean() > 0.8 and found.is_flagged[is_error].mean() > 0.6
    assert found.quality.min() >= 0 and found.quality.max() <= 1


def test_the_true_class_is_suggested() -> None:
    true, _ = draw(400, 5, 5.0, n_folds=5)
    label = plant_noise(true.label, 0.2, None, 5, seed=3)
    found = find_label_errors([replace(true, label=label)])
    wrong = label != true.label
    assert (found.suggested[wrong] == true.label[wrong]).mean() > 0.95
    assert (found.suggested != found.given).all(), "a suggestion is another class, always"


def test_without_errors_little_is_flagged_and_a_hard_class_is_not_flagged_as_a_whole() -> None:
    """Planted fault of naive finders: everything that is predicted otherwise is called an error."""
    easy, _ = draw(500, 3, 6.0, n_folds=5)
    assert find_label_errors([easy]).is_flagged.mean() < 0.01
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 300)
    p_one = np.where(label == 1, rng.uniform(0.3, 0.55, 600), rng.uniform(0.05, 0.3, 600))
    probs = np.column_stack([1 - p_one, p_one])
    predicted_otherwise = probs.argmax(axis=1) != label
    assert predicted_otherwise[label == 1].mean() > 0.7
    assert confident_errors(label, probs)[label == 1].mean() < 0.1


def test_several_judges_find_more_than_each() -> None:
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(0)
    given, is_error = spoilt(strength=0.0)
    true = np.where(is_error, -1, given.label)
    tables = []
    for _ in range(3):
        logits = rng.normal(size=(len(given), 4))
        right = np.where(true < 0, (given.label + 1) % 4, given.label)
        logits[np.arange(len(given)), right] += 1.5
        tables.append(replace(given, logits=logits, loss=row_log_loss(given.label, softmax(logits))))

    def area(judges: list[Predictions]) -> float:
        return float(average_precision_score(is_error, -find_label_errors(judges).quality))

    assert area(tables) > max(area([one]) for one in tables) + 0.05


def test_repeats_of_an_example_are_one_row_and_their_order_does_not_matter() -> None:
    first, _ = spoilt()
    second = replace(first, repeat=np.ones(len(first), dtype=np.int64))
    assert first.logits is not None
    both = Predictions(*(np.concatenate([getattr(a, n) for a in (first, second)]) for n in vars(first)))
    once, twice = find_label_errors([first]), find_label_errors([both])
    assert len(twice) == len(first)
    np.testing.assert_allclose(twice.quality, once.quality, rtol=1e-12)
    mixed = find_label_errors([both.take(np.random.default_rng(0).permutation(len(both)))])
    by_id = dict(zip(mixed.example_id.tolist(), mixed.quality.tolist(), strict=True))
    np.testing.assert_allclose([by_id[e] for e in once.example_id.tolist()], once.quality, rtol=1e-12)


def test_a_task_without_classes_is_judged_by_its_losses() -> None:
    given, _ = spoilt()
    found = find_label_errors([replace(given, logits=None)])
    assert np.array_equal(np.argsort(found.quality, kind="stable")[:5], np.argsort(-given.loss, kind="stable")[:5])
    assert not found.is_flagged.any() and np.array_equal(found.suggested, given.label)
    assert loss_quality(np.array([0.0, 0.0, 3.0])).tolist() == [1.0, 1.0, 0.0]
    assert loss_quality(np.array([1.0, 1.0, 2.0]))[0] == pytest.approx(np.exp(-1))


def test_judges_of_other_rows_are_refused() -> None:
    given, _ = spoilt()
    with pytest.raises(EvidenceError, match="different rows"):
        find_label_errors([given, given.take(np.arange(10))])
    with pytest.raises(EvidenceError, match="no label can be judged"):
        find_label_errors([])


def test_quality_is_the_label_against_its_strongest_rival() -> None:
    probs = np.array([[0.5, 0.25, 0.25], [0.1, 0.3, 0.6], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(label_quality(np.array([0, 1, 1]), probs), [2 / 3, 1 / 3, 0.0], atol=1e-9)


def test_the_pool_hears_a_judge_who_is_sure_that_it_is_not_so() -> None:
    pooled = pool([np.array([[0.6, 0.4]]), np.array([[1e-6, 1 - 1e-6]])])
    assert pooled[0, 0] < 0.01 and pooled.sum() == pytest.approx(1)


# -- planted noise ------------------------------------------------------------------------------------------------


def test_noise_changes_the_promised_share_and_smaller_noise_is_part_of_larger() -> None:
    label = np.random.default_rng(0).integers(0, 7, 1000)
    small, large = (plant_noise(label, rate, None, 7, seed=5) for rate in (0.03, 0.1))
    assert (small != label).sum() == 30 and (large != label).sum() == 100
    changed = small != label
    assert np.array_equal(small[changed], large[changed])


def test_confusion_noise_goes_where_the_confusion_is() -> None:
    label = np.repeat([0, 1, 2], 200)
    confusion = np.array([[50, 7, 0], [0, 60, 3], [0, 0, 60]])
    noisy = plant_noise(label, 0.3, confusion, 3, seed=0)
    assert set(noisy[(label == 0) & (noisy != label)]) == {1}
    assert set(noisy[(label == 1) & (noisy != label)]) == {2}
    assert set(noisy[(label == 2) & (noisy != label)]) == {0, 1}, "never confused: uniform"
    with pytest.raises(EvidenceError, match="Got 3 instead"):
        plant_noise(label, 3, None, 3, seed=0)


# -- cleaning -----------------------------------------------------------------------------------------------------


def judged(quality: list[float], flagged: list[int], given: list[int]) -> JudgedRows:
    label, n = np.array(given), len(given)
    is_flagged = np.isin(np.arange(n), flagged)
    errors = LabelErrors(np.array([f"e{i}" for i in range(n)]), label, (label + 1) % 3, np.array(quality), is_flagged)
    return JudgedRows(np.arange(n) + 1, errors)  # example 0 was not judged


def test_each_way_of_cleaning_does_what_it_says() -> None:
    label = np.array([2, 0, 0, 0, 1])
    rows = judged([0.2, 0.9, 0.5, 0.1], [0], [0, 0, 0, 1])
    drop, relabel, weight = (clean(label, rows, mode) for mode in ("drop", "relabel", "weight"))
    assert drop.weight.tolist() == [1, 0, 1, 1, 1] and drop.label.tolist() == label.tolist()
    assert relabel.label.tolist() == [2, 1, 0, 0, 1] and relabel.weight.tolist() == [1] * 5
    np.testing.assert_allclose(weight.weight, [1, 0.25, 1, 1, 1 / 9])
    assert weight.label.tolist() == label.tolist()


def test_no_class_loses_more_than_half_of_its_rows() -> None:
    """Planted fault: models that cannot see a class call all of it an error."""
    given = [0] * 6 + [1] * 6
    rows = judged([0.1, 0.2, 0.3, 0.05, 0.4, 0.45] + [0.9] * 6, list(range(6)), given)
    targets = clean(np.array([0, *given]), rows, "drop")
    lost = np.flatnonzero(targets.weight == 0)
    assert len(lost) == MOST_OF_A_CLASS * 6
    assert lost.tolist() == [1, 2, 4], "the worst ones went"


def test_judging_does_not_depend_on_how_classes_are_numbered() -> None:
    given, _ = spoilt()
    assert given.logits is not None
    order = np.array([2, 0, 3, 1])
    renamed = replace(given, label=np.argsort(order)[given.label], logits=given.logits[:, order])
    a, b = find_label_errors([given]), find_label_errors([renamed])
    np.testing.assert_allclose(a.quality, b.quality, rtol=1e-9)
    assert np.array_equal(a.is_flagged, b.is_flagged) and np.array_equal(a.suggested, order[b.suggested])


def test_ties_and_classes_without_rows_do_no_harm() -> None:
    label = np.array([0, 0, 1, 1])
    flat = np.full((4, 3), 1 / 3)
    found = judge(np.array(list("abcd")), label, flat)
    assert not found.is_flagged.any() and np.allclose(found.quality, 0.5)


def test_nearest_neighbours_are_those_of_a_naive_loop() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 5))
    found = nearest(features, np.array([3, 17]), 4)
    unit = features - features.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for row, own in zip((3, 17), found, strict=True):
        likeness = [(float(unit[row] @ unit[j]), j) for j in range(60) if j != row]
        assert own.tolist() == [j for _, j in sorted(likeness, reverse=True)[:4]]
    assert nearest(features[:3], np.array([0]), 10).shape == (1, 2)
