"""The linear layer with one low-rank pair (A, B) a slot, forward and backward in as few passes as the sums need."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from honed.methods.lora import LoraOptions
from honed.methods.slot_dropout import row_mask
from honed.routing import Routing, Segment, SharedInput


class SlotLora(torch.nn.Module):
    """y = W x + b + scaling * B_s A_s x for the rows of slot s. x: (rows, ..., in) -> (rows, ..., out)."""

    peft_names = ("lora_A.weight", "lora_B.weight")

    def __init__(
        self, linear: torch.nn.Linear, routing: Routing, seeds: Sequence[int], options: Sequence[LoraOptions]
    ) -> None:
        super().__init__()
        self.linear = linear
        self.routing = routing
        self.options = options
        self.seeds = seeds
        self.lora_a = torch.nn.ParameterList()
        self.lora_b = torch.nn.ParameterList()
        # Adapters of a half-precision base are kept in float32: small updates would round away.
        dtype = torch.float64 if linear.weight.dtype == torch.float64 else torch.float32
        for seed, own in zip(seeds, options, strict=True):
            generator = torch.Generator().manual_seed(seed)
            bound = 1 / math.sqrt(linear.in_features)  # kaiming_uniform with a = sqrt(5), as PEFT draws A
            a = torch.empty(own.rank, linear.in_features).uniform_(-bound, bound, generator=generator)
            device = linear.weight.device
            self.lora_a.append(torch.nn.Parameter(a.to(device, dtype)))
            self.lora_b.append(torch.nn.Parameter(torch.zeros(linear.out_features, own.rank).to(device, dtype)))

    def slot_parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """Leaf parameters of one slot under the names that PEFT gives them."""
        return dict(zip(self.peft_names, (self.lora_a[slot], self.lora_b[slot]), strict=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (rows, ..., in) -> (rows, ..., out); rows as the routing says."""
        if self.routing.only is not None:
            a, b = (p.to(x.dtype) for p in self.slot_parameters(self.routing.only).values())
            whole: torch.Tensor = self.linear(x) + self.options[self.routing.only].scaling * (x @ a.T @ b.T)
            return whole
        segments = self.routing.segments
        if not segments:
            plain: torch.Tensor = self.linear(x)
            return plain
        parameters = [p for s in segments for p in (self.lora_a[s.slot], self.lora_b[s.slot])]
        scaling = [self.options[s.slot].scaling for s in segments]
        masks = self._dropout_masks(x, segments)
        shared = self.routing.shared_input
        if shared is not None and x is not shared.batch:
            shared = None
        result: torch.Tensor = _SlotLora.apply(  # type: ignore[no-untyped-call]
            x, self.linear.weight, self.linear.bias, shared, segments, scaling, masks, *parameters
        )
        return result

    def merged(self, slot: int) -> torch.nn.Linear:
        """A linear module with weight W + scaling * B A; summed in float32 or better."""
        a, b = (p.detach() for p in self.slot_parameters(slot).values())
        plain = copy.deepcopy(self.linear)
        with torch.no_grad():
            change = self.options[slot].scaling * (b @ a)
            plain.weight.copy_(plain.weight.to(change.dtype) + change)
        return plain

    def _dropout_masks(self, x: torch.Tensor, segments: tuple[Segment, ...]) -> list[torch.Tensor] | None:
        """One mask a segment; a slot without dropout gets one of ones."""
        if not any(self.options[s.slot].dropout for s in segments):
            return None
        masks = [
            row_mask(self.routing, s, self.seeds[s.slot], self.options[s.slot].dropout, x[s.start : s.stop])
            for s in segments
        ]
        return [mask for mask in masks if mask is not None] or None


class _SlotLora(torch.autograd.Function):
    """One base product for the whole batch; each slot's low-rank part is added in place into its rows.

    Plain autograd would build a temporary of the size of y for every term. W is frozen: it gets no gradient.
    """

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917 - autograd wants every tensor as an argument of its own
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        shared: SharedInput | None,
        segments: tuple[Segment, ...],
        scaling: list[float],
        masks: list[torch.Tensor] | None,
        *parameters: torch.Tensor,
    ) -> torch.Tensor:
        if shared is None:
            y = functional.linear(x, weight, bias)
        else:
            y = functional.linear(shared.values, weight, bias).index_select(0, shared.index)
        per_row = y.numel() // (y.shape[0] * y.shape[-1])
        flat_x, flat_y = x.reshape(-1, x.shape[-1]), y.view(-1, y.shape[-1])
        low = []
        for i, s in enumerate(segments):
            a, b = (p.to(x.dtype) for p in parameters[2 * i : 2 * i + 2])
            rows = slice(s.start * per_row, s.stop * per_row)
            own = flat_x[rows] if masks is None else flat_x[rows] * masks[i].reshape(-1, x.shape[-1])
            z = own @ a.T
            flat_y[rows].addmm_(z, b.T, alpha=scaling[i])
            low.append(z)
        ctx.save_for_backward(x, weight, *parameters, *low, *(masks or ()))
        ctx.segments, ctx.scaling, ctx.per_row, ctx.has_masks = segments, scaling, per_row, masks is not None
        return y

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad_y,) = grad_outputs
        x, weight, *rest = ctx.saved_tensors
        n = len(ctx.segments)
        parameters, low, masks = rest[: 2 * n], rest[2 * n : 3 * n], rest[3 * n :]
        flat_x, flat_gy = x.reshape(-1, x.shape[-1]), grad_y.reshape(-1, grad_y.shape[-1])
        flat_gx = flat_gy @ weight if ctx.needs_input_grad[0] else None
        grads: list[torch.Tensor | None] = []
        for i, s in enumerate(ctx.segments):
            a, b = (p.to(x.dtype) for p in parameters[2 * i : 2 * i + 2])
            rows = slice(s.start * ctx.per_row, s.stop * ctx.per_row)
            gy = flat_gy[rows]
            gz = (gy @ b).mul_(ctx.scaling[i])
            mask = masks[i].reshape(-1, x.shape[-1]) if ctx.has_masks else None
            own = flat_x[rows] if mask is None else flat_x[rows] * mask
            grads.append((gz.T @ own).to(parameters[2 * i].dtype))
            grads.append((gy.T @ low[i]).mul_(ctx.scaling[i]).to(parameters[2 * i + 1].dtype))
            if flat_gx is not None:
                if mask is None:
                    flat_gx[rows].addmm_(gz, a)
                else:
                    flat_gx[rows].add_((gz @ a).mul_(mask))
        grad_x = None if flat_gx is None else flat_gx.view(x.shape)
        return grad_x, None, None, None, None, None, None, *grads
