"""What the model will see: how many tokens, how much is cut off, and the text that comes back from the tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from honed.data.dataset import Dataset
from honed.data.issue_table import Issue, shorten
from honed.data.personal.find import mask

TRUNCATION_SHARE_IS_ISSUE = 0.05
_BATCH = 1000
_N_PREVIEW = 3
_PREVIEW_CHARS = 400
_QUANTILES = {"p05": 0.05, "median": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True)
class Tokenizer:
    """The tokenizer as two functions; see `structural_checks`. Without `tokenize` no check of tokens runs."""

    tokenize: Callable[[Sequence[str]], list[list[int]]] | None
    decode: Callable[[list[int]], str] | None
    max_tokens: int | None


def token_checks(dataset: Dataset, tokenizer: Tokenizer) -> tuple[list[Issue], dict[str, Any]]:
    """`truncation` for each row that is cut, `truncation_share` for the table, and the part of the summary.

    The preview shows the three rows with the smallest example ids: as read, and decoded from the kept tokens. Personal
    data are masked in both.
    """
    shown = np.argsort(dataset.example_id, kind="stable")[:_N_PREVIEW].tolist()
    masked = [mask(str(dataset.inputs[i])) for i in shown]
    preview = [
        {"example_id": mask(str(dataset.example_id[i])), "text": _cut(text), "decoded": ""}
        for i, text in zip(shown, masked, strict=True)
    ]
    if tokenizer.tokenize is None or not len(dataset):
        return [], {"truncation_frac": None, "token_length": None, "preview": preview}
    n_tokens = np.concatenate(
        [
            [len(ids) for ids in tokenizer.tokenize(dataset.inputs[start : start + _BATCH])]
            for start in range(0, len(dataset), _BATCH)
        ]
    )
    if tokenizer.decode is not None:
        for entry, ids in zip(preview, tokenizer.tokenize(masked), strict=True):
            entry["decoded"] = _cut(tokenizer.decode(ids[: tokenizer.max_tokens]))
    summary: dict[str, Any] = {
        "truncation_frac": None,
        "token_length": {name: int(np.quantile(n_tokens, q, method="higher")) for name, q in _QUANTILES.items()},
        "preview": preview,
    }
    if tokenizer.max_tokens is None:
        return [], summary
    cut = np.flatnonzero(n_tokens > tokenizer.max_tokens)
    share = len(cut) / len(dataset)
    summary["truncation_frac"] = share
    issues = [
        Issue(
            "truncation",
            tokenizer.max_tokens / int(n_tokens[i]),
            "none",
            f"{n_tokens[i]} tokens, of which the first {tokenizer.max_tokens} are read.",
            str(dataset.example_id[i]),
            int(dataset.row[i]),
        )
        for i in cut.tolist()
    ]
    evidence = f"{len(cut)} of {len(dataset)} texts ({share:.1%}) are longer than {tokenizer.max_tokens} tokens"
    longest = f"; 95 % fit into {summary['token_length']['p95']}."
    is_issue = share > TRUNCATION_SHARE_IS_ISSUE
    issues.append(Issue("truncation_share", 1 - share, "none", evidence + longest, is_issue=is_issue))
    return issues, summary


def _cut(text: str) -> str:
    return shorten(text, _PREVIEW_CHARS)
