"""A rehearsal of a run's forward and backward passes: honed's own stack, on tensors without content.

The model is built from its configuration alone. Frozen layers of one kind cost the same, so one of each is metered;
adapted layers beyond the first few are alike too, so their cost is continued on a straight line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from honed.base_shape import quiet
from honed.methods.base import MethodOptions, get_method
from honed.planning.metering import NOTHING, Meter, Work
from honed.planning.shapes import BaseShape
from honed.planning.workload import Batch
from honed.routing import Routing
from honed.tasks.base import Reading, Task, get_task
from honed.tasks.heads import LinearHead, NativeHead
from honed.tasks.text_classification import TextClassification
from honed.training.layers import find_layers, resolve_depth
from honed.training.stack import Adaptation, Inputs, Stack
from honed.training.trunk import capture, replay

DIRECT_DEPTH = 6
"""Up to this depth all adapted layers are metered."""


@dataclass(frozen=True)
class Specialist:
    """What is trained: as in the configuration.

    recompute : activations are computed again in the backward pass.    task, reading : as in `StackSpec`.
    """

    method: str
    options: MethodOptions
    head: str
    depth: int | str
    dtype: str
    n_classes: int
    recompute: bool = False
    task: str = "text_classification"
    reading: Reading | None = None


@dataclass(frozen=True)
class Parameters:
    """Numbers of weights.

    base : of the backbone.    active : of those, how many see one token (a mixture of experts has more).
    layers : of each transformer layer, from the lowest.    adapter, head : of one slot, in `tensors` tensors.
    """

    base: int
    active: int
    layers: tuple[int, ...]
    adapter: int
    head: int
    tensors: int

    @property
    def trained(self) -> int:
        """Weights that one slot trains."""
        return self.adapter + self.head

    @property
    def outside(self) -> int:
        """Weights of the base that belong to no layer: embeddings, norms, a pooler."""
        return self.base - sum(self.layers)


@dataclass(frozen=True)
class Cost:
    """Of one pass. peak_bytes : most that its tensors hold at once, parameters and their gradients not included."""

    work: Work
    peak_bytes: float

    def along(self, other: Cost, steps: float, *, keeps: bool) -> Cost:
        """The cost `steps` times as far from this one as `other` is. keeps : each step adds to what is held."""
        slope = other.work + self.work * -1
        peak = other.peak_bytes + (other.peak_bytes - self.peak_bytes) * (steps - 1 if keeps else 0)
        return Cost(self.work + slope * steps, peak)


class _NoContent:
    """Stands for a filled trunk cache."""

    def __init__(self, hidden_size: int, dtype: torch.dtype) -> None:
        self.hidden_size, self.dtype = hidden_size, dtype

    def get(self, rows: Any, n_tokens: int) -> torch.Tensor:
        return torch.empty(len(rows), n_tokens, self.hidden_size, dtype=self.dtype)


class Rehearsal:
    """Builds stacks of `specialist` over `base` without content, and meters their passes.

    Raises UsageError if the depth does not fit the base, or the method finds nothing to adapt.
    """

    def __init__(self, base: BaseShape, specialist: Specialist, n_slots: int) -> None:
        from torch._subclasses.fake_tensor import FakeTensorMode

        self.base, self.specialist = base, specialist
        self.depth = resolve_depth(specialist.depth, base.n_layers)
        self.method = get_method(specialist.method)
        self.n_slots = n_slots if self.method.capabilities.stacks else 1
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._stacks: dict[int, Stack] = {}
        self._known: dict[tuple[Any, ...], Cost] = {}
        self.parameters = self._count()

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the base."""
        kind: torch.dtype = getattr(torch, self.specialist.dtype)
        return kind

    # -- passes -----------------------------------------------------------------------------------------------------

    def frozen(self, batch: Batch, layers: range) -> Cost:
        """One pass of the frozen base from the embeddings through `layers`, without gradient."""
        if ("frozen", batch, layers) in self._known:
            return self._known["frozen", batch, layers]
        stack = self._stack(min(self.depth, 1))
        total, peak = NOTHING, 0.0
        with self._mode, torch.no_grad():
            stack.routing.segments = ()
            inputs = self._inputs(batch)
            kinds: dict[Any, list[int]] = {}
            for i in layers:
                kinds.setdefault(_kind(stack.layers[i]), []).append(i)
            for same in kinds.values():
                below, own, most = self._one_layer(stack, inputs, same[0])
                total = total + own * len(same) + (below if total is NOTHING else NOTHING)
                peak = max(peak, most)
        self._known["frozen", batch, layers] = Cost(total, peak)
        return self._known["frozen", batch, layers]

    def train(self, batch: Batch, share: float, depth: int | None = None) -> Cost:
        """Forward and backward pass of a chunk: all slots at once if they stack, else one.

        share : of the chunk's rows on which a fold trains; the final model trains on all.
        """
        rows = [np.arange(max(1, round(batch.rows * share))) for _ in range(max(1, self.n_slots - 1))]
        rows += [np.arange(batch.rows)] if self.n_slots > 1 else []

        def step(stack: Stack, inputs: Inputs) -> None:
            stack.routing.step_seed = 1
            logits = stack.logits(inputs, self._trunk(stack), list(enumerate(rows)))
            label = torch.zeros(logits.shape[0], dtype=torch.int64)
            stack.task.loss(logits, label).sum().backward()
            stack.routing.step_seed = None

        # What rounding took from the rows of a fold is given back to the cost.
        meant = (self.n_slots - 1 or 1) * share * batch.rows + (batch.rows if self.n_slots > 1 else 0)
        cost = self._at_depth(step, batch, depth, keeps=True)
        return Cost(cost.work * (meant / sum(map(len, rows))), cost.peak_bytes)

    def predict(self, batch: Batch, depth: int | None = None) -> Cost:
        """Logits of one slot from cached hidden states, without gradient."""

        def run(stack: Stack, inputs: Inputs) -> None:
            with torch.no_grad():
                stack.logits(inputs, self._trunk(stack), [(0, np.arange(batch.rows))])

        return self._at_depth(run, batch, depth, keeps=False)

    # -- how --------------------------------------------------------------------------------------------------------

    def _at_depth(self, run: Callable[[Stack, Inputs], None], batch: Batch, depth: int | None, *, keeps: bool) -> Cost:
        depth = depth or self.depth
        if depth <= DIRECT_DEPTH:
            return self._metered(run, batch, depth)
        one = self._metered(run, batch, 1)
        return one.along(self._metered(run, batch, 2), depth - 1, keeps=keeps)

    def _metered(self, run: Callable[[Stack, Inputs], None], batch: Batch, depth: int) -> Cost:
        key = (run.__name__, batch, depth)  # one function a kind of pass, and a run has one share of rows
        if key not in self._known:
            self._known[key] = self._meter(run, batch, depth)
        return self._known[key]

    def _meter(self, run: Callable[[Stack, Inputs], None], batch: Batch, depth: int) -> Cost:
        stack = self._stack(depth)
        with self._mode:
            inputs = self._inputs(batch)
            for slot in range(self.n_slots):
                for parameter in (*stack.adapter_parameters(slot).values(), *stack.head_parameters(slot).values()):
                    parameter.grad = torch.zeros_like(parameter)  # they are counted elsewhere
            with Meter() as meter:
                run(stack, inputs)
        return Cost(meter.work, meter.peak_bytes)

    def _one_layer(self, stack: Stack, inputs: Inputs, i: int) -> tuple[Work, Work, float]:
        """Work below layer `i`, work of layer `i`, and the peak of both."""
        batch = stack._collate(inputs, np.arange(len(inputs.n_tokens)))
        rows, tokens = len(inputs.n_tokens), int(inputs.n_tokens.max())
        hidden = torch.empty(rows, tokens, self.base.hidden_size, dtype=self.dtype)
        below: list[Work] = []
        meter = Meter()

        def enter(*_: Any) -> None:
            below.append(meter.restart())

        handle = stack.layers[i].register_forward_pre_hook(enter)
        run = partial(stack.model.base_model, **batch)
        try:
            with replay(stack.layers, i, hidden) if i else nullcontext(), meter:
                if i + 1 < len(stack.layers):
                    capture(run, stack.layers, i + 1)
                else:
                    run()
        finally:
            handle.remove()
        return below[0], meter.work, meter.peak_bytes

    def _trunk(self, stack: Stack) -> Any:
        return _NoContent(self.base.hidden_size, self.dtype) if stack.cut else None

    def _inputs(self, batch: Batch) -> Inputs:
        reading = self.specialist.reading
        row = np.zeros((reading["size"],) * 2 + (3,), np.uint8) if reading else np.zeros(batch.tokens, np.int32)
        return Inputs([row] * batch.rows, np.full(batch.rows, batch.tokens, dtype=np.int64))

    def _stack(self, depth: int) -> Stack:
        if depth not in self._stacks:
            self._stacks[depth] = self._build(depth, self.n_slots)
        return self._stacks[depth]

    def _build(self, depth: int, n_slots: int) -> Stack:
        specialist = self.specialist
        with self._mode, _conversion_by_replacement(), _nothing_differs():
            model, head, task = self._parts(n_slots)
            adaptation = Adaptation(
                self.method, [specialist.options] * n_slots, depth, list(range(n_slots)), recompute=specialist.recompute
            )
            stack = Stack(model, head, task, adaptation)
            stack.adapters.use(0)
        return stack

    def _parts(self, n_slots: int) -> tuple[Any, Any, Any]:
        """A model, its head and its task."""
        import transformers
        from transformers.initialization import no_init_weights

        specialist, routing = self.specialist, Routing()
        config = self.base.config.__class__.from_dict(self.base.config.to_dict())
        head: Any
        with quiet(), no_init_weights():
            if specialist.head == "native":
                config.num_labels = specialist.n_classes
                if specialist.reading is None:
                    config.get_text_config().pad_token_id = config.get_text_config().pad_token_id or 0
                own_class = getattr(transformers, get_task(specialist.task).auto_class)
                model = own_class.from_config(config, dtype=self.dtype)
                task = self._task(model)
                head = NativeHead(model, routing, n_slots, task.pooling("native")[0])
            else:
                model = transformers.AutoModel.from_config(config, dtype=self.dtype)
                task = self._task(model)
                wide = torch.float64 if self.dtype == torch.float64 else torch.float32
                pool, n_pooled = task.pooling(specialist.head)
                width = n_pooled * self.base.hidden_size
                head = LinearHead(routing, n_slots, specialist.n_classes, width, wide, pool)
        return model, head, task

    def _task(self, model: Any) -> Task:
        reading = self.specialist.reading
        if reading is None:  # of a text, only the number of its tokens counts
            return TextClassification(SimpleNamespace(pad_token_id=0), 1)
        return get_task(self.specialist.task).over(self.base.as_base(), reading, model)

    def _count(self) -> Parameters:
        with self._mode:
            plain, _, task = self._parts(1)
            self.n_pooled = task.pooling(self.specialist.head)[1]
            backbone = plain.base_model
            base = sum(p.numel() for p in backbone.parameters())
            active = base - _idle(backbone, self.base.config.get_text_config())
            layers = tuple(sum(p.numel() for p in layer.parameters()) for layer in find_layers(plain)[1])
            del plain, backbone
        stack = self._build(self.depth, 1)
        adapter, head = stack.adapter_parameters(0).values(), stack.head_parameters(0).values()
        return Parameters(
            base=base,
            active=active,
            layers=layers,
            adapter=sum(p.numel() for p in adapter),
            head=sum(p.numel() for p in head),
            tensors=len(adapter) + len(head),
        )


