"""Continuous batching: whatever waits is answered together, many specialists in one forward pass.

Two threads. One reads: it loads what is asked for from the disk and turns inputs into tokens or pixels. The other one
computes. While it computes, requests gather; when it is free it takes what there is, so that batches grow with the load
and a lone request hardly waits.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.artifact import LANGUAGE, Artifact, ArtifactInfo
from honed.data.images import UnreadableImage, check_size
from honed.errors import DataError, HonedError
from honed.serving.family import Encoded, FrozenBase, Key, RecentTrunks, encode
from honed.serving.lookup import Busy, Facts, Lookup, NoAnswer
from honed.serving.residents import Place, Residents
from honed.serving.store import Entry, Registry, load_entry
from honed.training.loop import log_softmax
from honed.training.stack import token_batches


@dataclass(frozen=True)
class BatchLimits:
    """batch_tokens : of one forward pass, padding counted.    batch_rows : of it.    queue_rows : that may wait.

    wait_s : how long the first of a batch may wait for others while nothing else is done.
    max_pixels : of an image.    memory_bytes : of specialists in memory.
    recent_bytes : of hidden states of inputs seen before.
    """

    batch_tokens: int = 2048
    batch_rows: int = 64
    queue_rows: int = 2048
    wait_s: float = 0.002
    max_pixels: int = 25_000_000
    memory_bytes: int = 2 << 30
    recent_bytes: int = 64 << 20


@dataclass(frozen=True)
class Answer:
    """logits : (c,) before the temperature; of several views, the log of their mean probabilities."""

    info: ArtifactInfo
    content: str
    logits: npt.NDArray[np.float64]
    n_tokens: int


@dataclass(eq=False)
class _Row:
    """One input for one specialist. values : logits by view, filled by batches."""

    entry: Entry
    value: Any
    future: Future[Answer]
    arrived: float
    facts: Facts | None = None
    artifact: Artifact | None = None
    views: list[Encoded] = field(default_factory=list)
    is_settled: bool = False
    logits: dict[int, npt.NDArray[np.float64]] = field(default_factory=dict)


_Unit = tuple[_Row, int]  # one view of a row


@dataclass
class Counts:
    """What was done since the start."""

    n_rows: int = 0
    n_batches: int = 0
    n_specialists: int = 0
    n_failed: int = 0
    busy_s: float = 0.0


class Batcher:
    """Answers inputs with specialists of a registry. `submit` may be called from any thread."""

    def __init__(self, registry: Registry, frozen: FrozenBase, limits: BatchLimits) -> None:
        self.registry, self.limits, self.counts = registry, limits, Counts()
        self.residents = Residents(frozen, limits.memory_bytes)
        self.recent = RecentTrunks(limits.recent_bytes)
        self._frozen = frozen
        self._lookup = Lookup(registry, self.residents)
        self._waiting: deque[_Row] = deque()
        self._ready: deque[_Row] = deque()
        self._n_open, self._rate, self._is_closing, self._is_reading = 0, 100.0, False, True
        self._lock = threading.Condition()
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._read, self._compute)]
        for thread in self._threads:
            thread.start()

    # -- from any thread --------------------------------------------------------------------------------------------

    @property
    def n_open(self) -> int:
        """Rows that wait or are computed."""
        return self._n_open

    def submit(self, entries_and_values: Sequence[tuple[Entry, Any]]) -> list[Future[Answer]]:
        """Ask each entry's specialist about the value beside it: a text, or the bytes of an image.

        Raises Busy if there is no room for all of them. A future raises HonedError if its row cannot be answered.
        """
        now = time.monotonic()
        rows = [_Row(entry, value, Future(), now) for entry, value in entries_and_values]
        with self._lock:
            if self._is_closing or self._n_open + len(rows) > self.limits.queue_rows:
                raise Busy(min(60, max(1, math.ceil(self._n_open / max(self._rate, 1.0)))))
            self._n_open += len(rows)
            self._waiting.extend(rows)
            self._lock.notify_all()
        return [row.future for row in rows]

    def close(self) -> None:
        """Answer what is open, then stop."""
        with self._lock:
            self._is_closing = True
            self._lock.notify_all()
        for thread in self._threads:
            thread.join()

    # -- the reading thread -----------------------------------------------------------------------------------------

    def _read(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    self._is_reading = False
                    self._lock.notify_all()
                    return
                due = self._waiting[0].arrived + self.limits.wait_s
                self._lock.wait_for(
                    lambda: len(self._waiting) >= self.limits.batch_rows or self._is_closing,
                    timeout=max(0.0, due - time.monotonic()),
                )
                rows = [self._waiting.popleft() for _ in range(min(len(self._waiting), 4 * self.limits.batch_rows))]
            ready = self._prepared([row for row in rows if self._is_wanted(row)])
            with self._lock:
                self._ready.extend(ready)
                self._lock.notify_all()

    def _prepared(self, rows: Sequence[_Row]) -> list[_Row]:
        """Those that were read; the others have their error."""
        loaded: dict[str, Artifact] = {}
        groups: dict[int, tuple[Any, list[_Row]]] = {}
        for row in rows:
            try:
                found = self._lookup.find(row.entry, loaded)
                row.entry, row.facts, row.artifact = found.entry, found.facts, found.artifact
                self._check_value(row, row.facts.info)
                task = self._frozen.task(row.facts.info)
                groups.setdefault(id(task), (task, []))[1].append(row)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one specialist is its own affair
                self._fail(row, error)
        ready = []
        for task, own in groups.values():
            ready += self._encoded(task, own)
        return ready

    def _check_value(self, row: _Row, info: ArtifactInfo) -> None:
        if info.head == LANGUAGE:
            raise DataError(
                f"Specialist {row.entry.name!r} writes; it does not classify.", remedy="Ask /v1/chat/completions."
            )
        wants_image = bool(info.reading)
        if wants_image != isinstance(row.value, bytes):
            raise DataError(f"Specialist {row.entry.name!r} reads {'an image' if wants_image else 'a text'}.")
        if wants_image:
            try:
                check_size(row.value, self.limits.max_pixels)
            except UnreadableImage as error:
                raise DataError(f"The image cannot be used: {error.problem}.") from error

    def _encoded(self, task: Any, rows: list[_Row]) -> list[_Row]:
        try:
            for row, views in zip(rows, encode(task, [row.value for row in rows]), strict=True):
                row.views = views
        except Exception as error:  # noqa: BLE001 - the one row that it lies at gets it
            if len(rows) == 1:
                self._fail(rows[0], error)
                return []
            return [done for row in rows for done in self._encoded(task, [row])]
        return rows

    # -- the computing thread ---------------------------------------------------------------------------------------

    def _compute(self) -> None:
        known: Any = None
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._ready or not self._is_reading)
                if not self._ready:
                    return
                rows = [self._ready.popleft() for _ in range(min(len(self._ready), 4 * self.limits.batch_rows))]
                asked = {row.entry.content for row in (*rows, *self._ready, *self._waiting)}
            try:
                entries = self.registry.entries()
                if entries != known:
                    self.residents.keep_only({entry.content for entry in entries.values()} | asked)
                    known = dict(entries)
                self._answer([row for row in rows if self._is_wanted(row)])
            except Exception as error:  # noqa: BLE001 - the thread must live on
                for row in rows:
                    self._fail(row, error)

    def _answer(self, rows: Sequence[_Row]) -> None:
        families: dict[Key, list[_Unit]] = {}
        for row in rows:
            assert row.facts is not None
            families.setdefault(row.facts.family, []).extend((row, view) for view in range(len(row.views)))
        for units in families.values():
            n_tokens = np.array([row.views[view].n_tokens for row, view in units])
            order = np.argsort(n_tokens, kind="stable")
            for batch in token_batches(order, n_tokens, self.limits.batch_tokens):
                for start in range(0, len(batch), self.limits.batch_rows):
                    self._run([units[i] for i in batch[start : start + self.limits.batch_rows]])

    def _run(self, units: list[_Unit]) -> None:
        """One forward pass; several only if not all of its specialists fit into the memory at once."""
        places: dict[str, Place] = {}
        now: list[_Unit] = []
        later: list[_Unit] = []
        for unit in units:
            row = unit[0]
            try:
                place = places.get(row.entry.content) or self._place(row, places)
            except Exception as error:  # noqa: BLE001 - a specialist that does not load is its own affair
                self._fail(row, error)
                continue
            if place is None:
                later.append(unit)
            else:
                places[row.entry.content] = place
                now.append(unit)
        if now:
            self._forward(now, places)
        if later:
            self._run(later)

    def _place(self, row: _Row, pinned: dict[str, Place]) -> Place | None:
        content = row.entry.content
        return self.residents.find(content) or self.residents.bring_in(
            content, row.artifact or load_entry(row.entry), pinned
        )

    def _forward(self, units: list[_Unit], places: dict[str, Place]) -> None:
        start = time.perf_counter()
        own = [places[row.entry.content] for row, _ in units]
        try:
            inputs = [row.views[view] for row, view in units]
            logits = own[0].family.logits(inputs, [place.slot for place in own], self.recent)
        except Exception as error:  # noqa: BLE001 - whatever one row does to the batch, the others get their answers
            if len(units) == 1:
                self._fail(units[0][0], NoAnswer(f"The model failed on this input: {type(error).__name__}."))
                return
            for unit in units:
                self._forward([unit], places)
            return
        self.counts.n_batches += 1
        self.counts.n_specialists += len({row.entry.content for row, _ in units})
        spent = time.perf_counter() - start
        self.counts.busy_s += spent
        self._rate += 0.1 * (len(units) / spent - self._rate)
        for (row, view), values in zip(units, logits, strict=True):
            assert row.facts is not None
            row.logits[view] = values[: len(row.facts.info.label_names)]
            if len(row.logits) == len(row.views):
                self._finish(row)

    def _finish(self, row: _Row) -> None:
        assert row.facts is not None
        views = [row.logits[view] for view in range(len(row.views))]
        logits = views[0]
        if len(views) > 1:
            logits = np.logaddexp.reduce([log_softmax(own[None])[0] for own in views]) - math.log(len(views))
        if not np.isfinite(logits).all():
            self._fail(row, NoAnswer(f"Specialist {row.entry.name!r} gave no finite numbers for this input."))
            return
        answer = Answer(row.facts.info, row.entry.content, logits, sum(own.n_tokens for own in row.views))
        self.counts.n_rows += 1
        self._settle(row, lambda: row.future.set_result(answer))

    # -- both threads -----------------------------------------------------------------------------------------------

    def _is_wanted(self, row: _Row) -> bool:
        if row.future.cancelled():
            self._settle(row, lambda: None)
            return False
        return not row.is_settled

    def _fail(self, row: _Row, error: Exception) -> None:
        self.counts.n_failed += not row.is_settled
        shown = error if isinstance(error, HonedError) else DataError(f"This input failed: {type(error).__name__}.")
        self._settle(row, lambda: row.future.set_exception(shown))

    def _settle(self, row: _Row, tell: Callable[[], None]) -> None:
        with self._lock:
            if row.is_settled:
                return
            row.is_settled = True
            self._n_open -= 1
        if not row.future.cancelled():
            try:
                tell()
            except Exception:  # noqa: BLE001 - cancelled, or settled, in this very moment
                return
