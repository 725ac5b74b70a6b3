"""Slots of a method that cannot share a forward pass: one set of live parameters, the other slots wait on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from honed.methods.base import Adapters

if TYPE_CHECKING:
    import torch


class ResidentAdapters(Adapters):
    """The model's own parameters `live`, which hold one slot at a time; every slot starts as the base.

    sites : full paths of the modules that hold them.
    """

    def __init__(self, live: dict[str, torch.nn.Parameter], sites: tuple[str, ...]) -> None:
        self.sites = sites
        self._live = live
        self._base = {name: parameter.detach().to("cpu", copy=True) for name, parameter in live.items()}
        self._parked: dict[int, dict[str, torch.Tensor]] = {}
        self._slot: int | None = None

    def parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """The live parameters, whose values are those of the slot in use."""
        return dict(self._live)

    def use(self, slot: int | None) -> None:
        """Park the slot in use, and bring in `slot`, or the base."""
        if slot == self._slot:
            return
        if self._slot is not None:
            self._parked[self._slot] = self._copy()
        self._put(self._base if slot is None else self._parked.pop(slot, self._base))
        self._slot = slot

    def state(self, slot: int) -> dict[str, torch.Tensor]:
        """A slot's parameters on the CPU; not to be written to, since slots that never trained share the base's."""
        if slot == self._slot:
            return self._copy()
        return dict(self._parked.get(slot, self._base))

    def load(self, slot: int, state: dict[str, torch.Tensor]) -> None:
        """Put a state into a slot."""
        if slot == self._slot:
            self._put(state)
        else:
            self._parked[slot] = {name: state[name].to("cpu", copy=True) for name in self._live}

    def merge(self, slot: int) -> None:
        """The live weights are the model's own: there is nothing to fold."""
        self.use(slot)

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: parameter.detach().to("cpu", copy=True) for name, parameter in self._live.items()}

    def _put(self, state: dict[str, torch.Tensor]) -> None:
        import torch

        with torch.no_grad():
            for name, parameter in self._live.items():
                parameter.copy_(state[name])
