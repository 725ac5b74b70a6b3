"""The user's conditions of the gate, read by the figures that the task has."""

from __future__ import annotations

from collections.abc import Sequence

from honed.config import Config
from honed.errors import UsageError
from honed.evidence.language_gate import language_requirement
from honed.evidence.requirement import Requirement


def requirements_of(config: Config, label_names: Sequence[str] | None = None) -> tuple[Requirement, ...]:
    """The conditions of a configuration; while its task is not settled, those of any task are taken.

    Raises UsageError for one that cannot be meant.
    """
    return tuple(_parse(text, config.task, label_names) for text in config.require)


def _parse(text: str, task: str, label_names: Sequence[str] | None) -> Requirement:
    if task == "instruction":
        return language_requirement(text)
    try:
        return Requirement.parse(text, label_names)
    except UsageError as error:
        if task != "auto":
            raise
        try:
            return language_requirement(text)
        except UsageError:
            raise error from None
