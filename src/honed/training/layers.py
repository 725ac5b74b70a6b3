"""Where a model keeps its transformer layers, found without knowing the model."""

from __future__ import annotations

import torch

from honed.errors import BaseModelError, UsageError


def find_layers(model: torch.nn.Module) -> tuple[str, torch.nn.ModuleList]:
    """Path and list of the model's transformer layers: the longest list of modules of one class.

    Raises BaseModelError if the model has none.
    """
    # A classifier's head is no place to look: the copies that a native head keeps, one a slot, are a list too.
    backbone = set(getattr(model, "base_model", model).modules())
    lists = [
        (path, module)
        for path, module in model.named_modules()
        if module in backbone and isinstance(module, torch.nn.ModuleList) and len({type(m) for m in module}) == 1
    ]
    if not lists:
        raise BaseModelError(
            f"No list of transformer layers was found in {type(model).__name__}.",
            remedy="honed adapts encoder or decoder transformers; choose such a base.",
        )
    return max(lists, key=lambda item: (len(item[1]), -len(item[0])))


def resolve_depth(depth: int | str, n_layers: int) -> int:
    """Number of adapted top layers for `--depth auto|all|N`.

    auto is the top sixth of the layers, at least one: docs/decisions/003 shows what depth bought on real data.
    Raises UsageError if N is not between 1 and the number of layers.
    """
    if depth == "all":
        return n_layers
    if depth == "auto":
        return max(1, round(n_layers / 6))
    if not isinstance(depth, int) or not 1 <= depth <= n_layers:
        raise UsageError(
            f"--depth {depth} does not fit a base with {n_layers} layers.",
            remedy=f"Use auto, all, or a number from 1 to {n_layers}.",
        )
    return depth
