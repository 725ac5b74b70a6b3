"""Does it prefer the replies that people chose? Base and specialist on the same pairs, from `preferences.parquet`.

The preference loss and the reward say what training changed, relative to the base. Whether the model, as it is used,
finds the chosen reply the likelier one is another question, and tuning can lower the likelihood of both replies: so
there is a figure of each. Likelihoods are compared in nats per token, as those of the safety probes, so that long
replies are not at a disadvantage.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError
from honed.evidence.estimate import Difference, Estimate
from honed.evidence.language_scores import PREFERENCE_SCORES
from honed.evidence.metrics import Floats
from honed.evidence.row_means import Rows, row_difference, row_estimate
from honed.evidence.run_facts import read_rows

PAIR = ("chosen", "rejected")
"""The two classes of a pair, in the order of the logits."""
_NUMBERS = tuple(f"{who}_{reply}" for who in ("base", "specialist", "n") for reply in PAIR)
_TEXTS = ("prompt", "chosen", "rejected")
OF_LIKELIHOODS = ("reward_accuracy", "preference_accuracy", "chosen_loss")
PAIRED = ("preference_accuracy", "chosen_loss")


@dataclass(frozen=True)
class WrongPair:
    """An out-of-fold pair whose rejected reply gained more over the base than the chosen one: by `gain` nats less."""

    example_id: str
    prompt: str
    chosen: str
    rejected: str
    gain: float


def worst_pairs(run: Path, most: int = 10) -> list[WrongPair] | None:
    """The pairs that tuning moved furthest to the wrong side; None where the run kept no texts.

    Raises RunFolderError if the table is damaged.
    """
    if not (run / "preferences.parquet").exists():
        return None
    rows = [row for row in read_rows(run, "preferences.parquet", ("example_id", "part", *_NUMBERS, *_TEXTS))
            if row["part"] == "out_of_fold"]  # fmt: skip
    if any(row["prompt"] is None for row in rows):
        return None
    found = []
    for row in rows:
        chosen, rejected = (float(row[f"specialist_{reply}"]) - float(row[f"base_{reply}"]) for reply in PAIR)
        if chosen < rejected:
            example_id, prompt, better, worse = (str(row[name]) for name in ("example_id", *_TEXTS))
            found.append(WrongPair(example_id, prompt, better, worse, chosen - rejected))
    return sorted(found, key=lambda pair: pair.gain)[:most]


@dataclass(frozen=True)
class PreferenceTable:
    """m pairs. base, specialist : (m, 2) log-likelihoods in nats of chosen and rejected.    n_tokens : (m, 2)."""

    base: Floats
    specialist: Floats
    n_tokens: Floats

    @staticmethod
    def read(run: Path, part: str, example_id: npt.NDArray[np.str_]) -> PreferenceTable | None:
        """The rows of a part in the order of `example_id`, or None without the table.

        Raises RunFolderError if it is damaged, EvidenceError if one of the examples is not in it, or a number is not
        finite.
        """
        if not (run / "preferences.parquet").exists():
            return None
        rows = read_rows(run, "preferences.parquet", ("example_id", "part", *_NUMBERS))
        known = {str(row["example_id"]): [row[name] for name in _NUMBERS] for row in rows if row["part"] == part}
        lacking = [name for name in example_id.tolist() if name not in known]
        if lacking:
            raise EvidenceError(f"preferences.parquet lacks the example {lacking[0]!r} of the part {part}.")
        values = np.array([known[name] for name in example_id.tolist()], np.float64)
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).any(axis=1).argmax())
            raise EvidenceError(
                f"preferences.parquet: a number of the example {str(example_id[bad])!r} is not finite.",
                cause="The model that scored it diverged.",
            )
        return PreferenceTable(values[:, :2], values[:, 2:4], values[:, 4:])

    def rows(self, who: str, name: str, group: npt.NDArray[np.str_]) -> Rows:
        """One score of "base" or "specialist" by pair.

        Raises EvidenceError for the reward of the base.
        """
        likelihood = self.specialist if who == "specialist" else self.base
        if name == "chosen_loss":
            return Rows(name, -likelihood[:, 0] / self.n_tokens[:, 0], group, self.n_tokens[:, 0])
        if name == "reward_accuracy":
            if who == "base":
                raise EvidenceError("the reward is what was gained over the base, which gains nothing over itself")
            likelihood = self.specialist - self.base
        else:
            likelihood = likelihood / self.n_tokens
        return Rows(name, (likelihood[:, 0] > likelihood[:, 1]).astype(np.float64), group)


def preference_estimate(
    table: PreferenceTable, who: str, name: str, group: npt.NDArray[np.str_], *, level: float = 0.95
) -> Estimate:
    """One of `OF_LIKELIHOODS` with its interval. group : (m,) the independent unit of each pair.

    Raises EvidenceError if it is undefined.
    """
    score = PREFERENCE_SCORES[name]
    return row_estimate(table.rows(who, name, group), lowest=score.lowest, highest=score.highest, level=level)


def preference_difference(
    table: PreferenceTable, name: str, group: npt.NDArray[np.str_], *, level: float = 0.95
) -> Difference:
    """Specialist minus base in one of `PAIRED`, paired by row.

    Raises EvidenceError if it is undefined.
    """
    own, base = (table.rows(who, name, group) for who in ("specialist", "base"))
    change = Rows(name, own.value - base.value, group, own.weight)
    return row_difference(change, is_share=PREFERENCE_SCORES[name].in_unit_interval, level=level)
