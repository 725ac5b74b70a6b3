"""What a task is: how inputs become tensors, which heads read them, and what a row costs. Tasks are discovered."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from honed.errors import UsageError

if TYPE_CHECKING:
    import torch

    from honed.bases import ResolvedBase
    from honed.tasks.heads import Pooling

Reading = Mapping[str, Any]
"""All that decides, beside the base, how an input becomes tensors; plain JSON, and a part of what ships."""


class Task(Protocol):
    """One task over one base.

    name, metrics : of the task.    default_base, default_head : where the user names none.
    heads : the kinds of head that can read it.    auto_class : the class of transformers with a head of its own.
    tokenizer : of a text task, else None.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    default_base: ClassVar[str]
    default_head: ClassVar[str]
    heads: ClassVar[tuple[str, ...]]
    auto_class: ClassVar[str]
    tokenizer: Any

    @classmethod
    def over(cls, base: ResolvedBase, reading: Reading, model: Any) -> Self:
        """The task over a loaded base.

        Raises BaseModelError or UsageError if the base cannot read so.
        """
        ...

    layers_frac: ClassVar[float]
    """The share of the base's layers that is used where the user names none."""
    defaults: ClassVar[Mapping[str, Any]]
    """Settings that suit it better than those of every task, where the user names none."""
    least_steps: ClassVar[int]
    """Optimizer steps of a fold below which it trains more epochs, where the user names none; 0: never."""
    micro_batch_tokens: ClassVar[int]
    """Padded tokens of all slots together in one forward and backward pass: more of them need more memory."""

    has_classes: ClassVar[bool]
    """Whether a row has a class, and the head says a score of each; else the head says the row's loss itself."""
    n_parts: ClassVar[int]
    """Encodings that `encode` gives of each example that are read together; the head makes one row of them."""
    has_reference: ClassVar[bool]
    """Whether a row's loss compares with what the frozen base says; then `referenced(encoded, said)` puts that in."""

    @property
    def n_views(self) -> int:
        """Encodings that `encode` gives of each example, one after another; 1 unless examples are augmented."""
        ...

    @property
    def n_averaged(self) -> int:
        """Of how many of them, from the first on, a prediction is the mean."""
        ...

    def pooling(self, head: str) -> tuple[Pooling, int]:
        """How a kind of head pools the hidden states, and how many times their width that gives."""
        ...

    def to_json(self) -> dict[str, Any]:
        """How inputs are read, as it is shipped; empty for texts, whose tokenizer is the base's own."""
        ...

    def encode(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """The examples as `collate` takes them, `n_views` of each."""
        ...

    def n_tokens(self, encoded: Sequence[Any]) -> npt.NDArray[np.int64]:
        """Tokens of each example."""
        ...

    def row_weights(self, encoded: Sequence[Any]) -> npt.NDArray[np.float64]:
        """How much each example counts in a mean loss."""
        ...

    def as_read(self, encoded: Sequence[Any]) -> list[list[int]]:
        """What the model reads of each example, in whole numbers that two programs can compare."""
        ...

    def collate(self, encoded: Sequence[Any]) -> dict[str, torch.Tensor]:
        """What the model is called with; `attention_mask` (rows, tokens) is among it where there is padding."""
        ...

    def content(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Which tokens of a collated batch are parts of the input, none of the model's own: (rows, tokens), boolean."""
        ...

    def blanked(self, batch: Mapping[str, torch.Tensor], tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        """The batch in which the marked tokens, (rows, tokens) boolean, say nothing any more."""
        ...

    def loss(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of each row in nats. logits: (rows, c), label: (rows,) -> (rows,)."""
        ...


def cross_entropy(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each row in nats, in float32 or better. logits: (rows, c), label: (rows,) -> (rows,)."""
    from torch.nn import functional

    return functional.cross_entropy(logits.float() if logits.dtype.itemsize < 4 else logits, label, reduction="none")


@cache
def discover_tasks() -> dict[str, type[Task]]:
    """All tasks by name, sorted: each module of this folder that defines `TASK`."""
    found = {}
    for info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        task = getattr(importlib.import_module(f"honed.tasks.{info.name}"), "TASK", None)
        if task is not None:
            found[task.name] = task
    return dict(sorted(found.items()))


def get_task(name: str) -> type[Task]:
    """The task called `name`.

    Raises UsageError with the nearest name if there is none.
    """
    tasks = discover_tasks()
    if name not in tasks:
        near = difflib.get_close_matches(name, tasks, n=1)
        raise UsageError(
            f"There is no task {name!r}.",
            remedy=(f"Did you mean {near[0]!r}? " if near else "") + f"Known tasks: {', '.join(tasks)}.",
        )
    return tasks[name]


def check_head(task: type[Task], head: str) -> None:
    """Raises UsageError if a head of that kind cannot read the task."""
    if head not in task.heads:
        raise UsageError(
            f"--head {head} does not fit {task.name.replace('_', ' ')}.", remedy=f"Use {', '.join(task.heads)}."
        )
