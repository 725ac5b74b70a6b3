"""What a person decided about the labels of one run, kept as it is decided.

`review.jsonl` of the run folder has a line for every decision and every undoing, in their order; the last word about a
row counts. A line is appended in one write and is on the disk before the person is told so. A line that a crash cut
short is passed over. So nothing that was acknowledged is lost, and every undoing can be undone.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from honed.errors import OutputError

FILE = "review.jsonl"


@dataclass(frozen=True)
class Reviewed:
    """decision : keep, relabel or drop.    new_label : of a relabelled row, else ''."""

    decision: str
    new_label: str = ""


class DecisionJournal:
    """The decisions of one run; several windows, and several studios, may write into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._read_bytes = 0
        self._history: list[tuple[str, Reviewed | None]] = []  # what was said, and not undone by `undo`
        self._current: dict[str, Reviewed] = {}

    def current(self) -> dict[str, Reviewed]:
        """The decision of every decided row, by example id."""
        with self._lock:
            self._catch_up()
            return dict(self._current)

    def decide(self, example_id: str, reviewed: Reviewed) -> None:
        """Say what is to become of a row.

        Raises OutputError if it could not be kept.
        """
        with self._lock:
            self._append({"example_id": example_id, **vars(reviewed)})

    def undo(self) -> str | None:
        """Take back the latest decision that is not taken back yet; returns its row, None if there is none.

        Raises OutputError if it could not be kept.
        """
        with self._lock:
            self._catch_up()
            if not self._history:
                return None
            example_id = self._history[-1][0]
            self._append({"undo": example_id})
            return example_id

    def _append(self, row: dict[str, Any]) -> None:
        line = json.dumps({**row, "time_s": round(time.time(), 3)}).encode() + b"\n"
        is_new = not self.path.exists()
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                if os.lseek(descriptor, 0, os.SEEK_END):
                    os.lseek(descriptor, -1, os.SEEK_END)
                    if os.read(descriptor, 1) != b"\n":
                        line = b"\n" + line  # what a crash cut short must not swallow this one
                if os.write(descriptor, line) != len(line):
                    raise OSError("the disk is full")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                self._keep_name()
        except OSError as error:
            raise OutputError(
                f"The decision could not be kept in {self.path.name}: {error.strerror or error}.",
                remedy="Free some space, or see that the run folder can be written; then decide again.",
            ) from error
        self._catch_up()

    def _keep_name(self) -> None:
        """Bring the file's name to the disk, not only its content."""
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _catch_up(self) -> None:
        """Read what was appended since, by whomever."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._read_bytes:  # another file took its place
                    self._read_bytes, self._history, self._current = 0, [], {}
                file.seek(self._read_bytes)
                whole, end, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            self._read_bytes, self._history, self._current = 0, [], {}
            return
        self._read_bytes += len(whole) + len(end)
        for line in whole.split(b"\n"):
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            if "undo" in row:
                self._undone(str(row["undo"]))
                return
            example_id, reviewed = str(row["example_id"]), Reviewed(str(row["decision"]), str(row["new_label"]))
        except (ValueError, KeyError, TypeError):
            return  # an empty line, or one that a crash cut short
        self._history.append((example_id, self._current.get(example_id)))
        self._current[example_id] = reviewed

    def _undone(self, example_id: str) -> None:
        if not self._history or self._history[-1][0] != example_id:
            return  # two windows took the same step back at once
        _, before = self._history.pop()
        if before is None:
            del self._current[example_id]
        else:
            self._current[example_id] = before
