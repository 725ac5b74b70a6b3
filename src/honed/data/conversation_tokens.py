"""What of each conversation the model reads and learns: lengths, cuts, the loss mask, and faults of the template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from honed.data.chat_template import ConversationReader, EncodedConversation
from honed.data.conversations import Conversation
from honed.data.dataset import Dataset
from honed.data.issue_table import Action, Issue
from honed.data.personal.find import mask
from honed.data.token_checks import TRUNCATION_SHARE_IS_ISSUE, length_quantiles
from honed.errors import DataError

N_READ_BACK = 1000
"""Rows whose mask is checked against a second encoding of their prompt."""
END_SYMBOL, TARGET_MARKS = "■", ("⟦", "⟧")
_N_PREVIEW = 3
_PREVIEW_CHARACTERS = 300  # at either end of a piece
_BATCH = 512


class Piece(NamedTuple):
    """Neighbouring tokens as text. is_target : whether they carry loss.    is_end : whether they end a turn."""

    text: str
    is_target: bool
    is_end: bool


@dataclass(frozen=True)
class TokenFindings:
    """issues : findings.    summary : the part of the summary that is about tokens."""

    issues: list[Issue]
    summary: dict[str, Any]


def pieces_of(reader: ConversationReader, encoded: EncodedConversation) -> list[Piece]:
    """The decoded tokens of a row, in runs of equal loss mask."""
    ids, is_target = encoded.ids.tolist(), encoded.is_target.tolist()
    kinds = [(target, token in reader.end_ids) for token, target in zip(ids, is_target, strict=True)]
    pieces = []
    for (target, end), run in groupby(zip(kinds, ids, strict=True), key=lambda pair: pair[0]):
        pieces.append(Piece(reader.tokenizer.decode([token for _, token in run]), target, end))
    return pieces


def marked(pieces: Sequence[Piece]) -> str:
    """The pieces in one line of text: what carries loss stands in brackets, the end of a turn is a symbol."""
    text = ""
    for is_target, run in groupby(pieces, key=lambda piece: piece.is_target):
        inner = "".join(END_SYMBOL if piece.is_end and is_target else piece.text for piece in run)
        text += TARGET_MARKS[0] + inner + TARGET_MARKS[1] if is_target else inner
    return text


def faults_of(
    reader: ConversationReader, conversation: Conversation, encoded: EncodedConversation
) -> list[tuple[str, str]]:
    """(check, reason) for everything that is wrong with an encoded row, found without the code that encoded it.

    missing_eos, doubled_bos, unmasked_prompt, template_mismatch (the prompt is other tokens when the model is used),
    reply_cut_off (nothing is left to learn).
    """
    ids, is_target = encoded.ids, encoded.is_target
    faults = []
    if not is_target.any():
        faults.append(("reply_cut_off", f"nothing of the reply is left within {reader.max_tokens} tokens"))
    elif not encoded.n_reply_cut and int(ids[np.flatnonzero(is_target)[-1]]) not in reader.end_ids:
        faults.append(("missing_eos", "its reply does not end with the token that ends a turn"))
    bos = reader.tokenizer.bos_token_id
    if bos is not None and bos not in reader.end_ids and (ids == bos).sum() > 1:
        faults.append(("doubled_bos", f"{reader.tokenizer.bos_token!r} stands {(ids == bos).sum()} times in it"))
    if encoded.n_cut:
        return faults
    prompt = reader.encode_prompt(conversation.prompt())
    if not np.array_equal(ids[: len(prompt)], prompt):
        faults.append(("template_mismatch", "its prompt would be other tokens when the model is used"))
    elif reader.train_on == "responses":
        due = [
            len(reader.encode_prompt(conversation.messages[:k]))
            for k, message in enumerate(conversation.messages)
            if message.role == "assistant"
        ]
        edges = np.diff(is_target.astype(np.int8), prepend=0, append=0)
        starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        ends = np.isin(ids, reader.end_ids)
        goes_on = any(ends[start : stop - 1].any() for start, stop in zip(starts, stops, strict=True))
        if starts.tolist() != due or goes_on:
            faults.append(("unmasked_prompt", "tokens of its prompt carry loss, or some of a reply carry none"))
    return faults


def token_checks(dataset: Dataset, reader: ConversationReader | None) -> TokenFindings:
    """Encode every row and look at what came out; without a reader, nothing is found.

    Issues: `truncation` and `truncated_reply` a row, their shares, the remarks on the template, `template_refuses`, and
    what `faults_of` finds in the first `N_READ_BACK` rows.
    """
    shown = nsmallest(_N_PREVIEW, range(len(dataset)), key=lambda i: str(dataset.example_id[i]))
    if reader is None:
        unread = [{"example_id": mask(str(dataset.example_id[i])), "decoded": "", "pieces": []} for i in shown]
        empty = {"truncation_frac": None, "reply_truncation_frac": None, "token_length": None, "n_unreadable": 0}
        return TokenFindings([], {**empty, "preview": unread, "template_remarks": []})
    remarks, bos = reader.facts.remarks, reader.tokenizer.bos_token
    issues = [Issue(check, 0.5, "none", text, is_issue=is_fault) for check, is_fault, text in remarks]
    lengths, n_cut, n_reply_cut, n_unreadable = [], 0, 0, 0
    preview: dict[int, dict[str, Any]] = {}
    for i, encoded in _encoded(dataset, reader):
        if isinstance(encoded, DataError):
            n_unreadable += 1
            evidence = f"{encoded.problem} {encoded.cause}".strip()
            issues.append(_row_issue(dataset, i, "template_refuses", 0.0, "review", evidence))
            continue
        lengths.append(len(encoded.ids) + encoded.n_cut)
        n_cut += encoded.n_cut > 0
        n_reply_cut += encoded.n_reply_cut > 0
        issues += _cuts(dataset, i, encoded, reader.max_tokens)
        if bos and dataset.inputs[i].messages[0].content.lstrip().startswith(bos):
            evidence = f"Its text itself begins with {bos!r}: read as text here, as a second beginning elsewhere."
            issues.append(_row_issue(dataset, i, "doubled_bos", 0.3, "review", evidence))
        if i < N_READ_BACK or not encoded.is_target.any():
            faults = faults_of(reader, dataset.inputs[i], encoded)
            issues += [_row_issue(dataset, i, check, 0.0, "review", f"Row {dataset.row[i] + 1}: {reason}.")
                       for check, reason in faults]  # fmt: skip
        if i in shown:
            pieces = [Piece(_middle_out(mask(text)), target, end) for text, target, end in pieces_of(reader, encoded)]
            preview[i] = {
                "example_id": mask(str(dataset.example_id[i])),
                "decoded": marked(pieces),
                "pieces": [piece._asdict() for piece in pieces],
            }
    n = max(len(lengths), 1)
    summary = {
        "truncation_frac": n_cut / n,
        "reply_truncation_frac": n_reply_cut / n,
        "token_length": length_quantiles(np.array(lengths)) if lengths else None,
        "n_unreadable": n_unreadable,
        "preview": [preview[i] for i in shown if i in preview],
        "template_remarks": [remark.text for remark in remarks],
    }
    evidence = (
        f"{n_cut} of {n} conversations ({n_cut / n:.1%}) are longer than {reader.max_tokens} tokens; in {n_reply_cut}"
        " of them the reply itself is cut and does not end."
    )
    is_issue = max(n_cut, n_reply_cut) > TRUNCATION_SHARE_IS_ISSUE * n
    issues.append(Issue("truncation_share", 1 - n_cut / n, "none", evidence, is_issue=is_issue))
    return TokenFindings(issues, summary)


def _encoded(dataset: Dataset, reader: ConversationReader) -> Iterator[tuple[int, EncodedConversation | DataError]]:
    """Every row, encoded in batches; one by one where the template refuses a row of a batch."""
    for first in range(0, len(dataset), _BATCH):
        rows = dataset.inputs[first : first + _BATCH]
        try:
            yield from enumerate(reader.encode_all(rows), first)
        except DataError:
            for i, row in enumerate(rows, first):
                try:
                    yield i, reader.encode(row)
                except DataError as error:
                    yield i, error


def _cuts(dataset: Dataset, i: int, encoded: EncodedConversation, max_tokens: int) -> Iterator[Issue]:
    if not encoded.n_cut:
        return
    n = len(encoded.ids) + encoded.n_cut
    evidence = f"{n} tokens, of which {max_tokens} are read: the left of the prompt is cut."
    yield _row_issue(dataset, i, "truncation", max_tokens / n, "none", evidence)
    if encoded.n_reply_cut:
        evidence = f"{encoded.n_reply_cut} tokens of the reply are cut, so that its end is not learned."
        yield _row_issue(dataset, i, "truncated_reply", 0.3 * max_tokens / n, "review", evidence)


def _middle_out(text: str) -> str:
    limit = _PREVIEW_CHARACTERS
    return text if len(text) <= 2 * limit else f"{text[:limit]} […] {text[-limit:]}"


def _row_issue(dataset: Dataset, i: int, check: str, score: float, action: Action, evidence: str) -> Issue:
    return Issue(check, score, action, evidence, str(dataset.example_id[i]), int(dataset.row[i]))
