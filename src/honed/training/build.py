"""From a resolved base and a description of the specialist to a stack that can train or predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import psutil
import torch

from honed.base_shape import Layers
from honed.bases import ResolvedBase, load_backbone, load_causal, load_classifier, shortened
from honed.errors import UsageError
from honed.events import Emitter
from honed.methods.base import MethodOptions, get_method
from honed.routing import Routing
from honed.tasks.base import Reading, check_head, get_task
from honed.tasks.heads import GradedHead, LinearHead, NativeHead
from honed.tasks.language_head import LanguageHead
from honed.tasks.preference_head import PreferenceHead
from honed.training.allocator import keep_freed_memory
from honed.training.loop import predict
from honed.training.stack import Adaptation, Inputs, Stack
from honed.training.trunk import TrunkCache

HeadKind = Literal["mean", "cls", "both", "native", "language", "preference"]


@dataclass(frozen=True)
class StackSpec:
    """What a stack is made of; the same for training and for serving.

    options : of every slot.    seed : draws a new native head.    recompute : see `Adaptation`.
    reading : how a task other than text classification reads its inputs; for texts, `max_tokens` says it all.
    layers : of the base, from the bottom; those above are left out.
    ordinal_head : train one direction for all grades; what it learns ships as a linear head (`heads.as_linear`).
    """

    method: str
    options: MethodOptions
    head: HeadKind
    depth: int | str
    label_names: tuple[str, ...]
    max_tokens: int
    dtype: str = "float32"
    device: str = "auto"
    seed: int = 0
    recompute: bool = False
    task: str = "text_classification"
    reading: Reading | None = None
    layers: Layers = "all"
    ordinal_head: bool = False


def load_model(base: ResolvedBase, spec: StackSpec) -> Any:
    """The frozen model that a stack adapts, cut off after `spec.layers`: a backbone, a classifier if its own head is
    wanted, or a causal language model.
    """
    base = shortened(base, spec.layers)
    if spec.head == "native":
        auto_class = get_task(spec.task).auto_class
        return load_classifier(base, spec.label_names, auto_class, dtype=spec.dtype, seed=spec.seed)
    if spec.head in ("language", "preference"):
        return load_causal(base, dtype=spec.dtype)
    return load_backbone(base, dtype=spec.dtype)


def build_stack(
    base: ResolvedBase,
    spec: StackSpec,
    seeds: Sequence[int],
    slot_options: Sequence[MethodOptions] | None = None,
    model: Any = None,
) -> Stack:
    """A stack of one slot a seed over `base`. slot_options : one a slot, where they differ.

    model : what `load_model` gave for this base and spec, which is changed in place; None: it is loaded.

    Raises UsageError if `max_tokens` exceeds what the base can read, the head does not fit the task, or the base has
    fewer layers.
    """
    base = shortened(base, spec.layers)
    task_class = get_task(spec.task)
    check_head(task_class, spec.head)
    if spec.reading is None:
        check_max_tokens(base, spec.max_tokens)
    keep_freed_memory()
    routing = Routing()
    n_classes, device = len(spec.label_names), pick_device(spec.device)
    if model is None:
        model = load_model(base, spec)
    task = task_class.over(base, spec.reading or {"max_tokens": spec.max_tokens}, model)
    pool, n_pooled = task.pooling(spec.head)
    head: Any
    if spec.head == "native":
        head = NativeHead(model, routing, len(seeds), pool)
    elif spec.head == "language":
        head = LanguageHead(model, routing, pool)
    elif spec.head == "preference":
        assert spec.reading is not None
        head = PreferenceHead(model, routing, pool, beta=float(spec.reading["beta"]))
    else:
        dtype = torch.float64 if spec.dtype == "float64" else torch.float32
        kind = GradedHead if spec.ordinal_head else LinearHead
        head = kind(routing, len(seeds), n_classes, n_pooled * base.hidden_size, dtype, pool)
    model.to(device)
    head.to(device)
    options = slot_options or [spec.options] * len(seeds)
    return Stack(
        model, head, task, Adaptation(get_method(spec.method), options, spec.depth, seeds, recompute=spec.recompute)
    )


def check_max_tokens(base: ResolvedBase, max_tokens: int) -> None:
    """Raises UsageError if `max_tokens` exceeds what the base can read."""
    if base.max_positions is not None and max_tokens > base.max_positions:
        raise UsageError(
            f"--max-tokens {max_tokens} is more than base {base.name!r} can read ({base.max_positions}).",
            remedy=f"Use --max-tokens {base.max_positions} or less.",
        )


def pick_device(name: str) -> torch.device:
    """The device called `name`; auto takes a CUDA device, then Apple's, then the CPU.

    Raises UsageError if it is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(name.split(":")[0], False):
        raise UsageError(
            f"--device {name} is not available here.",
            cause="PyTorch sees no such device.",
            remedy="Use `--device auto` or `--device cpu`; `honed doctor` lists the devices.",
        )
    return torch.device(name)


def encode(stack: Stack, inputs: Sequence[Any]) -> Inputs:
    """The examples as the base reads them."""
    encoded = stack.task.encode(inputs)
    n_views, n_parts = stack.task.n_views, stack.task.n_parts
    n_tokens = stack.task.n_tokens(encoded[::n_views]).reshape(-1, n_parts).max(axis=1)
    return Inputs(encoded, n_tokens, n_views, stack.task.n_averaged, n_parts=n_parts)


def with_reference(stack: Stack, inputs: Inputs, trunk: TrunkCache | None) -> Inputs:
    """The examples with what the frozen base says of them, for a task that compares with it (`has_reference`)."""
    said = predict(stack, inputs, trunk, None, np.arange(len(inputs.n_tokens)))
    return replace(inputs, encoded=stack.task.referenced(inputs.encoded, said))


def row_weights(stack: Stack, inputs: Inputs) -> npt.NDArray[np.float64]:
    """How much each example counts in a mean loss: (n,)."""
    weights: npt.NDArray[np.float64] = stack.task.row_weights(inputs.encoded[:: inputs.n_views * inputs.n_parts])
    return weights


def make_trunk(
    stack: Stack, inputs: Inputs, hidden_size: int, spill: Path, cache_frac: float, emitter: Emitter
) -> TrunkCache | None:
    """The filled trunk cache, or None if every layer is adapted.

    It lies in RAM if it takes less than `cache_frac` of what is free, else memory-mapped in the file `spill`.
    """
    if stack.cut == 0:
        return None
    length = stack.task.n_tokens(inputs.encoded)
    size = int(length.sum()) * hidden_size * stack.dtype.itemsize
    fits = size <= cache_frac * psutil.virtual_memory().available
    trunk = TrunkCache(length, hidden_size, stack.dtype, None if fits else spill)
    stack.build_trunk(inputs, trunk, emitter)
    return trunk
