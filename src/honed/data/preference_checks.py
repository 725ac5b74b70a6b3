"""What can be wrong with pairs beyond what can be wrong with conversations; no check drops a row or alters it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from honed.data.chat_template import ConversationReader
from honed.data.conversation_tokens import token_checks
from honed.data.dataset import Dataset
from honed.data.issue_table import Issue, IssueTable
from honed.data.preferences import Preference

_OF_ROWS = ("truncation", "truncated_reply", "reply_cut_off", "missing_eos", "template_refuses")


def preference_checks(dataset: Dataset, reader: ConversationReader | None) -> IssueTable:
    """`contradiction` for pairs whose replies another row prefers the other way round, and the checks of tokens for the
    rejected replies; those of the chosen ones are made with the conversations.
    """
    issues = list(_contradictions(dataset))
    rejected = replace(dataset, inputs=[pair.with_rejected() for pair in dataset.inputs])
    issues += [
        replace(issue, evidence=f"With the rejected reply: {issue.evidence}")
        for issue in token_checks(rejected, reader).issues
        if issue.check in _OF_ROWS
    ]
    return IssueTable.from_issues(issues)


def _contradictions(dataset: Dataset) -> Iterator[Issue]:
    known: dict[tuple[object, str, str], list[int]] = defaultdict(list)

    def key(pair: Preference, better: str, worse: str) -> tuple[object, str, str]:
        return pair.prompt(), better.strip(), worse.strip()

    for i, pair in enumerate(dataset.inputs):
        known[key(pair, pair.reply(), pair.rejected)].append(i)
    for i, pair in enumerate(dataset.inputs):
        others = known.get(key(pair, pair.rejected, pair.reply()))
        if others:
            evidence = f"Row {dataset.row[others[0]] + 1} prefers the same two replies the other way round."
            yield Issue("contradiction", 0.0, "review", evidence, str(dataset.example_id[i]), int(dataset.row[i]))
