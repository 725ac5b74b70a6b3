"""From the cells of one row to its turns, (role, content) pairs: every fault is named."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from honed.data.cells import cell_text
from honed.data.json_files import without_surrogates

Turn = tuple[str, str]

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
}
"""What a role may be called -> its name here."""
KEYS = {"messages": ("role", "content"), "sharegpt": ("from", "value")}
"""Format -> the keys of a turn's role and content."""
_SHOWN = 40


class BrokenRow(Exception):  # noqa: N818 - a row, not a fault of the program
    """A row that is no conversation. check : the finding's name.    reason : a sentence for people."""

    def __init__(self, check: str, reason: str) -> None:
        self.check, self.reason = check, reason
        super().__init__(reason)


def turns_of_list(cell: object) -> list[Turn]:
    """The turns of a list of objects (`role`/`content` or `from`/`value`), or of its JSON text.

    Raises BrokenRow for anything else, and for a role that is not in `ROLES`.
    """
    turns = []
    for number, item in enumerate(as_list(cell), 1):
        if not isinstance(item, Mapping):
            raise BrokenRow("broken_conversation", f"message {number} is {_what(item)}, not an object")
        keys = [keys for keys in KEYS.values() if keys[0] in item]
        if not keys:
            raise BrokenRow(
                "broken_conversation", f"message {number} has neither 'role' nor 'from': {sorted(map(str, item))[:4]}"
            )
        # a column of objects has all keys that any of them has
        role_key, content_key = next((pair for pair in keys if item[pair[0]] is not None), keys[0])
        named = item[role_key]
        role = ROLES.get(named.strip().lower()) if isinstance(named, str) else None
        if role is None:
            raise BrokenRow("unknown_role", f"message {number} has the role {_shown(named)}")
        turns.append((role, without_surrogates(_content(item.get(content_key), number))))
    return turns


def as_list(cell: object) -> Sequence[Any]:
    """The list in a cell, or in the JSON text that a cell of CSV or JSON lines holds. Raises BrokenRow."""
    value = cell
    if isinstance(cell, str):
        if not cell.strip():
            raise BrokenRow("broken_conversation", "the cell is empty")
        try:
            value = json.loads(cell)
        except (ValueError, RecursionError):
            is_python = cell.lstrip().startswith(("[{'", "[ {'"))
            hint = " (Python's own writing, as pandas leaves it in CSV: save as JSONL or Parquet)" if is_python else ""
            raise BrokenRow("broken_conversation", f"the cell is no JSON list{hint}: {_shown(cell)}") from None
    if value is None:
        raise BrokenRow("broken_conversation", "the cell is empty")
    if not isinstance(value, list):
        raise BrokenRow("broken_conversation", f"the cell holds {_what(value)}, not a list of messages")
    return value


def ordered(turns: Sequence[Turn], *, require_reply: bool) -> tuple[list[Turn], list[tuple[str, str]]]:
    """The turns that count, and what was left out of them as (check, reason).

    An empty system message says nothing and is left out; with `require_reply` so is a last user message that nobody
    answered.

    Raises BrokenRow if they are not `system?, user, assistant, user, ...`, or if a message is empty.
    """
    kept, told = list(turns), []
    if kept and kept[0][0] == "system" and not kept[0][1].strip():
        kept = kept[1:]
        told.append(("empty_system", "its system message is empty and was left out"))
    if require_reply and len(kept) > 1 and kept[-1][0] == "user" and kept[-2][0] == "assistant":
        kept = kept[:-1]
        told.append(("unanswered_message", "its last user message has no reply and was left out"))
    spoken = kept[1:] if kept and kept[0][0] == "system" else kept
    if not spoken:
        raise BrokenRow("empty_prompt", "it has no user message")
    for number, (role, content) in enumerate(spoken, 1):
        wanted = "user" if number % 2 else "assistant"
        if role != wanted:
            where = f"message {number + len(kept) - len(spoken)} is of the role {role!r}"
            raise BrokenRow("roles_out_of_order", f"{where} where {wanted!r} is due")
        if not content.strip() and (role == "user" or require_reply or number < len(spoken)):
            raise BrokenRow(
                "empty_prompt" if role == "user" else "empty_reply", f"the {role}'s message {number} is empty"
            )
    if require_reply and spoken[-1][0] != "assistant":
        raise BrokenRow("empty_reply", "no reply follows its prompt")
    if spoken[-1][0] == "assistant" and not spoken[-1][1].strip():
        kept = kept[:-1]
    return kept, told


def _content(value: object, number: int) -> str:
    """The text of a message: a string, a scalar, or a list of text parts."""
    if isinstance(value, list):
        parts = []
        for part in value:
            text = part.get("text") if isinstance(part, Mapping) else part
            kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
            if kind != "text" or not isinstance(text, str):
                raise BrokenRow("broken_conversation", f"message {number} holds a part that is no text: {_shown(kind)}")
            parts.append(text)
        return "".join(parts)
    if isinstance(value, Mapping | bytes):
        raise BrokenRow("broken_conversation", f"the content of message {number} is {_what(value)}, not text")
    return cell_text(value) or ""


def _what(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", type(None): "null", bytes: "bytes"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
