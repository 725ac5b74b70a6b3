"""Specialists that one forward pass can serve: one model over the shared base, and a slot for each of them."""

from __future__ import annotations

import copy
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from honed.artifact import LANGUAGE, Artifact, ArtifactInfo
from honed.bases import ResolvedBase
from honed.methods.base import Host, get_method
from honed.routing import Routing
from honed.serving.generation import Ids, Watch, Writing, generate
from honed.serving.int8 import Int8Linear, in_int8
from honed.tasks.base import get_task
from honed.tasks.packed_heads import NothingLearned, PackedLinearHead, PackedNativeHead
from honed.training.allocator import keep_freed_memory
from honed.training.build import HeadKind, StackSpec, build_stack, check_max_tokens, load_model, pick_device
from honed.training.layers import find_layers
from honed.training.trunk import capture, replay, watch

Key = tuple[Any, ...]
_NOT_THE_MODEL = ("n_views", "n_averaged", "augment", "n_special_tokens", "max_tokens", "train_on")
"""Of a reading, how often an image is read, and what of a conversation is learned."""


def family_key(info: ArtifactInfo, content: str) -> Key:
    """Specialists of the same key share a model. content : of the artifact; those that do not pack stand alone."""
    method = get_method(info.method)
    packed = method.pack_key(method.options(**info.method_options))
    if packed is None:
        return ("alone", content)
    n_classes = len(info.label_names) if info.head == "native" else None
    return (info.method, packed, info.head, n_classes, info.depth, *model_key(info), _reading(info))


def model_key(info: ArtifactInfo) -> Key:
    """Specialists of the same key have the same frozen base beneath them."""
    return (info.task, info.n_layers, info.dtype)


def _reading(info: ArtifactInfo) -> str:
    return json.dumps(
        {name: value for name, value in info.reading.items() if name not in _NOT_THE_MODEL}, sort_keys=True
    )


class FrozenBase:
    """The base in memory, once for each number of layers and number format; models that share its weights are cut
    from it. is_int8 : the linear modules of families that pack are computed in 8 bits.
    """

    def __init__(self, base: ResolvedBase, device: str, *, is_int8: bool = False) -> None:
        keep_freed_memory()
        self.base, self.device, self.is_int8 = base, device, is_int8
        self.known_int8: dict[int, Int8Linear] = {}
        self._models: dict[Key, Any] = {}
        self._tasks: dict[Key, Any] = {}
        self._lock = threading.RLock()  # requests are read in one thread and answered in another

    def model(self, info: ArtifactInfo) -> Any:
        """The untouched model: not to be changed."""
        key = (*model_key(info), len(info.label_names) if info.head == "native" else None)
        with self._lock:
            if key not in self._models:
                self._models[key] = load_model(self.base, self.spec(info)).eval().to(pick_device(self.device))
            return self._models[key]

    def shared_copy(self, info: ArtifactInfo) -> Any:
        """A model of its own, whose parameters lie where those of the untouched one lie."""
        model = self.model(info)
        # The copies are other objects, so that what a method makes trainable here stays frozen there.
        shared = {id(p): torch.nn.Parameter(p.detach(), requires_grad=False) for p in model.parameters()}
        return copy.deepcopy(model, cast("dict[int, Any]", shared))

    def spec(self, info: ArtifactInfo) -> StackSpec:
        """What the artifact's stack is made of."""
        return StackSpec(
            method=info.method,
            options=get_method(info.method).options(**info.method_options),
            head=cast("HeadKind", info.head),
            depth=info.depth,
            label_names=info.label_names,
            max_tokens=info.max_tokens,
            dtype=info.dtype,
            device=self.device,
            task=info.task,
            reading=reading_of(info),
            layers=info.n_layers,
        )

    def task(self, info: ArtifactInfo) -> Any:
        """What turns inputs into what the model reads.

        Raises UsageError if the base cannot read so many tokens.
        """
        reading = reading_of(info)
        if reading is None:
            check_max_tokens(self.base, info.max_tokens)
            reading = {"max_tokens": info.max_tokens}
        key = (*model_key(info), json.dumps(reading, sort_keys=True))
        with self._lock:
            if key not in self._tasks:
                self._tasks[key] = get_task(info.task).over(self.base, reading, self.model(info))
            return self._tasks[key]


