"""Replies of language models: what waits is written together, many specialists in one batch where the method packs.

One thread. While a batch is written requests gather; those that came meanwhile begin when the batch is through, and a
row that is through early leaves the batch at once, as far as its client can tell.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from honed.artifact import LANGUAGE, Artifact
from honed.errors import DataError, HonedError
from honed.serving.asked import Asked, Done, Event, PromptTooLong
from honed.serving.family import FrozenBase
from honed.serving.generation import Watch, max_positions
from honed.serving.lookup import Busy, Lookup, NoAnswer
from honed.serving.residents import Place, Residents
from honed.serving.store import Registry, load_entry


@dataclass(frozen=True)
class WriteLimits:
    """prompt_tokens, new_tokens : of one request.    batch_rows : written together.    queue_rows : that may wait.

    batch_tokens : of a batch, prompts and replies, padding counted.    reply_s : until a request is given up.
    wait_s : how long the first of a batch waits for others.    memory_bytes : of specialists in memory.
    """

    prompt_tokens: int = 4096
    new_tokens: int = 1024
    batch_rows: int = 16
    batch_tokens: int = 32768
    queue_rows: int = 256
    wait_s: float = 0.01
    reply_s: float = 300.0
    memory_bytes: int = 2 << 30


@dataclass
class WriteCounts:
    """What was done since the start."""

    n_replies: int = 0
    n_failed: int = 0
    n_left: int = 0
    n_tokens: int = 0
    n_batches: int = 0
    n_specialists: int = 0
    busy_s: float = 0.0


class Writer:
    """Writes replies with specialists of a registry. `submit` may be called from any thread."""

    def __init__(self, registry: Registry, frozen: FrozenBase, limits: WriteLimits) -> None:
        self.registry, self.limits, self.counts = registry, limits, WriteCounts()
        self.residents = Residents(frozen, limits.memory_bytes)
        self._frozen, self._lookup = frozen, Lookup(registry, self.residents)
        self._waiting: deque[Asked] = deque()
        self._known: Any = None
        self._n_open, self._batch_s, self._is_closing = 0, 1.0, False
        self._lock = threading.Condition()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    # -- from any thread --------------------------------------------------------------------------------------------

    @property
    def n_open(self) -> int:
        """Requests that wait or are written."""
        return self._n_open

    def submit(self, asked: Asked) -> None:
        """Let a reply be written; `asked.tell` hears of it.

        Raises Busy if there is no room for it.
        """
        with self._lock:
            if self._is_closing or self._n_open >= self.limits.queue_rows:
                n_before = 1 + self._n_open // self.limits.batch_rows
                raise Busy(min(60, max(1, math.ceil(self._batch_s * n_before))))
            self._n_open += 1
            self._waiting.append(asked)
            self._lock.notify_all()

    def close(self) -> None:
        """Write what is open, then stop."""
        with self._lock:
            self._is_closing = True
            self._lock.notify_all()
        self._thread.join()

    # -- the writing thread -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    return
                due = self._waiting[0].arrived + self.limits.wait_s
                self._lock.wait_for(
                    lambda: len(self._waiting) >= self.limits.batch_rows or self._is_closing,
                    timeout=max(0.0, due - time.monotonic()),
                )
            rows: list[Asked] = []
            try:
                rows = self._chosen()
                self._let_go(rows)
                self._write(rows)
            except Exception as error:  # noqa: BLE001 - the thread must live on
                for row in rows:
                    self._settle(row, _shown(error))

    def _let_go(self, rows: Sequence[Asked]) -> None:
        """Of what no name stands for any more and nobody waits for."""
        entries = self.registry.entries()
        if entries != self._known:
            with self._lock:
                asked = {row.entry.content for row in (*rows, *self._waiting)}
            self.residents.keep_only({entry.content for entry in entries.values()} | asked)
            self._known = dict(entries)

    def _chosen(self) -> list[Asked]:
        """The one that waits longest, and those that can be written beside it; they wait no more."""
        loaded: dict[str, Artifact] = {}
        with self._lock:
            first = [self._waiting.popleft() for _ in range(min(len(self._waiting), 4 * self.limits.batch_rows))]
        chosen: list[Asked] = []
        others: list[Asked] = []
        width = 0
        for row in first:
            if not self._prepare(row, loaded):
                continue
            wider = max(width, len(row.ids) + row.how.max_new_tokens)
            is_full = len(chosen) == self.limits.batch_rows or wider * (len(chosen) + 1) > self.limits.batch_tokens
            if chosen and (is_full or row.family != chosen[0].family):
                others.append(row)
            else:
                chosen.append(row)
                width = wider
        with self._lock:
            self._waiting.extendleft(reversed(others))
        return chosen

    def _prepare(self, row: Asked, loaded: dict[str, Artifact]) -> bool:
        """Whether its reply can be written; else it has been told why not."""
        if row.is_left:
            self._settle(row, None)
            return False
        try:
            row.found = found = self._lookup.find(row.entry, loaded)
            row.entry = found.entry
            if len(row.ids):
                return True
            info = found.facts.info
            if info.head != LANGUAGE:
                raise DataError(
                    f"Specialist {row.entry.name!r} classifies; it does not write.", remedy="Ask /v1/predict."
                )
            row.read(self._frozen.task(info).reader)
            self._check_length(row, max_positions(self._frozen.model(info)))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one request is its own affair
            self._settle(row, _shown(error))
            return False
        return True

    def _check_length(self, row: Asked, positions: int | None) -> None:
        n_prompt, n_new, limit = len(row.ids), row.how.max_new_tokens, self.limits.prompt_tokens
        if n_prompt > limit:
            raise PromptTooLong(f"The prompt has {n_prompt} tokens, more than {limit}.", remedy="Send a shorter one.")
        if positions is not None and n_prompt + n_new > positions:
            raise PromptTooLong(
                f"A prompt of {n_prompt} tokens and a reply of up to {n_new} are more than the base can read "
                f"({positions}).",
                remedy="Send a shorter prompt, or ask for fewer tokens.",
            )

    def _write(self, rows: list[Asked]) -> None:
        """One batch; several only if not all of its specialists fit into the memory at once."""
        places: dict[str, Place] = {}
        now, later = [], []
        for row in rows:
            content = row.entry.content
            try:
                place = self.residents.find(content) or self._bring_in(row, places)
            except Exception as error:  # noqa: BLE001 - a specialist that does not load is its own affair
                self._settle(row, _shown(error))
                continue
            if place is None:
                later.append(row)
            else:
                places[content] = place
                now.append(row)
        if now:
            self._generate(now, places)
        if later:
            self._write(later)

    def _bring_in(self, row: Asked, pinned: dict[str, Place]) -> Place | None:
        artifact = row.found.artifact if row.found else None
        return self.residents.bring_in(row.entry.content, artifact or load_entry(row.entry), pinned)

    def _generate(self, rows: list[Asked], places: dict[str, Place]) -> None:
        start = time.perf_counter()
        own = [places[row.entry.content] for row in rows]
        family = own[0].family
        self.counts.n_batches += 1
        self.counts.n_specialists += len({row.entry.content for row in rows})
        batch = _Batch(rows, family.task.reader.end_ids, self._settle)
        try:
            family.write([row.ids for row in rows], [place.slot for place in own], [row.how for row in rows], batch)
        except Exception as error:  # noqa: BLE001 - whatever one row does to the batch, the others get their replies
            open_rows = [row for row in rows if not row.is_settled]
            if len(rows) == 1:
                for row in open_rows:
                    self._settle(row, NoAnswer(f"The model failed on this input: {type(error).__name__}."))
                return
            for row in open_rows:
                row.restart(family.task.reader)
                self._generate([row], places)
            return
        finally:
            spent = time.perf_counter() - start
            self.counts.busy_s += spent
            self._batch_s += 0.2 * (spent - self._batch_s)
        for row in rows:
            self._settle(row, None)  # who is open here was left by its client

    def _settle(self, row: Asked, event: Event | None) -> None:
        """Tell the last of a row. event : None if nobody listens."""
        with self._lock:
            if row.is_settled:
                return
            row.is_settled = True
            self._n_open -= 1
        self.counts.n_tokens += row.n_new
        self.counts.n_replies += isinstance(event, Done)
        self.counts.n_failed += isinstance(event, HonedError)
        self.counts.n_left += event is None
        if event is not None:
            row.say(event)


class _Batch(Watch):
    """Gives every row its tokens. ends : tokens that end a reply."""

    def __init__(
        self, rows: Sequence[Asked], ends: Sequence[int], settle: Callable[[Asked, Event | None], None]
    ) -> None:
        self._rows, self._ends, self._settle = rows, frozenset(ends), settle

    def put(self, value: Any) -> None:
        """See `Watch`."""
        if value.dim() > 1:
            return  # the prompts
        for row, token in zip(self._rows, value.tolist(), strict=True):
            if not row.is_settled and not row.is_left:
                done = row.take(token, is_end=token in self._ends)
                if done is not None:
                    self._settle(row, done)

    def look(self, input_ids: Any, scores: Any) -> Any:
        """See `Watch`: a row of numbers that are not finite is given up."""
        del input_ids
        for i in np.flatnonzero(scores.isnan().any(1).cpu().numpy()).tolist():
            name = self._rows[i].entry.name
            self._settle(self._rows[i], NoAnswer(f"Specialist {name!r} gave no finite numbers for this input."))
        return scores

    def through(self, input_ids: Any, scores: Any) -> Any:
        """See `Watch`."""
        import torch

        del scores
        return torch.tensor([row.is_settled or row.is_left for row in self._rows], device=input_ids.device)


def _shown(error: Exception) -> HonedError:
    return error if isinstance(error, HonedError) else DataError(f"This input failed: {type(error).__name__}.")
