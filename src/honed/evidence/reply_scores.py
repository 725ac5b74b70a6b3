"""Scores of generated replies against their references: base and specialist on the same prompts, paired."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError, UsageError
from honed.evidence.estimate import Difference, Estimate
from honed.evidence.language_scores import language_score
from honed.evidence.metrics import Floats
from honed.evidence.reply_texts import MEASURES
from honed.evidence.row_means import Rows, row_difference, row_estimate
from honed.evidence.run_facts import read_rows

PARTS = ("out_of_fold", "holdout")
Score = Callable[[str, str], float]


@dataclass(frozen=True)
class Generations:
    """What base and specialist answered to m prompts; a row of `generations.parquet` each.

    part : "out_of_fold" (answered by the fold's model that never saw the row) or "holdout".
    reference : "" where the data hold none.
    """

    example_id: tuple[str, ...]
    part: tuple[str, ...]
    prompt: tuple[str, ...]
    reference: tuple[str, ...]
    base: tuple[str, ...]
    specialist: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.example_id)

    @staticmethod
    def read(run: Path) -> Generations | None:
        """The table of a run folder, or None without one. Raises RunFolderError if it is damaged."""
        names = ("example_id", "part", "prompt", "reference", "base", "specialist")
        if not (run / "generations.parquet").exists():
            return None
        rows = read_rows(run, "generations.parquet", names)
        table = Generations(*(tuple(str(row[name] or "") for row in rows) for name in names))
        strange = sorted(set(table.part) - set(PARTS))
        if strange:
            raise EvidenceError(f"generations.parquet has the part {strange[0]!r}; known are {' and '.join(PARTS)}.")
        if len(set(zip(table.example_id, table.part, strict=True))) < len(table):
            raise EvidenceError("generations.parquet holds an example twice in one part.")
        return table


@dataclass(frozen=True)
class ReplyScores:
    """Per-row scores of m replies. base, specialist : score -> (m,), NaN where a row leaves it undefined."""

    example_id: npt.NDArray[np.str_]
    part: npt.NDArray[np.str_]
    base: dict[str, Floats]
    specialist: dict[str, Floats]

    def of_part(self, part: str) -> ReplyScores:
        """The rows of one part."""
        at = self.part == part
        kept = ({name: value[at] for name, value in side.items()} for side in (self.base, self.specialist))
        return ReplyScores(self.example_id[at], self.part[at], *kept)

    def columns(self) -> dict[str, Floats]:
        """`base_rouge_l`, `specialist_rouge_l`, ...: columns beside the table that was scored."""
        sides = {"base": self.base, "specialist": self.specialist}
        return {f"{who}_{name}": value for who, side in sides.items() for name, value in side.items()}


def load_score(text: str) -> tuple[str, Score]:
    """A user's score from `module:function`; its name is the function's.

    The function takes (reply, reference) and returns a number, more being better.

    Raises UsageError if the text has another form, the module cannot be imported, or there is no such function.
    """
    module, _, name = text.partition(":")
    if not module or not name.isidentifier():
        raise UsageError(
            f"The score {text!r} cannot be read.", cause="It has the form module:function, for example my_scores:bleu."
        )
    if name in MEASURES:
        raise UsageError(f"The score {text!r} has the name of a built-in score.", remedy="Rename the function.")
    try:
        function = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # the user's module may fail in any way
        raise UsageError(
            f"The score {text!r}: the module {module!r} cannot be imported ({type(error).__name__}: {error}).",
            remedy="Run honed where Python finds it, for example with PYTHONPATH=. set.",
        ) from error
    if not callable(function):
        raise UsageError(f"The score {text!r}: {module!r} has no function {name!r}.")
    return name, function


def score_replies(table: Generations, own: Mapping[str, Score] | None = None) -> ReplyScores:
    """Score every reply that has a reference; rows without one are undefined (NaN).

    own : further scores, name -> function of (reply, reference).

    Raises EvidenceError if a user's function raises, or returns something that is not a finite number.
    """
    checked = {name: _checked(name, function) for name, function in (own or {}).items()}
    measures: dict[str, Callable[[str, str], float | None]] = {**MEASURES, **checked}
    sides = []
    for replies in (table.base, table.specialist):
        columns: dict[str, Floats] = {}
        for name, measure in measures.items():
            values = [
                measure(reply, reference) if reference.strip() else None
                for reply, reference in zip(replies, table.reference, strict=True)
            ]
            columns[name] = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
        sides.append(columns)
    # a score that no row defines (numbers where no reference has any) is not a score of these data
    known = [name for name in measures if not np.isnan(sides[0][name]).all()]
    base, specialist = ({name: side[name] for name in known} for side in sides)
    return ReplyScores(np.array(table.example_id, np.str_), np.array(table.part, np.str_), base, specialist)


def _checked(name: str, function: Score) -> Score:
    def measure(reply: str, reference: str) -> float:
        try:
            value = function(reply, reference)
        except Exception as error:  # the user's function may fail in any way
            raise EvidenceError(
                f"Your score {name!r} failed on the reply {reply[:60]!r} ({type(error).__name__}: {error})."
            ) from error
        if not _is_finite(value):
            raise EvidenceError(
                f"Your score {name!r} returned {value!r} for the reply {reply[:60]!r}.",
                remedy="It must return a finite number, more being better.",
            )
        return float(value)

    return measure


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except (TypeError, OverflowError):
        return False


def _rows(name: str, values: Floats, group: npt.NDArray[np.str_]) -> Rows:
    return Rows(name, values, group).take(~np.isnan(values))


def reply_estimate(
    scores: ReplyScores, who: str, name: str, group: npt.NDArray[np.str_], *, level: float = 0.95
) -> Estimate:
    """The mean of one score with its interval. who : "base" or "specialist".    group : (m,) of the scored rows.

    Raises EvidenceError if no row defines it, or all rows are of one group.
    """
    values = (scores.base if who == "base" else scores.specialist)[name]
    kind = language_score(name)
    return row_estimate(_rows(name, values, group), lowest=kind.lowest, highest=kind.highest, level=level)


def reply_difference(scores: ReplyScores, name: str, group: npt.NDArray[np.str_], *, level: float = 0.95) -> Difference:
    """Specialist minus base, paired by prompt, with interval and p-value.

    Raises EvidenceError if no row defines it, or all rows are of one group.
    """
    change = scores.specialist[name] - scores.base[name]
    return row_difference(_rows(name, change, group), is_share=language_score(name).in_unit_interval, level=level)


def groups_of_examples(example_id: Sequence[str], group: Mapping[str, str]) -> npt.NDArray[np.str_]:
    """The group of each example; one that the fold plan does not know is a group of its own."""
    return np.array([group.get(str(example), str(example)) for example in example_id], np.str_)
