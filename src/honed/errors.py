"""Every error that honed raises on purpose, each with the exit code of the command line.

A message carries problem, cause and remedy, in the user's own names and numbers.
"""

from __future__ import annotations

from typing import Any


class HonedError(Exception):
    """Base of all deliberate errors; `exit_code` is what the command line returns.

    Parameters
    ----------
    problem : what went wrong, in one sentence, with the user's own names and numbers.
    cause : why, where that is not obvious from the problem.
    remedy : what to do about it.
    """

    exit_code = 1

    def __init__(self, problem: str, *, cause: str = "", remedy: str = "") -> None:
        self.problem = problem
        self.cause = cause
        self.remedy = remedy
        super().__init__(" ".join(part for part in (problem, cause, remedy) if part))


class UsageError(HonedError):
    """The command, a flag or the configuration is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """One or more faults of the configuration; all of them are listed at once."""


class BaseModelError(UsageError):
    """A base model is unknown, unsafe, damaged, or not the one an adapter was trained on."""


class OutputError(UsageError):
    """A folder or file cannot be written, or already holds something."""


class DataError(HonedError):
    """The user's data cannot be used as they are."""

    exit_code = 3


class RunFolderError(DataError):
    """A run folder or artifact is missing, truncated or inconsistent."""


class EvidenceError(DataError):
    """A statistic is undefined on this table, or the table breaks a rule of honesty."""


class GateFailed(HonedError):  # noqa: N818 - the name of the outcome, not of a fault
    """The locked holdout says that the specialist must not ship."""

    exit_code = 4


class TrainingError(HonedError):
    """Training could not be completed (for example, a slot diverged twice)."""


class ParityError(HonedError):
    """An export does not behave like the specialist that was measured.

    facts : what `parity.json` of the export says.
    """

    exit_code = 4

    def __init__(self, problem: str, *, cause: str = "", remedy: str = "", facts: dict[str, Any] | None = None) -> None:
        self.facts = facts or {}
        super().__init__(problem, cause=cause, remedy=remedy)
