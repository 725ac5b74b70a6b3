"""What parity is judged by: tolerances, terms, and the row that every check becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Outcome = Literal["same", "different", "open", "reported", "not run"]


@dataclass(frozen=True)
class LogitTolerance:
    """Largest and mean absolute difference allowed, as fractions of the root mean square of the reference's logits.

    Rounding errors grow with the numbers that are summed, not with the one logit that comes out, so one scale serves
    the whole table. The mean catches what moves every logit a little, as a wrong scaling does.
    """

    max_frac: float
    mean_frac: float
    reason: str


# The figures are fractions too, measured with MiniLM and a linear head on 160 medical abstracts.
TOLERANCES: dict[str, LogitTolerance] = {
    "float64": LogitTolerance(1e-8, 2e-9, "sums in another order: 1e-14; float32 served instead: 3e-6"),
    "float32": LogitTolerance(1e-4, 2e-5, "other kernels: 6e-6; half precision served instead: 7e-4 and more"),
    "float16": LogitTolerance(1e-2, 2e-3, "11 bits of mantissa through six layers: 2e-3, on average 5e-4"),
    "bfloat16": LogitTolerance(1e-1, 2e-2, "8 bits of mantissa through six layers: 4e-2, on average 7e-3"),
}
"""By the coarser of the two programs' number formats."""


@dataclass(frozen=True)
class ParityRows:
    """The n rows that both programs read.

    example_id, group : (n,) strings.      label : (n,) int64, or None while the holdout is shut.
    fold : (n,) int64; None: all are of the holdout.
    """

    example_id: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    label: npt.NDArray[np.int64] | None = None
    fold: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class ParityTerms:
    """What is asked of the candidate.

    dtype : a name of TOLERANCES.
    is_quantised : int8 and the like, whose logits are expected to differ: they are reported, and what is judged is the
    score and the predicted labels, each by its interval.
    max_drop : how much worse the score may be, in the metric's own unit. 0.02: two points are about what a holdout of
    150 rows can exclude at all. Unless quantised it is judged on these very rows; the logits are the strict check.
    min_agreement : share of rows that must be given the same label if quantised. 0.9 is a bound of care, not a
    measured one: beyond one answer in ten it is another model, whatever it scores.
    """

    dtype: str = "float32"
    is_quantised: bool = False
    metric: str = "macro_f1"
    level: float = 0.95
    max_drop: float = 0.02
    min_agreement: float = 0.9


@dataclass(frozen=True)
class ParityCheck:
    """One row: what was compared, what came out, in a sentence and in figures.

    name : head, label_names, tokens, logits, labels or score.
    outcome : same, different, open (the interval settles it neither way), reported (not judged), not run.
    """

    name: str
    outcome: Outcome
    sentence: str
    figures: Mapping[str, Any] = field(default_factory=dict)


def not_run(name: str, reason: str) -> ParityCheck:
    """The row of a check that could not run (honesty rule 8)."""
    return ParityCheck(name, "not run", f"Not run, because {reason.rstrip('.')}.")
