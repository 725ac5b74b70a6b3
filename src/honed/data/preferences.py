"""Preferences to learn from: a prompt with the reply that was chosen and the one that was rejected, in TRL's formats.

`prompt`, `chosen` and `rejected` as texts; the same as lists of messages; or `chosen` and `rejected` as two whole
conversations that differ in their last reply alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from honed.data.cells import cell_text
from honed.data.conversation_cells import BrokenRow, Turn, ordered, turns_of_list
from honed.data.conversations import (
    OBVIOUS_PROMPT,
    OBVIOUS_SYSTEM,
    Conversation,
    ConversationFormat,
    ConversationRoles,
    Message,
    ReadRow,
    conversation_data,
    conversation_of,
    list_keys,
)
from honed.data.roles import OBVIOUS_LABEL, named_column, obvious_column
from honed.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from honed.data.loading import LoadedData

OBVIOUS_CHOSEN = ("chosen", "preferred", "chosen_response")
OBVIOUS_REJECTED = ("rejected", "dispreferred", "rejected_response")


@dataclass(frozen=True)
class Preference(Conversation):
    """A conversation that ends with the chosen reply, and the reply that was rejected in its place."""

    rejected: str

    def with_chosen(self) -> Conversation:
        """The conversation as it was chosen."""
        return Conversation(self.messages)

    def with_rejected(self) -> Conversation:
        """The conversation as it was rejected."""
        return Conversation((*self.messages[:-1], Message("assistant", self.rejected)))

    def __str__(self) -> str:
        """As that of a conversation, with the rejected reply."""
        return json.dumps([super().__str__(), self.rejected], ensure_ascii=False)


def looks_like_preferences(table: pa.Table) -> bool:
    """Whether columns are called like chosen and rejected replies, and none like a label."""
    names: list[str] = table.column_names
    found = [obvious_column(names, wanted, set()) for wanted in (OBVIOUS_CHOSEN, OBVIOUS_REJECTED)]
    return all(found) and not obvious_column(names, OBVIOUS_LABEL, set())


def load_preferences(table: pa.Table, roles: ConversationRoles) -> LoadedData:
    """Build the dataset: its inputs are Preferences. A row that is none is left out, each a row of `issues`.

    Raises UsageError for columns that do not exist, and as `load_conversations` does.
    """
    form = _find_format(table, roles)
    columns = form.columns
    parts = [
        _turns(table, columns.system, "system"),
        _turns(table, columns.prompt, "user"),
        _turns(table, columns.chosen, "assistant"),
        _turns(table, columns.rejected, "assistant"),
    ]
    rows = [_read(cells) for cells in zip(*parts, strict=True)]
    return conversation_data(table, form, rows, require_reply=True)


def _find_format(table: pa.Table, roles: ConversationRoles) -> ConversationFormat:
    names: list[str] = table.column_names
    chosen = named_column(names, roles.chosen, "--chosen")
    rejected = named_column(names, roles.rejected, "--rejected")
    chosen = chosen or obvious_column(names, OBVIOUS_CHOSEN, {rejected})
    rejected = rejected or obvious_column(names, OBVIOUS_REJECTED, {chosen})
    if chosen is None or rejected is None or chosen == rejected:
        raise UsageError(
            f"There is no obvious column of the {'chosen' if chosen is None else 'rejected'} reply.",
            cause=f"The columns are {', '.join(names)}.",
            remedy="Name them with --chosen NAME --rejected NAME.",
        )
    prompt, system = named_column(names, roles.prompt, "--prompt"), named_column(names, roles.system, "--system")
    if roles.prompt is None:
        prompt = obvious_column(names, OBVIOUS_PROMPT, {chosen, rejected, system})
    if roles.system is None:
        system = obvious_column(names, OBVIOUS_SYSTEM, {chosen, rejected, prompt})
    if prompt is None and not (list_keys(table, chosen) and list_keys(table, rejected)):
        raise UsageError(
            "There is no obvious column of the prompt.",
            cause=f"The columns are {', '.join(names)}; {chosen!r} and {rejected!r} hold no whole conversations.",
            remedy="Name it with --prompt NAME.",
        )
    columns = replace(roles, prompt=prompt, system=system, chosen=chosen, rejected=rejected)
    return ConversationFormat("preference", columns)


def _turns(table: pa.Table, name: str | None, role: str) -> list[list[Turn] | BrokenRow]:
    """The turns in each cell of a column: those of a list of messages, or one of `role`; none where it is empty."""
    if name is None:
        return [[]] * table.num_rows
    is_listed = list_keys(table, name) is not None
    found: list[list[Turn] | BrokenRow] = []
    for cell in table.column(name).to_pylist():
        try:
            found.append(_cell(cell, role, is_listed=is_listed))
        except BrokenRow as fault:
            found.append(BrokenRow(fault.check, f"column {name!r}: {fault.reason}"))
    return found


def _cell(cell: object, role: str, *, is_listed: bool) -> list[Turn]:
    if isinstance(cell, list) or (is_listed and isinstance(cell, str) and cell.lstrip().startswith("[")):
        return turns_of_list(cell)
    if isinstance(cell, Mapping | bytes | bool):
        what = {bytes: "bytes", bool: "a truth value"}.get(type(cell), "an object")
        raise BrokenRow("broken_conversation", f"the cell holds {what}, not text")
    text = cell_text(cell) or ""
    return [(role, text)] if text.strip() else []


def _read(cells: Sequence[list[Turn] | BrokenRow]) -> ReadRow | BrokenRow:
    """The pair of one row, or why it has none. cells : of system prompt, prompt, chosen and rejected."""
    try:
        system, prompt, chosen, rejected = (_unbroken(cell) for cell in cells)
        whole = [_whole(name, system, prompt, reply) for name, reply in (("chosen", chosen), ("rejected", rejected))]
        if whole[0][0][:-1] != whole[1][0][:-1]:
            raise BrokenRow("different_prompts", "chosen and rejected differ before the last reply")
        better, worse = (turns[-1][1] for turns, _ in whole)
        if better.strip() == worse.strip():
            raise BrokenRow("equal_replies", "its chosen and its rejected reply are equal, so nothing was preferred")
    except BrokenRow as fault:
        return fault
    turns, told = whole[0]
    return ReadRow(Preference(conversation_of(turns).messages, worse), told)


def _unbroken(cell: list[Turn] | BrokenRow) -> list[Turn]:
    if isinstance(cell, BrokenRow):
        raise cell
    return cell


def _whole(
    name: str, system: Sequence[Turn], prompt: Sequence[Turn], reply: Sequence[Turn]
) -> tuple[list[Turn], list[tuple[str, str]]]:
    """The conversation with one of the replies. A reply that begins with another's turn is a whole conversation."""
    if not reply:
        raise BrokenRow("empty_reply", f"its {name} reply is empty")
    is_whole = reply[0][0] != "assistant"
    before = [] if is_whole else list(prompt)
    if not is_whole and not before:
        raise BrokenRow("empty_prompt", "its prompt is empty")
    opening = [*before, *reply]
    if opening[0][0] != "system":
        opening = [*system, *opening]
    try:
        return ordered(opening, require_reply=True)
    except BrokenRow as fault:
        raise BrokenRow(fault.check, f"its {name} conversation is none: {fault.reason}") from None
