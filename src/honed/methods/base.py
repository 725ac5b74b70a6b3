"""What a method is, and how methods are found.

A method is one file in this folder that defines `METHOD`, an instance of `Method`; or one in another package that says
so in its entry points (group `honed.methods`). Nothing else lists methods: no enum, no mapping; `discover` imports what
there is, and the contract tests run over whatever it finds.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from honed.errors import UsageError

if TYPE_CHECKING:
    import torch

    from honed.routing import Routing

PEFT_PREFIX = "base_model.model."
"""PEFT writes it in front of the path of every tensor."""


class MethodOptions(BaseModel):
    """Options of one method; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Capabilities:
    """What the rest of the program may rely on.

    stacks : slots share one forward pass (if not, they run one after another).
    merges : can be folded into the base.                touches_base : trains base weights.
    starts_at_base : before the first step the adapted model is the base, exactly.
    """

    stacks: bool
    merges: bool
    touches_base: bool
    starts_at_base: bool = True


@dataclass(frozen=True)
class Host:
    """The model that a method adapts: `layers[cut:]`, found at `layers_path`. routing : which slot each row is for."""

    model: torch.nn.Module
    layers_path: str
    layers: torch.nn.ModuleList
    cut: int
    routing: Routing

    @property
    def backbone(self) -> torch.nn.Module:
        """The model without its head."""
        backbone: torch.nn.Module = getattr(self.model, "base_model", self.model)
        return backbone

    @property
    def adapted(self) -> list[tuple[str, torch.nn.Module]]:
        """Path and module of each adapted layer, from the lowest."""
        return [(f"{self.layers_path}.{i}", self.layers[i]) for i in range(self.cut, len(self.layers))]


class Adapters(ABC):
    """What a method has put into a model: S slots.

    sites : full paths of the adapted modules.
    """

    sites: tuple[str, ...]

    @abstractmethod
    def parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """Leaf parameters of a slot, by the name under which they are saved."""

    def names(self, slot: int) -> tuple[str, ...]:
        """Names in the state of a slot: its parameters, and what else it must keep to be the same after loading."""
        return tuple(self.parameters(slot))

    def use(self, slot: int | None) -> None:  # noqa: B027 - slots of a stack are all in use at all times
        """Make the whole batch belong to `slot`, or to the untouched base; for methods that do not stack."""

    def state(self, slot: int) -> dict[str, torch.Tensor]:
        """A copy of a slot's parameters on the CPU."""
        return {name: parameter.detach().to("cpu", copy=True) for name, parameter in self.parameters(slot).items()}

    def load(self, slot: int, state: dict[str, torch.Tensor]) -> None:
        """Put a state into a slot; its names are those of `state`."""
        import torch

        with torch.no_grad():
            for name, parameter in self.parameters(slot).items():
                parameter.copy_(state[name])

    def merge(self, slot: int) -> None:
        """Fold a slot into the base and take everything else out, so that the model is a plain one again.

        Raises UsageError if the method cannot.
        """
        raise UsageError("This method cannot be merged into the base.", remedy="Export it `--to onnx`.")


class Packed(ABC):
    """What a method has put into a model to serve many slots: each row's tensors are gathered from one block.

    `routing.slot_of_row` says whose a row is, or `routing.only` that all are one slot's. A slot that was never loaded
    must not be used.
    """

    @property
    @abstractmethod
    def slot_bytes(self) -> int:
        """Memory that one slot takes."""

    @abstractmethod
    def load(self, slot: int, options: Any, state: dict[str, torch.Tensor]) -> None:
        """Put a state, as `Adapters.state` gives it, into a slot.

        Raises UsageError if its names are not those that the model's sites have.
        """


@dataclass(frozen=True)
class PeftFiles:
    """The content of PEFT's adapter_config.json and adapter_model.safetensors, without what belongs to a head."""

    config: dict[str, Any]
    tensors: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Adapted:
    """What was adapted: `sites` in the top `depth` of `n_layers` layers. state : the learned tensors, by name."""

    sites: tuple[str, ...]
    n_layers: int
    depth: int
    state: dict[str, torch.Tensor]


