"""A condition of the user: `accuracy >= .9`, `recall[refund] >= .8`, `log_loss <= .5`, `sensitivity >= .9`."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from honed.errors import UsageError
from honed.evidence.metrics import METRICS
from honed.evidence.scorecard import CLASS_METRICS

EXAMPLES = "--require 'accuracy >= .9' or --require 'recall[refund] >= .8'"
CLINICAL_METRICS = ("sensitivity", "specificity", "ppv", "npv")
"""Figures of the clinical reading at its operating point, for which `--positive` must say who counts as ill."""
_SYNTAX = re.compile(
    r"\s*(?P<metric>[^\[\]<>=]+?)\s*(?:\[(?P<label>.*)\])?\s*(?P<op>>=|<=|==|=|>|<|≥|≤)\s*(?P<bound>\S+)\s*"
)


class Scale(Protocol):
    """What a condition must know of a figure: which way is better, and between which values it lies."""

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better."""

    @property
    def in_unit_interval(self) -> bool:
        """Whether it lies in [0, 1]."""

    @property
    def lowest(self) -> float:
        """The least it can be."""

    @property
    def highest(self) -> float:
        """The most it can be."""


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.5)
    return f"Did you mean {folded[close[0]]!r}? " if close else ""


@dataclass(frozen=True)
class Requirement:
    """One condition; build it with `Requirement.parse`.

    metric : a name of METRICS or CLINICAL_METRICS, or recall, precision, f1 of one `label`.
    operator : ">=" where more is better, "<=" for log_loss and ece.    text : as the user wrote it.
    """

    metric: str
    label: str | None
    operator: str
    bound: float
    text: str

    @property
    def is_clinical(self) -> bool:
        """Whether it is about the clinical reading."""
        return self.metric in CLINICAL_METRICS

    @property
    def name(self) -> str:
        """`accuracy`, or `recall[refund]`."""
        return self.metric if self.label is None else f"{self.metric}[{self.label}]"

    @staticmethod
    def parse(
        text: str, label_names: Sequence[str] | None = None, metrics: Mapping[str, Scale] | None = None
    ) -> Requirement:
        """Read a condition; the label is checked too where `label_names` are known.

        metrics : the figures of a task without classes, in the place of METRICS and the figures of one class.

        Raises UsageError for a syntax, metric, label, direction or bound that cannot be meant.
        """
        match = _SYNTAX.fullmatch(text)
        if match is None:
            raise UsageError(
                f"--require {text!r} cannot be read.",
                cause="It has the form METRIC >= NUMBER.",
                remedy=f"Write, for example, {EXAMPLES}.",
            )
        metric, label, operator = match["metric"], match["label"], match["op"].replace("≥", ">=").replace("≤", "<=")
        of_class: tuple[str, ...] = CLASS_METRICS if metrics is None else ()
        scales: Mapping[str, Scale] = METRICS if metrics is None else metrics
        clinical: tuple[str, ...] = CLINICAL_METRICS if metrics is None else ()
        known = of_class if label is not None and of_class else (*scales, *clinical)
        if metric not in known or (label is not None and not of_class):
            hint = _did_you_mean(metric, known)
            if label is not None and not of_class:
                hint = "This task has no classes: write it without [LABEL]. "
            elif label is None and metric in of_class:
                hint = f"It is a figure of one class: write {metric}[LABEL]. "
            elif label is not None and metric in (*scales, *clinical):
                hint = "It is a figure of all classes together: write it without [LABEL]. "
            raise UsageError(
                f"--require {text!r}: there is no metric {metric!r}{' of one class' if label is not None else ''}.",
                remedy=f"{hint}Known are {', '.join(known)}; for example {EXAMPLES}.",
            )
        own = None if label is not None else scales.get(metric)  # figures of a class and clinical ones are shares
        lowest, highest = (0.0, 1.0) if own is None or own.in_unit_interval else (own.lowest, own.highest)
        right = ">=" if own is None or own.higher_is_better else "<="
        if operator != right:
            better = "more" if right == ">=" else "less"
            raise UsageError(
                f"--require {text!r} uses {operator!r}, but of {metric} {better} is better.",
                remedy=f"Write {metric if label is None else f'{metric}[{label}]'} {right} {match['bound']}.",
            )
        requirement = Requirement(metric, label, operator, _bound(text, match["bound"], lowest, highest), text.strip())
        if label_names is not None:
            requirement.check_label(label_names)
        return requirement

    def check_label(self, label_names: Sequence[str]) -> None:
        """Raises UsageError if the condition is about a class that the data do not have."""
        if self.label is None or self.label in label_names:
            return
        shown = ", ".join(repr(name) for name in label_names[:10]) + (", ..." if len(label_names) > 10 else "")
        raise UsageError(
            f"--require {self.text!r}: there is no label {self.label!r}.",
            remedy=f"{_did_you_mean(self.label, label_names)}The labels are {shown}.",
        )


def _bound(text: str, number: str, lowest: float, highest: float) -> float:
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise UsageError(f"--require {text!r}: {number!r} is not a number.", remedy=f"Write, for example, {EXAMPLES}.")
    if highest == 1 and not lowest <= bound <= highest:
        hint = f"Did you mean {bound / 100:g}? " if 1 < bound <= 100 else ""
        raise UsageError(
            f"--require {text!r}: the bound {number} can never be met or missed.",
            remedy=f"{hint}It lies between {lowest:g} and 1.",
        )
    if bound < lowest:
        least = "zero" if lowest == 0 else f"{lowest:g}"
        raise UsageError(
            f"--require {text!r}: the bound {number} is below {least}.", remedy=f"It is at least {lowest:g}."
        )
    return bound
