"""Progress events: the pipeline tells what happens, listeners watch and never steer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    kind : dotted name, e.g. `stage.start`, `stage.end`, `progress`, `slot.diverged`, `warning`, `log`.
    message : a sentence for people.
    fields : numbers and names for machines (JSON types only); `progress` carries `done`, `total`, `unit`.
    time_s : seconds since the epoch.
    """

    kind: str
    message: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    time_s: float = field(default_factory=time.time)


Listener = Callable[[Event], None]


class Emitter:
    """Hands every event to every listener, and keeps the wall time of each stage.

    A listener that raises is dropped and the fact is told to the others: watching must never harm a run.
    """

    def __init__(self, listeners: tuple[Listener, ...] = ()) -> None:
        self._listeners = list(listeners)
        self.timings_s: dict[str, float] = {}

    def listen(self, listener: Listener) -> None:
        """Add a listener; it hears what happens from now on."""
        self._listeners.append(listener)

    def emit(self, kind: str, message: str = "", **fields: Any) -> None:
        """Send one event."""
        event = Event(kind, message, fields)
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - see the class docstring
                self._listeners.remove(listener)
                self.emit("warning", f"A progress listener failed and was dropped: {error}")

    @contextmanager
    def stage(self, name: str, message: str) -> Iterator[None]:
        """Bracket a stage with `stage.start` and `stage.end`; its seconds go to `timings_s[name]`."""
        start = time.perf_counter()
        self.emit("stage.start", message, stage=name)
        yield
        self.timings_s[name] = self.timings_s.get(name, 0.0) + time.perf_counter() - start
        self.emit("stage.end", message, stage=name, seconds=round(self.timings_s[name], 3))


class JsonLinesListener:
    """Appends every event but `progress` to a `.jsonl` file, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, event: Event) -> None:
        """Append one event."""
        if event.kind == "progress":
            return
        row = {"time_s": round(event.time_s, 3), "kind": event.kind, "message": event.message, **event.fields}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
