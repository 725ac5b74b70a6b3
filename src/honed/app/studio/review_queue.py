"""The label review queue: the judged labels of a run, page by page, with what a person decided about each.

The table is read once and kept; a page is cut out of it, so tens of thousands of rows cost no more than a hundred.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from honed.app.studio.decision_journal import FILE, DecisionJournal, Reviewed
from honed.data.decisions import DECISIONS
from honed.errors import UsageError
from honed.evidence.label_table import caution, label_rows
from honed.evidence.report_format import excerpt, visible
from honed.pipeline.label_file import JudgedLabels, decision_csv, read_labels
from honed.pipeline.run_folder import RunFolder

Show = Literal["flagged", "all", "decided"]
MOST_ROWS = 200
"""Of a page."""
LONGEST_TEXT = 4000
"""Characters shown of a row."""
_N_KEPT = 4

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """Which rows the queue holds. given : only rows of this class, by its index; -1 for every class."""

    show: Show = "flagged"
    given: int = -1


class ReviewQueue:
    """The queue of one run."""

    def __init__(self, run: RunFolder) -> None:
        self.labels: JudgedLabels = read_labels(run.path)
        self.label_names = tuple(map(str, run.read_json(run.metrics)["label_names"]))
        self.journal = DecisionJournal(run.path / FILE)
        table = self.labels.table
        self._position = {example: i for i, example in enumerate(table.example_id.tolist())}

    def facts(self) -> dict[str, Any]:
        """What stands above the queue."""
        table = self.labels.table
        return {
            "n_judged": len(table),
            "n_flagged": self.labels.n_flagged,
            "label_names": list(map(visible, self.label_names)),
            "judges": list(map(visible, self.labels.judges)),
            "caution": caution(table.agreement),
            "is_image": self.labels.is_image,
            "has_texts": self.labels.texts is not None,
        }

    def page(self, choice: Choice, start: int, n: int) -> dict[str, Any]:
        """Rows `start` .. `start + n - 1` of the chosen ones, and how many there are."""
        decided = self.journal.current()
        chosen = self._chosen(choice, decided)
        start = max(0, start)
        cut = chosen[start : start + max(0, min(n, MOST_ROWS))]
        rows = label_rows(self.labels.table.take(cut), self.labels.texts)
        for row in rows:
            text = row["text"] if row["text"] is not None else row["example_id"]
            row["text"], row["is_cut"] = visible(excerpt(text, LONGEST_TEXT)), len(text) > LONGEST_TEXT
            row.update({name: visible(row[name]) for name in ("given", "suggested", "why")})
            reviewed = decided.get(row["example_id"], Reviewed(""))
            row.update({"decision": reviewed.decision, "new_label": visible(reviewed.new_label)})
        return {"total": len(chosen), "start": start, "rows": rows, "n_decided": len(decided)}

    def next_undecided(self, choice: Choice, after: int) -> int | None:
        """The place, in the chosen rows, of the first undecided one behind place `after`, or else from the start."""
        decided = self.journal.current()
        chosen = self._chosen(choice, decided)
        ids = self.labels.table.example_id
        order = [*range(after + 1, len(chosen)), *range(min(after + 1, len(chosen)))]
        return next((place for place in order if str(ids[chosen[place]]) not in decided), None)

    def decide(self, example_id: str, decision: str, label: int = -1) -> Reviewed:
        """Keep a decision; it is on the disk when this returns.

        label : of a row that is relabelled, the index of its new class; -1 is the suggested one.

        Raises UsageError for a row, a decision or a class that there is not, OutputError if it could not be kept.
        """
        place = self._position.get(example_id)
        if place is None:
            raise UsageError(f"There is no judged row {example_id!r}.", remedy="Load the page again.")
        if decision not in DECISIONS:
            raise UsageError(f"The decision {decision!r} is none of {', '.join(DECISIONS)}.")
        if not -1 <= label < len(self.label_names):
            raise UsageError(f"There is no class number {label}.", remedy=f"There are {len(self.label_names)} classes.")
        table = self.labels.table
        new_label = str(table.suggested[place]) if label < 0 else self.label_names[label]
        if decision == "relabel" and new_label == table.given[place]:
            decision = "keep"  # the label that it has
        reviewed = Reviewed(decision, new_label if decision == "relabel" else "")
        self.journal.decide(example_id, reviewed)
        return reviewed

    def text_of(self, example_id: str) -> str | None:
        """The text of a judged row, or the name of its image; None if the run kept none."""
        return (self.labels.texts or {}).get(example_id) if example_id in self._position else None

    def export(self) -> bytes:
        """The decided rows as the CSV file that `honed fit --decisions` reads."""
        decided = self.journal.current()
        chosen = self._chosen(Choice("decided"), decided)
        rows = label_rows(self.labels.table.take(chosen), self.labels.texts)
        return decision_csv([row | vars(decided[row["example_id"]]) for row in rows])

    def _chosen(self, choice: Choice, decided: dict[str, Reviewed]) -> Positions:
        table = self.labels.table
        if choice.show == "decided":
            mask = np.zeros(len(table), dtype=bool)
            mask[[self._position[example] for example in decided if example in self._position]] = True
        else:
            mask = table.is_flagged.copy() if choice.show == "flagged" else np.ones(len(table), dtype=bool)
        if 0 <= choice.given < len(self.label_names):
            mask &= table.given == self.label_names[choice.given]
        return np.flatnonzero(mask)


class ReviewQueues:
    """The queues that were opened last, kept as long as their tables stay as they are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[int, ReviewQueue]] = OrderedDict()

    def open(self, run: RunFolder) -> ReviewQueue:
        """The queue of a run.

        Raises RunFolderError if the run is not finished or judged no labels.
        """
        key = str(run.path)
        with self._lock:
            changed = run.labels.stat().st_mtime_ns if run.labels.exists() else 0
            kept = self._kept.get(key)
            if kept is None or kept[0] != changed:
                kept = (changed, ReviewQueue(run))
                self._kept[key] = kept
            self._kept.move_to_end(key)
            while len(self._kept) > _N_KEPT:
                self._kept.popitem(last=False)
            return kept[1]
