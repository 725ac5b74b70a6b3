"""LoRA: y = W x + scaling * B (A x), with A and B trained and W frozen (Hu et al. 2021, eq. 3)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from honed.errors import UsageError
from honed.methods.base import Capabilities, Method, MethodOptions

if TYPE_CHECKING:
    import torch

    from honed.routing import Routing


class LoraOptions(MethodOptions):
    """Options of LoRA; each is set with `--option NAME=VALUE`."""

    rank: int = Field(8, ge=1, description="rank r of A (r, in) and B (out, r)")
    alpha: float = Field(16.0, gt=0, description="scaling = alpha / rank (alpha / sqrt(rank) with rslora)")
    rslora: bool = Field(False, description="rank-stabilised scaling (Kalajdzievski 2023)")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the input of A")
    target: Literal["attention", "all-linear"] = Field(
        "attention", description="which linear modules of a layer: query, key, value and output, or every one"
    )

    @property
    def scaling(self) -> float:
        """The factor in front of B A."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


class Lora(Method):
    """Low-rank adaptation of the linear modules of a layer; stacks, merges, leaves the base untouched."""

    name = "lora"
    reference = "Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685"
    options = LoraOptions
    capabilities = Capabilities(stacks=True, merges=True, touches_base=False)

    def targets(self, layer: torch.nn.Module, options: LoraOptions) -> list[str]:
        """Linear modules of `layer`; with target=attention those under a module whose name says attention.

        Raises UsageError if the layer has none.
        """
        import torch

        names = [name for name, module in layer.named_modules() if type(module) is torch.nn.Linear]
        if options.target == "attention":
            names = [name for name in names if any("attn" in part or "attention" in part for part in name.split("."))]
        if not names:
            raise UsageError(
                f"LoRA found no linear module to adapt in {type(layer).__name__} (target={options.target}).",
                remedy="Try `--option target=all-linear`, or another base.",
            )
        return names

    def wrap(
        self, linear: torch.nn.Linear, routing: Routing, seeds: list[int], options: LoraOptions
    ) -> torch.nn.Module:
        """`linear` with S pairs (A, B): A from a Kaiming-uniform draw, B zero."""
        from honed.methods.slot_lora import SlotLora

        return SlotLora(linear, routing, seeds, options)

    def peft_config(self, options: LoraOptions, target_paths: list[str], model_kind: dict[str, Any]) -> dict[str, Any]:
        """PEFT's LoraConfig; `target_paths` are full module paths, so exactly these are adapted."""
        return {
            "peft_type": "LORA",
            "r": options.rank,
            "lora_alpha": options.alpha,
            "use_rslora": options.rslora,
            "lora_dropout": options.dropout,
            "target_modules": sorted(target_paths),
            "bias": "none",
            "fan_in_fan_out": False,
            "inference_mode": True,
            **model_kind,
        }


METHOD = Lora()
