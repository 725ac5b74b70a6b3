"""Slots as named adapters of one `PeftModel` around the model, of which one at a time is in use."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch

from honed.errors import UsageError
from honed.methods.base import PEFT_PREFIX, Adapters
from honed.methods.peft_tuner import PeftTunerOptions, peft_config, prefixed

PEFT_COMPLAINS = (ValueError, TypeError, RuntimeError, AttributeError, KeyError, IndexError, ImportError)
"""How PEFT refuses: options that do not fit a module, a layer of another kind, a package that is missing."""


class PeftAdapters(Adapters):
    """Adapters slot0, slot1, ... of one tuner.

    What PEFT saves beside the trained tensors (random projections, chosen indices) belongs to a slot's state, and is
    none of its parameters. Where all slots share such a tensor, it cannot differ between them.

    Raises UsageError if PEFT refuses, or the tuner begins by changing the base.
    """

    def __init__(
        self, model: Any, sites: tuple[str, ...], seeds: Sequence[int], options: Sequence[PeftTunerOptions]
    ) -> None:
        self.sites = sites
        self._tuner = options[0].tuner
        site = model.get_submodule(sites[0])
        before = site.weight.detach().clone()
        trains = {id(p): p.requires_grad for p in model.parameters()}
        try:
            self._peft = _inject(model, sites, seeds, options)
        except PEFT_COMPLAINS as error:
            raise UsageError(
                f"PEFT's {self._tuner} cannot adapt {type(model).__name__}.",
                cause=f"It says: {' '.join(str(error).split())}",
                remedy=f"Set its options to fit the modules (the first is {sites[0]}, {tuple(before.shape)}), for "
                f"example `--option r=4`, or choose others with `--option target=...`.",
            ) from error
        if not torch.equal(model.get_submodule(sites[0]).get_base_layer().weight, before):
            raise UsageError(
                f"PEFT's {self._tuner} with these options begins by changing the base's weights.",
                cause="Slots share one base.",
                remedy="Leave `init_lora_weights` (or `init_weights`) at its default.",
            )
        model.eval()
        n_slots = len(seeds)
        self._parameters = [self._trained(slot) for slot in range(n_slots)]
        for parameter in model.parameters():
            parameter.requires_grad_(trains.get(id(parameter), False))
        self._slot: int | None = n_slots - 1
        first = self._saved(0)
        self._shared = {
            name
            for slot in range(1, n_slots)
            for name, tensor in self._saved(slot).items()
            if tensor.data_ptr() == first[name].data_ptr() and tensor.numel()
        }
        self.use(None)

    def parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """As PEFT saves them, without its prefix and the adapter's name."""
        return dict(self._parameters[slot])

    def names(self, slot: int) -> tuple[str, ...]:
        """All that PEFT saves."""
        return tuple(self._saved(slot))

    def use(self, slot: int | None) -> None:
        """Switch to one adapter, or all off."""
        if slot == self._slot or self._peft is None:
            return
        tuner = self._peft.base_model
        if slot is None:
            tuner.disable_adapter_layers()
        else:
            if self._slot is None:
                tuner.enable_adapter_layers()
            tuner.set_adapter(f"slot{slot}")
        for own in self._parameters:  # PEFT freezes what is not in use
            for parameter in own.values():
                parameter.requires_grad_(True)
        self._slot = slot

    def state(self, slot: int) -> dict[str, torch.Tensor]:
        """A copy of all that PEFT saves, on the CPU."""
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in self._saved(slot).items()}

    def load(self, slot: int, state: dict[str, torch.Tensor]) -> None:
        """Put a state into a slot.

        Raises UsageError if it has another value where all slots share one.
        """
        from peft import set_peft_model_state_dict

        now = self._saved(slot)
        for name in self._shared:
            if not torch.equal(now[name].to(state[name].device), state[name]):
                raise UsageError(
                    f"The state differs in {name}, which all slots of this stack share.",
                    remedy="Load it into a stack of its own.",
                )
        own = {prefixed(name): state[name] for name in now if name not in self._shared}
        set_peft_model_state_dict(self._peft, own, adapter_name=f"slot{slot}")

    def merge(self, slot: int) -> None:
        """Let PEFT fold one adapter into the base and take its layers out.

        Raises UsageError if this tuner cannot.
        """
        self.use(slot)
        try:
            self._peft.base_model.merge_and_unload(adapter_names=[f"slot{slot}"])
        except PEFT_COMPLAINS as error:
            raise UsageError(
                f"PEFT's {self._tuner} cannot be merged into the base.",
                cause=f"It says: {' '.join(str(error).split())}",
                remedy="Export it `--to peft`.",
            ) from error
        self._peft = None

    def _saved(self, slot: int) -> dict[str, torch.Tensor]:
        return self._selected(slot, self._peft.state_dict())

    def _trained(self, slot: int) -> dict[str, torch.nn.Parameter]:
        self._peft.base_model.set_adapter(f"slot{slot}")
        everything = dict(self._peft.named_buffers(remove_duplicate=False))
        everything |= dict(self._peft.named_parameters(remove_duplicate=False))
        saved = self._selected(slot, everything)
        return {name: p for name, p in saved.items() if isinstance(p, torch.nn.Parameter) and p.requires_grad}

    def _selected(self, slot: int, tensors: dict[str, Any]) -> dict[str, Any]:
        """What PEFT would save of `tensors`, under our names."""
        from peft import get_peft_model_state_dict

        own = get_peft_model_state_dict(
            self._peft, state_dict=tensors, adapter_name=f"slot{slot}", save_embedding_layers=False
        )
        return {name.removeprefix(PEFT_PREFIX): tensor for name, tensor in own.items()}


def _inject(model: Any, sites: tuple[str, ...], seeds: Sequence[int], options: Sequence[PeftTunerOptions]) -> Any:
    """A `PeftModel` with one adapter a slot, each drawn with its slot's seed."""
    from peft import PeftModel

    wrapped: Any = None
    for slot, (seed, own) in enumerate(zip(seeds, options, strict=True)):
        config = peft_config(own, sites)
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT's and transformers' own affair
            torch.manual_seed(seed)
            if wrapped is None:
                wrapped = PeftModel(model, config, adapter_name=f"slot{slot}")
            else:
                wrapped.add_adapter(f"slot{slot}", config)
    return wrapped
