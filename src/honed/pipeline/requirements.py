"""The user's conditions of the gate, read by the figures that the task has."""

from __future__ import annotations

from collections.abc import Sequence

from honed.config import Config
from honed.data.conversations import CONVERSATION_TASKS
from honed.errors import UsageError
from honed.evidence.language_gate import language_requirement
from honed.evidence.language_scores import LOSS_SCORES, PREFERENCE_SCORES, REPLY_SCORES
from honed.evidence.reply_scores import Score, load_score
from honed.evidence.requirement import Requirement


def requirements_of(config: Config, label_names: Sequence[str] | None = None) -> tuple[Requirement, ...]:
    """The conditions of a configuration; while its task is not settled, those of any task are taken.

    Raises UsageError for one that cannot be meant.
    """
    return tuple(_parse(text, config, label_names) for text in config.require)


def own_scores(config: Config) -> dict[str, Score]:
    """The user's own scores of replies, by name. Raises UsageError for one that cannot be loaded."""
    return dict(map(load_score, config.score))


def _parse(text: str, config: Config, label_names: Sequence[str] | None) -> Requirement:
    names = tuple(own_scores(config))
    if config.task in CONVERSATION_TASKS:
        return _fitting(language_requirement(text, names), config.task)
    try:
        return Requirement.parse(text, label_names)
    except UsageError as error:
        if config.task != "auto":
            raise
        try:
            return language_requirement(text, names)
        except UsageError:
            raise error from None


def _fitting(requirement: Requirement, task: str) -> Requirement:
    """The condition. Raises UsageError if its figure is one of pairs and the task has none, or the reverse."""
    other, own = (LOSS_SCORES, PREFERENCE_SCORES) if task == "preference" else (PREFERENCE_SCORES, LOSS_SCORES)
    if requirement.metric in other:
        raise UsageError(
            f"--require {requirement.text!r}: the task {task} has no {requirement.metric}.",
            remedy=f"Known are {', '.join([*own, *REPLY_SCORES])}.",
        )
    return requirement
