"""Conversations to learn from: which columns hold them, in which of four formats, and the rows that are none."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from honed.data.cells import column_text
from honed.data.conversation_cells import KEYS, BrokenRow, Turn, as_list, ordered, turns_of_list
from honed.data.dataset import Dataset, content_ids
from honed.data.issue_table import Action, Issue, IssueTable
from honed.data.loading import MIN_ROWS, LoadedData, not_examined, unique_ids
from honed.data.roles import OBVIOUS_ID, OBVIOUS_LABEL, Roles, find_group, named_column, obvious_column
from honed.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

CONVERSATION_TASKS = ("instruction", "preference")
"""Tasks whose rows are conversations."""
FormatName = Literal["messages", "sharegpt", "alpaca", "prompt_response", "preference"]
OBVIOUS_MESSAGES = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat")
OBVIOUS_PROMPT = ("prompt", "instruction", "question", "query", "input", "user")
OBVIOUS_RESPONSE = ("response", "output", "completion", "answer", "reply", "assistant")
OBVIOUS_INPUT = ("input", "context")
OBVIOUS_SYSTEM = ("system", "system_prompt")
LABEL_NAME = "reply"
_GUESS_ROWS = 100


@dataclass(frozen=True)
class Message:
    """One turn. role : "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True)
class Conversation:
    """Turns in order: at most one system message, then user and assistant in turn.

    In training data the last one is the assistant's; a row to predict may end with the user's, and has no message at
    all where the file's row could not be read.
    """

    messages: tuple[Message, ...]

    def prompt(self) -> tuple[Message, ...]:
        """What stands before the last reply: everything, if the last message is none."""
        return self.messages[:-1] if self._is_answered else self.messages

    def reply(self) -> str:
        """The last message, if it is the assistant's, else ""."""
        return self.messages[-1].content if self._is_answered else ""

    @property
    def _is_answered(self) -> bool:
        return bool(self.messages) and self.messages[-1].role == "assistant"

    def __str__(self) -> str:
        """One writing of the messages that no other conversation has: ids and fingerprints are made of it."""
        return json.dumps([[message.role, message.content] for message in self.messages], ensure_ascii=False)


@dataclass(frozen=True)
class ReadRow:
    """told : what the user should know of the row, as (check, reason)."""

    conversation: Conversation
    told: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class ConversationRoles:
    """The columns that play a part. None asks for the obvious column; "" says that there is none.

    messages : a list of messages a row; it excludes `prompt`, `response` and `system`.
    chosen, rejected : two replies to compare, in the place of `response` and `messages`.
    """

    messages: str | None = None
    prompt: str | None = None
    response: str | None = None
    system: str | None = None
    group: str | None = None
    id: str | None = None
    chosen: str | None = None
    rejected: str | None = None


@dataclass(frozen=True)
class ConversationFormat:
    """How rows are written. columns : resolved, None where none plays the part (`group` and `id` as they were asked).

    input : a column that is joined below the prompt, None if there is none.
    """

    name: FormatName
    columns: ConversationRoles
    input: str | None = None

    def sentence(self) -> str:
        """What the user is told."""
        named = self.columns
        if named.messages:
            keys = "/".join(KEYS["sharegpt" if self.name == "sharegpt" else "messages"])
            return f"Format {self.name}: column {named.messages!r} holds lists of {keys}."
        if self.name == "preference":
            prompt = f"prompt {named.prompt!r}; " if named.prompt else ""
            system = f"; system prompt {named.system!r}" if named.system else ""
            return f"Format preference: {prompt}chosen {named.chosen!r}; rejected {named.rejected!r}{system}."
        prompt = f"{named.prompt!r}" + (f", below it {self.input!r}" if self.input else "")
        parts = [f"prompt {prompt}", f"reply {named.response!r}" if named.response else ""]
        parts.append(f"system prompt {named.system!r}" if named.system else "")
        return f"Format {self.name}: {'; '.join(filter(None, parts))}."

    def used(self) -> set[str | None]:
        """The columns that the conversation is made of."""
        own = self.columns
        return {own.messages, own.prompt, own.response, own.system, own.chosen, own.rejected, self.input}


