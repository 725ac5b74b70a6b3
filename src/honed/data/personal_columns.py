"""The check `personal_column`: personal data in the columns beside what the model reads, told without repeating it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from honed.data.issue_table import Issue
from honed.data.personal.columns import holds_persons, is_filled, kind_of_column, may_hold_persons
from honed.data.personal.hit import KINDS, Finder

_PLAIN_NUMBER = re.compile(r"[+-]?\d{0,6}|[+-]?\d+\.\d+(?:[eE][+-]?\d+)?", re.ASCII)
"""No card, telephone or id: tables of figures are not read cell by cell."""


def personal_words(checks: Mapping[str, Any]) -> list[str]:
    """Where personal data stand, of what kinds and how often, a line each: from `checks` of dataset.json."""
    read = {kind: told["n_places"] for kind, told in (checks.get("personal_data") or {}).items()}
    columns = checks.get("personal_columns") or {}
    found = {"what the model reads": read} | {f"column {name!r}": kinds for name, kinds in columns.items()}
    return [
        f"{where}: {', '.join(f'{n:,} {KINDS[kind].one if n == 1 else KINDS[kind].many}' for kind, n in kinds.items())}"
        for where, kinds in found.items()
        if kinds
    ]


class PersonalColumns:
    """Counts the cells of every column that hold personal data, some rows at a time.

    A column such as `phone` holds it by its name, one called `name` if its cells look like names of persons; in all
    others, and as in a redacted copy, what `finder` finds counts.

    Promises: what is told does not depend on how the rows are dealt out to `add`.
    """

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._n_filled: Counter[str] = Counter()
        self._n_cells: dict[str, Counter[str]] = {}

    def add(self, others: Mapping[str, Sequence[str]], joined: Mapping[str, Sequence[str]]) -> None:
        """Look at the cells of some more rows; each distinct cell is read once.

        others : columns that the model does not read.        joined : those of a template: what their cells hold is
            found in the text (`personal_data`), so only their names are read here.
        """
        named = {name: cells for name, cells in joined.items() if kind_of_column(name)}
        for name, cells in {**named, **others}.items():
            counts = Counter(cell for cell in cells if is_filled(cell))
            own = self._n_cells.setdefault(name, Counter())
            self._n_filled[name] += counts.total()
            if kind := kind_of_column(name):
                own[kind] += counts.total()
                continue
            read = [cell for cell in counts if not _PLAIN_NUMBER.fullmatch(cell.strip())]
            for i, kind in {(i, hit.kind) for i, hit in self._finder(read)}:
                own[kind] += counts[read[i]]

    def summary(self, left_out: Iterable[str] = ()) -> dict[str, dict[str, int]]:
        """Column -> kind -> cells, for the columns that hold any.

        left_out : columns that turned out to be none of text.
        """
        found = {}
        for name in self._n_cells.keys() - set(left_out):
            own, n_filled = self._n_cells[name], self._n_filled[name]
            if may_hold_persons(name) and holds_persons(own["name"], n_filled):
                own = Counter({"name": n_filled})
            if own.total():
                found[name] = {kind: own[kind] for kind in KINDS if own[kind]}
        return dict(sorted(found.items()))

    def issues(self, left_out: Iterable[str] = ()) -> list[Issue]:
        """`personal_column` for each column and kind; the score is the share of its filled cells without."""
        return [
            Issue(
                "personal_column",
                1 - n / self._n_filled[name],
                "review",
                f"Column {name!r}: {KINDS[kind].many} in {n:,} of {self._n_filled[name]:,} filled cells.",
            )
            for name, kinds in self.summary(left_out).items()
            for kind, n in kinds.items()
        ]
