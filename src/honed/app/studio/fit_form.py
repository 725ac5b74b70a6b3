"""The fields of the form that starts a fit: which settings it offers, and how its texts become settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from honed.app.studio.data_files import Columns
from honed.base_catalogue import BASES
from honed.config import Config
from honed.errors import UsageError
from honed.evidence.report_format import visible

CLASS_PARTS = {"text": "Text", "image": "Image files", "label": "Label", "group": "Group that stays together"}
REPLY_PARTS = {
    "messages": "Lists of messages", "prompt": "Prompt", "response": "Reply", "system": "System prompt",
    "group": "Group that stays together",
}  # fmt: skip
CHECKED = "on"


@dataclass(frozen=True)
class Field:
    """A setting of `Config` in the form. choices : () for free text.    value : what the form begins with."""

    name: str
    title: str
    choices: tuple[str, ...] = ()
    value: str = ""
    is_number: bool = False

    @property
    def told(self) -> str:
        """The help of the setting's flag."""
        return Config.model_fields[self.name].description or ""


_METHOD = Field("method", "Method", ("lora", "bottleneck", "prefix", "full"), "lora")
_DEPTH = Field("depth", "Adapted layers", (), "auto")
_EPOCHS = Field("epochs", "Epochs", is_number=True)
_FOLDS = Field("folds", "Folds", (), "5", is_number=True)
_RATE = Field("learning_rate", "Learning rate")
_SEED = Field("seed", "Seed", (), "0", is_number=True)
_CLASS_FIELDS = (
    Field("base", "Base model", ("auto", *sorted(BASES)), "auto"),
    _METHOD, _DEPTH, _EPOCHS, _FOLDS,
    Field("max_tokens", "Tokens of a text", (), "128", is_number=True),
    _RATE,
    Field("clean", "Labels that look wrong", ("review", "drop", "relabel", "weight", "off"), "review"),
    _SEED,
)  # fmt: skip
_REPLY_FIELDS = (
    Field("base", "Base model", ("gemma-3-270m",), "gemma-3-270m"),
    _METHOD, _DEPTH, _EPOCHS, _FOLDS,
    Field("max_tokens", "Tokens of a conversation", (), "512", is_number=True),
    _RATE,
    Field("train_on", "Learned from", ("responses", "all"), "responses"),
    Field("safety", "Safety probes", (), "all"),
    Field("replay", "General instructions mixed in", (), "0"),
    Field("n_written", "Replies written out", (), "16", is_number=True),
    Field("max_new_tokens", "Tokens of a written reply", (), "96", is_number=True),
    _SEED,
)  # fmt: skip


def parts_of(columns: Columns) -> dict[str, str]:
    """The parts that a column may play in these rows, and how each is called."""
    return REPLY_PARTS if columns.are_conversations else CLASS_PARTS


def fields_of(columns: Columns, bases: Mapping[str, Path]) -> tuple[Field, ...]:
    """The settings that these rows need. bases : models of the data folder, which may be chosen as well."""
    base, *others = _REPLY_FIELDS if columns.are_conversations else _CLASS_FIELDS
    return replace(base, choices=(*base.choices, *bases)), *others


def settings_of(given: Mapping[str, str], columns: Columns, bases: Mapping[str, Path]) -> dict[str, Any]:
    """The settings that a filled form means; an empty field is left to its default.

    Raises UsageError for a column that the table has not, or without a text, image or label, or a prompt and reply.
    """
    chosen = {}
    shown = {visible(name): name for name in columns.names}
    for part in parts_of(columns):
        name = given.get(part, "")
        if name and name not in shown:
            raise UsageError(f"The table has no column {name!r}.", remedy="Choose one of the list.")
        if name:
            chosen[part] = shown[name]
    settings: dict[str, Any] = {**(_replies if columns.are_conversations else _classes)(chosen, columns)}
    settings["group"] = chosen.get("group", "")
    for field in fields_of(columns, bases):
        if value := given.get(field.name, "").strip():
            if field.choices and value not in field.choices:
                raise UsageError(f"{field.title}: {value!r} is none of {', '.join(field.choices)}.")
            settings[field.name] = str(bases.get(value, value)) if field.name == "base" else value
    settings["gate"] = given.get("gate") == CHECKED
    return settings


def _classes(chosen: Mapping[str, str], columns: Columns) -> dict[str, str]:
    if "text" in chosen and "image" in chosen:
        raise UsageError("A text and an image column were both chosen.", remedy="Leave one of them empty.")
    if not ({"text", "image"} & chosen.keys() and "label" in chosen):
        raise UsageError("A column with the text or the image and one with the label are needed.")
    return dict(chosen)


def _replies(chosen: Mapping[str, str], columns: Columns) -> dict[str, str]:
    """Columns are named only where they are other than those found: so the found format, with its `input`, stays."""
    own, found = ({part: name for part, name in of.items() if part != "group"} for of in (chosen, columns.guessed))
    if "messages" in own and len(own) > 1:
        raise UsageError("Lists of messages were chosen beside other columns.", remedy="They hold all of them.")
    if "messages" not in own and not {"prompt", "response"} <= own.keys():
        raise UsageError("A column with lists of messages, or one with the prompt and one with the reply, are needed.")
    task = {"task": "instruction"}
    if own == found:
        return task
    return task | own | ({} if "messages" in own else {"system": own.get("system", "")})
