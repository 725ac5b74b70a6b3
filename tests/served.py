"""Specialists with random weights over a tiny base: what serving is tested with, made without any training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import image_runs
import models as m
from honed.artifact import Artifact, ArtifactInfo, save_artifact, tokenizer_sha256
from honed.bases import ResolvedBase, load_tokenizer
from honed.data.chat_template import template_of
from honed.methods.base import get_method
from honed.training.build import StackSpec, build_stack

LABELS = ("good", "bad", "late", "lost", "found")


def make_base(folder: Path, name: str = "bert") -> ResolvedBase:
    """A tiny base in a folder: for texts, or (dinov2) for images."""
    return image_runs.save_tiny_image_base(folder) if name == "dinov2" else m.save_tiny_base(folder, name)


def make_specialist(folder: Path, base: ResolvedBase, seed: int, **given: Any) -> Path:
    """An artifact whose every weight is drawn from `seed`.

    given : method, head, depth, n_classes, temperature, n_averaged; all else is an option of the method.
    """
    method, head = get_method(given.pop("method", "lora")), given.pop("head", "mean")
    depth, n_classes = given.pop("depth", 2), given.pop("n_classes", 3)
    temperature, n_averaged = given.pop("temperature", 1.5), given.pop("n_averaged", 1)
    info_more = {name: given.pop(name) for name in ("ordinal", "positive", "threshold") if name in given}
    is_image = base.architecture.startswith("Dino")
    reading: dict[str, Any] | None = None
    if is_image:
        grey = (0.5, 0.5, 0.5)
        reading = {
            "size": 28, "fit": "letterbox", "mean": grey, "std": grey, "resample": 3, "n_averaged": n_averaged,
            "n_views": n_averaged, "augment": ("flip", "rotate") if n_averaged > 1 else (),
        }  # fmt: skip
    spec = StackSpec(
        method.name, method.options(**given), head, depth, LABELS[:n_classes], 12, device="cpu", reading=reading,
        task="image_classification" if is_image else "text_classification",
    )  # fmt: skip
    stack = build_stack(base, spec, [seed])
    stack.adapters.use(0)  # where a slot that is not in use keeps its weights apart
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in (*stack.adapter_parameters(0).values(), *stack.head_parameters(0).values()):
            p.add_(torch.empty_like(p).normal_(0, 0.3, generator=draw))
    return _saved(folder, base, stack, spec, temperature, info_more)


def make_writer(folder: Path, base: ResolvedBase, seed: int, method: str = "lora", **options: Any) -> Path:
    """An artifact that writes, whose every weight is drawn from `seed`; options : of the method, and `depth`."""
    depth = options.pop("depth", 2)
    reading = {"template": template_of(load_tokenizer(base)).to_json(), "max_tokens": 64, "train_on": "responses"}
    spec = StackSpec(
        method, get_method(method).options(**options), "language", depth, ("reply",), 64, device="cpu",
        task="instruction", reading=reading,
    )  # fmt: skip
    stack = build_stack(base, spec, [seed])
    stack.adapters.use(0)  # where a slot that is not in use keeps its weights apart
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in stack.adapter_parameters(0).values():
            p.add_(torch.empty_like(p).normal_(0, 0.3, generator=draw))
    return _saved(folder, base, stack, spec, 1.0, {})


def _saved(
    folder: Path, base: ResolvedBase, stack: Any, spec: StackSpec, temperature: float, more: dict[str, Any]
) -> Path:
    info = ArtifactInfo(
        base=base.name, base_hub_id=None, base_revision=None, base_sha256=base.sha256,
        tokenizer_sha256=tokenizer_sha256(stack.task.tokenizer), task=spec.task, method=spec.method,
        method_options=spec.options.model_dump(), head=spec.head, label_names=spec.label_names,
        max_tokens=spec.max_tokens, temperature=temperature, n_layers=base.n_layers,
        depth=stack.depth, dtype="float32", dataset_fingerprint="0",
        head_modules=stack.head.module_names, reading=stack.task.to_json(),
    )  # fmt: skip
    info = replace(info, **more)
    folder.parent.mkdir(parents=True, exist_ok=True)
    save_artifact(folder, Artifact(info, stack.slot_state(0)), sites=stack.adapters.sites)
    return folder
