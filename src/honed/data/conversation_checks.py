"""Structural checks of conversations before the folds are made: what repeats, what should not be there, who refuses.

As for texts, no check drops a row or alters it; rows with equal or nearly equal prompts become one group.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from honed.data.chat_template import ConversationReader
from honed.data.checks import CheckResult, CheckSettings, check_dataset
from honed.data.control_strings import ControlStrings
from honed.data.conversation_tokens import token_checks
from honed.data.conversations import Conversation
from honed.data.dataset import Dataset
from honed.data.duplicates import exact_duplicates
from honed.data.issue_table import Issue, IssueTable, shorten
from honed.data.languages import languages
from honed.data.personal.find import find_personal_batch, mask
from honed.data.personal.hit import Finder, Hit
from honed.data.personal_checks import PersonalData
from honed.data.preferences import Preference
from honed.data.text_checks import strange_characters
from honed.data.text_index import SameTexts, TextIndex, name_keys
from honed.data.token_checks import Tokenizer

REFUSALS_ARE_MANY = 0.1
REPEATED_ROWS, REPEATED_FRAC = 10, 0.01
"""A reply to at least so many rows, and such a share of them, is told."""
# Which of the checks of texts are asked about the prompts; the others are about labels, or about the whole row.
_OF_PROMPTS = ("near_duplicate", "split_duplicate", "test_contamination", "large_group")
_REFUSAL = re.compile(  # who refuses says so at once
    r"\W*(?:unfortunately,? |no,? )?(?:I(?: am|['\u2019]m)? (?:cannot|can['\u2019]t|can not|unable|not able)"
    r"|I(?: am|['\u2019]m) (?:very |really |so )?sorry|(?:I )?apologi[sz]e|my apologies|sorry|as an AI)\b",
    re.IGNORECASE,
)
_FOREIGN_MARKERS = re.compile(
    r"<\|(?:im_start|im_end|eot_id|start_header_id|end_header_id|begin_of_text|endoftext|user|assistant|system|end)\|>"
    r"|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|</?s>|<[be]os>"
    r"|^### ?(?:User|Assistant|System|Human|Instruction|Input|Response):",
    re.MULTILINE,
)
_QUOTED = 100


@dataclass(frozen=True)
class ConversationSettings:
    """How conversations are checked.

    folds : as for `check_dataset`.    reader : None leaves out the checks of tokens.
    test_inputs : the conversations of a test file.    finder : finds personal data.
    """

    folds: int
    reader: ConversationReader | None = None
    test_inputs: Sequence[Conversation] | None = None
    finder: Finder = find_personal_batch


def conversation_checks(dataset: Dataset, settings: ConversationSettings) -> CheckResult:
    """Run every structural check on conversations with replies.

    Promises: as `structural_checks`; `summary` holds its keys but those about classes, and `refusal_frac`, `n_turns`
    (replies of a row -> rows), `reply_truncation_frac`, `n_unreadable` (rows that the template refuses), `not_run`.
    """
    prompts = replace(dataset, inputs=[_asked(row) for row in dataset.inputs])
    test = None if settings.test_inputs is None else [[_asked(row) for row in settings.test_inputs]]
    grouped = check_dataset(prompts, CheckSettings(settings.folds, Tokenizer(None, None, None), test, _nothing))
    whole = replace(dataset, inputs=[_said(row) for row in dataset.inputs])
    replies = replace(grouped.dataset, inputs=[row.reply() for row in dataset.inputs])

    issues = list(_repeated_rows(whole, grouped.issues.issues()))
    issues += [issue for issue in grouped.issues.issues() if issue.check in _OF_PROMPTS]
    personal = PersonalData(settings.finder)
    issues += personal.add(whole)
    control = settings.reader.chat.control_strings if settings.reader else ControlStrings(())
    for i in range(len(whole)):
        issues += strange_characters(whole, i) + _markers(whole, i, control)
    n_refusals = sum(bool(_REFUSAL.match(reply)) for reply in replies.inputs)
    issues += _refusals(n_refusals, len(dataset))
    issues += _repeated_replies(replies)
    found = languages(replies)
    issues += found.issues
    not_run = [found.not_run] if found.not_run else []
    tokens = token_checks(dataset, settings.reader)
    issues += tokens.issues
    summary: dict[str, Any] = {
        **grouped.summary,
        **tokens.summary,
        **personal.summary(),
        "counts": dict(sorted(Counter(issue.check for issue in issues if issue.is_issue).items())),
        "refusal_frac": n_refusals / max(len(dataset), 1),
        "n_turns": {str(n): count for n, count in sorted(Counter(_n_replies(row) for row in dataset.inputs).items())},
        "not_run": not_run,
    }
    del summary["conflicts"], summary["class_counts"]  # there are no classes
    return CheckResult(replace(dataset, group=grouped.dataset.group), IssueTable.from_issues(issues), summary)


def _asked(row: Conversation) -> str:
    """What makes a prompt this one: all but a system message, which may be the same in every row."""
    return "\n".join(message.content for message in row.prompt() if message.role != "system")


def _said(row: Conversation) -> str:
    """Everything that stands in it, a rejected reply too."""
    rejected = [row.rejected] if isinstance(row, Preference) else []
    return "\n".join([*(message.content for message in row.messages), *rejected])


def _n_replies(row: Conversation) -> int:
    return sum(message.role == "assistant" for message in row.messages)


def _nothing(texts: Sequence[str]) -> list[tuple[int, Hit]]:
    del texts
    return []


def _same(dataset: Dataset) -> SameTexts:
    index = TextIndex()
    index.add(dataset.inputs)
    return index.same(name_keys(dataset.example_id.tolist()))


def _repeated_rows(whole: Dataset, of_prompts: Sequence[Issue]) -> Iterator[Issue]:
    """`exact_duplicate` for equal rows; `same_prompt`, which is no issue, for equal prompts with another reply."""
    repeated = set()
    for issue in exact_duplicates(whole, _same(whole)):
        repeated.add(issue.row)
        yield issue
    for issue in of_prompts:
        if issue.check == "exact_duplicate" and issue.row not in repeated:
            evidence = issue.evidence.replace("Same text as", "Another reply to the prompt of", 1)
            yield replace(issue, check="same_prompt", score=0.5, evidence=evidence, is_issue=False)


def _markers(whole: Dataset, i: int, control: ControlStrings) -> list[Issue]:
    """`template_marker` where a row's text holds markers of a chat template, its own or another's."""
    text = whole.inputs[i]
    own = [string for _, string in control.starts(text)]
    found = Counter([*own, *(marker for marker in _FOREIGN_MARKERS.findall(text) if marker not in control)])
    if not found:
        return []
    listed = ", ".join(f"{marker!r} x{n}" for marker, n in sorted(found.items())[:4])
    evidence = f"Markers of a chat template stand in the text: {listed}. They are read as text, not as turns."
    return [Issue("template_marker", 0.3, "review", evidence, str(whole.example_id[i]), int(whole.row[i]))]


def _refusals(n_refusals: int, n_rows: int) -> list[Issue]:
    if not n_refusals:
        return []
    share = n_refusals / n_rows
    evidence = (
        f"{n_refusals} of {n_rows} replies ({share:.1%}) begin like an English refusal (sorry, I cannot, as an AI):"
        " the specialist will learn to refuse as often."
    )
    return [Issue("refusals", 1 - share, "review", evidence, is_issue=share > REFUSALS_ARE_MANY)]


def _repeated_replies(replies: Dataset) -> Iterator[Issue]:
    """`repeated_reply` for each reply that very many rows have in common, told in its first row."""
    same = _same(replies)
    n_rows = same.n_rows
    many = np.flatnonzero((n_rows >= REPEATED_ROWS) & (n_rows >= REPEATED_FRAC * len(replies)))
    for text, first in zip(many.tolist(), same.first[many].tolist(), strict=True):
        share = int(n_rows[text]) / len(replies)
        quoted = shorten(mask(replies.inputs[first]), _QUOTED)
        evidence = f"{n_rows[text]} of {len(replies)} rows ({share:.1%}) have one and the same reply: {quoted!r}"
        yield Issue(
            "repeated_reply", 1 - share, "review", evidence, str(replies.example_id[first]), int(replies.row[first])
        )