def _kind(layer: torch.nn.Module) -> tuple[Any, ...]:
    return tuple((name.split(".")[-1], tuple(p.shape)) for name, p in layer.named_parameters())


def _idle(model: torch.nn.Module, config: Any) -> int:
    """Weights of experts that do not see a token: each token is read by `num_experts_per_tok` of them."""
    idle = 0
    for module in model.modules():
        n_experts = getattr(module, "num_experts", None)
        for parameter in module.parameters(recurse=False):
            if isinstance(n_experts, int) and parameter.ndim == 3 and parameter.shape[0] == n_experts:
                idle += parameter.numel() * (n_experts - config.num_experts_per_tok) // n_experts
    return idle


class _NothingDiffers(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Two tensors without content are taken as equal: a method may ask whether the base is still what it was."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.equal.default:
            return True
        return func(*args, **(kwargs or {}))


def _nothing_differs() -> TorchDispatchMode:
    mode: TorchDispatchMode = _NothingDiffers()  # type: ignore[no-untyped-call]
    return mode


@contextmanager
def _conversion_by_replacement() -> Iterator[None]:
    """Let `module.to(...)` put new parameters in the place of the old ones, within the block.

    torch swaps the contents of such tensors instead, and refuses, since the mode holds weak references to them.
    """
    usual = torch.nn.Module._apply

    def replace(self: torch.nn.Module, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        for module in self.modules() if recurse else (self,):
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    with torch.no_grad():
                        new = fn(parameter)
                    if new is not parameter:
                        module._parameters[name] = torch.nn.Parameter(new, requires_grad=parameter.requires_grad)
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else fn(buffer)
        return self

    torch.nn.Module._apply = replace  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.nn.Module._apply = usual  # type: ignore[method-assign]
