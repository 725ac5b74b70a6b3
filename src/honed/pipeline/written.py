"""generations.parquet: replies that base and specialist write to rows which the specialist never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from honed.config import Config
from honed.data.conversations import Message
from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan
from honed.data.tables import write_parquet
from honed.events import Emitter
from honed.serving.generation import Writing, write_replies
from honed.training.stack import Stack


@dataclass(frozen=True)
class Writers:
    """Who answers which rows. part : of the table.    slot : row of the dataset -> the specialist's slot."""

    part: Literal["out_of_fold", "holdout"]
    slot: Mapping[int, int]


def out_of_fold_writers(config: Config, plan: FoldPlan) -> Writers:
    """Some of the development rows, drawn by the seed, each with the fold whose model never saw it."""
    return Writers("out_of_fold", {row: int(plan.fold[row]) for row in _some(plan.scored, config)})


def holdout_writers(config: Config, plan: FoldPlan) -> Writers:
    """Some of the locked rows, each for slot 0, where the shipped specialist is."""
    return Writers("holdout", dict.fromkeys(_some(plan.holdout, config), 0))


def write_generations(
    path: Path, stack: Stack, dataset: Dataset, writers: Writers, config: Config, emitter: Emitter
) -> None:
    """Let base and specialist answer the rows; what stands in the table for another part stays."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = list(writers.slot)
    asked = [dataset.inputs[row] for row in rows]
    prompts = [conversation.prompt() for conversation in asked]
    slots: list[int | None] = [*[None] * len(rows), *writers.slot.values()]
    written = write_replies(stack, prompts * 2, slots, Writing(config.max_new_tokens), emitter)
    columns: dict[str, Any] = {
        "example_id": [str(dataset.example_id[row]) for row in rows],
        "part": [writers.part] * len(rows),
        "prompt": [as_text(prompt) for prompt in prompts],
        "reference": [conversation.reply() for conversation in asked],
        "base": written[: len(rows)],
        "specialist": written[len(rows) :],
    }
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    if path.exists():
        before = pq.read_table(path)
        keep = [value != writers.part for value in before.column("part").to_pylist()]
        table = pa.concat_tables([before.filter(pa.array(keep)).select(table.column_names), table])
    write_parquet(table, path)


def as_text(prompt: Sequence[Message]) -> str:
    """A prompt for people: the question alone, or every turn with its role."""
    if len(prompt) == 1:
        return prompt[0].content
    return "\n\n".join(f"{message.role}: {message.content}" for message in prompt)


def _some(rows: Any, config: Config) -> list[int]:
    n = min(config.n_written, len(rows))
    return sorted(np.random.default_rng(config.seed).choice(rows, size=n, replace=False).tolist())
