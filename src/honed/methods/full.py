"""Full fine-tuning: every weight of the top layers trains, of every layer with `--depth all`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from honed.methods.base import Adapters, Capabilities, Host, Method, MethodOptions
from honed.methods.resident import ResidentAdapters

if TYPE_CHECKING:
    import torch


class FullOptions(MethodOptions):
    """Full fine-tuning has no options of its own: `--depth` says how much of the model trains."""


class Full(Method):
    """Trains the base's own weights: the adapted layers and what lies above; with all layers, also what lies below.

    Slots train one after another; they share the trunk below the lowest trained layer.
    """

    name = "full"
    reference = "Howard & Ruder 2018, Universal Language Model Fine-tuning for Text Classification, arXiv:1801.06146"
    options = FullOptions
    capabilities = Capabilities(stacks=False, merges=True, touches_base=True)
    learning_rate = 1e-4
    preference = 0.0
    deepest = "all"

    def install(self, host: Host, seeds: Sequence[int], options: Sequence[Any]) -> Adapters:
        """Thaw the weights; a slot's seed has nothing to draw."""
        parts = dict(host.adapted) | dict(_above(host))
        if host.cut == 0:
            parts = {_backbone_path(host): host.backbone}
        unread = _unread(host)
        live: dict[str, torch.nn.Parameter] = {}
        for path, module in parts.items():
            for name, parameter in module.named_parameters(prefix=path):
                if not any(parameter is other for other in unread):
                    parameter.requires_grad_(True)
                    live[name] = parameter
        return ResidentAdapters(live, tuple(parts))


def _backbone_path(host: Host) -> str:
    path: str = next(name for name, module in host.model.named_modules() if module is host.backbone)
    return path


def _above(host: Host) -> Iterator[tuple[str, torch.nn.Module]]:
    """Modules of the backbone that come after the layers (a last norm), at every level down to the list of layers."""
    below = _backbone_path(host)
    steps = host.layers_path.removeprefix(below).lstrip(".").split(".")
    module, path = host.backbone, below
    for step in steps:
        children = list(module.named_children())
        position = [name for name, _ in children].index(step)
        for name, child in children[position + 1 :]:
            yield f"{path}.{name}".lstrip("."), child
        module, path = children[position][1], f"{path}.{step}".lstrip(".")


def _unread(host: Host) -> list[torch.nn.Parameter]:
    """A pooler that nobody reads: a head of ours reads the last hidden state, not the pooled one."""
    pooler = getattr(host.backbone, "pooler", None)
    return list(pooler.parameters()) if pooler is not None and host.backbone is host.model else []


METHOD = Full()
