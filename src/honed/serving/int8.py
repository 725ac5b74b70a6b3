"""Frozen linear modules in whole numbers of 8 bits: a quarter of the memory traffic, and the processor's integer units.

Each token is scaled by its own largest value and each output by its weights' largest (symmetric, absolute maximum; as
LLM.int8() without its outliers, Dettmers et al. 2022, arXiv:2208.07339). So an answer does not depend on what else
is in the batch, which torch's dynamic quantization, with one scale for the whole batch, cannot promise.
"""

from __future__ import annotations

import torch

from honed.errors import UsageError

_TOP = 127


class Int8Linear(torch.nn.Module):
    """y = s_x s_w (q_x Q_w) + b; q_x, Q_w in -127 .. 127, summed in 32 bits. x: (..., in) -> (..., out)."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        scale = weight.abs().amax(1).clamp(min=1e-12) / _TOP
        self.weight = torch.round(weight / scale[:, None]).to(torch.int8).t().contiguous()
        self.scale = scale
        self.bias = torch.zeros_like(scale) if linear.bias is None else linear.bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (..., in) -> (..., out)."""
        flat = x.reshape(-1, x.shape[-1])
        scale = (flat.abs().amax(1, keepdim=True) / _TOP).clamp_(min=1e-12)
        whole = torch.div(flat, scale).round_().to(torch.int8)
        y = torch._int_mm(whole, self.weight).to(x.dtype).mul_(scale).mul_(self.scale).add_(self.bias)
        return y.view(*x.shape[:-1], y.shape[-1])


def in_int8(model: torch.nn.Module, known: dict[int, Int8Linear]) -> None:
    """Put an `Int8Linear` in the place of every linear module of a model, in place.

    known : those made before, by where their weights lay, so that models over one base share them.

    Raises UsageError unless the model is one of float32 on a CPU.
    """
    first = next(iter(model.parameters()))
    if first.device.type != "cpu" or first.dtype != torch.float32:
        raise UsageError(
            f"--int8 is for float32 specialists on a CPU; this one has {first.dtype} on {first.device.type}.",
            remedy="Leave --int8 out, or use --device cpu.",
        )
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is torch.nn.Linear:
                place = child.weight.data_ptr()
                if place not in known:
                    known[place] = Int8Linear(child)
                setattr(module, name, known[place])
