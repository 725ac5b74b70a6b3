"""How many weights a method trains on a base: honed's own stack of one slot, on a model without content."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from honed.base_shape import quiet
from honed.methods.base import get_method
from honed.planning.shapes import BaseShape
from honed.routing import Routing
from honed.tasks.heads import LinearHead
from honed.tasks.text_classification import TextClassification
from honed.training.layers import find_layers
from honed.training.stack import Adaptation, Stack


class Sizes:
    """Counts the adapter of one slot; the same question is answered from memory.

    n_base : weights of the backbone.    top_layer : without content.
    The model is built once, on the meta device; a count copies the adapted layers' structure and shares all the rest,
    so it takes time in proportion to the depth and no memory.
    """

    def __init__(self, base: BaseShape) -> None:
        import transformers
        from transformers.initialization import no_init_weights

        self.base = base
        with quiet(), no_init_weights(), torch.device("meta"):
            self._model = transformers.AutoModel.from_config(base.config)
        self._layers = find_layers(self._model)[1]
        self.n_base = sum(p.numel() for p in self._model.parameters())
        self._known: dict[str, int] = {}

    @property
    def top_layer(self) -> torch.nn.Module:
        """The layer that every depth adapts."""
        return self._layers[-1]

    def adapter(self, method: str, options: Mapping[str, Any], depth: int) -> int:
        """Weights that one slot of `method` trains in the top `depth` layers, without its head.

        Raises UsageError if the method finds nothing to adapt.
        """
        key = repr((method, sorted(options.items()), depth))
        if key not in self._known:
            chosen = get_method(method)
            task = TextClassification(SimpleNamespace(pad_token_id=0), 1)
            with quiet(), torch.device("meta"), _WithoutContent():
                head = LinearHead(Routing(), 1, 1, self.base.hidden_size, torch.float32)
                adaptation = Adaptation(chosen, [chosen.options(**options)], depth, [0])
                stack = Stack(self._copy(depth), head, task, adaptation)
                self._known[key] = sum(p.numel() for p in stack.adapter_parameters(0).values())
        return self._known[key]

    def _copy(self, depth: int) -> torch.nn.Module:
        """The model with modules of its own down to the lowest adapted layer, but the same tensors."""
        shared = [*self._model.parameters(), *self._model.buffers(), *self._layers[: len(self._layers) - depth]]
        alike: torch.nn.Module = copy.deepcopy(self._model, {id(each): each for each in shared})
        return alike


class _WithoutContent(TorchFunctionMode):
    """What the meta device refuses: a tensor goes nowhere else, and none differs from another."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.equal:
            return True
        if func is torch.Tensor.to and args[0].is_meta:
            dtypes = [each for each in (*args[1:], (kwargs or {}).get("dtype")) if isinstance(each, torch.dtype)]
            return func(args[0], dtypes[0]) if dtypes else args[0].detach()
        return func(*args, **(kwargs or {}))
