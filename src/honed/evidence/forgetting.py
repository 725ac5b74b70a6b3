"""What did tuning cost outside the domain? Perplexity on general text and instructions, specialist over base."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError
from honed.evidence.estimate import Difference, figure_json
from honed.evidence.metrics import Floats
from honed.evidence.row_means import Rows, row_difference
from honed.evidence.run_facts import read_rows

KINDS = {"text": "general text", "instruction": "general instructions"}
_NUMBERS = ("base_loss", "specialist_loss", "n_tokens")
_MOST = 700.0  # exp of more is no number


@dataclass(frozen=True)
class ForgettingTable:
    """m general rows, as in `forgetting.parquet`. base, specialist : (m,) nats per token.    n_tokens : (m,) scored."""

    row_id: npt.NDArray[np.str_]
    kind: npt.NDArray[np.str_]
    base: Floats
    specialist: Floats
    n_tokens: Floats

    def __len__(self) -> int:
        return len(self.row_id)

    def of_kind(self, kind: str) -> ForgettingTable:
        """The rows of one kind."""
        at = self.kind == kind
        return ForgettingTable(self.row_id[at], self.kind[at], self.base[at], self.specialist[at], self.n_tokens[at])

    @staticmethod
    def read(run: Path) -> ForgettingTable | None:
        """The table of a run folder, or None without one.

        Raises RunFolderError if it is damaged, EvidenceError for an unknown kind or a row that stands twice.
        """
        if not (run / "forgetting.parquet").exists():
            return None
        rows = read_rows(run, "forgetting.parquet", ("row_id", "kind", *_NUMBERS))
        row_id, kind = (np.array([str(row[name]) for row in rows], np.str_) for name in ("row_id", "kind"))
        strange = sorted(set(kind.tolist()) - set(KINDS))
        if strange:
            raise EvidenceError(f"forgetting.parquet has the kind {strange[0]!r}; known are {' and '.join(KINDS)}.")
        if len(set(row_id.tolist())) < len(rows):
            raise EvidenceError("forgetting.parquet holds a row twice.")
        base, specialist, n_tokens = (np.array([row[name] for row in rows], np.float64) for name in _NUMBERS)
        return ForgettingTable(row_id, kind, base, specialist, n_tokens)


def perplexity_ratio(table: ForgettingTable, *, level: float = 0.95) -> Difference:
    """Perplexity of the specialist over that of the base on the same tokens; above 1: it forgot.

    exp of the mean difference of losses by tokens, paired by row, and so is its interval. `p_value` is of "ratio 1".

    Raises EvidenceError if there are fewer than two rows, a loss is not finite, or a row has no tokens.
    """
    rows = Rows("the perplexity ratio", table.specialist - table.base, table.row_id, table.n_tokens)
    change = row_difference(rows, level=level)
    if change.high > _MOST:
        raise EvidenceError(f"The loss rose by {change.value:.0f} nats per token, so the ratio is beyond every number.")
    low, value, high = (math.exp(end) for end in (change.low, change.value, change.high))
    return replace(change, value=value, low=low, high=high)


def forgetting_json(table: ForgettingTable, *, level: float = 0.95) -> dict[str, Any]:
    """What metrics.json says of forgetting: kind -> n, n_tokens, both losses by tokens, and the ratio."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        part = table.of_kind(kind)
        if len(part):
            found[kind] = {
                "n": len(part),
                "n_tokens": float(part.n_tokens.sum()),
                "base_loss": float(np.average(part.base, weights=part.n_tokens)),
                "specialist_loss": float(np.average(part.specialist, weights=part.n_tokens)),
                "ratio": figure_json(partial(perplexity_ratio, part, level=level)),
            }
    return found
