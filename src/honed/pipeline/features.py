"""Features of the frozen base, for the linear probe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from honed.events import Emitter
from honed.pipeline.scoring import Features
from honed.training.build import encode
from honed.training.stack import Inputs, Stack, token_batches
from honed.training.trunk import TrunkCache


def base_features(
    stack: Stack,
    examples: Sequence[Any],
    emitter: Emitter,
    *,
    inputs: Inputs | None = None,
    trunk: TrunkCache | None = None,
) -> Features:
    """Pooled last hidden state of the frozen base: (n, d). `inputs` and `trunk`: of the same examples, if at hand."""
    import torch

    inputs = inputs or encode(stack, examples)
    result: Features | None = None
    done = 0
    with torch.inference_mode():
        for rows in token_batches(np.argsort(inputs.n_tokens, kind="stable"), inputs.n_tokens, 8192):
            part = stack.features(inputs, trunk, rows).double().cpu().numpy()
            if result is None:
                result = np.empty((len(examples), part.shape[1]))
            result[rows] = part
            done += len(rows)
            emitter.emit("progress", "features of the frozen base", done=done, total=len(examples), unit="row")
    assert result is not None, "there are always rows"
    return result
