"""Rows of a table larger than memory: read once from a stream, their strings kept on disk, a few numbers in memory.

About 60 bytes a row stay in memory here (the shingles and the comparison of texts need about as much again).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
import numpy.typing as npt

from honed.data.dataset import BATCH_ROWS, Dataset, Rows
from honed.data.issue_table import Issue
from honed.data.loading import (
    Cells,
    check_labels,
    left_out,
    load_dataset,
    missing_ids,
    no_text,
    not_examined,
    nothing_left,
    read_cells,
    repeated_ids,
    sorted_label_names,
)
from honed.data.personal.find import find_personal_batch
from honed.data.personal.hit import Finder
from honed.data.personal_columns import PersonalColumns
from honed.data.roles import ResolvedRoles, Roles, resolve_roles
from honed.data.set_join import Integers
from honed.data.shingles import mix
from honed.data.spill import GrowingArray, StoredStrings
from honed.data.table_stream import BATCH_BYTES, TableStream
from honed.data.text_index import name_keys
from honed.events import Emitter

GUESS_ROWS = 1000  # from which the columns are guessed, as `resolve_roles` does
_MOST_NAMES = 100_000  # of classes that are remembered: a hundred times as many as are allowed
_UNLABELLED = -1
_BYTES_PER_MB = 1_000_000
_SORTED_ROWS = 1 << 20  # at once


@dataclass(frozen=True)
class StoredRows:
    """n rows on disk; see `Rows`.

    row : (n,) 0-based rows of the file.    label : (n,).    label_names : the classes, sorted.
    """

    row: Integers
    label: Integers
    label_names: tuple[str, ...]
    roles: Roles
    _stream: TableStream
    _texts: StoredStrings
    _ids: Callable[[Integers], list[str]]
    _groups: StoredStrings | None

    def __len__(self) -> int:
        return len(self.row)

    def batches(self) -> Iterator[Dataset]:
        """The rows in their order, some thousands at a time."""
        for index in self._texts.batches(BATCH_ROWS, BATCH_BYTES):
            yield self.take(index)

    def take(self, index: npt.ArrayLike) -> Dataset:
        """The rows of these positions, in that order, in memory."""
        position = np.asarray(index, dtype=np.int64)
        row = self.row[position]
        ids = self._ids(row)
        groups = ids if self._groups is None else self._groups.take(row)
        return Dataset(
            example_id=np.array(ids, dtype=np.str_),
            inputs=self._texts.take(position),
            label=self.label[position],
            group=np.array([group or own for group, own in zip(groups, ids, strict=True)], dtype=np.str_),
            label_names=self.label_names,
            row=row,
        )

    def sample(self, max_rows: int, group: Integers, bearer: Integers) -> Dataset:
        """At most so many rows, in memory, with all that `load_dataset` reads of them: whole groups, drawn by a hash.

        group, bearer : (n,) of `CheckedRows`; the rows have the names of their merged groups.

        Promises: the same rows whatever their order.
        """
        drawn = mix(group.astype(np.uint64))
        _, index, size = np.unique(drawn, return_inverse=True, return_counts=True)
        position = np.flatnonzero((np.cumsum(size) <= max_rows)[index])
        table = self._stream.take(self.row[position])
        loaded = load_dataset(table, self.roles, require_label=True, label_names=self.label_names).dataset
        own = self.take(position)
        return replace(loaded, example_id=own.example_id, group=self.take(bearer[position]).group, row=own.row)


@dataclass(frozen=True)
class StoredData:
    """What `store_rows` found.

    rows : the usable rows.    n_rows : rows of the file.    roles, notices : as in `LoadedData`.
    left_out : a finding for each row that cannot be used.    personal : of the columns beside the text.
    unread : columns that hold lists, objects or bytes.
    """

    rows: StoredRows
    n_rows: int
    roles: Roles
    notices: tuple[str, ...]
    left_out: Callable[[], Iterator[Issue]]
    personal: PersonalColumns
    unread: frozenset[str]


def store_rows(stream: TableStream, roles: Roles, emitter: Emitter, finder: Finder = find_personal_batch) -> StoredData:
    """Read a stream as `load_dataset(table, roles, require_label=True)` would read its table.

    finder : finds personal data in the columns beside the text, of which no cell is kept.

    Raises what `load_dataset` raises, with the same words.
    """
    head = stream.head(GUESS_ROWS)
    found = resolve_roles(head, roles, require_label=True)
    reading = _Reading(found, PersonalColumns(finder))
    for batch in stream.walk(head.column_names):
        reading.add(read_cells(batch.table, found, with_traits=True))
        done, total = batch.n_bytes_read // _BYTES_PER_MB, stream.n_bytes // _BYTES_PER_MB
        emitter.emit("progress", "rows read", done=done, total=total, unit="MB")
    return reading.finish(stream)


def stream_texts(stream: TableStream, roles: Roles) -> Iterator[list[str]]:
    """The texts of every row, in batches, as `load_dataset(table, roles, require_label=False)` would read them."""
    found = resolve_roles(stream.head(GUESS_ROWS), roles, require_label=False)
    for batch in stream.walk(_columns(found)):
        yield read_cells(batch.table, found).inputs


def _columns(found: ResolvedRoles) -> list[str]:
    roles = found.roles
    text = found.template.columns if found.template else (roles.text,)
    return list(dict.fromkeys(name for name in (*text, roles.label, roles.group, roles.id, roles.reader) if name))


class _Reading:
    """What is known of the rows read so far. Arrays are over all rows of the file but for the texts."""

    def __init__(self, found: ResolvedRoles, personal: PersonalColumns) -> None:
        self._found, self._personal = found, personal
        self._unread: set[str] = set()
        self._texts = StoredStrings()  # of the usable rows
        self._is_empty, self._label = GrowingArray(np.bool_), GrowingArray(np.int32)
        self._groups = StoredStrings() if found.roles.group else None
        self._ids = StoredStrings() if found.roles.id else None
        self._id_key = GrowingArray(np.uint64)  # of the id; without an id column, the first half of the id itself
        self._code: dict[str, int] = {}

    def add(self, cells: Cells) -> None:
        """Keep what is needed of a batch."""
        empty = [bool(why) for why in cells.unusable]
        for label in cells.label:
            if label and label not in self._code:
                self._code[label] = len(self._code)
        self._is_empty.append(np.array(empty))
        self._label.append(np.array([self._code.get(label, _UNLABELLED) for label in cells.label]))
        is_kept = [bool(label) and not is_empty for label, is_empty in zip(cells.label, empty, strict=True)]
        self._texts.extend(list(compress(cells.inputs, is_kept)))
        self._unread.update(cells.unread)
        others, joined = (
            {name: list(compress(own, is_kept)) for name, own in columns.items()}
            for columns in (cells.traits, cells.columns)
        )
        self._personal.add(others, joined)
        if self._groups is not None:
            self._groups.extend(cells.group)
        if self._ids is not None and cells.id is not None:
            self._ids.extend(cells.id)
            self._id_key.append(name_keys(cells.id))
        else:
            self._id_key.append(_content_keys(cells.inputs))
        if len(self._code) > _MOST_NAMES:  # to remember them all could fill the memory
            self._check_labels(np.ones(len(self._label), np.bool_))

    def _check_labels(self, is_kept: npt.NDArray[np.bool_]) -> Counter[str]:
        labels = self._label.view()
        n_rows = np.bincount(labels[is_kept & (labels >= 0)], minlength=len(self._code))
        counts = Counter({name: n for name, n in zip(self._code, n_rows.tolist(), strict=True) if n})
        check_labels(counts, self._found.roles, None)
        return counts

    def finish(self, stream: TableStream) -> StoredData:
        """The rows, once all are read."""
        roles = self._found.roles
        label, is_empty = np.asarray(self._label.view()), np.asarray(self._is_empty.view())
        is_kept = (label >= 0) & ~is_empty
        if not is_kept.any():
            raise nothing_left(roles, len(label), int(is_empty.sum()), int((label < 0).sum()))
        take_ids = self._content_ids(label) if self._ids is None else self._given_ids(self._ids, roles)
        label_names = sorted_label_names(self._check_labels(is_kept))
        index = {name: j for j, name in enumerate(label_names)}
        code = np.array([index.get(name, _UNLABELLED) for name in self._code], np.int64)
        row = np.flatnonzero(is_kept)
        rows = StoredRows(row, code[label[row]], label_names, roles, stream, self._texts, take_ids, self._groups)

        def issues() -> Iterator[Issue]:
            lost = np.flatnonzero(~is_kept)
            for first in range(0, len(lost), BATCH_ROWS):
                block = lost[first : first + BATCH_ROWS]
                for i, example_id in zip(block.tolist(), take_ids(block), strict=True):
                    yield left_out(example_id, i, roles, no_text(roles) if is_empty[i] else "")
            for notice in self._found.notices:
                yield Issue("role_guessed", 1.0, "none", notice, is_issue=False)
            yield from not_examined(sorted(self._unread))

        unread = frozenset(self._unread)
        return StoredData(rows, len(label), roles, self._found.notices, issues, self._personal, unread)

    def _given_ids(self, ids: StoredStrings, roles: Roles) -> Callable[[Integers], list[str]]:
        key = self._id_key.view()
        missing = np.flatnonzero(key == name_keys([""])[0])
        if len(missing):
            raise missing_ids(roles, missing.tolist())
        order = np.argsort(key, kind="stable")
        starts = _starts(key[order])
        first, size = order[starts[:-1]], np.diff(starts)
        repeated = np.flatnonzero(size > 1)
        if len(repeated):
            shown = repeated[np.argsort(first[repeated])][:3]
            some = {ids.take(first[k : k + 1])[0]: order[starts[k] : starts[k + 1]].tolist() for k in shown.tolist()}
            raise repeated_ids(roles, len(repeated), some)
        return ids.take

    def _content_ids(self, label: npt.NDArray[np.int32]) -> Callable[[Integers], list[str]]:
        """Ids as `content_ids` makes them: rows with one text are numbered by label (none last), group and place."""
        digest = np.asarray(self._id_key.view())
        by_name = sorted(self._code, key=lambda name: f"{name}\x1f")
        rank = np.full(len(self._code) + 1, len(self._code))  # of -1 too: it is the last
        rank[[self._code[name] for name in by_name]] = np.arange(len(by_name))
        order = np.lexsort((rank[label], digest))
        starts = _starts(digest[order])
        size = np.diff(starts)
        is_repeated = np.repeat(size > 1, size)
        rows, run = order[is_repeated], np.repeat(np.arange(len(size)), size)[is_repeated]
        if self._groups is not None:
            groups, ranks = self._groups.take(rows), rank[label[rows]]
            rows = rows[sorted(range(len(rows)), key=lambda k: (run[k], ranks[k], groups[k]))]
        number = np.zeros(len(digest), np.int32)
        number[rows] = np.flatnonzero(is_repeated) - starts[run]

        def take(index: Integers) -> list[str]:
            pairs = zip(digest[index].tolist(), number[index].tolist(), strict=True)
            return [f"{value:016x}-{n}" if n else f"{value:016x}" for value, n in pairs]

        return take


def _content_keys(texts: list[str]) -> npt.NDArray[np.uint64]:
    digests = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8] for text in texts]
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def _starts(ordered: npt.NDArray[np.uint64]) -> Integers:
    """Where each run of equal values begins, and the length at last."""
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))


def regrouped(rows: Rows, bearer: Integers) -> Iterator[Dataset]:
    """The rows in batches, each row with the group of the row that `bearer` names."""
    first = 0
    for batch in rows.batches():
        position = np.arange(first, first + len(batch))
        first += len(batch)
        own = bearer[position]
        moved = np.flatnonzero(own != position)
        group = batch.group.astype(np.object_)
        group[moved] = rows.take(own[moved]).group
        yield replace(batch, group=group.astype(np.str_))


def streamed_fingerprint(batches: Iterator[Dataset], n_rows: int) -> str:
    """The `fingerprint` of all n rows together."""
    n_parts = 1 + n_rows // _SORTED_ROWS
    parts = [GrowingArray("S32", budget_bytes=32 * _SORTED_ROWS // n_parts) for _ in range(n_parts)]
    for batch in batches:
        digests = np.array(batch.row_digests(), "S32")
        part = (digests.view(">u8").reshape(-1, 4)[:, 0] >> np.uint64(32)) * n_parts >> np.uint64(32)
        for p in np.unique(part).tolist():
            parts[p].append(digests[part == p])
    total = hashlib.sha256()
    for stored in parts:
        total.update(np.sort(stored.view()).tobytes().hex().encode())
    return total.hexdigest()
