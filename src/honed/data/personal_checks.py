"""The check `personal_data`: which rows hold what kind of it, told without repeating it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from honed.data.dataset import Dataset
from honed.data.issue_table import Issue
from honed.data.personal.hit import KINDS, Finder, Hit


class PersonalData:
    """Gathers the personal data of all rows, some rows at a time."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._n_rows: Counter[str] = Counter()
        self._n_places: Counter[str] = Counter()

    def add(self, rows: Dataset) -> Iterator[Issue]:
        """`personal_data` for each row and kind; the score is 1 minus the belief in the surest hit.

        What was found is never repeated.
        """
        found: dict[tuple[int, str], list[Hit]] = {}
        for i, hit in self._finder([str(text) for text in rows.inputs]):
            found.setdefault((i, hit.kind), []).append(hit)
        for (i, kind), hits in found.items():
            self._n_rows[kind] += 1
            self._n_places[kind] += len(hits)
            score = 1 - max(hit.score for hit in hits)
            example_id, row = str(rows.example_id[i]), int(rows.row[i])
            yield Issue("personal_data", score, "review", _evidence(kind, hits), example_id, row)

    def summary(self) -> dict[str, Any]:
        """The part of the summary: rows and places of each kind."""
        return {
            "personal_data": {
                kind: {"n_rows": self._n_rows[kind], "n_places": self._n_places[kind]}
                for kind in KINDS
                if kind in self._n_rows
            }
        }


def _evidence(kind: str, hits: list[Hit]) -> str:
    what = KINDS[kind].one if len(hits) == 1 else KINDS[kind].many
    details = ", ".join(dict.fromkeys(hit.detail for hit in hits if hit.detail))
    return f"{len(hits)} {what}" + (f" ({details})." if details else ".")
