"""The stack: S slots over one frozen base, any mixture of their rows in one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from honed.errors import UsageError
from honed.events import Emitter
from honed.methods.base import Method
from honed.routing import Segment, SharedInput
from honed.tasks.heads import masked_mean
from honed.training.layers import find_layers, resolve_depth
from honed.training.trunk import TrunkCache, capture, replay

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Inputs:
    """The encoded examples of a run: anything `task.collate` takes, with each example's number of tokens."""

    encoded: Sequence[Any]
    n_tokens: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Adaptation:
    """How a stack adapts its model. seeds: one a slot; a slot's start depends on its own seed alone."""

    method: Method
    options: Any
    depth: int | str
    seeds: Sequence[int]


class Stack:
    """Adapts a model in place: wraps the linear modules of its top `depth` layers and gives each slot its own head.

    model : the frozen model; it stays in eval mode (no dropout in the base), so the trunk is exact.
    head : a head of `honed.tasks.heads`; the stack shares its routing.

    Raises UsageError if the method does not stack or the depth does not fit the model.
    """

    def __init__(self, model: Any, head: Any, task: Any, adaptation: Adaptation) -> None:
        method, options, seeds = adaptation.method, adaptation.options, adaptation.seeds
        if not method.capabilities.stacks:
            raise UsageError(f"Method {method.name!r} does not stack.")
        self.model, self.head, self.task, self.routing = model.eval(), head, task, head.routing
        self.n_slots = len(seeds)
        self.layers_path, self.layers = find_layers(model)
        self.depth = resolve_depth(adaptation.depth, len(self.layers))
        self.cut = len(self.layers) - self.depth
        self.sites: dict[str, Any] = {}
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        head.requires_grad_(True)
        for i in range(self.cut, len(self.layers)):
            for name in method.targets(self.layers[i], options):
                path = f"{self.layers_path}.{i}.{name}"
                parent, _, leaf = path.rpartition(".")
                linear = model.get_submodule(path)
                wrapped = method.wrap(linear, self.routing, [_site_seed(seed, path) for seed in seeds], options)
                setattr(model.get_submodule(parent), leaf, wrapped)
                self.sites[path] = wrapped
        first = next(iter(model.parameters()))
        self.device, self.dtype = first.device, first.dtype

    # -- parameters -------------------------------------------------------------------------------------------------

    def adapter_parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """Leaf parameters of a slot's adapter by full path, as PEFT names them (without its prefix)."""
        return {
            f"{path}.{name}": parameter
            for path, site in self.sites.items()
            for name, parameter in site.slot_parameters(slot).items()
        }

    def head_parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """Leaf parameters of a slot's head."""
        parameters: dict[str, torch.nn.Parameter] = self.head.slot_parameters(slot)
        return parameters

    def slot_state(self, slot: int) -> dict[str, torch.Tensor]:
        """A copy of everything a slot has learned, on the CPU; keys `adapter.*` and `head.*`."""
        return {
            f"{kind}.{name}": parameter.detach().to("cpu", copy=True)
            for kind, parameters in (("adapter", self.adapter_parameters(slot)), ("head", self.head_parameters(slot)))
            for name, parameter in parameters.items()
        }

    def load_slot_state(self, slot: int, state: dict[str, torch.Tensor]) -> None:
        """Put a state of `slot_state` into a slot."""
        own = {f"adapter.{k}": v for k, v in self.adapter_parameters(slot).items()}
        own |= {f"head.{k}": v for k, v in self.head_parameters(slot).items()}
        if own.keys() != state.keys():
            odd = sorted(own.keys() ^ state.keys())
            raise UsageError(f"The state does not fit this stack: {len(odd)} names differ, first {odd[0]!r}.")
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(state[name])

    # -- forward ----------------------------------------------------------------------------------------------------

    def build_trunk(self, inputs: Inputs, cache: TrunkCache, emitter: Emitter) -> None:
        """Fill `cache` with the hidden states that enter the lowest adapted layer."""
        self.routing.segments = ()
        order = np.argsort(inputs.n_tokens, kind="stable")
        done = 0
        with torch.inference_mode():
            for rows in token_batches(order, inputs.n_tokens, 8192):
                batch = self._collate(inputs, rows)
                cache.put(rows, capture(partial(self.model, **batch), self.layers, self.cut))
                done += len(rows)
                emitter.emit("progress", "frozen layers", done=done, total=len(order), unit="row")

    def logits(self, inputs: Inputs, trunk: TrunkCache | None, pairs: Sequence[tuple[int, Rows]]) -> torch.Tensor:
        """Logits (sum of rows, c) of `pairs` = [(slot, rows of inputs), ...], in that order, in one forward pass."""
        rows = self._route(pairs)
        batch, output = self._run(inputs, trunk, rows, self.model)
        result: torch.Tensor = self.head(output, batch["attention_mask"])
        return result

    def features(self, inputs: Inputs, trunk: TrunkCache | None, rows: Rows) -> torch.Tensor:
        """Mean-pooled last hidden state of the frozen base: (rows, d)."""
        self.routing.segments = ()
        batch, output = self._run(inputs, trunk, rows, self.model.base_model)
        return masked_mean(output.last_hidden_state, batch["attention_mask"])

    def _route(self, pairs: Sequence[tuple[int, Rows]]) -> Rows:
        segments, start = [], 0
        for slot, own in pairs:
            segments.append(Segment(slot, start, start + len(own)))
            start += len(own)
        self.routing.segments = tuple(segments)
        rows: Rows = np.concatenate([own for _, own in pairs])
        self.routing.rows = rows
        return rows

    def _run(
        self, inputs: Inputs, trunk: TrunkCache | None, rows: Rows, model: Any
    ) -> tuple[dict[str, torch.Tensor], Any]:
        batch = self._collate(inputs, rows)
        if trunk is None:
            return batch, model(**batch)
        once, index = np.unique(rows, return_inverse=True)
        values = trunk.get(once, int(inputs.n_tokens[once].max())).to(self.device, self.dtype)
        place = torch.from_numpy(index).to(self.device)
        self.routing.shared_input = shared = SharedInput(values, place, values.index_select(0, place))
        try:
            with replay(self.layers, self.cut, shared.batch):
                return batch, model(**batch)
        finally:
            self.routing.shared_input = None

    def _collate(self, inputs: Inputs, rows: Rows) -> dict[str, torch.Tensor]:
        batch = self.task.collate([inputs.encoded[i] for i in rows])
        return {name: tensor.to(self.device) for name, tensor in batch.items()}


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


def _site_seed(seed: int, path: str) -> int:
    import zlib

    return (seed * 1_000_003 + zlib.crc32(path.encode())) % 2**31
