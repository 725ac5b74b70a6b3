"""LoRA: y = W x + scaling * B (A x), with A and B trained and W frozen (Hu et al. 2021, eq. 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from honed.errors import UsageError
from honed.methods.base import PEFT_PREFIX, Adapted, Capabilities, MethodOptions, PeftFiles
from honed.methods.linear import LinearMethod, chosen_linears, narrower_targets

if TYPE_CHECKING:
    import torch

    from honed.routing import Routing


class LoraOptions(MethodOptions):
    """Options of LoRA; each is set with `--option NAME=VALUE`."""

    rank: int = Field(8, ge=1, description="rank r of A (r, in) and B (out, r)")
    alpha: float = Field(16.0, gt=0, description="scaling = alpha / rank (alpha / sqrt(rank) with rslora)")
    rslora: bool = Field(False, description="rank-stabilised scaling (Kalajdzievski 2023)")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the input of A")
    target: str = Field(
        "attention",
        min_length=1,
        description="linear modules: attention (query, key, value, output), all-linear, or names such as q_proj,v_proj",
    )

    @property
    def scaling(self) -> float:
        """The factor in front of B A."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


class Lora(LinearMethod):
    """Low-rank adaptation of the linear modules of a layer; stacks, merges, leaves the base untouched."""

    name = "lora"
    reference = "Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685"
    options = LoraOptions
    capabilities = Capabilities(stacks=True, merges=True, touches_base=False)
    per_slot_options = frozenset(("rank", "alpha", "rslora", "dropout"))
    preference = 1.0

    def ladder(self, layer: torch.nn.Module, depth: int) -> tuple[dict[str, Any], ...]:
        """Ranks in the whole attention, then rank 1 in fewer of its modules; the scaling stays 2, the default's."""
        ranks = [{"rank": rank, "alpha": 2.0 * rank} for rank in (64, 32, 16, 8, 4, 2, 1)]
        return (*ranks, *({**ranks[-1], "target": target} for target in narrower_targets(layer)))

    def targets(self, layer: torch.nn.Module, options: LoraOptions) -> list[str]:
        """Linear modules of `layer` that `options.target` means.

        Raises UsageError if the layer has none.
        """
        return chosen_linears(layer, options.target, "LoRA")

    def wrap(
        self, linear: torch.nn.Linear, routing: Routing, seeds: Sequence[int], options: Sequence[LoraOptions]
    ) -> torch.nn.Module:
        """`linear` with S pairs (A, B): A from a Kaiming-uniform draw, B zero."""
        from honed.methods.slot_lora import SlotLora

        return SlotLora(linear, routing, seeds, options)

    def pack_key(self, options: LoraOptions) -> tuple[Any, ...]:
        """See `Method`."""
        return self.shared_options(options)

    def pack_site(self, linear: torch.nn.Linear, routing: Routing, options: LoraOptions) -> torch.nn.Module:
        """See `LinearMethod`."""
        from honed.methods.packed_lora import PackedLora

        del options
        return PackedLora(linear, routing)

    def to_peft(self, options: LoraOptions, adapted: Adapted) -> PeftFiles:
        """PEFT's LoraConfig; `target_modules` are full module paths, so exactly these are adapted."""
        config = {
            "peft_type": "LORA",
            "r": options.rank,
            "lora_alpha": options.alpha,
            "use_rslora": options.rslora,
            "lora_dropout": options.dropout,
            "target_modules": sorted(adapted.sites),
            "bias": "none",
            "fan_in_fan_out": False,
            "inference_mode": True,
        }
        return PeftFiles(config, self.peft_tensors(adapted))

    def from_peft(self, files: PeftFiles) -> tuple[LoraOptions, dict[str, torch.Tensor]]:
        """An adapter of PEFT's LoraConfig.

        Raises UsageError for variants that this method has not (DoRA, rank patterns, biases): `peft_tuner` has them.
        """
        config = files.config
        odd = [
            name
            for name, plain in (("use_dora", False), ("rank_pattern", {}), ("alpha_pattern", {}), ("bias", "none"))
            if config.get(name, plain) not in (plain, None)
        ]
        if odd:
            raise UsageError(f"This LoRA adapter uses {', '.join(odd)}, which method 'lora' has not.")
        state = {name.removeprefix(PEFT_PREFIX): tensor for name, tensor in files.tensors.items()}
        leaves = sorted({name.rsplit(".", 3)[1] for name in state})
        given: dict[str, Any] = {
            "rank": config["r"],
            "alpha": config["lora_alpha"],
            "rslora": config.get("use_rslora", False),
            "dropout": config.get("lora_dropout", 0.0),
            "target": ",".join(leaves),
        }
        return LoraOptions(**given), state


METHOD = Lora()
