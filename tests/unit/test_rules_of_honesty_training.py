"""Rules 1 and 3: training sees neither the holdout nor, in a fold, its test part; its stop part does not train."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import models as m
from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan, plan_folds
from honed.pipeline.prepare import development
from honed.training.loop import Examples

OPTIONS = replace(m.QUICK, patience=99, epochs=2)
FOLD = 1


def train_fold(label: np.ndarray[Any, Any]) -> m.Trained:
    """All folds and the final model, on these labels."""
    examples = replace(m.make_examples("bert"), label=label)
    return m.train(m.make_stack("bert", range(6)), None, examples, m.make_plans(examples), OPTIONS)


def relabelled(part: str) -> np.ndarray[Any, Any]:
    """Labels in which four rows of one part of fold 1 have other ones (all would be the classes renamed)."""
    examples = m.make_examples("bert")
    rows = getattr(m.make_plan(examples).split(FOLD), part)[:4]
    label = examples.label.copy()
    label[rows] = (label[rows] + 1) % m.N_CLASSES
    return label


@pytest.fixture(scope="module")
def honest() -> m.Trained:
    return train_fold(m.make_examples("bert").label)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a)


def test_labels_of_the_test_part_leave_a_fold_bitwise_as_it_is(honest: m.Trained) -> None:
    other, name = train_fold(relabelled("test")), f"fold {FOLD}"
    assert other.runs[name].step_losses == honest.runs[name].step_losses
    assert other.runs[name].curve == honest.runs[name].curve
    assert same(other.state[name], honest.state[name])
    assert not same(other.state["fold 3"], honest.state["fold 3"]), "the other folds train on those rows"


def test_labels_of_the_stop_part_train_nothing_but_decide_when_to_stop(honest: m.Trained) -> None:
    other, name = train_fold(relabelled("stop")), f"fold {FOLD}"
    assert other.runs[name].step_losses == honest.runs[name].step_losses
    assert [row["stop_loss"] for row in other.runs[name].curve] != [row["stop_loss"] for row in honest.runs[name].curve]


def test_labels_of_the_training_part_are_what_it_learns(honest: m.Trained) -> None:
    """The planted fault: a row that did train is seen at once."""
    name = f"fold {FOLD}"
    assert train_fold(relabelled("train")).runs[name].step_losses != honest.runs[name].step_losses


def test_the_parts_of_a_fold_are_disjoint_and_nothing_else_is_loaded() -> None:
    examples = m.make_examples("bert")
    for plan, fold in zip(m.make_plans(examples)[:-1], range(5), strict=True):
        test = m.make_plan(examples).split(fold).test
        parts = [set(rows.tolist()) for rows in (plan.train, plan.stop, test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == len(examples.label)


def holdout_setting(holdout_text: str | None) -> tuple[Dataset, FoldPlan]:
    """A dataset with its plan; the texts of the locked rows replaced, if a text is given."""
    texts, label = m.toy_texts(60)
    ids = np.array([f"row {i}" for i in range(60)])

    def dataset(inputs: list[str]) -> Dataset:
        return Dataset(ids, inputs, label, ids, ("a", "b", "c"), np.arange(60))

    plan = plan_folds(dataset(texts), folds=5, seed=0)
    if holdout_text is not None:
        for i in plan.holdout:
            texts[i] = f"{holdout_text} {i}"
    return dataset(texts), plan_folds(dataset(texts), folds=5, seed=0)


def test_training_code_never_holds_a_locked_row() -> None:
    data, plan = holdout_setting("secret")
    part, part_plan = development(data, plan)
    assert plan.holdout.size and len(part) == len(plan.development) == len(part_plan)
    assert not any("secret" in text for text in part.inputs)
    assert (part_plan.fold >= 0).all() and part_plan.holdout.size == 0
    assert set(part.example_id).isdisjoint(data.example_id[plan.holdout])
    assert part.example_id.tolist() == part_plan.example_id.tolist()
    final = part_plan.split(None)
    assert np.array_equal(final.train, np.arange(len(part)))


def test_texts_of_the_holdout_leave_everything_identical() -> None:
    results = []
    for text in (None, "quite another text"):
        part, plan = development(*holdout_setting(text))
        # tokens of each text in a vocabulary made of the rows at hand: a leaked row would move every id
        words = {word: 5 + i for i, word in enumerate(sorted({w for t in part.inputs for w in t.split()}))}
        encoded = [np.array([words[w] for w in t.split()], dtype=np.int32) for t in part.inputs]
        inputs = m.Inputs(encoded, np.array([len(row) for row in encoded]))
        examples = Examples(inputs, part.label, np.ones(len(part)), plan.fold, np.arange(len(part)))
        stack = m.make_stack("bert", range(6))
        results.append(m.train(stack, None, examples, m.slot_plans(plan), replace(OPTIONS, batch_rows=30, epochs=1)))
    assert all(same(results[0].state[name], results[1].state[name]) for name in results[0].state)
    assert all(results[0].runs[name].step_losses == results[1].runs[name].step_losses for name in results[0].runs)
