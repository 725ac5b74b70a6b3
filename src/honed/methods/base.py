"""What a method is, and how methods are found.

A method is one file in this folder that defines `METHOD`, an instance of `Method`. Nothing else lists methods: no enum,
no mapping; `discover` imports the folder's modules, and the contract tests run over whatever it finds.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from honed.errors import UsageError

if TYPE_CHECKING:
    import torch

    from honed.routing import Routing


class MethodOptions(BaseModel):
    """Options of one method; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Capabilities:
    """stacks: slots share one forward pass. merges: can be folded into the base. touches_base: trains base weights."""

    stacks: bool
    merges: bool
    touches_base: bool


class Method(ABC):
    """One way to adapt a frozen base.

    name : what `--method` takes.         reference : the paper.
    options : the class of its options.   capabilities : what the rest of the program may rely on.
    """

    name: str
    reference: str
    options: type[MethodOptions]
    capabilities: Capabilities

    @abstractmethod
    def targets(self, layer: torch.nn.Module, options: Any) -> list[str]:
        """Names, relative to one transformer layer, of the `nn.Linear` modules that are wrapped."""

    @abstractmethod
    def wrap(self, linear: torch.nn.Linear, routing: Routing, seeds: list[int], options: Any) -> torch.nn.Module:
        """A module that replaces `linear`, with one set of leaf parameters a slot (`slot_parameters(slot)`).

        seeds : one a slot; the initial parameters of a slot depend on its seed alone.
        At the start a wrapped module gives what `linear` gives (step 0 = base).
        """

    @abstractmethod
    def peft_config(self, options: Any, target_paths: list[str], model_kind: dict[str, Any]) -> dict[str, Any]:
        """The `adapter_config.json` with which plain PEFT rebuilds the adapted model."""


@cache
def discover() -> dict[str, Method]:
    """All methods of this folder by name, sorted."""
    found = {}
    for info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        module = importlib.import_module(f"honed.methods.{info.name}")
        method = getattr(module, "METHOD", None)
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
