"""Heads of many slots in one block, each row read by its own slot's: for serving alone.

Slots may have different numbers of classes; whoever asks cuts a row's logits off after its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from honed.routing import Routing
from honed.slot_buffer import SlotBuffer
from honed.tasks.heads import Pooling, native_modules


class PackedLinearHead(torch.nn.Module):
    """logits = W_s pool(h) + b_s, s = slot of the row. h: (rows, tokens, d), mask: (rows, tokens) -> (rows, c)."""

    def __init__(self, routing: Routing, like: torch.Tensor, pool: Pooling) -> None:
        super().__init__()
        self.routing, self.pool = routing, pool
        self.weight, self.bias = SlotBuffer(like, 2), SlotBuffer(like, 1)

    @property
    def slot_bytes(self) -> int:
        """Memory that one slot takes."""
        return self.weight.slot_bytes + self.bias.slot_bytes

    def load(self, slot: int, state: Mapping[str, torch.Tensor]) -> None:
        """Put weight (c, d) and bias (c,) into a slot."""
        self.weight.put(slot, state["weight"])
        self.bias.put(slot, state["bias"])

    def forward(self, output: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Logits (rows, most classes of a slot)."""
        pooled = self.pool(output.last_hidden_state, batch.get("attention_mask")).to(self.weight.values.dtype)
        if self.routing.only is not None:
            return torch.addmm(self.bias.values[self.routing.only], pooled, self.weight.values[self.routing.only].T)
        assert self.routing.slot_of_row is not None
        weight, bias = self.weight.of_rows(self.routing.slot_of_row), self.bias.of_rows(self.routing.slot_of_row)
        return torch.baddbmm(bias[:, :, None], weight, pooled[:, :, None]).squeeze(2)


class PackedModule(torch.nn.Module):
    """A head module of the model with the parameters of many slots; each row goes through its slot's."""

    def __init__(self, module: torch.nn.Module, routing: Routing) -> None:
        super().__init__()
        self.module, self.routing = module, routing
        self.blocks = {name: SlotBuffer(p, p.dim()) for name, p in module.named_parameters()}

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """hidden: (rows, ...) -> what the module gives."""
        if self.routing.only is not None:
            own = {name: block.values[self.routing.only] for name, block in self.blocks.items()}
            return self._call(own, hidden)
        assert self.routing.slot_of_row is not None
        gathered = {name: block.of_rows(self.routing.slot_of_row) for name, block in self.blocks.items()}
        one_row = torch.func.vmap(lambda own, row: self._call(own, row[None])[0])
        result: torch.Tensor = one_row(gathered, hidden)
        return result

    def _call(self, parameters: dict[str, torch.Tensor], hidden: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.func.functional_call(self.module, parameters, (hidden,))
        return result


class PackedNativeHead(torch.nn.Module):
    """The head modules of a classifier, with the parameters of many slots, put back into the model in place."""

    def __init__(self, model: Any, routing: Routing) -> None:
        super().__init__()
        self.packed = {}
        for name in native_modules(model):
            self.packed[name] = PackedModule(getattr(model, name), routing)
            setattr(model, name, self.packed[name])

    @property
    def slot_bytes(self) -> int:
        """Memory that one slot takes."""
        return sum(block.slot_bytes for module in self.packed.values() for block in module.blocks.values())

    def load(self, slot: int, state: Mapping[str, torch.Tensor]) -> None:
        """Put the parameters of a slot, e.g. `classifier.weight`, into it."""
        for name, module in self.packed.items():
            for key, block in module.blocks.items():
                block.put(slot, state[f"{name}.{key}"])

    def forward(self, output: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The model has already applied the head; the batch is not needed."""
        del batch
        logits: torch.Tensor = output.logits
        return logits


class NothingLearned:
    """In the place of a head where the model's own output layer, which is frozen, serves all slots."""

    slot_bytes = 0

    def load(self, slot: int, state: Mapping[str, torch.Tensor]) -> None:
        """There is nothing to put into a slot."""
