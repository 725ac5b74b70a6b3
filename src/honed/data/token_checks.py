"""What the model will see: how many tokens, how much is cut off, and the text that comes back from the tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.data.dataset import Dataset
from honed.data.issue_table import Issue, shorten
from honed.data.personal.find import mask
from honed.data.spill import GrowingArray

TRUNCATION_SHARE_IS_ISSUE = 0.05
_BATCH = 1000
_N_PREVIEW = 3
_PREVIEW_CHARS = 400
_QUANTILES = {"p05": 0.05, "median": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True)
class Tokenizer:
    """The tokenizer as functions; see `structural_checks`. Without `tokenize` no check of tokens runs.

    count : texts -> the lengths of what `tokenize` returns, if there is a faster way to them.
    """

    tokenize: Callable[[Sequence[str]], list[list[int]]] | None
    decode: Callable[[list[int]], str] | None
    max_tokens: int | None
    count: Callable[[Sequence[str]], list[int]] | None = None


class TokenLengths:
    """Gathers the token lengths of all rows, and the three rows with the smallest example ids, to be shown."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._n_tokens = GrowingArray(np.int32)
        self._shown: list[tuple[str, str]] = []

    def add(self, rows: Dataset) -> Iterator[Issue]:
        """`truncation` for each of these rows that is cut."""
        pairs = zip(rows.example_id.tolist(), rows.inputs, strict=True)
        self._shown = nsmallest(_N_PREVIEW, [*self._shown, *pairs], key=lambda pair: pair[0])
        tokenize, limit = self._tokenizer.tokenize, self._tokenizer.max_tokens
        if tokenize is None:
            return
        count = self._tokenizer.count or (lambda texts: [len(ids) for ids in tokenize(texts)])
        for first in range(0, len(rows), _BATCH):
            n_tokens = np.array(count(rows.inputs[first : first + _BATCH]), np.int32)
            self._n_tokens.append(n_tokens)
            if limit is None:
                continue
            for i in np.flatnonzero(n_tokens > limit).tolist():
                evidence = f"{n_tokens[i]} tokens, of which the first {limit} are read."
                score = limit / int(n_tokens[i])
                example_id, row = str(rows.example_id[first + i]), int(rows.row[first + i])
                yield Issue("truncation", score, "none", evidence, example_id, row)

    def summary(self) -> tuple[list[Issue], dict[str, Any]]:
        """`truncation_share` for the table, and the part of the summary; personal data are masked in the preview."""
        shown = [(mask(key), mask(text)) for key, text in self._shown]
        preview = [{"example_id": key, "text": _cut(text), "decoded": ""} for key, text in shown]
        n_tokens, limit = self._n_tokens.view(), self._tokenizer.max_tokens
        if not len(n_tokens):
            return [], {"truncation_frac": None, "token_length": None, "preview": preview}
        if self._tokenizer.decode is not None and self._tokenizer.tokenize is not None:
            texts = [text for _, text in shown]
            for entry, ids in zip(preview, self._tokenizer.tokenize(texts), strict=True):
                entry["decoded"] = _cut(self._tokenizer.decode(ids[:limit]))
        summary: dict[str, Any] = {
            "truncation_frac": None,
            "token_length": length_quantiles(n_tokens),
            "preview": preview,
        }
        if limit is None:
            return [], summary
        n_cut = int((n_tokens > limit).sum())
        share = n_cut / len(n_tokens)
        summary["truncation_frac"] = share
        evidence = f"{n_cut} of {len(n_tokens)} texts ({share:.1%}) are longer than {limit} tokens"
        longest = f"; 95 % fit into {summary['token_length']['p95']}."
        is_issue = share > TRUNCATION_SHARE_IS_ISSUE
        return [Issue("truncation_share", 1 - share, "none", evidence + longest, is_issue=is_issue)], summary


def length_quantiles(n_tokens: npt.NDArray[np.integer[Any]]) -> dict[str, int]:
    """Median, tails and the longest of the lengths of n rows, n > 0."""
    return {name: int(np.quantile(n_tokens, q, method="higher")) for name, q in _QUANTILES.items()}


def _cut(text: str) -> str:
    return shorten(text, _PREVIEW_CHARS)
