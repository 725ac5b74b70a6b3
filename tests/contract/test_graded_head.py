"""The head of grades: one direction a slot, trained as if alone, shipped as a linear head of the same logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import honed
import models as m
from honed.artifact import load_artifact
from honed.errors import UsageError
from honed.tasks.heads import as_linear
from honed.training.loop import predict
from honed.training.stack import Stack
from image_runs import make_run
from tolerances import tolerance

MODELS = pytest.mark.parametrize(("name", "head"), [("bert", "mean"), ("dinov2", "both"), ("dinov2", "cls")])


def trained(name: str, head: str, n_slots: int = 3) -> tuple[Stack, m.Trained]:
    stack, examples = m.make_stack(name, range(n_slots), head=head, ordinal_head=True), m.make_examples(name)
    return stack, m.train(stack, None, examples, m.make_plans(examples, has_stop=False)[:n_slots])


@MODELS
def test_a_slot_learns_one_direction(name: str, head: str) -> None:
    stack, _ = trained(name, head)
    width = m.HIDDEN_SIZE * (2 if head == "both" else 1)
    for slot in range(3):
        learned = {key: tuple(p.shape) for key, p in stack.head_parameters(slot).items()}
        assert learned == {"direction": (width,), "bias": (m.N_CLASSES,)}
        assert all(p.abs().max() > 0 for p in stack.head_parameters(slot).values())


@MODELS
def test_slots_are_trained_as_alone(name: str, head: str) -> None:
    examples = m.make_examples(name)
    plans = m.make_plans(examples, has_stop=False)[:3]
    together = trained(name, head)[1].state
    for slot, plan in enumerate(plans):
        single = m.make_stack(name, [slot], head=head, ordinal_head=True)
        alone = m.train(single, None, examples, [m.alone(plan)]).state[plan.name]
        torch.testing.assert_close(alone, together[plan.name], **tolerance("weights_after_training", "float64"))


@MODELS
def test_folded_into_a_linear_head_it_gives_the_same_logits(name: str, head: str) -> None:
    stack, _ = trained(name, head)
    rows, inputs = np.arange(18), m.make_examples(name).inputs
    linear = m.make_stack(name, [0], head=head)
    for slot in range(3):
        linear.load_slot_state(0, as_linear(stack.slot_state(slot)))
        torch.testing.assert_close(
            torch.from_numpy(predict(linear, inputs, None, 0, rows)),
            torch.from_numpy(predict(stack, inputs, None, slot, rows)),
            **tolerance("folded_head", "float64"),
        )


@MODELS
def test_the_log_odds_of_neighbouring_grades_rise_together(name: str, head: str) -> None:
    """Between any two rows, every pair of neighbouring grades differs by the same amount, w · (x - x')."""
    stack, _ = trained(name, head)
    logits = predict(stack, m.make_examples(name).inputs, None, 0, np.arange(18))
    steps = np.diff(logits, axis=1)  # (rows, c - 1)
    rise = steps - steps[0]
    np.testing.assert_allclose(rise, rise[:, :1].repeat(m.N_CLASSES - 1, axis=1), atol=1e-12)
    assert np.ptp(rise) > 0
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    mean_grade = (probs / probs.sum(axis=1, keepdims=True)) @ np.arange(m.N_CLASSES)
    assert (np.diff(mean_grade[np.argsort(rise[:, 0])]) >= -1e-12).all()


def test_any_other_head_comes_back_as_it_is() -> None:
    state = m.make_stack("bert", [0]).slot_state(0)
    assert as_linear(state).keys() == state.keys()
    assert all(as_linear(state)[key] is tensor for key, tensor in state.items())


def test_a_run_ships_a_linear_head(tmp_path: Path) -> None:
    path = make_run(tmp_path, "lora", "both", ordinal=True, ordinal_head=True)
    shipped = load_artifact(path / "adapter")
    weight = shipped.state["head.weight"]
    assert "head.direction" not in shipped.state and weight.shape == (3, 2 * m.HIDDEN_SIZE)
    torch.testing.assert_close(weight, torch.outer(torch.arange(3.0), weight[1]))
    run = honed.load(path)
    assert run.metrics["parameters"]["head"] == 2 * m.HIDDEN_SIZE + 3
    assert run.metrics["holdout"]["quadratic_kappa"]["value"] is not None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ordinal_head": True}, "Add --ordinal"),
        ({"trials": "ordinal_head=true,false"}, "Add --ordinal"),
        ({"ordinal": True, "ordinal_head": True, "head": "native"}, "leave --ordinal-head out"),
        ({"ordinal": True, "trials": "ordinal_head=true,false; head=both,native"}, "leave --ordinal-head out"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(
    tmp_path: Path, settings: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        make_run(tmp_path, "lora", str(settings.pop("head", "both")), **settings)
    assert said in refused.value.remedy
    assert {path.name for path in tmp_path.iterdir()} == {"base", "data"}
