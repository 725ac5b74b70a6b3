"""The typed data that the rest of the program works on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from honed.data.image_files import ImageFile

UNLABELLED = -1
BATCH_ROWS = 4096


class Rows(Protocol):
    """What the checks ask of n rows, wherever these lie: a `Dataset` in memory, or `StoredRows` on disk."""

    @property
    def label(self) -> npt.NDArray[np.int64]:
        """(n,) as in `Dataset`."""
        ...

    @property
    def row(self) -> npt.NDArray[np.int64]:
        """(n,) as in `Dataset`."""
        ...

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes, sorted."""
        ...

    def __len__(self) -> int: ...

    def batches(self) -> Iterator[Dataset]:
        """The rows in their order, some thousands at a time."""
        ...

    def take(self, index: npt.ArrayLike) -> Dataset:
        """The rows of these positions, in that order."""
        ...


@dataclass(frozen=True)
class Dataset:
    """n examples, one task.

    example_id : (n,) unique strings: the user's id column, or a hash of the input (`content_ids`).
    inputs : n inputs of the task: strings, or `ImageFile`s (an `UnreadableImage` only in rows to predict).
    label : (n,) int64 indices into `label_names`; `UNLABELLED` where there is none.
    group : (n,) strings; rows of one group are never split between folds.
    label_names : the classes, sorted.
    row : (n,) int64, 0-based row number in the user's file (to name rows in messages).
    columns : the cells of the columns that a template joined, (n,) strings each, for baselines that read tables.
    traits : what is known of the rows besides their input, by name, for the checks alone: the cells of every other
        column as (n,) objects of type str ("" where one is missing), or measured numbers, (n,) or (n, d) floats (NaN
        where one is missing). No part of the fingerprint.
    reader : (n,) int64, the class that a second reader chose, `UNLABELLED` where none did; None if there is no such
        column. Nothing learns from it; no part of the fingerprint.
    """

    example_id: npt.NDArray[np.str_]
    inputs: list[Any]
    label: npt.NDArray[np.int64]
    group: npt.NDArray[np.str_]
    label_names: tuple[str, ...]
    row: npt.NDArray[np.int64]
    columns: dict[str, npt.NDArray[np.str_]] = field(default_factory=dict)
    traits: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    reader: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the rows (id, content of the input, label name, group), whatever their order."""
        rows = sorted(digest.hex() for digest in self.row_digests())
        return hashlib.sha256("".join(rows).encode()).hexdigest()

    def row_digests(self) -> list[bytes]:
        """The n sha256 of which the fingerprint is made."""
        return [
            hashlib.sha256(
                "\x1f".join(
                    (
                        str(self.example_id[i]),
                        content_of(self.inputs[i]),
                        self.label_names[self.label[i]] if self.label[i] >= 0 else "",
                        str(self.group[i]),
                    )
                ).encode("utf-8", "surrogatepass")
            ).digest()
            for i in range(len(self))
        ]

    def batches(self) -> Iterator[Dataset]:
        """The rows in their order, some thousands at a time."""
        for first in range(0, len(self), BATCH_ROWS):
            yield self.take(np.arange(first, min(first + BATCH_ROWS, len(self))))

    def take(self, index: npt.ArrayLike) -> Dataset:
        """The rows of `index` (positions), in that order, with the same label names."""
        idx = np.asarray(index, dtype=np.int64)
        return Dataset(
            example_id=self.example_id[idx],
            inputs=[self.inputs[i] for i in idx],
            label=self.label[idx],
            group=self.group[idx],
            label_names=self.label_names,
            row=self.row[idx],
            columns={name: cells[idx] for name, cells in self.columns.items()},
            traits={name: values[idx] for name, values in self.traits.items()},
            reader=None if self.reader is None else self.reader[idx],
        )


def content_of(value: Any) -> str:
    """What an input consists of: a text itself, an image by the hash of its file, wherever that lies."""
    return value.sha256 if isinstance(value, ImageFile) else str(value)


def content_ids(inputs: Sequence[str], label: Sequence[str] | None = None) -> list[str]:
    """Ids that depend on the rows' content alone, so that the order of the rows changes nothing.

    The first 16 hex digits of sha256(input); rows with the same input get `-1`, `-2`, ... in the order of
    their labels (rows equal in both are interchangeable).
    """
    digest = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16] for text in inputs]
    order = sorted(range(len(digest)), key=lambda i: (digest[i], "" if label is None else label[i]))
    ids = list(digest)
    seen = 0
    for before, i in zip([-1, *order], order, strict=False):
        seen = seen + 1 if before >= 0 and digest[before] == digest[i] else 0
        if seen:
            ids[i] = f"{digest[i]}-{seen}"
    return ids
