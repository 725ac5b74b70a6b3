"""Bottleneck adapters: y = W x, then y + up(f(down(y))), with W frozen and a small network trained after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from honed.errors import UsageError
from honed.methods.base import Capabilities, MethodOptions
from honed.methods.linear import LinearMethod, is_attention, linear_names

if TYPE_CHECKING:
    import torch

    from honed.routing import Routing


class BottleneckOptions(MethodOptions):
    """Options of bottleneck adapters; each is set with `--option NAME=VALUE`."""

    variant: Literal["houlsby", "pfeiffer"] = Field(
        "houlsby", description="houlsby: two a layer, after attention and feed-forward; pfeiffer: the second one alone"
    )
    size: int = Field(16, ge=1, description="width m of the bottleneck: down is (m, d), up is (d, m)")
    activation: Literal["relu", "gelu", "silu"] = Field("relu", description="the nonlinearity f between down and up")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the m values inside the bottleneck")


class Bottleneck(LinearMethod):
    """A small network after the output of feed-forward (and attention), before the model's own residual and norm.

    Houlsby et al. 2019 put one after both, Pfeiffer et al. 2020 one after the feed-forward. The residual connections
    and norms of the layer stay the model's own, so that the same adapter fits text and vision models of any kind.
    It is not linear, so it cannot be folded into the base.
    """

    name = "bottleneck"
    reference = (
        "Houlsby et al. 2019, Parameter-Efficient Transfer Learning for NLP, arXiv:1902.00751; "
        "Pfeiffer et al. 2020, AdapterFusion, arXiv:2005.00247"
    )
    options = BottleneckOptions
    capabilities = Capabilities(stacks=True, merges=False, touches_base=False)
    per_slot_options = frozenset(("size", "activation", "dropout"))
    learning_rate = 1e-3
    preference = 2.0

    def ladder(self, layer: torch.nn.Module, depth: int) -> tuple[dict[str, Any], ...]:
        """Widths of both adapters of a layer, at last the narrowest single one."""
        return (*({"size": size} for size in (256, 128, 64, 32, 16, 8, 4, 2, 1)), {"variant": "pfeiffer", "size": 1})

    def targets(self, layer: torch.nn.Module, options: BottleneckOptions) -> list[str]:
        """The last linear module of the layer (and of its attention) that gives a hidden state.

        The width of the hidden state is what the attention's first linear module reads.

        Raises UsageError if the layer has no such modules.
        """
        found = {"feed-forward": _last_to_hidden(layer, in_attention=False)}
        if options.variant == "houlsby":
            found = {"attention": _last_to_hidden(layer, in_attention=True), **found}
        missing = [part for part, name in found.items() if name is None]
        if missing:
            names = ", ".join(linear_names(layer)) or "none"
            raise UsageError(
                f"The bottleneck adapter found no output projection of the {' and the '.join(missing)} in "
                f"{type(layer).__name__}.",
                cause=f"Its linear modules are {names}; experts of a mixture see other rows than the batch has.",
                remedy="Try `--method lora`, or another base.",
            )
        return [name for name in found.values() if name is not None]

    def wrap(
        self, linear: torch.nn.Linear, routing: Routing, seeds: Sequence[int], options: Sequence[Any]
    ) -> torch.nn.Module:
        """`linear` followed by S adapters: down from a Kaiming-uniform draw, up and the biases zero."""
        from honed.methods.slot_bottleneck import SlotBottleneck

        return SlotBottleneck(linear, routing, seeds, options)

    def pack_key(self, options: BottleneckOptions) -> tuple[Any, ...]:
        """See `Method`; one pass has one nonlinearity."""
        return (*self.shared_options(options), options.activation)

    def pack_site(self, linear: torch.nn.Linear, routing: Routing, options: BottleneckOptions) -> torch.nn.Module:
        """See `LinearMethod`."""
        from honed.methods.packed_bottleneck import PackedBottleneck

        return PackedBottleneck(linear, routing, options.activation)


def _last_to_hidden(layer: torch.nn.Module, *, in_attention: bool) -> str | None:
    linears: dict[str, Any] = {name: layer.get_submodule(name) for name in linear_names(layer)}
    attention = [name for name in linears if is_attention(name)]
    if not attention:
        return None
    hidden_size = linears[attention[0]].in_features
    fitting = [
        name
        for name, linear in linears.items()
        if linear.out_features == hidden_size and (name in attention) == in_attention and "expert" not in name
    ]
    return fitting[-1] if fitting else None


METHOD = Bottleneck()
