"""The tables of a run that answers in words, read together: what was scored, on which rows, by whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from honed.evidence.forgetting import ForgettingTable
from honed.evidence.preferences import PreferenceTable
from honed.evidence.reply_rates import ProbeReplies
from honed.evidence.reply_scores import Generations, ReplyScores, Score, groups_of_examples, score_replies
from honed.evidence.run_facts import read_rows
from honed.evidence.safety import SafetyTable
from honed.oof import Predictions


@dataclass(frozen=True)
class Part:
    """The out-of-fold rows, or the holdout.

    base : the frozen base on the same rows, None where it was not scored.    group : (m,) aligned with `specialist`.
    replies : scores of generated replies to some of the rows, None where none was generated.
    preferences : aligned with `specialist`, where the rows are pairs.
    """

    specialist: Predictions
    base: Predictions | None
    group: npt.NDArray[np.str_]
    replies: ReplyScores | None = None
    preferences: PreferenceTable | None = None

    @property
    def reply_group(self) -> npt.NDArray[np.str_]:
        """The group of each scored reply."""
        known = dict(zip(self.specialist.example_id.tolist(), self.group.tolist(), strict=True))
        return groups_of_examples(self.replies.example_id.tolist() if self.replies else [], known)


@dataclass(frozen=True)
class LanguageTables:
    """holdout : None while it is locked.    safety, forgetting, replies : None where the probe did not run."""

    out_of_fold: Part
    holdout: Part | None
    safety: SafetyTable | None
    forgetting: ForgettingTable | None
    replies: ProbeReplies | None = None

    @staticmethod
    def read(run: Path, own_scores: Mapping[str, Score] | None = None) -> LanguageTables:
        """The tables of a run folder; groups are those of `folds.parquet`.

        own_scores : further scores of replies, see `load_score`.

        Raises RunFolderError if oof.parquet or folds.parquet is missing, or any table is damaged.
        """
        folds = read_rows(run, "folds.parquet", ("example_id", "fold"))
        group = {str(row["example_id"]): str(row.get("group") or row["example_id"]) for row in folds}
        generations = Generations.read(run)
        replies = None if generations is None or not len(generations) else score_replies(generations, own_scores)

        def part(name: str, own: str, base: str) -> Part:
            table = Predictions.read(run / own)
            other = Predictions.read(run / "baselines" / base) if (run / "baselines" / base).exists() else None
            found = None if replies is None else replies.of_part(name)
            names = groups_of_examples(table.example_id.tolist(), group)
            kept = found if found is not None and len(found.example_id) else None
            return Part(table, other, names, kept, PreferenceTable.read(run, name, table.example_id))

        has_holdout = (run / "holdout.parquet").exists()
        return LanguageTables(
            part("out_of_fold", "oof.parquet", "base.parquet"),
            part("holdout", "holdout.parquet", "base_holdout.parquet") if has_holdout else None,
            SafetyTable.read(run),
            ForgettingTable.read(run),
            ProbeReplies.read(run),
        )