def find_format(table: pa.Table, roles: ConversationRoles, *, require_reply: bool = True) -> ConversationFormat:
    """Find the columns of conversations: those that the user names, else lists of messages, else prompt and response.

    `instruction` with `output` is Alpaca's format: a filled `input` (or `context`) is joined below the instruction.

    Raises UsageError if a named column is absent, if --messages is given beside the others, or if nothing is found.
    """
    names: list[str] = table.column_names
    if roles.messages and (roles.prompt or roles.response or roles.system):
        raise UsageError(
            f"--messages {roles.messages!r} was given beside --prompt, --response or --system.",
            cause="A list of messages holds all of them.",
            remedy="Choose one.",
        )
    listed, unread = named_column(names, roles.messages, "--messages"), ""
    if roles.messages is None and not roles.prompt and not roles.response:
        listed = obvious_column(names, OBVIOUS_MESSAGES, set())
        if listed and not list_keys(table, listed):
            unread, listed = f" Column {listed!r} holds no list of messages that can be read.", None
    if listed:
        name: FormatName = "sharegpt" if list_keys(table, listed) == KEYS["sharegpt"] else "messages"
        return ConversationFormat(name, replace(roles, messages=listed, prompt=None, response=None, system=None))
    system = named_column(names, roles.system, "--system")
    response = named_column(names, roles.response, "--response", optional=not require_reply)
    prompt = named_column(names, roles.prompt, "--prompt")
    if roles.response is None:
        response = obvious_column(names, OBVIOUS_RESPONSE, {prompt, system})
    prompt = prompt or obvious_column(names, OBVIOUS_PROMPT, {response, system})
    if system is None and roles.system is None:
        system = obvious_column(names, OBVIOUS_SYSTEM, {prompt, response})
    if prompt is None or (require_reply and response is None):
        missing = "prompt" if prompt is None else "reply"
        raise UsageError(
            f"There is no obvious column of the {missing}.",
            cause=f"The columns are {', '.join(names)}.{unread}",
            remedy="Name them with --prompt NAME --response NAME, or a list of messages with --messages NAME.",
        )
    joined = None if roles.prompt else obvious_column(names, OBVIOUS_INPUT, {prompt, response, system})
    columns = replace(roles, messages=None, prompt=prompt, response=response, system=system)
    is_alpaca = prompt.strip().lower() == "instruction"
    return ConversationFormat("alpaca" if is_alpaca else "prompt_response", columns, joined)


def looks_like_instructions(table: pa.Table) -> bool:
    """Whether columns are called like conversations or like prompt and response, and none like a label."""
    if obvious_column(table.column_names, OBVIOUS_LABEL, set()):
        return False
    try:
        find_format(table, ConversationRoles())
    except UsageError:
        return False
    return True


def load_conversations(table: pa.Table, roles: ConversationRoles, *, require_reply: bool) -> LoadedData:
    """Build the dataset: its inputs are Conversations, all of the one class `reply`.

    With `require_reply` a row that is no conversation with a reply is left out, each a row of `issues`. Without it
    (prediction) every row is kept in the file's order, a row that cannot be read as a Conversation without messages.
    Content is kept as it is written. Ids, groups and other columns (`traits`) are as in `load_dataset`.

    Raises UsageError for columns that do not exist; DataError for duplicate or missing ids, columns that are no text,
    and fewer than 4 usable rows (with `require_reply`).
    """
    form = find_format(table, roles, require_reply=require_reply)
    rows = [_read(turns, require_reply=require_reply) for turns in _rows(table, form)]
    return conversation_data(table, form, rows, require_reply=require_reply)


def conversation_data(
    table: pa.Table, form: ConversationFormat, rows: Sequence[ReadRow | BrokenRow], *, require_reply: bool
) -> LoadedData:
    """The dataset of rows that were read, one a row of the table; as `load_conversations`, and raises as that does."""
    names, notices = table.column_names, [form.sentence()]
    group = named_column(names, form.columns.group, "--group", optional=not require_reply)
    identifier = named_column(names, form.columns.id, "--id")
    if form.columns.id is None:
        identifier = obvious_column(names, OBVIOUS_ID, form.used() | {group})
    if form.columns.group is None:
        group = find_group(names, form.used() | {identifier}, notices)
    found = Roles(group=group, id=identifier)

    conversations: list[Conversation] = []
    told: list[tuple[int, str, str]] = []
    broken: dict[int, BrokenRow] = {}
    for i, row in enumerate(rows):
        if isinstance(row, BrokenRow):
            broken[i] = row
            conversations.append(Conversation(()))
            continue
        conversations.append(row.conversation)
        told += [(i, check, reason) for check, reason in row.told]
    n = len(conversations)
    keep = [i for i in range(n) if not require_reply or i not in broken]
    if require_reply and len(keep) < MIN_ROWS:
        raise _too_few(form, n, len(keep), broken)

    groups = _stripped(table, group, "--group")
    if identifier:
        example_id = unique_ids(_stripped(table, identifier, "--id"), found)
    else:
        content = [str(broken[i]) if i in broken else str(conversations[i]) for i in range(n)]
        example_id = content_ids(content, groups)
    traits, unread = _traits(table, form) if require_reply else ({}, [])
    dataset = Dataset(
        example_id=np.array([example_id[i] for i in keep], dtype=np.str_),
        inputs=[conversations[i] for i in keep],
        label=np.zeros(len(keep), dtype=np.int64),
        group=np.array([groups[i] or example_id[i] for i in keep], dtype=np.str_),
        label_names=(LABEL_NAME,),
        row=np.array(keep, dtype=np.int64),
        traits={name: np.array(cells, dtype=np.object_)[keep] for name, cells in traits.items()},
    )
    outcome = "the row was left out" if require_reply else "there is nothing to answer"
    action: Action = "drop" if require_reply else "none"
    issues = [
        Issue(fault.check, 0.0, action, f"Row {i + 1}: {fault.reason}; {outcome}.", example_id[i], i)
        for i, fault in broken.items()
    ]
    issues += [Issue(check, 0.5, "none", f"Row {i + 1}: {reason}.", example_id[i], i) for i, check, reason in told]
    issues += [Issue("role_guessed", 1.0, "none", notice, is_issue=False) for notice in notices]
    issues += not_examined(unread)
    return LoadedData(dataset, IssueTable.from_issues(issues), found, n, tuple(notices), form)


