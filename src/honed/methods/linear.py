"""Methods that wrap the frozen linear modules of a layer: one injection mechanism for all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from honed.errors import UsageError
from honed.methods.base import PEFT_PREFIX, Adapted, Adapters, Host, Method, Packed, check_names, site_seed

if TYPE_CHECKING:
    import torch

    from honed.routing import Routing


class Site(Protocol):
    """A module in the place of an `nn.Linear`, which it keeps as `linear`."""

    linear: torch.nn.Linear

    def slot_parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """Leaf parameters of one slot."""

    def merged(self, slot: int) -> torch.nn.Linear:
        """A linear module that does what this one does for the rows of `slot`."""


class PackedSite(Protocol):
    """A module in the place of an `nn.Linear` that serves many slots.

    names : of a slot's tensors, as `Site.slot_parameters` has them.
    """

    names: tuple[str, ...]

    @property
    def slot_bytes(self) -> int:
        """Memory that one slot takes."""

    def load(self, slot: int, options: Any, *tensors: torch.Tensor) -> None:
        """Put the tensors of a slot, in the order of `names`, into the block."""


class LinearMethod(Method):
    """Says which linear modules are wrapped, and with what."""

    @abstractmethod
    def targets(self, layer: torch.nn.Module, options: Any) -> list[str]:
        """Names, relative to one transformer layer, of the `nn.Linear` modules that are wrapped.

        Raises UsageError if the layer has none.
        """

    @abstractmethod
    def wrap(
        self, linear: torch.nn.Linear, routing: Routing, seeds: Sequence[int], options: Sequence[Any]
    ) -> torch.nn.Module:
        """A `Site` that replaces `linear`, with one set of leaf parameters a slot. At the start it gives what it gave.

        seeds, options : one a slot.
        """

    def install(self, host: Host, seeds: Sequence[int], options: Sequence[Any]) -> Adapters:
        """Wrap the targets of every adapted layer."""
        sites = {}
        for layer_path, layer in host.adapted:
            for name in self.targets(layer, options[0]):
                path = f"{layer_path}.{name}"
                linear: Any = layer.get_submodule(name)
                own_seeds = [site_seed(seed, path) for seed in seeds]
                sites[path] = wrapped = self.wrap(linear, host.routing, own_seeds, options)
                _replace(host.model, path, wrapped)
        return LinearAdapters(host.model, sites)

    def pack(self, host: Host, options: Any) -> Packed:
        """Put a packed site in the place of the targets of every adapted layer."""
        sites: dict[str, Any] = {}
        for layer_path, layer in host.adapted:
            for name in self.targets(layer, options):
                path = f"{layer_path}.{name}"
                sites[path] = site = self.pack_site(layer.get_submodule(name), host.routing, options)
                _replace(host.model, path, site)
        return PackedLinears(sites)

    def pack_site(self, linear: Any, routing: Routing, options: Any) -> Any:
        """A `PackedSite` that replaces `linear`, where the method packs."""
        raise UsageError(f"Method {self.name!r} does not pack.")

    @staticmethod
    def peft_tensors(adapted: Adapted) -> dict[str, torch.Tensor]:
        """The state under PEFT's names."""
        return {PEFT_PREFIX + name: tensor for name, tensor in adapted.state.items()}


class LinearAdapters(Adapters):
    """Wrapped linear modules by path."""

    def __init__(self, model: torch.nn.Module, modules: Mapping[str, Any]) -> None:
        self._model, self._modules = model, modules
        self.sites = tuple(modules)

    def parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """`<path>.<name>` of each site."""
        return {
            f"{path}.{name}": parameter
            for path, site in self._modules.items()
            for name, parameter in site.slot_parameters(slot).items()
        }

    def merge(self, slot: int) -> None:
        """Put a plain linear module back in every site."""
        for path, site in self._modules.items():
            if not hasattr(site, "merged"):
                super().merge(slot)
            _replace(self._model, path, site.merged(slot))


class PackedLinears(Packed):
    """Packed sites by path."""

    def __init__(self, sites: Mapping[str, PackedSite]) -> None:
        self._sites = sites

    @property
    def slot_bytes(self) -> int:
        """See `Packed`."""
        return sum(site.slot_bytes for site in self._sites.values())

    def load(self, slot: int, options: Any, state: dict[str, torch.Tensor]) -> None:
        """See `Packed`."""
        check_names({f"{path}.{name}" for path, site in self._sites.items() for name in site.names}, state)
        for path, site in self._sites.items():
            site.load(slot, options, *(state[f"{path}.{name}"] for name in site.names))


def linear_names(layer: torch.nn.Module) -> list[str]:
    """Names of the plain linear modules of a layer, in the layer's own order."""
    import torch

    return [name for name, module in layer.named_modules() if type(module) is torch.nn.Linear]


def is_attention(name: str) -> bool:
    """Whether a module of a layer belongs to its attention, by the names that transformers gives."""
    return any("attn" in part or "attention" in part for part in name.split("."))


def chosen_linears(layer: torch.nn.Module, target: str, method: str) -> list[str]:
    """Linear modules that `target` means: attention, all-linear, or names such as `q_proj,v_proj`.

    Raises UsageError if the layer has none of them.
    """
    names = linear_names(layer)
    if target == "attention":
        chosen = [name for name in names if is_attention(name)]
    elif target == "all-linear":
        chosen = names
    else:
        asked = [part.strip() for part in target.split(",")]
        chosen = [name for name in names if any(name == a or name.endswith(f".{a}") for a in asked)]
    if not chosen:
        raise UsageError(
            f"{method} found no linear module to adapt in {type(layer).__name__} (target={target}).",
            cause=f"Its linear modules are {', '.join(names) or 'none'}.",
            remedy="Try `--option target=all-linear`, or another base.",
        )
    return chosen


def narrower_targets(layer: torch.nn.Module) -> list[str]:
    """Parts of a layer's attention, as `target` takes them: query and value (else the two smallest), then one module.

    Query and value gain most from few weights (Hu et al. 2021, table 5).
    """
    linears: dict[str, Any] = {name: layer.get_submodule(name) for name in linear_names(layer) if is_attention(name)}
    by_size = sorted(linears, key=lambda name: sum(linears[name].weight.shape))
    named = [name for name in linears if name.rpartition(".")[2] in ("q_proj", "query", "v_proj", "value")]
    pair = named if len(named) == 2 else by_size[:2]
    return [",".join(names) for names in (pair, pair[-1:] if pair is named else pair[:1]) if len(names) < len(linears)]


def _replace(model: torch.nn.Module, path: str, module: torch.nn.Module) -> None:
    parent, _, leaf = path.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)
