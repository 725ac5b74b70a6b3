"""Features of the frozen base, for linear probes: of the base as it is used, or after each of several layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from honed.bases import ResolvedBase, load_backbone, shortened
from honed.config import Config
from honed.events import Emitter
from honed.pipeline.assembly import reading_of
from honed.pipeline.scoring import Features
from honed.tasks.base import get_task
from honed.training.build import encode, pick_device
from honed.training.layers import find_layers
from honed.training.stack import Inputs, Stack, token_batches
from honed.training.trunk import TrunkCache, cut_after, layer_outputs


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


def layer_features(
    config: Config, base: ResolvedBase, layers: Sequence[int], heads: Sequence[str], examples: Sequence[Any],
    emitter: Emitter,
) -> tuple[dict[tuple[int, str], Features], float]:  # fmt: skip
    """Features (n, d) of the base cut off after each of `layers`, pooled as each of `heads` does, from one pass of the
    base; and the mean number of tokens of an example.

    config : settled, with one view.
    """
    import torch

    base = shortened(base, max(layers))
    model: Any = load_backbone(base, dtype=config.precision).to(pick_device(config.device))
    first = next(iter(model.parameters()))
    task = get_task(config.task).over(base, reading_of(config, base) or {"max_tokens": config.max_tokens}, model)
    pools = {head: task.pooling(head)[0] for head in heads}
    own = find_layers(model)[1]
    encoded = task.encode(examples)
    n_tokens = task.n_tokens(encoded)
    result: dict[tuple[int, str], Features] = {}
    done = 0
    with torch.inference_mode():
        for rows in token_batches(np.argsort(n_tokens, kind="stable"), n_tokens, 8192):
            batch = {
                name: tensor.to(first.device, first.dtype if tensor.is_floating_point() else tensor.dtype)
                for name, tensor in task.collate([encoded[i] for i in rows]).items()
            }
            for number, hidden in layer_outputs(partial(model, **batch), own, layers).items():
                with cut_after(own, hidden):  # the final norm follows, as it follows a cut base's last layer
                    last = model(**batch).last_hidden_state
                for head, pool in pools.items():
                    part = pool(last, batch.get("attention_mask")).double().cpu().numpy()
                    if (number, head) not in result:
                        result[number, head] = np.empty((len(examples), part.shape[1]))
                    result[number, head][rows] = part
            done += len(rows)
            emitter.emit("progress", "features of every layer", done=done, total=len(examples), unit="row")
    return result, float(n_tokens.mean())
