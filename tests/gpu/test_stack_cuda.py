"""The stack on a CUDA device gives what it gives on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

import models as m
from tolerances import tolerance

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", m.TEXT_MODELS)
def test_training_on_cuda_equals_training_on_the_cpu(name: str) -> None:
    import torch

    examples = m.make_examples(name)
    plans = m.make_plans(examples, has_stop=False)
    losses = {}
    for device in ("cpu", "cuda"):
        stack = m.make_stack(name, range(len(plans)), dtype="float32")
        stack.model.to(device)
        stack.head.to(device)
        stack.device = torch.device(device)
        trained = m.train(stack, m.make_trunk(stack, examples), examples, plans)
        losses[device] = np.concatenate([run.step_losses for run in trained.runs.values()])
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], **tolerance("step_loss", "float32"))