def reading_of(info: ArtifactInfo) -> dict[str, Any] | None:
    """How a specialist reads its inputs: as many views of an image as a prediction is the mean of; None for texts."""
    return info.reading | {"n_views": info.reading.get("n_averaged", 1)} if info.reading else None


@dataclass(frozen=True)
class Encoded:
    """One encoded input. digest : tells it apart from others of the same task.    n_tokens : its length."""

    value: Any
    digest: bytes
    n_tokens: int


class RecentTrunks:
    """Hidden states that entered the lowest adapted layer, of the inputs last seen; the oldest go first.

    limit_bytes : of all of them together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self.n_bytes, self.hits, self.misses = limit_bytes, 0, 0, 0
        self._hidden: OrderedDict[Key, torch.Tensor] = OrderedDict()

    def get(self, key: Key) -> torch.Tensor | None:
        """(tokens, d), or None."""
        found = self._hidden.get(key)
        if found is None:
            self.misses += 1
            return None
        self._hidden.move_to_end(key)
        self.hits += 1
        return found

    def put(self, key: Key, hidden: torch.Tensor) -> None:
        """Keep hidden: (tokens, d)."""
        size = hidden.numel() * hidden.element_size()
        if size > self.limit_bytes or key in self._hidden:
            return
        self._hidden[key] = hidden.clone()
        self.n_bytes += size
        while self.n_bytes > self.limit_bytes:
            _, oldest = self._hidden.popitem(last=False)
            self.n_bytes -= oldest.numel() * oldest.element_size()


class Family:
    """One model and its slots.

    key, is_packed : whether it has many slots, which a batch may mix.    task : collates.
    """

    def __init__(self, frozen: FrozenBase, artifact: Artifact, key: Key) -> None:
        info = artifact.info
        self.key, self.is_packed = key, key[0] != "alone"
        self._frozen, self._options = frozen, get_method(info.method).options
        model = frozen.shared_copy(info)
        self._trunk_key = (*model_key(info), self.is_packed and frozen.is_int8)
        if self.is_packed:
            self._pack(model, info)
        else:
            self._stand_alone(model, info, artifact)
        first = next(iter(self.model.parameters()))
        self.device, self.dtype = first.device, first.dtype

    def _pack(self, model: Any, info: ArtifactInfo) -> None:
        method, self.routing = get_method(info.method), Routing()
        self.model = model
        model.config.use_cache = False
        self.task = self._frozen.task(info)
        path, self.layers = find_layers(model)
        self.cut = len(self.layers) - info.depth
        pool, _ = self.task.pooling(info.head)
        host = Host(model, path, self.layers, self.cut, self.routing)
        self._adapters: Any = method.pack(host, method.options(**info.method_options))
        if self._frozen.is_int8:
            in_int8(model, self._frozen.known_int8)
        dtype = torch.float64 if info.dtype == "float64" else torch.float32
        like = torch.empty(0, dtype=dtype, device=next(model.parameters()).device)
        self.head: Any
        if info.head == LANGUAGE:
            self.head = NothingLearned()
        elif info.head == "native":
            self.head = PackedNativeHead(model, self.routing)
        else:
            self.head = PackedLinearHead(self.routing, like, pool)

    def _stand_alone(self, model: Any, info: ArtifactInfo, artifact: Artifact) -> None:
        self._own_bytes = 2 * sum(t.numel() * t.element_size() for t in artifact.state.values())  # and its start
        stack = build_stack(self._frozen.base, self._frozen.spec(info), [0], model=model)
        for parameter in stack.adapter_parameters(0).values():
            parameter.data = parameter.data.clone()  # what it writes to is no longer the shared base
        stack.load_slot_state(0, artifact.state)
        stack.adapters.use(0)
        self.model, self.head, self.task, self.routing = stack.model, stack.head, stack.task, stack.routing
        self.layers, self.cut = stack.layers, stack.cut

    @property
    def slot_bytes(self) -> int:
        """Memory that one specialist takes here."""
        return self._adapters.slot_bytes + self.head.slot_bytes if self.is_packed else self._own_bytes

    def load(self, slot: int, artifact: Artifact) -> None:
        """Put a specialist into a slot; the only one of a family that does not pack is there from the start.

        Raises UsageError if its tensors do not fit the model.
        """
        if not self.is_packed:
            return
        parts: dict[str, dict[str, torch.Tensor]] = {"adapter": {}, "head": {}}
        for key, tensor in artifact.state.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        self._adapters.load(slot, self._options(**artifact.info.method_options), parts["adapter"])
        self.head.load(slot, parts["head"])

    def logits(
        self, inputs: Sequence[Encoded], slots: Sequence[int], recent: RecentTrunks | None
    ) -> npt.NDArray[np.float64]:
        """Logits (rows, most classes) of inputs, each by the specialist in its slot, in ONE forward pass.

        recent : where the frozen part of inputs seen before is found; None: everything is computed, each row once.
        """
        self._route(slots)
        with torch.inference_mode():
            batch = self._collate(inputs)
            result = self.head(self._forward(batch, inputs, recent), batch)
        logits: npt.NDArray[np.float64] = result.double().cpu().numpy()
        return logits

    def write(self, prompts: Sequence[Ids], slots: Sequence[int], hows: Sequence[Writing], watch: Watch) -> None:
        """Write the replies to prompts, each by the specialist in its slot, in ONE batch. watch : gets the tokens."""
        self._route(slots)
        generate(self.model, self.task, self.routing, prompts, hows, watch)

    def _route(self, slots: Sequence[int]) -> None:
        is_one = len(set(slots)) == 1
        self.routing.only = slots[0] if is_one else None
        self.routing.slot_of_row = None if is_one else torch.tensor(list(slots), device=self.device)

    def _collate(self, inputs: Sequence[Encoded]) -> dict[str, torch.Tensor]:
        return {
            name: tensor.to(self.device, self.dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in self.task.collate([own.value for own in inputs]).items()
        }

    def _forward(self, batch: dict[str, torch.Tensor], inputs: Sequence[Encoded], recent: RecentTrunks | None) -> Any:
        if recent is None or self.cut == 0:
            return self.model(**batch)
        keys = [(*self._trunk_key, self.cut, own.digest) for own in inputs]
        hidden = {key: recent.get(key) for key in keys}
        missing = {key: own for key, own in zip(keys, inputs, strict=True) if hidden[key] is None}
        if len(missing) == len(inputs):  # nothing is shared: one pass, which is watched
            with watch(self.layers, self.cut) as seen:
                output = self.model(**batch)
            self._keep(recent, missing, seen[0])
            return output
        if missing:
            fresh = self._collate(list(missing.values()))
            seen_now = capture(partial(self.model, **fresh), self.layers, self.cut)
            self._keep(recent, missing, seen_now)
            hidden |= {key: seen_now[i, : own.n_tokens] for i, (key, own) in enumerate(missing.items())}
        parts = [cast("torch.Tensor", hidden[key]) for key in keys]
        with replay(self.layers, self.cut, torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)):
            return self.model(**batch)

    @staticmethod
    def _keep(recent: RecentTrunks, missing: dict[Key, Encoded], hidden: torch.Tensor) -> None:
        for i, (key, own) in enumerate(missing.items()):
            recent.put(key, hidden[i, : own.n_tokens])


def encode(task: Any, inputs: Sequence[Any]) -> list[list[Encoded]]:
    """Every view of each input.

    Raises DataError for an image that cannot be read.
    """
    encoded = task.encode(inputs)
    rows = [
        Encoded(value, hashlib.blake2b(value.tobytes(), digest_size=16).digest(), int(n))
        for value, n in zip(encoded, task.n_tokens(encoded), strict=True)
    ]
    return [rows[i : i + task.n_views] for i in range(0, len(rows), task.n_views)]
