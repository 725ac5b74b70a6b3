"""How far a fit is, from the file of events that it writes; also after the studio was started anew."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TOLD = frozenset(("log", "warning", "slot.diverged", "holdout.opened"))
_MOST_NOTES = 50


@dataclass
class FitProgress:
    """What the events said so far.

    stages : name, message, seconds (None while it goes on).    step : done, total, unit, message of what is counted.
    result : `{"done": folder}` or `{"error": {...}}`, once there is one.
    """

    path: Path
    stages: list[dict[str, Any]] = field(default_factory=list)
    step: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    _read_bytes: int = 0

    def catch_up(self) -> None:
        """Read what was written since. A last line without its end is left for the next time."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read_bytes)
                whole, end, _ = file.read().rpartition(b"\n")
        except OSError:
            return
        self._read_bytes += len(whole) + len(end)
        for line in whole.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # cut short by a crash
            if isinstance(event, dict):
                self._take(event)

    def to_json(self) -> dict[str, Any]:
        """For the page."""
        return {"stages": self.stages, "step": self.step, "notes": self.notes, "result": self.result}

    def _take(self, event: dict[str, Any]) -> None:
        kind, fields = event.get("kind"), event.get("fields", event)  # events.jsonl has no `fields` of their own
        if "done" in event or "error" in event:
            self.result = event
        elif kind == "stage.start":
            self.stages.append({"name": fields["stage"], "message": event["message"], "seconds": None})
            self.step = None
        elif kind == "stage.end":
            for stage in reversed(self.stages):
                if stage["name"] == fields["stage"] and stage["seconds"] is None:
                    stage["seconds"] = fields["seconds"]
                    break
            self.step = None
        elif kind == "progress":
            self.step = {name: fields[name] for name in ("done", "total", "unit")} | {"message": event["message"]}
        elif kind in _TOLD:
            self.notes = [*self.notes, str(event["message"])][-_MOST_NOTES:]
