"""The check `personal_data`: which rows hold what kind of it, told without repeating it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from honed.data.dataset import Dataset
from honed.data.issue_table import Issue
from honed.data.personal.find import find_personal_batch
from honed.data.personal.hit import KINDS, Finder, Hit


def personal_data(dataset: Dataset, finder: Finder = find_personal_batch) -> tuple[list[Issue], dict[str, Any]]:
    """One issue for each row and kind, and the part of the summary: rows and places of each kind.

    The score is 1 minus the belief in the surest hit; what was found is never repeated.
    """
    found: dict[tuple[int, str], list[Hit]] = {}
    for i, hit in finder([str(text) for text in dataset.inputs]):
        found.setdefault((i, hit.kind), []).append(hit)
    issues = [
        Issue(
            "personal_data",
            1 - max(hit.score for hit in hits),
            "review",
            _evidence(kind, hits),
            str(dataset.example_id[i]),
            int(dataset.row[i]),
        )
        for (i, kind), hits in found.items()
    ]
    n_rows = Counter(kind for _, kind in found)
    n_places = Counter({kind: sum(len(hits) for (_, other), hits in found.items() if other == kind) for kind in n_rows})
    return issues, {
        "personal_data": {
            kind: {"n_rows": n_rows[kind], "n_places": n_places[kind]} for kind in KINDS if kind in n_rows
        }
    }


def _evidence(kind: str, hits: list[Hit]) -> str:
    what = KINDS[kind].one if len(hits) == 1 else KINDS[kind].many
    details = ", ".join(dict.fromkeys(hit.detail for hit in hits if hit.detail))
    return f"{len(hits)} {what}" + (f" ({details})." if details else ".")