class Method(ABC):
    """One way to adapt a frozen base.

    name : what `--method` takes.         reference : the paper.
    options : the class of its options.   capabilities : what the rest of the program may rely on.
    per_slot_options : options that may differ between the slots of one stack.
    learning_rate : the peak rate of its parameters that did best where it was measured.
    preference : among methods that fit a parameter budget, the one with the smallest is taken.
    deepest : how many layers a parameter budget adapts at most, unless `--depth` says a number.
    peft_prefix : what PEFT writes in front of the path of a tensor of the model (of a head) beside such an adapter.
    """

    name: str
    reference: str
    options: type[MethodOptions]
    capabilities: Capabilities
    per_slot_options: frozenset[str] = frozenset()
    learning_rate: float = 1e-3
    preference: float = 100.0
    deepest: Literal["auto", "all"] = "auto"
    peft_prefix: str = PEFT_PREFIX

    @abstractmethod
    def install(self, host: Host, seeds: Sequence[int], options: Sequence[Any]) -> Adapters:
        """Adapt the host's model in place, one slot a seed; every parameter of the model comes frozen.

        seeds, options : one a slot; a slot's start depends on its own seed alone.

        Raises UsageError if the model has nothing that this method could adapt.
        """

    def pack_key(self, options: Any) -> tuple[Any, ...] | None:
        """What two specialists must have in common to be served in one forward pass; None: this method does not pack.

        Whatever fits one stack fits one pack: options that may differ between slots may differ here too.
        """
        return None

    def pack(self, host: Host, options: Any) -> Packed:
        """Adapt the host's model in place for serving. options : of any of the specialists, whose `pack_key` is one.

        Raises UsageError as `install` does.
        """
        raise UsageError(f"Method {self.name!r} does not pack.")

    def shared_options(self, options: Any) -> tuple[Any, ...]:
        """The options that all slots of a stack have in common."""
        return tuple((name, value) for name, value in options if name not in self.per_slot_options)

    def ladder(self, layer: torch.nn.Module, depth: int) -> tuple[dict[str, Any], ...]:
        """Settings among which a parameter budget chooses, from the largest number of weights to the smallest.

        layer : the top layer of the base, for settings that depend on its modules; without content.
        depth : adapted layers, for settings whose number of weights does not grow with it.
        """
        return ({},)

    def shipped(self, options: Any, state: dict[str, torch.Tensor]) -> tuple[Any, dict[str, torch.Tensor]]:
        """Options and state of one slot as they are saved: without what only training needs, with the same results."""
        return options, state

    def to_peft(self, options: Any, adapted: Adapted) -> PeftFiles | None:
        """One slot as PEFT writes it; None if PEFT has no such adapter."""
        return None

    def from_peft(self, files: PeftFiles) -> tuple[Any, dict[str, torch.Tensor]]:
        """Options and state of an adapter that PEFT (or `to_peft`) wrote.

        Raises UsageError if it uses what this method has not.
        """
        raise UsageError(f"Method {self.name!r} does not read PEFT's format.")


@cache
def discover() -> dict[str, Method]:
    """All methods by name, sorted: those of this folder and those of installed packages."""
    modules = [f"honed.methods.{info.name}" for info in pkgutil.iter_modules([str(Path(__file__).parent)])]
    modules += [entry.value for entry in entry_points(group="honed.methods")]
    found = {}
    for name in modules:
        method = getattr(importlib.import_module(name), "METHOD", None)
        if isinstance(method, Method):
            found[method.name] = method
    return dict(sorted(found.items()))


def get_method(name: str) -> Method:
    """The method called `name`.

    Raises UsageError with the nearest name if there is none.
    """
    methods = discover()
    if name not in methods:
        near = difflib.get_close_matches(name, methods, n=1)
        raise UsageError(
            f"There is no method {name!r}.",
            remedy=(f"Did you mean {near[0]!r}? " if near else "") + f"Known methods: {', '.join(methods)}.",
        )
    return methods[name]


def site_seed(seed: int, path: str) -> int:
    """The seed of one module of a slot: it depends on the slot's seed and the module's path alone."""
    import zlib

    return (seed * 1_000_003 + zlib.crc32(path.encode())) % 2**31


def check_names(expected: set[str], state: Mapping[str, Any]) -> None:
    """Raises UsageError if a state has not exactly these names."""
    if expected != state.keys():
        odd = sorted(expected ^ state.keys())
        raise UsageError(f"The state does not fit these slots: {len(odd)} names differ, first {odd[0]!r}.")
