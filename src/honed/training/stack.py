"""The stack: S slots over one frozen base, any mixture of their rows in one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from honed.errors import UsageError
from honed.events import Emitter
from honed.methods.base import Host, Method
from honed.routing import Segment, SharedInput
from honed.training.layers import find_layers, resolve_depth
from honed.training.trunk import TrunkCache, capture, replay

Rows = npt.NDArray[np.int64]
Pair = tuple[int | None, Rows]


@dataclass(frozen=True)
class Inputs:
    """The encoded examples of a run: anything `task.collate` takes, with the tokens of each of the n examples.

    n_tokens : (n,) of an example; of several parts, those of the longest.
    n_views : encodings of each example, one after another.    n_averaged : of how many a prediction is the mean.
    view : (n,) which of them is read now; None: the first.
    n_parts : encodings of each example, one after another, that are read together, as rows of one batch; an example
        has several views or several parts, not both.
    """

    encoded: Sequence[Any]
    n_tokens: npt.NDArray[np.int64]
    n_views: int = 1
    n_averaged: int = 1
    view: Rows | None = None
    n_parts: int = 1

    def at(self, rows: Rows) -> Rows:
        """Where in `encoded` these examples are read; the parts of one stay together."""
        if self.n_parts > 1:
            return (rows[:, None] * self.n_parts + np.arange(self.n_parts)).ravel()
        if self.n_views == 1:
            return rows
        return rows * self.n_views + (0 if self.view is None else self.view[rows])

    def seen(self, view: int) -> Inputs:
        """Every example in the view of that number."""
        return self if self.n_views == 1 else replace(self, view=np.full(len(self.n_tokens), view))

    def drawn(self, seed: int, epoch: int) -> Inputs:
        """Each example in another view each epoch; it comes back to the first after `n_views` epochs."""
        if self.n_views == 1:
            return self
        first = np.random.default_rng([seed, self.n_views]).integers(self.n_views, size=len(self.n_tokens))
        return replace(self, view=(first + epoch) % self.n_views)


@dataclass(frozen=True)
class Adaptation:
    """How a stack adapts its model.

    seeds, options : one a slot; a slot's start depends on its own seed alone.
    recompute : give up the activations of the adapted layers and compute them again in the backward pass.
    """

    method: Method
    options: Sequence[Any]
    depth: int | str
    seeds: Sequence[int]
    recompute: bool = False


class Stack:
    """Adapts the top `depth` layers of a model in place and gives each slot its own head.

    model : the frozen model; it stays in eval mode (no dropout in the base), so the trunk is exact.
    head : a head of `honed.tasks.heads`; the stack shares its routing.
    Slots of a method that does not stack run one after another behind the same interface.

    Raises UsageError if the depth does not fit the model, or options differ that must be the same in all slots.
    """

    def __init__(self, model: Any, head: Any, task: Any, adaptation: Adaptation) -> None:
        method, seeds = adaptation.method, adaptation.seeds
        self.model, self.head, self.task, self.routing = model.eval(), head, task, head.routing
        self.n_slots, self.is_shared = len(seeds), method.capabilities.stacks
        self.layers_path, self.layers = find_layers(model)
        self.depth = resolve_depth(adaptation.depth, len(self.layers))
        self.cut = len(self.layers) - self.depth
        # What gives the head its input: the whole classifier of a native head, else no more than the backbone.
        self._reader = model.base_model if head.reads_hidden else model
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        head.requires_grad_(True)
        model.config.use_cache = False  # nothing is generated here, and a cache would grow in a recomputed layer
        _check_shared_options(method, adaptation.options)
        head_parameters = {id(parameter) for parameter in head.parameters()}
        self.n_base_parameters = sum(p.numel() for p in model.parameters() if id(p) not in head_parameters)
        host = Host(model, self.layers_path, self.layers, self.cut, self.routing)
        self.adapters = method.install(host, seeds, adaptation.options)
        if adaptation.recompute:
            for layer in self.layers[self.cut :]:
                layer.forward = partial(_recomputed, layer.forward)
        first = next(iter(model.parameters()))
        self.device, self.dtype = first.device, first.dtype

    # -- parameters -------------------------------------------------------------------------------------------------

    def adapter_parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """Leaf parameters of a slot's adapter by full path, as PEFT names them (without its prefix)."""
        return self.adapters.parameters(slot)

    def head_parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """Leaf parameters of a slot's head."""
        parameters: dict[str, torch.nn.Parameter] = self.head.slot_parameters(slot)
        return parameters

    def slot_state(self, slot: int) -> dict[str, torch.Tensor]:
        """A copy of everything a slot has learned, on the CPU; keys `adapter.*` and `head.*`."""
        state = {f"adapter.{name}": tensor for name, tensor in self.adapters.state(slot).items()}
        for name, parameter in self.head_parameters(slot).items():
            state[f"head.{name}"] = parameter.detach().to("cpu", copy=True)
        return state

    def load_slot_state(self, slot: int, state: dict[str, torch.Tensor]) -> None:
        """Put a state of `slot_state` into a slot."""
        adapter, head = self.adapters.names(slot), self.head_parameters(slot)
        own = {f"adapter.{name}" for name in adapter} | {f"head.{name}" for name in head}
        if own != state.keys():
            odd = sorted(own ^ state.keys())
            raise UsageError(f"The state does not fit this stack: {len(odd)} names differ, first {odd[0]!r}.")
        self.adapters.load(slot, {name: state[f"adapter.{name}"] for name in adapter})
        with torch.no_grad():
            for name, parameter in head.items():
                parameter.copy_(state[f"head.{name}"])

    # -- forward ----------------------------------------------------------------------------------------------------

    def build_trunk(self, inputs: Inputs, cache: TrunkCache, emitter: Emitter) -> None:
        """Fill `cache` with the hidden states that enter the lowest adapted layer."""
        self._use_base()
        order = np.argsort(cache.length, kind="stable")
        done = 0
        with torch.inference_mode():
            for places in token_batches(order, cache.length, 8192):
                batch = self._for_model(self._collate(inputs, places))
                cache.put(places, capture(partial(self._reader, **batch), self.layers, self.cut))
                done += len(places)
                emitter.emit("progress", "frozen layers", done=done, total=len(order), unit="row")

    def logits(self, inputs: Inputs, trunk: TrunkCache | None, pairs: Sequence[Pair]) -> torch.Tensor:
        """Logits (sum of rows, c) of `pairs` = [(slot, rows of inputs), ...], in that order.

        A slot None is the frozen base, under a head that learns nothing.

        One forward pass if the method stacks, else one a pair (of which only the last one has a gradient).
        """
        if self.is_shared or len(pairs) == 1:
            return self._logits(inputs, trunk, pairs)
        return torch.cat([self._logits(inputs, trunk, [pair]) for pair in pairs])

    def _logits(self, inputs: Inputs, trunk: TrunkCache | None, pairs: Sequence[Pair]) -> torch.Tensor:
        rows = self._route(pairs, inputs.n_parts)
        if not self.is_shared:
            self.adapters.use(pairs[0][0])
        batch, output = self._run(inputs, trunk, rows, self._reader)
        result: torch.Tensor = self.head(output, batch)
        return result

    def features(self, inputs: Inputs, trunk: TrunkCache | None, rows: Rows) -> torch.Tensor:
        """Last hidden state of the frozen base, pooled as the head pools it: (rows, n * d)."""
        self._use_base()
        batch, output = self._run(inputs, trunk, rows, self.model.base_model)
        features: torch.Tensor = self.head.pool(output.last_hidden_state, batch.get("attention_mask"))
        return features

    def _use_base(self) -> None:
        self.routing.segments = ()
        self.adapters.use(None)

    def _route(self, pairs: Sequence[Pair], n_parts: int) -> Rows:
        segments, start = [], 0
        for slot, own in pairs:
            if slot is not None:
                segments.append(Segment(slot, start, start + n_parts * len(own)))
            start += n_parts * len(own)
        self.routing.segments = tuple(segments)
        rows: Rows = np.concatenate([own for _, own in pairs])
        self.routing.rows = (rows[:, None] * n_parts + np.arange(n_parts)).ravel()
        return rows

    def _run(
        self, inputs: Inputs, trunk: TrunkCache | None, rows: Rows, model: Any
    ) -> tuple[dict[str, torch.Tensor], Any]:
        places = inputs.at(rows)
        batch = self._collate(inputs, places)
        read = self._for_model(batch)
        if trunk is None:
            return batch, model(**read)
        once, index = np.unique(places, return_inverse=True)
        values = trunk.get(once, int(inputs.n_tokens[rows].max())).to(self.device, self.dtype)
        place = torch.from_numpy(index).to(self.device)
        self.routing.shared_input = shared = SharedInput(values, place, values.index_select(0, place))
        try:
            with replay(self.layers, self.cut, shared.batch):
                return batch, model(**read)
        finally:
            self.routing.shared_input = None

    def _for_model(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: tensor for name, tensor in batch.items() if name not in self.head.own_inputs}

    def _collate(self, inputs: Inputs, places: Rows) -> dict[str, torch.Tensor]:
        return self.to_model(self.task.collate([inputs.encoded[i] for i in places]))

    def to_model(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A collated batch on the model's device, its floating-point tensors in the model's number format.

        Those that the head alone reads stay exact: in float32, or float64 where the model is.
        """
        exact = torch.float64 if self.dtype == torch.float64 else torch.float32

        def dtype(name: str, tensor: torch.Tensor) -> torch.dtype:
            if not tensor.is_floating_point():
                return tensor.dtype
            return exact if name in self.head.own_inputs else self.dtype

        return {name: tensor.to(self.device, dtype(name, tensor)) for name, tensor in batch.items()}


def token_batches(order: Rows, n_tokens: npt.NDArray[np.int64], batch_tokens: int) -> list[Rows]:
    """Cut `order` (sorted by length) into batches of at most `batch_tokens` padded tokens, at least one row each."""
    batches: list[list[int]] = [[]]
    widest = 0
    for row in order.tolist():
        widest = max(widest, int(n_tokens[row]))
        if batches[-1] and widest * (len(batches[-1]) + 1) > batch_tokens:
            batches.append([])
            widest = int(n_tokens[row])
        batches[-1].append(row)
    return [np.asarray(batch, dtype=np.int64) for batch in batches if batch]


def _recomputed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    from torch.utils.checkpoint import checkpoint

    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


def _check_shared_options(method: Method, options: Sequence[Any]) -> None:
    for own in options[1:]:
        differ = [name for name, value in own if value != getattr(options[0], name)]
        if not method.per_slot_options.issuperset(differ):
            raise UsageError(
                f"Slots of one {method.name} stack must agree in {min(set(differ) - method.per_slot_options)!r}."
            )