def _read(turns: Sequence[Turn] | BrokenRow, *, require_reply: bool) -> ReadRow | BrokenRow:
    if isinstance(turns, BrokenRow):
        return turns
    try:
        kept, told = ordered(turns, require_reply=require_reply)
    except BrokenRow as fault:
        return fault
    return ReadRow(conversation_of(kept), told)


def conversation_of(turns: Sequence[Turn]) -> Conversation:
    """Turns in order as a conversation."""
    return Conversation(tuple(Message(role, content) for role, content in turns))


def _rows(table: pa.Table, form: ConversationFormat) -> list[Sequence[Turn] | BrokenRow]:
    """The turns of every row, or why it has none."""
    columns = form.columns
    rows: list[Sequence[Turn] | BrokenRow] = []
    if columns.messages:
        for cell in table.column(columns.messages).to_pylist():
            try:
                rows.append(turns_of_list(cell))
            except BrokenRow as fault:
                rows.append(fault)
        return rows

    def cells(name: str | None, flag: str) -> list[str]:
        return [cell or "" for cell in column_text(table, name, flag)] if name else [""] * table.num_rows

    parts = (
        cells(columns.system, "--system"),
        cells(columns.prompt, "--prompt"),
        cells(form.input, "--prompt"),
        cells(columns.response, "--response"),
    )
    for system, prompt, below, reply in zip(*parts, strict=True):
        asked = "\n\n".join(part for part in (prompt, below) if part.strip())
        turns = [("system", system)] if columns.system and system.strip() else []
        turns.append(("user", asked))
        if columns.response:
            turns.append(("assistant", reply))
        rows.append(turns)
    return rows


def list_keys(table: pa.Table, name: str) -> tuple[str, str] | None:
    """The keys of the first message in the first cells of a column; None if these hold no list of messages."""
    for cell in table.column(name).slice(0, _GUESS_ROWS).to_pylist():
        try:
            items = as_list(cell)
        except BrokenRow:
            continue
        for item in items:
            keys = next((keys for keys in KEYS.values() if isinstance(item, dict) and keys[0] in item), None)
            if keys:
                return keys
    return None


def _traits(table: pa.Table, form: ConversationFormat) -> tuple[dict[str, list[str]], list[str]]:
    """The cells of every column that is no part of the conversation, and the columns that hold no text."""
    traits: dict[str, list[str]] = {}
    unread = []
    for name in table.column_names:
        if name not in form.used():
            try:
                traits[name] = [cell or "" for cell in column_text(table, name, "--prompt")]
            except DataError:
                unread.append(name)
    return traits, unread


def _stripped(table: pa.Table, name: str | None, flag: str) -> list[str]:
    return [(cell or "").strip() for cell in column_text(table, name, flag)] if name else [""] * table.num_rows


def _too_few(form: ConversationFormat, n: int, n_kept: int, broken: Mapping[int, BrokenRow]) -> DataError:
    is_pair = form.name == "preference"
    what = "two different replies" if is_pair else "a reply"
    flags = "--prompt, --chosen and --rejected" if is_pair else "--messages, or --prompt and --response"
    why = next((f" Row {i + 1}: {fault.reason}." for i, fault in broken.items()), "")
    return DataError(
        f"Only {n_kept} of the {n} rows hold a prompt and {what}; at least {MIN_ROWS} are needed.{why}",
        cause=form.sentence(),
        remedy=f"Mend the rows, or name other columns with {flags}.",
    )
