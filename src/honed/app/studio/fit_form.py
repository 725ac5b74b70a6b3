"""The fields of the form that starts a fit: which settings it offers, and how its texts become settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from honed.app.studio.data_files import Columns
from honed.base_catalogue import BASES
from honed.config import Config
from honed.errors import UsageError
from honed.evidence.report_format import visible

PARTS = ("text", "image", "label", "group")
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


FIELDS = (
    Field("base", "Base model", ("auto", *sorted(BASES)), "auto"),
    Field("method", "Method", ("lora", "bottleneck", "prefix", "full"), "lora"),
    Field("depth", "Adapted layers", (), "auto"),
    Field("epochs", "Epochs", is_number=True),
    Field("folds", "Folds", (), "5", is_number=True),
    Field("max_tokens", "Tokens of a text", (), "128", is_number=True),
    Field("learning_rate", "Learning rate"),
    Field("clean", "Labels that look wrong", ("review", "drop", "relabel", "weight", "off"), "review"),
    Field("seed", "Seed", (), "0", is_number=True),
)


def settings_of(given: Mapping[str, str], columns: Columns) -> dict[str, Any]:
    """The settings that a filled form means; an empty field is left to its default.

    Raises UsageError for a column that the table has not, or without a text, image or label.
    """
    settings: dict[str, Any] = {}
    shown = {visible(name): name for name in columns.names}
    for part in PARTS:
        name = given.get(part, "")
        if name and name not in shown:
            raise UsageError(f"The table has no column {name!r}.", remedy="Choose one of the list.")
        if name or part == "group":
            settings[part] = shown.get(name, "")
    if "text" in settings and "image" in settings:
        raise UsageError("A text and an image column were both chosen.", remedy="Leave one of them empty.")
    if not ({"text", "image"} & settings.keys() and "label" in settings):
        raise UsageError("A column with the text or the image and one with the label are needed.")
    for field in FIELDS:
        if value := given.get(field.name, "").strip():
            if field.choices and value not in field.choices:
                raise UsageError(f"{field.title}: {value!r} is none of {', '.join(field.choices)}.")
            settings[field.name] = value
    settings["gate"] = given.get("gate") == CHECKED
    return settings
