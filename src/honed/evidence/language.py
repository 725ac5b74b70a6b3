"""Loss and perplexity of replies with their intervals, and base against specialist on the very same rows.

A row's loss is the mean nats per reply token, its weight the number of these tokens. By tokens: sum(w loss) / sum(w),
what is usually called *the* loss, in which long replies decide. By rows: every reply counts once.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError
from honed.evidence.comparison import align
from honed.evidence.estimate import Difference, Estimate, figure_json
from honed.evidence.row_means import Rows, row_difference, row_estimate
from honed.oof import Predictions

Groups = npt.NDArray[np.str_]

N_BUCKETS = 4
MOST_NATS = 700.0
"""exp of more is not a number that a computer can hold."""


def _rows(table: Predictions, group: Groups, name: str) -> Rows:
    """The losses of `table`, weighted by tokens unless `name` is row_loss."""
    _, part = np.unique(np.stack([table.repeat, table.fold], axis=1), axis=0, return_inverse=True)
    weight = None if name == "row_loss" else table.weight
    return Rows(name, table.loss, group, weight, part.ravel().astype(np.int64))


def loss_estimate(table: Predictions, group: Groups, name: str = "loss", *, level: float = 0.95) -> Estimate:
    """`loss` (by tokens), `row_loss` (by rows) or `perplexity` with its interval.

    Perplexity is exp of the loss by tokens, its interval exp of the loss's: it keeps its coverage, because exp is
    monotone.    group : (m,) the independent unit of each row.

    Raises EvidenceError if the figure is undefined: no rows, a loss that is not finite, a reply without tokens, a
    single group, or a loss above 700 nats.
    """
    found = row_estimate(_rows(table, group, name), lowest=0.0, highest=math.inf, level=level)
    if name != "perplexity":
        return found
    if found.high > MOST_NATS:
        raise EvidenceError(
            f"The loss is {found.value:.0f} nats per token, so its perplexity is beyond every number.",
            cause="The model diverged.",
        )
    return replace(
        found,
        value=math.exp(found.value),
        low=math.exp(found.low),
        high=math.exp(found.high),
        per_fold=tuple(math.exp(v) if v is not None and v <= MOST_NATS else None for v in found.per_fold),
    )


def loss_difference(
    specialist: Predictions, base: Predictions, group: Groups, name: str = "loss", *, level: float = 0.95
) -> Difference:
    """Specialist minus base in nats per token (below zero: the specialist is better), paired by row.

    name : `loss` or `row_loss`.    group : (m,) aligned with `specialist`.

    Raises EvidenceError if the rows or their numbers of tokens differ, or the figure is undefined.
    """
    base = align(specialist, base)
    differs = np.flatnonzero(specialist.weight != base.weight)
    if len(differs):
        i = differs[0]
        raise EvidenceError(
            f"Example {str(specialist.example_id[i])!r} has {specialist.weight[i]:g} reply tokens for the specialist"
            f" and {base.weight[i]:g} for the base.",
            cause="They were cut or encoded differently, so their losses are not of the same text.",
        )
    rows = _rows(specialist, group, name)
    return row_difference(replace(rows, value=specialist.loss - base.loss), level=level)


def loss_by_length(
    specialist: Predictions, base: Predictions | None, group: Groups, *, level: float = 0.95
) -> list[dict[str, Any]]:
    """Loss by tokens in quarters of the rows from short to long replies.

    Each row: first, last (tokens), n, specialist, base, difference, as `figure_json` writes them. Replies of one length
    stay together, so there may be fewer than four.
    """
    edges = np.unique(np.quantile(specialist.weight, np.linspace(0, 1, N_BUCKETS + 1)[1:-1], method="inverted_cdf"))
    bucket = np.searchsorted(edges, specialist.weight, "left")
    base = None if base is None else align(specialist, base)
    found = []
    for k in np.unique(bucket):
        where = np.flatnonzero(bucket == k)
        own, names = specialist.take(where), group[where]
        row: dict[str, Any] = {
            "first": float(own.weight.min()),
            "last": float(own.weight.max()),
            "n": len(own),
            "specialist": figure_json(partial(loss_estimate, own, names, level=level)),
        }
        if base is not None:
            other = base.take(where)
            row["base"] = figure_json(partial(loss_estimate, other, names, level=level))
            row["difference"] = figure_json(partial(loss_difference, own, other, names, level=level))
        found.append(row)
    return found
