"""Heads: what turns the base's hidden states into logits, one copy a slot.

`mean`   mean of the last hidden state (over a text's tokens, over an image's patches), then a linear layer.
`cls`    the first token, then a linear layer.        `both`   the first token beside the mean of the patches.
`native` the model class's own head (`AutoModelFor...Classification`), which plain transformers + PEFT rebuilds.

A head says what it takes: `own_inputs`, tensors of a batch that are its own and none of the model's; `reads_hidden`,
whether it reads the backbone's hidden states or what the whole model says. The head of language models is in
`language_head`.
For grades in their order `GradedHead` learns one direction, not one for each class; it ships as a linear head.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch.nn import functional

from honed.errors import BaseModelError
from honed.routing import Routing


class Pooling(Protocol):
    """hidden: (rows, tokens, d), mask: (rows, tokens), None where there is no padding -> (rows, n * d)."""

    def __call__(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """The pooled hidden states."""
        ...


def masked_mean(hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean over the tokens that are not padding. hidden: (rows, tokens, d), mask: (rows, tokens) -> (rows, d)."""
    if mask is None:
        return hidden.mean(1)
    keep = mask.unsqueeze(-1).to(hidden.dtype)
    result: torch.Tensor = (hidden * keep).sum(1) / keep.sum(1).clamp(min=1)
    return result


def first_token(hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The first token, where encoders gather the whole: (rows, d)."""
    del mask
    return hidden[:, 0]


class LinearHead(torch.nn.Module):
    """logits = W_s pool(h) + b_s; h: (rows, tokens, d), mask: (rows, tokens) -> (rows, c). Starts at zero.

    width : of what `pool` gives.
    """

    module_names: tuple[str, ...] = ()  # none of the model's own modules belongs to it
    own_inputs: tuple[str, ...] = ()
    reads_hidden = True

    def __init__(
        self,
        routing: Routing,
        n_slots: int,
        n_classes: int,
        width: int,
        dtype: torch.dtype,
        pool: Pooling = masked_mean,
    ) -> None:
        super().__init__()
        self.routing, self.pool = routing, pool
        zeros = [torch.zeros(n_classes, width, dtype=dtype) for _ in range(n_slots)]
        self.weight = torch.nn.ParameterList([torch.nn.Parameter(w) for w in zeros])
        self.bias = torch.nn.ParameterList([torch.nn.Parameter(w[:, 0].clone()) for w in zeros])

    def slot_parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """Leaf parameters of one slot: weight (c, d) and bias (c,)."""
        return {"weight": self.weight[slot], "bias": self.bias[slot]}

    def weight_of(self, slot: int) -> torch.Tensor:
        """The weight (c, width) of a slot."""
        own: torch.Tensor = self.weight[slot]
        return own

    def forward(self, output: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Logits (rows, c) from the backbone's output and the collated batch, of which it reads the mask."""
        pooled = self.pool(output.last_hidden_state, batch.get("attention_mask")).to(self.weight[0].dtype)
        return torch.cat(
            [functional.linear(own, self.weight_of(s), self.bias[s]) for s, own in self.routing.split(pooled)]
        )


class GradedHead(LinearHead):
    """logits_k = g_k w_s · pool(h) + b_sk with the grades g = 0 .. c-1: a linear head whose rows lie on one direction.

    The log-odds of each grade over the one below it, w · pool(h) + b_k - b_(k-1), rise together: the adjacent-category
    model (Goodman 1979; Agresti, Analysis of Ordinal Categorical Data, 2010, section 4.1). Starts at zero.
    """

    grade: torch.Tensor

    def __init__(
        self,
        routing: Routing,
        n_slots: int,
        n_classes: int,
        width: int,
        dtype: torch.dtype,
        pool: Pooling = masked_mean,
    ) -> None:
        super().__init__(routing, n_slots, n_classes, width, dtype, pool)
        self.weight = torch.nn.ParameterList([torch.nn.Parameter(weight[0].detach().clone()) for weight in self.weight])
        self.register_buffer("grade", torch.arange(n_classes, dtype=dtype), persistent=False)

    def slot_parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """Leaf parameters of one slot: direction (width,) and bias (c,)."""
        return {"direction": self.weight[slot], "bias": self.bias[slot]}

    def weight_of(self, slot: int) -> torch.Tensor:
        """See `LinearHead`: grade by grade a multiple of the direction."""
        return torch.outer(self.grade, self.weight[slot])


def as_linear(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a slot has learned, with the direction of a `GradedHead` as the weight of a linear head of the same logits.

    state : with the keys of `Stack.slot_state`; any other head's comes back as it is.
    """
    folded = dict(state)
    direction = folded.pop("head.direction", None)
    if direction is not None:
        grade = torch.arange(len(folded["head.bias"]), dtype=direction.dtype)
        folded["head.weight"] = torch.outer(grade, direction)
    return folded


class SlotModule(torch.nn.Module):
    """S copies of a head module; the rows of a segment go through their slot's copy."""

    def __init__(self, module: torch.nn.Module, routing: Routing, n_slots: int) -> None:
        super().__init__()
        self.routing = routing
        self.copies = torch.nn.ModuleList([copy.deepcopy(module).requires_grad_(True) for _ in range(n_slots)])

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """hidden: (rows, ...) -> what the module gives, each row through its slot's copy."""
        return torch.cat([self.copies[s](own) for s, own in self.routing.split(hidden)])


def native_modules(model: Any) -> tuple[str, ...]:
    """Names of the modules of a classifier that are its head.

    Raises BaseModelError if it has none that could be told from its backbone.
    """
    names = tuple(
        name
        for name, child in model.named_children()
        if child is not model.base_model and next(child.parameters(), None) is not None
    )
    if model.base_model is model or not names:
        raise BaseModelError(
            f"{type(model).__name__} has no head that could be told from its backbone.", remedy="Use `--head mean`."
        )
    return names


class NativeHead(torch.nn.Module):
    """The head modules of a classifier, copied a slot and put back into the model in place.

    model : the whole classifier; its backbone is `model.base_model`.    pool : for features of the base beside it.
    """

    own_inputs: tuple[str, ...] = ()
    reads_hidden = False

    def __init__(self, model: Any, routing: Routing, n_slots: int, pool: Pooling = masked_mean) -> None:
        super().__init__()
        self.routing, self.pool = routing, pool
        self.module_names = native_modules(model)
        self.slots = torch.nn.ModuleDict()
        for name in self.module_names:
            wrapped = SlotModule(getattr(model, name), routing, n_slots)
            self.slots[name] = wrapped
            setattr(model, name, wrapped)

    def slot_parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """Leaf parameters of one slot, e.g. `classifier.weight`."""
        return {
            f"{name}.{key}": parameter
            for name in self.module_names
            for key, parameter in self.slots[name].copies[slot].named_parameters()  # type: ignore[union-attr,index]
        }

    def release(self, model: Any, slot: int) -> None:
        """Make the head of one slot the model's own again, so that the model is a plain one."""
        for name in self.module_names:
            setattr(model, name, self.slots[name].copies[slot])  # type: ignore[index]

    def forward(self, output: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The model has already applied the head; the batch is not needed."""
        logits: torch.Tensor = output.logits
        return logits
